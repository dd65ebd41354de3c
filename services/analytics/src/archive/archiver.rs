//! From the log to the archive: gathers each partition's records until there are enough for a file, or they have waited long enough.

use super::{
    Error, encode,
    generations::Archive,
    names::{self, Offsets},
    rows::Rows,
    seen::{self, Seen},
};
use crate::metrics;
use async_trait::async_trait;
use bus::{Backoff, Commits, Delivery, Handle, NextOffset, Pace, Partition, Subscribe, consume};
use bytes::Bytes;
use futures::{StreamExt, stream};
use model::Record;
use parquet::errors::ParquetError;
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What is read of the log at once.
const PACE: Pace = Pace { records: 4_000, bytes: 8 << 20, note_every: Duration::from_secs(5) };
/// Partitions whose files are made at the same time.
const AT_ONCE: usize = 2;

/// When a file is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The bytes of records in the log that are enough for one.
    pub range_bytes: usize,
    /// How long a record waits at most for others.
    pub flush_every: Duration,
    /// How many small files of a partition are merged.
    pub merge_from: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { range_bytes: 2 << 20, flush_every: Duration::from_secs(60), merge_from: 16 }
    }
}

/// Archives what one subscription delivers.
pub struct Archiver {
    archive: Archive,
    settings: Settings,
    parts: BTreeMap<Partition, Part>,
    settled: Commits,
}

/// What is gathered of a partition.
struct Part {
    /// The first offset that is not archived, and that after the last one gathered.
    next: i64,
    end: i64,
    /// Where the range ends that somebody has begun at `next`.
    begun: Option<i64>,
    gathered: VecDeque<Gathered>,
    bytes: usize,
    since: Instant,
    seen: Seen,
}

/// What became of a range that was due.
enum Flushed {
    /// The partition is archived up to this offset.
    To(i64),
    /// Somebody has said that it ends later.
    Waits,
    /// Another archiver has come farther.
    Overtaken,
}

struct Gathered {
    offset: i64,
    bytes: usize,
    /// None where it cannot be read: the writer puts it aside.
    record: Option<Record>,
}

impl Gathered {
    fn new(delivery: &Delivery) -> Self {
        // a copy: it waits, and what it came in may be large
        let record = Record::decode(&Bytes::copy_from_slice(&delivery.payload)).ok();
        Self { offset: delivery.offset, bytes: delivery.payload.len(), record }
    }
}

impl Archiver {
    /// Archives into these files.
    pub fn new(archive: Archive, settings: Settings) -> Self {
        Self { archive, settings, parts: BTreeMap::new(), settled: Commits::default() }
    }

    /// Runs until `stop`. What is gathered by then and not archived is read again.
    ///
    /// # Errors
    /// The log's client can never read again.
    pub async fn run(mut self, log: Box<dyn Subscribe>, stop: CancellationToken) -> Result<(), bus::Error> {
        consume(log, &mut self, PACE, metrics::archive_lag, stop).await
    }

    /// Takes what the log delivers, and archives what is due.
    pub(super) async fn step(&mut self, deliveries: &[Delivery]) -> Result<(), Error> {
        self.gather(deliveries).await?;
        self.flush().await
    }

    /// What the files say of a partition, and what is gathered after that.
    async fn load(&mut self, partition: Partition) -> Result<(), Error> {
        let mut part = Part::load(&self.archive, partition).await?;
        // who archived so far may not have come to say so
        self.settled.reach(partition, NextOffset::at(part.next));
        for gathered in self.parts.remove(&partition).into_iter().flat_map(|part| part.gathered) {
            part.take(gathered);
        }
        self.parts.insert(partition, part);
        Ok(())
    }

    async fn gather(&mut self, deliveries: &[Delivery]) -> Result<(), Error> {
        for delivery in deliveries {
            let known = self.parts.get(&delivery.partition);
            if known.is_none_or(|part| delivery.offset > part.end) {
                // first heard of, or another archiver had it meanwhile
                self.load(delivery.partition).await?;
            }
            if let Some(part) = self.parts.get_mut(&delivery.partition) {
                let n_lost = part.take(Gathered::new(delivery));
                if n_lost > 0 {
                    // the log keeps records for some time only
                    metrics::archive_lost(n_lost);
                    let (partition, before) = (delivery.partition.0, delivery.offset);
                    tracing::error!(
                        partition,
                        before,
                        n_lost,
                        "records were gone from the log before they were archived"
                    );
                }
            }
        }
        Ok(())
    }

