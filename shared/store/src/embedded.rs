//! The embedded store: fjall on disk, nothing to install.
//!
//! Guarantee: [`Append::append`] returns after the rows of the call and their hour index entries were written as one
//! batch and the journal was synced to disk; one sync serves all the calls that wait for it. Of two versions of a
//! row the one received later stands, of equal ones the larger bytes. Reads see a snapshot.
//!
//! After a failed write or sync the engine refuses everything (`Unavailable`, [`Store::failed`]) until it is opened anew:
//! what the disk holds is then unknown. So that a full disk is none of that, nothing is written when less than a reserve
//! is free ([`Error::NoSpace`]); the audit log may use most of the reserve, for without it nothing can be read.
//!
//! Its files are read before the engine opens them, and what was durable must be in them (crate `disk`). With the rows
//! stands how far the log was read for them ([`Append::append_through`]), so that a log that was read further is noticed.
//!
//! Measured with `examples/measure.rs` on two cores that other work kept busy (load 4), 1,000,000 rows in calls of
//! 2,000: 280,000 rows/s of 60 B, 220,000 of 200 B; 3.2 us of CPU a row, and half as much in the engine's own
//! threads. A day of 8,640 rows among them: 3.4 ms (60 B), 6 ms (200 B).
//! Later, on a busier machine, with 200,000 rows of 64 B and of 119 B (3 and 30 readings): a day to sheets took 5.3 and
//! 12.5 ms as rows, 1.2 and 4.1 ms as 24 sealed hours; 2,476 and 825 hours of 360 rows were sealed a second.
//!
//! Keyspaces: `blocks`, `hours`, `seals`, `rollups` (of the hours sealed), `unsealed` (hours without a seal, and when they
//! were touched), `sequences` (in which hours which sequences of a stream are), `positions`, `quarantine`, `audit` and its indexes `audit_by_patient` and `audit_by_time`,
//! `registry_changes`, `profiles`, `things` and their `steps` (keys in `keys.rs`) and `meta` (schema version). Why a seal never lacks a row: `seal.rs`.

mod audit;
mod histories;
mod identities;
mod keys;
mod open;
mod positions;
mod registry;
mod seal;
mod through;

use crate::{
    Append, Error, HourData, HourEntry, HourRollups, LogPosition, Order, Quarantine, Quarantined, Rollups, Timeline,
    known::{Hours, Known, merge},
    payload, sheet,
    stretches::{Entry, Written},
};
pub use through::Through;

use async_trait::async_trait;
use disk::{Chain, Need, Space};
use fjall::{Database, Keyspace, OwnedWriteBatch, Readable};
use model::{ClockTolerance, HourRange, Nanos, PatientId, Permit, Row};
use seal::Writing;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

/// Free space that is left alone, or an eighth of a small disk.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// A store in a folder. Clones share it; the folder is free again when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    tolerance: ClockTolerance,
}

struct Inner {
    db: Database,
    blocks: Keyspace,
    hours: Keyspace,
    seals: Keyspace,
    rollups: Keyspace,
    unsealed: Keyspace,
    sequences: Keyspace,
    positions: Keyspace,
    quarantine: Keyspace,
    audit: Keyspace,
    audit_by_patient: Keyspace,
    audit_by_time: Keyspace,
    registry_changes: Keyspace,
    profiles: Keyspace,
    things: Keyspace,
    steps: Keyspace,
    meta: Keyspace,
    known: Known,
    indexed: Written,
    /// Held from reading what is stored to committing what replaces it.
    writing: Mutex<Writing>,
    /// Everything is written through it.
    chain: Chain,
}

/// One row on its way to disk.
struct Item {
    key: [u8; keys::BLOCK],
    value: Vec<u8>,
}

impl Store {
    /// Opens the store in a folder, which is made when missing.
    ///
    /// Fails with [`Error::Config`] when another process holds the folder or a newer version wrote it, and with
    /// [`Error::Corrupt`], file and byte when its files are not what was written, or something is missing.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let space = Space::new(dir.as_ref(), RESERVE_BYTES);
        Self::open_within(dir, space)
    }

    /// The same, with another reserve of free space.
    pub fn open_within(dir: impl AsRef<Path>, space: Space) -> Result<Self, Error> {
        Ok(Self { inner: Arc::new(open::open(dir.as_ref(), space)?), tolerance: ClockTolerance::default() })
    }

    /// Why nothing can be written any more, if so: the process should end.
    pub fn failed(&self) -> Option<String> {
        self.inner.chain.failed().map(str::to_owned)
    }

    /// Makes rollups under this rule: of hours whose rollups were stored under another one they are made when read.
    pub fn with_tolerance(self, tolerance: ClockTolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// Runs blocking work where it may block.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let (inner, span) = (Arc::clone(&self.inner), tracing::Span::current());
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&inner))).await;
        done.map_err(|cause| Error::Unavailable(Box::new(cause)))?
    }
}

