//! What the log's threads and its users share: the database, how far each partition is durable, who has read what.

use super::{
    Settings, chunk,
    folder::{self, Folder},
    layout, on_disk,
    segments::{Segment, Segments},
    unreadable,
};
use crate::{Commits, Error};
use disk::Need;
use fjall::Guard;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};
use tokio::sync::{Semaphore, watch};

pub(super) struct LogState {
    /// Replaced as a whole, so that a reader keeps what it began with. First: gone before the folder is unlocked.
    segments: RwLock<Segments>,
    pub folder: Folder,
    pub settings: Settings,
    /// Room for records on their way in, in bytes.
    pub room: Semaphore,
    /// Next offset of each partition: everything below is durable.
    ends: Vec<AtomicI64>,
    /// Bytes of records written since the log was made, overheads included; trimming takes nothing off.
    pub bytes: AtomicU64,
    /// Records durable since the log was opened; wakes subscribers.
    pub durable: watch::Sender<u64>,
    fatal: OnceLock<String>,
    groups: Mutex<Groups>,
    /// Held while segments are trimmed: one thread at a time.
    pub trimming: Mutex<()>,
}

/// Consumer groups and their committed positions.
#[derive(Default)]
struct Groups {
    committed: BTreeMap<String, Vec<i64>>,
    reading: HashSet<String>,
}

/// The next offset of each partition.
fn ends(segments: &[Segment]) -> Result<Vec<i64>, Error> {
    let Some(last) = segments.last() else { return Err(Error::Fatal("the log has no segment".into())) };
    let end = |(partition, &start): (usize, &i64)| {
        let range = layout::record(partition, 0)..=layout::record(partition, i64::MAX);
        let chunk = last.records.range(range).next_back().map(Guard::into_inner).transpose().map_err(unreadable)?;
        match chunk {
            Some((key, records)) => Ok(layout::offset(&key)? + chunk::count(&records)?),
            None => Ok(start),
        }
    };
    last.starts.iter().enumerate().map(end).collect()
}

/// Lowers positions that are behind the log's end; says which.
pub(super) fn forgive(folder: &Folder, partitions: usize) -> Result<Vec<String>, Error> {
    let ends = ends(&folder::recover(folder, partitions)?)?;
    let mut batch = folder.database.batch();
    let mut said = Vec::new();
    for (name, partition, next) in layout::positions(&folder.meta)? {
        if let Some(end) = ends.get(partition).filter(|end| next > **end) {
            said.push(format!("records {end} to {next} of partition {partition} are lost; {name} had read them"));
            batch.insert(&folder.meta, layout::position(&name, partition), end.to_be_bytes());
        }
    }
    folder.chain.commit(batch, Need::Asked).and_then(|()| folder.chain.sync()).map_err(on_disk)?;
    Ok(said)
}

impl LogState {
    /// Recovers the state of an open folder.
    pub(super) fn recover(folder: Folder, settings: Settings) -> Result<Self, Error> {
        let partitions = usize::from(settings.partitions);
        let segments = folder::recover(&folder, partitions)?;
        let ends: Vec<_> = ends(&segments)?.into_iter().map(AtomicI64::new).collect();
        let mut groups = Groups::default();
        for (name, partition, next) in layout::positions(&folder.meta)? {
            let end = ends.get(partition).map_or(0, |end| end.load(Ordering::Relaxed));
            if next > end {
                return Err(Error::Fatal(format!(
                    "partition {partition} ends at {end} but was read up to {next}: the log's files lost records"
                )));
            }
            groups.committed.entry(name).or_insert_with(|| vec![0; partitions])[partition] = next;
        }
        let bytes = layout::stored(&folder.meta, layout::BYTES)?.unwrap_or(0) as u64;
        Ok(Self {
            room: Semaphore::new(settings.max_in_flight_bytes),
            folder,
            settings,
            ends,
            segments: RwLock::new(Arc::new(segments)),
            bytes: bytes.into(),
            durable: watch::Sender::new(0),
            fatal: OnceLock::new(),
            groups: Mutex::new(groups),
            trimming: Mutex::new(()),
        })
    }

    pub(super) fn ends(&self) -> Vec<i64> {
        self.ends.iter().map(|end| end.load(Ordering::Acquire)).collect()
    }

    /// First offset kept of each partition.
    pub(super) fn lows(&self) -> Vec<i64> {
        self.segments().first().map(|first| first.starts.clone()).unwrap_or_default()
    }

