//! Reading the embedded log.

use super::{
    Log, chunk, layout,
    segments::{self, Segment},
    shared::LogState,
    unreadable,
};
use crate::{Commits, Delivery, Error, Partition, Subscribe, metrics::Delivered};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::Guard;
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// A group's reader of all partitions. Dropping it lets another take its place.
pub struct Consumer {
    log: Log,
    group: String,
    /// Where it reads next, per partition.
    at: Vec<i64>,
    /// The partition that is served first next time.
    first: usize,
    durable: watch::Receiver<u64>,
    n_delivered: Delivered,
}

impl Consumer {
    pub(super) fn new(log: Log, group: &str) -> Result<Self, Error> {
        let at = log.shared().join(group)?;
        let durable = log.shared().durable.subscribe();
        let n_delivered = Delivered::new();
        Ok(Self { log, group: group.to_owned(), at, first: 0, durable, n_delivered })
    }

    /// Reads everything again, from the earliest record kept. What is committed stays committed.
    pub fn rewind(&mut self) {
        self.at = self.log.shared().lows();
    }

    /// Waits for records behind `at`; false when none came in time.
    async fn wait(&mut self, until: Instant) -> Result<bool, Error> {
        loop {
            self.durable.borrow_and_update();
            let shared = self.log.shared();
            if shared.ends().iter().zip(&self.at).any(|(end, at)| at < end) {
                return Ok(true);
            }
            if let Some(reason) = shared.fatal() {
                return Err(Error::Fatal(reason.to_owned()));
            }
            // The sender lives as long as the log, which we hold.
            if tokio::time::timeout_at(until, self.durable.changed()).await.is_err() {
                return Ok(false);
            }
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.log.shared().leave(&self.group);
    }
}

#[async_trait]
impl Subscribe for Consumer {
    async fn poll(&mut self, max_records: usize, max_bytes: usize, max_wait: Duration) -> Result<Vec<Delivery>, Error> {
        if max_records == 0 || !self.wait(Instant::now() + max_wait).await? {
            return Ok(Vec::new());
        }
        // On a blocking thread: behind a backlog the blocks come from disk and have to be unpacked, which takes
        // milliseconds; the hand-over costs some microseconds for a whole poll. `at` moves only afterwards, so a
        // poll that is dropped half-way loses nothing.
        let (shared, at, first) = (self.log.shared().clone(), self.at.clone(), self.first);
        let read = tokio::task::spawn_blocking(move || read(&shared, at, first, max_records, max_bytes));
        let (deliveries, at) = read.await.map_err(|error| Error::Unavailable(Box::new(error)))??;
        self.first = (first + 1) % at.len();
        self.at = at;
        self.n_delivered.add(deliveries.len());
        Ok(deliveries)
    }

    async fn commit(&mut self, commits: &Commits) -> Result<(), Error> {
        if commits.is_empty() {
            return Ok(());
        }
        let (shared, group, commits) = (self.log.shared().clone(), self.group.clone(), commits.clone());
        let commit = tokio::task::spawn_blocking(move || shared.commit(&group, &commits));
        commit.await.map_err(|error| Error::Unavailable(Box::new(error)))?
    }

    async fn lag(&mut self) -> Result<u64, Error> {
        let shared = self.log.shared();
        let (committed, lows) = (shared.committed(&self.group), shared.lows());
        let starts = committed.into_iter().zip(lows).map(|(committed, low)| committed.max(low));
        Ok(shared.ends().into_iter().zip(starts).map(|(end, start)| (end - start).max(0) as u64).sum())
    }
}

/// Up to `max_records` and about `max_bytes` (one record at least), each partition its share of what is left,
/// the one after last time's first comes first; and where to go on.
fn read(
    shared: &Arc<LogState>,
    mut at: Vec<i64>,
    first: usize,
    max_records: usize,
    max_bytes: usize,
) -> Result<(Vec<Delivery>, Vec<i64>), Error> {
    // First the segments: they never begin behind what is durable.
    let (segments, ends) = (shared.segments(), shared.ends());
    if let Some(earliest) = segments.first() {
        at.iter_mut().zip(&earliest.starts).for_each(|(at, &low)| *at = low.max(*at));
    }
    let (mut out, mut bytes) = (Vec::new(), 0);
    let order = (first..at.len()).chain(0..first);
    let ready: Vec<_> = order.filter(|&p| at[p] < ends[p]).collect();
    for (n_served, &partition) in ready.iter().enumerate() {
        let n_left = ready.len() - n_served;
        let share_records = (max_records - out.len()).div_ceil(n_left);
        let share_bytes = max_bytes.saturating_sub(bytes).div_ceil(n_left);
        let (mut n_taken, mut taken_bytes, mut is_there) = (0, 0, false);
        'partition: for chunk in chunks(&segments, partition, at[partition]..ends[partition]) {
            let (mut offset, mut records) = chunk?;
            while let Some(record) = chunk::pop(&mut records) {
                let payload = record?;
                if offset >= at[partition] {
                    is_there = true;
                    let full = taken_bytes + payload.len() > share_bytes && !out.is_empty();
                    if full || n_taken == share_records {
                        break 'partition;
                    }
                    missing(partition, at[partition]..offset);
                    (n_taken, taken_bytes) = (n_taken + 1, taken_bytes + payload.len());
                    out.push(Delivery { partition: Partition(partition as i32), offset, payload });
                    at[partition] = offset + 1;
                }
                offset += 1;
            }
        }
        if !is_there {
            missing(partition, at[partition]..ends[partition]);
            at[partition] = ends[partition];
        }
        bytes += taken_bytes;
    }
    Ok((out, at))
}

/// Says that records are missing that a repair gave up; reading goes on behind them.
fn missing(partition: usize, offsets: Range<i64>) {
    if !offsets.is_empty() {
        let (from, to) = (offsets.start, offsets.end);
        tracing::error!(partition, from, to, "records are missing in the log");
    }
}

/// The chunks that hold `offsets` of a partition, with the offset of their first record, ascending.
fn chunks(
    segments: &[Segment],
    partition: usize,
    offsets: Range<i64>,
) -> impl Iterator<Item = Result<(i64, Bytes), Error>> {
    segments::parts(segments, partition, offsets).flat_map(move |(records, offsets)| {
        // It may begin before the first record wanted.
        let before = layout::record(partition, 0)..=layout::record(partition, offsets.start);
        let first = records.range(before).next_back().map(Guard::key).transpose();
        let found = first.map(|first| {
            let first = first.unwrap_or_else(|| layout::record(partition, offsets.start).into());
            records.range(first..layout::record(partition, offsets.end).into())
        });
        let (found, failed) = match found {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(Err(unreadable(error)))),
        };
        let read = |guard: Guard| {
            let (key, records) = guard.into_inner().map_err(unreadable)?;
            // Copied: what fjall gives may be a part of something larger. The records share the copy.
            Ok((layout::offset(&key)?, Bytes::copy_from_slice(&records)))
        };
        failed.into_iter().chain(found.into_iter().flatten().map(read))
    })
}