impl Inner {
    /// Commits the rows that change something, the hours and sequences that the indexes lack, and how far the log was read.
    fn write(
        &self,
        mut items: Vec<Item>,
        missing: &Hours,
        sequences: &[Entry],
        read: &through::Items,
    ) -> Result<(), Error> {
        // of versions of one row in one call the larger comes last; ascending keys are also the cheapest to insert
        items.sort_unstable_by(|a, b| (&a.key, &a.value).cmp(&(&b.key, &b.value)));
        let mut batch = OwnedWriteBatch::with_capacity(self.db.clone(), items.len() + missing.len() + sequences.len());
        // before the lock: `quiet` counts from the touch on at the earliest
        let now = sheet::now();
        let mut changed: Vec<[u8; keys::HOUR]> = Vec::new();
        let mut writing = self.writing();
        let mut items = items.into_iter().peekable();
        while let Some(Item { key, value }) = items.next() {
            let superseded = items.peek().is_some_and(|next| next.key == key)
                || self.blocks.get(key).map_err(failed)?.is_some_and(|stored| *stored >= *value);
            if !superseded {
                if let Some(hour) = key.first_chunk().filter(|hour| changed.last() != Some(hour)) {
                    changed.push(*hour);
                }
                batch.insert(&self.blocks, key, value);
            }
        }
        for ((patient, hour), metrics) in missing {
            let key = keys::hour(*patient, *hour);
            let stored = self.hours.get(key).map_err(failed)?;
            let mut union = stored.as_deref().map(keys::parse_metrics).transpose()?.unwrap_or_default();
            let before = union.len();
            merge(&mut union, metrics);
            if stored.is_none() || union.len() > before {
                batch.insert(&self.hours, key, keys::metrics(&union));
            }
        }
        for entry in sequences {
            batch.insert(&self.sequences, keys::sequences(entry), []);
        }
        let touched = self.unseal(&mut writing, &mut batch, &changed, now)?;
        read.iter().for_each(|(key, next)| batch.insert(&self.meta, &**key, *next));
        self.commit(batch)?;
        writing.remember(touched, now);
        drop(writing);
        self.sync()
    }

    /// Makes a batch visible, not yet durable. Call it with `writing` held.
    fn commit(&self, batch: OwnedWriteBatch) -> Result<(), Error> {
        self.chain.commit(batch, Need::Data).map_err(on_disk)
    }

    /// Returns when everything committed before the call is on disk.
    fn sync(&self) -> Result<(), Error> {
        self.chain.sync().map_err(on_disk)
    }

    fn hours(&self, patient: PatientId, range: HourRange, order: Order, limit: usize) -> Result<Vec<HourEntry>, Error> {
        if range.first >= range.end {
            return Ok(Vec::new());
        }
        let range =
            self.db.snapshot().range(&self.hours, keys::hour(patient, range.first)..keys::hour(patient, range.end));
        let entry = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(failed)?;
            Ok(HourEntry::stored(keys::parse_hour(&key)?, keys::parse_metrics(&value)?))
        };
        match order {
            Order::Ascending => range.take(limit).map(entry).collect(),
            Order::Descending => range.rev().take(limit).map(entry).collect(),
        }
    }

    /// Replaces a record put aside by what `change` makes of what is there.
    fn change(
        &self,
        position: &LogPosition,
        change: impl FnOnce(Option<Quarantined>) -> Option<Quarantined>,
    ) -> Result<(), Error> {
        let key = keys::log_position(position);
        let writing = self.writing();
        let stored = self.quarantine.get(&key).map_err(failed)?;
        let stored = stored.map(|value| keys::parse_quarantined(&key, &value)).transpose()?;
        if let Some(record) = change(stored) {
            let mut batch = self.db.batch();
            batch.insert(&self.quarantine, key, keys::quarantined(&record));
            self.commit(batch)?;
        }
        drop(writing);
        self.sync()
    }
}