    /// Archives what is due.
    async fn flush(&mut self) -> Result<(), Error> {
        let Self { archive, settings, parts, settled } = self;
        let due = parts.iter_mut().filter(|(_, part)| part.is_due(settings));
        let flushing: Vec<_> = due.map(|(partition, part)| part.flush(archive, *partition, settings)).collect();
        let flushed: Vec<_> = stream::iter(flushing).buffer_unordered(AT_ONCE).collect().await;
        // one that fails holds up no other
        let (mut outcome, mut overtaken) = (Ok(()), Vec::new());
        for one in flushed {
            match one {
                Ok((partition, Flushed::To(next))) => settled.reach(partition, NextOffset::at(next)),
                Ok((_, Flushed::Waits)) => {}
                Ok((partition, Flushed::Overtaken)) => overtaken.push(partition),
                Err(error) => outcome = Err(error),
            }
        }
        for partition in overtaken {
            self.load(partition).await?;
        }
        outcome
    }
}

impl Part {
    /// As the files say.
    async fn load(archive: &Archive, partition: Partition) -> Result<Self, Error> {
        let generation = archive.generation().await?;
        let held = archive.held_of(&generation.folder, partition).await?;
        let next = held.end();
        let begun = archive.begun(partition, next).await?;
        let seen = Seen::load(archive, &names::partition(&generation.folder, partition), &held).await?;
        let since = Instant::now();
        Ok(Self { next, end: next, begun, gathered: VecDeque::new(), bytes: 0, since, seen })
    }

    /// Adds what is not archived; how many records are missing in front of it.
    fn take(&mut self, gathered: Gathered) -> u64 {
        if gathered.offset < self.end {
            return 0;
        }
        let missing = if self.end > 0 { gathered.offset - self.end } else { 0 };
        if self.gathered.is_empty() {
            self.since = Instant::now();
        }
        self.bytes += gathered.bytes;
        self.end = gathered.offset + 1;
        self.gathered.push_back(gathered);
        u64::try_from(missing).unwrap_or_default()
    }

    fn is_due(&self, settings: &Settings) -> bool {
        let has_begun = self.begun.is_some_and(|to| self.end >= to);
        let is_old = !self.gathered.is_empty() && self.since.elapsed() >= settings.flush_every;
        has_begun || self.begun.is_none() && (is_old || self.bytes >= settings.range_bytes)
    }

    /// Archives the next range.
    async fn flush(
        &mut self,
        archive: &Archive,
        partition: Partition,
        settings: &Settings,
    ) -> Result<(Partition, Flushed), Error> {
        let to = match self.begun {
            Some(to) => to,
            None => {
                let to = archive.begin(partition, Offsets { from: self.next, to: self.enough(settings) }).await?;
                let generation = archive.generation().await?;
                // another one has come farther: what was said may be forgotten already, and said anew it would be wrong
                let end = archive.held_of(&generation.folder, partition).await?.end();
                if end > self.next && end != to {
                    return Ok((partition, Flushed::Overtaken));
                }
                to
            }
        };
        self.begun = Some(to);
        if to > self.end {
            return Ok((partition, Flushed::Waits));
        }
        let range = Offsets { from: self.next, to };
        let n_records = self.gathered.iter().take_while(|gathered| gathered.offset < to).count();
        let records: Vec<_> =
            self.gathered.iter().take(n_records).filter_map(|gathered| gathered.record.as_ref()).collect();
        let n_readable = records.len();
        let new_ones: Vec<_> = self.seen.new_ones(records).into_iter().cloned().collect();
        let added: Vec<_> = new_ones.iter().map(seen::of).collect();
        let (n_rows, file) = made(new_ones).await?;
        archive.settle(partition, range, &file).await?;
        metrics::archived(n_rows, n_readable - added.len(), file.len());
        added.into_iter().for_each(|batch| self.seen.add(batch));
        self.bytes -= self.gathered.drain(..n_records).map(|gathered| gathered.bytes).sum::<usize>();
        (self.next, self.begun, self.since) = (to, None, Instant::now());
        Ok((partition, Flushed::To(to)))
    }

    /// Where a file ends that has enough.
    fn enough(&self, settings: &Settings) -> i64 {
        let mut bytes = 0;
        let enough = self.gathered.iter().find(|gathered| {
            bytes += gathered.bytes;
            bytes >= settings.range_bytes
        });
        enough.map_or(self.end, |last| last.offset + 1)
    }
}

/// How many rows these records have, and their file.
async fn made(records: Vec<Record>) -> Result<(usize, Bytes), Error> {
    let making = move || {
        let rows = Rows::of(&records);
        let file = encode::file(&rows.arrow().map_err(ParquetError::from)?)?;
        Ok((rows.len(), file))
    };
    let made = tokio::task::spawn_blocking(making).await;
    made.unwrap_or_else(|cause| Err(ParquetError::External(cause.into()).into()))
}

#[async_trait]
impl Handle for Archiver {
    async fn handle(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> bool {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.step(deliveries).await else { return true };
            tracing::warn!(error = &error as &dyn std::error::Error, "the archive cannot be written; trying again");
            metrics::archive_failed();
            if stop.is_cancelled() {
                return false;
            }
            backoff.pause(stop).await;
        }
    }

    fn settled(&mut self, _: &[Delivery]) -> Commits {
        mem::take(&mut self.settled)
    }

    async fn note(&mut self) {}
}