    pub(super) fn segments(&self) -> Segments {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a last or drops a first one.
    pub(super) fn change_segments(&self, change: impl FnOnce(&mut Vec<Segment>)) {
        change(Arc::make_mut(&mut self.segments.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Everything below `ends` is durable now.
    pub(super) fn advance(&self, ends: &[i64], n_records: u64) {
        for (end, &now) in self.ends.iter().zip(ends) {
            end.store(now, Ordering::Release);
        }
        self.durable.send_modify(|n| *n += n_records);
    }

    /// The reason why nothing can be written any more.
    pub(super) fn fatal(&self) -> Option<&str> {
        self.fatal.get().map(String::as_str)
    }

    /// From now on nothing is taken; wakes everybody.
    pub(super) fn fail(&self, reason: String) {
        tracing::error!(reason, "the log cannot be written any more");
        // The first reason stands.
        let _ = self.fatal.set(reason);
        self.durable.send_modify(|_| ());
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one consumer in; makes the group known, so that nothing is trimmed before it has read it.
    pub(super) fn join(&self, group: &str) -> Result<Vec<i64>, Error> {
        if group.is_empty() || group.len() > usize::from(u8::MAX) {
            return Err(Error::Config("a group's name has 1 to 255 bytes".into()));
        }
        let mut groups = self.groups();
        if groups.reading.contains(group) {
            return Err(Error::Config(format!("the group {group:?} has a consumer in this process already")));
        }
        if !groups.committed.contains_key(group) {
            let start = self.lows();
            self.write_positions(group, start.iter().copied().enumerate())?;
            groups.committed.insert(group.to_owned(), start);
        }
        groups.reading.insert(group.to_owned());
        Ok(groups.committed.get(group).cloned().unwrap_or_default())
    }

    pub(super) fn leave(&self, group: &str) {
        self.groups().reading.remove(group);
    }

    pub(super) fn committed(&self, group: &str) -> Vec<i64> {
        self.groups().committed.get(group).cloned().unwrap_or_default()
    }

    /// The position that every group has passed, per partition; `None` without groups.
    pub(super) fn committed_by_all(&self) -> Option<Vec<i64>> {
        let groups = self.groups();
        let least = |a: Vec<i64>, b: Vec<i64>| a.into_iter().zip(b).map(|(a, b)| a.min(b)).collect();
        groups.committed.values().cloned().reduce(least)
    }

    /// Makes positions durable; those that are not ahead of what is committed change nothing.
    pub(super) fn commit(&self, group: &str, commits: &Commits) -> Result<(), Error> {
        // Held while writing, so that two commits cannot overtake each other on disk.
        let mut groups = self.groups();
        let committed = groups.committed.entry(group.to_owned()).or_default();
        let mut news = Vec::new();
        for (partition, next) in commits.iter() {
            let place = usize::try_from(partition.0).unwrap_or(usize::MAX);
            let (Some(&old), Some(end)) = (committed.get(place), self.ends.get(place)) else {
                return Err(Error::Config(format!("there is no partition {}", partition.0)));
            };
            let end = end.load(Ordering::Acquire);
            if next.get() > end {
                return Err(Error::Config(format!("{} is behind the end of partition {place}, {end}", next.get())));
            }
            if next.get() > old {
                news.push((place, next.get()));
            }
        }
        self.write_positions(group, news.iter().copied())?;
        for (place, next) in news {
            committed[place] = next;
        }
        Ok(())
    }

    /// Takes positions back, no further than what is kept.
    pub(super) fn rewind(&self, group: &str, next: &[i64]) -> Result<(), Error> {
        let mut groups = self.groups();
        let lows = self.lows();
        let Some(committed) = groups.committed.get_mut(group) else { return Ok(()) };
        let back: Vec<_> = committed.iter().zip(next).map(|(now, next)| *now.min(next)).collect();
        let back: Vec<_> =
            back.iter().zip(&lows).zip(&*committed).map(|((b, low), now)| *b.max(low).min(now)).collect();
        self.write_positions(group, back.iter().copied().enumerate())?;
        *committed = back;
        Ok(())
    }

    fn write_positions(&self, group: &str, positions: impl Iterator<Item = (usize, i64)>) -> Result<(), Error> {
        let Folder { database, meta, chain, .. } = &self.folder;
        let mut batch = database.batch();
        for (partition, next) in positions {
            batch.insert(meta, layout::position(group, partition), next.to_be_bytes());
        }
        // a group that cannot commit reads again and again
        chain.commit(batch, Need::Audit).and_then(|()| chain.sync()).map_err(on_disk)
    }
}