#[async_trait]
impl Append for Store {
    async fn append(&self, rows: &[Row]) -> Result<(), Error> {
        match rows.is_empty() {
            true => Ok(()),
            false => self.append_through(rows, "", &[]).await,
        }
    }

    async fn append_through(&self, rows: &[Row], topic: &str, read: &[(i32, i64)]) -> Result<(), Error> {
        let started = Instant::now();
        let read = through::items(topic, read);
        let items = rows.iter().map(|row| Item { key: keys::block(row), value: payload::encode(row) }).collect();
        let missing = self.inner.known.missing(rows);
        let sequences = self.inner.indexed.missing(rows);
        let hours = missing.len();
        self.blocking(move |inner| {
            inner.write(items, &missing, &sequences, &read)?;
            inner.known.remember(missing);
            inner.indexed.remember(sequences);
            Ok(())
        })
        .await?;
        crate::metrics::appended("embedded", rows.len(), hours, started);
        Ok(())
    }
}

#[async_trait]
impl Timeline for Store {
    async fn hours(
        &self,
        permit: &Permit,
        hours: HourRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<HourEntry>, Error> {
        let patient = permit.patient();
        self.blocking(move |inner| inner.hours(patient, hours, order, limit)).await
    }

    async fn read(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourData>, Error> {
        let (patient, started) = (permit.patient(), Instant::now());
        let hours: Vec<_> = hours.iter().map(|entry| entry.hour).collect();
        let data = self.blocking(move |inner| inner.read(patient, &hours)).await?;
        crate::metrics::read("embedded", &data, started);
        Ok(data)
    }
}

#[async_trait]
impl Rollups for Store {
    async fn rollups(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourRollups>, Error> {
        let (patient, tolerance) = (permit.patient(), self.tolerance);
        let hours: Vec<_> = hours.iter().map(|entry| entry.hour).collect();
        self.blocking(move |inner| inner.rollups(patient, &hours, tolerance)).await
    }
}

#[async_trait]
impl Quarantine for Store {
    async fn put_aside(&self, record: &Quarantined) -> Result<(), Error> {
        let record = record.clone();
        self.blocking(move |inner| {
            let position = record.position.clone();
            inner.change(&position, |stored| match stored {
                Some(stored) if stored.at > record.at => None,
                Some(stored) => Some(Quarantined { replayed_at: stored.replayed_at, ..record }),
                None => Some(Quarantined { replayed_at: None, ..record }),
            })
        })
        .await
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        self.blocking(|inner| {
            let record = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                keys::parse_quarantined(&key, &value)
            };
            inner.db.snapshot().iter(&inner.quarantine).map(record).collect()
        })
        .await
    }

    async fn depth(&self) -> Result<u64, Error> {
        Ok(self.quarantined().await?.iter().filter(|record| record.replayed_at.is_none()).count() as u64)
    }

    async fn mark_replayed(&self, position: &LogPosition, at: Nanos) -> Result<(), Error> {
        let position = position.clone();
        self.blocking(move |inner| {
            inner.change(&position, |stored| Some(Quarantined { replayed_at: Some(at), ..stored? }))
        })
        .await
    }
}

/// What is wrong with the folder, in the store's words.
fn on_disk(error: disk::Error) -> Error {
    match error {
        disk::Error::Engine(cause) => failed(cause),
        disk::Error::Locked(_) => Error::Config("another process holds the store's folder".into()),
        disk::Error::Damaged(_) => Error::Corrupt(error.to_string()),
        disk::Error::NoSpace { .. } => Error::NoSpace(error.to_string()),
        disk::Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Error::NoSpace(error.to_string())
        }
        error @ disk::Error::Io { .. } => Error::Unavailable(Box::new(error)),
    }
}

/// What the engine says, in the store's words.
fn failed(cause: fjall::Error) -> Error {
    match cause {
        fjall::Error::Io(_) | fjall::Error::Poisoned | fjall::Error::Storage(fjall::LsmError::Io(_)) => {
            Error::Unavailable(Box::new(cause))
        }
        fjall::Error::Locked => Error::Config("another process holds the store's folder".into()),
        fjall::Error::InvalidVersion(_) => Error::Config("the folder's engine version is another one".into()),
        other => Error::Corrupt(format!("the engine cannot read its files: {other:?}")),
    }
}
