//! The one thread that writes: takes what has come, writes it as one batch, one fsync, then says so.

use super::{
    RECORD_OVERHEAD_BYTES, chunk,
    layout::{self, SegmentEntry},
    segments::{Segment, now_ms},
    shared::LogState,
};
use crate::metrics::Published;
use bytes::Bytes;
use disk::Need;
use fjall::OwnedWriteBatch;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// Records in one batch at most; its bytes are bounded by the bytes in flight.
pub(super) const MAX_GROUP_RECORDS: usize = 16_384;

/// Whether a record is durable, or why not.
pub(super) type Outcome = Result<(), Refusal>;

/// Why a record was not written; shared by all records of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing was: the disk is full.
    NoSpace(Arc<str>),
    /// What the disk holds is not known: nothing more is taken.
    Failed(Arc<str>),
}

impl From<disk::Error> for Refusal {
    fn from(error: disk::Error) -> Self {
        match error {
            disk::Error::NoSpace { .. } => Self::NoSpace(error.to_string().into()),
            error => Self::Failed(error.to_string().into()),
        }
    }
}

impl From<fjall::Error> for Refusal {
    fn from(error: fjall::Error) -> Self {
        Self::Failed(error.to_string().into())
    }
}

/// A record that waits to be written.
pub(super) struct Pending {
    pub partition: u16,
    pub payload: Bytes,
    /// What it holds of the room in flight.
    pub cost_bytes: u32,
    pub since: Instant,
    pub receipt: oneshot::Sender<Outcome>,
}

/// Ends when every sender is gone and everything sent has been written or has failed.
pub(super) fn run(shared: &LogState, queue: mpsc::Receiver<Pending>) {
    let _ended = Ended(shared);
    let Some(mut writer) = Writer::new(shared) else { return shared.fail("the log has no segment".into()) };
    drain(shared, queue, |group| writer.write(group));
}

/// A writing thread that panics must not leave publishers waiting for ever.
struct Ended<'a>(&'a LogState);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writing thread panicked".into());
            self.0.room.close();
        }
    }
}

/// The loop, apart from what writing means.
fn drain(shared: &LogState, mut queue: mpsc::Receiver<Pending>, mut write: impl FnMut(&[Pending]) -> Outcome) {
    let published = Published::new();
    let mut group = Vec::with_capacity(MAX_GROUP_RECORDS);
    while queue.blocking_recv_many(&mut group, MAX_GROUP_RECORDS) > 0 {
        let outcome: Outcome = match shared.fatal() {
            Some(reason) => Err(Refusal::Failed(reason.into())),
            None => write(&group),
        };
        if let Err(Refusal::Failed(reason)) = &outcome
            && shared.fatal().is_none()
        {
            shared.fail(reason.to_string());
        }
        match &outcome {
            Ok(()) => published.durable(group.len() as u64, group.iter().map(|r| r.payload.len() as u64).sum()),
            Err(_) => published.failed(group.len() as u64),
        }
        // One sample a batch, of the record that waited longest: a sample a record would cost more than the record.
        if let Some(oldest) = group.first() {
            published.took(oldest.since.elapsed());
        }
        let mut freed = 0;
        for record in group.drain(..) {
            freed += record.cost_bytes as usize;
            // Nobody waits any more: the record is durable all the same.
            let _ = record.receipt.send(outcome.clone());
        }
        shared.room.add_permits(freed);
    }
}

/// Where the log stands, on the writing thread.
struct Writer<'a> {
    shared: &'a LogState,
    ends: Vec<i64>,
    bytes: u64,
    /// The last one.
    segment: Segment,
    /// Per partition; empty between batches.
    open: Vec<OpenChunk>,
}

/// Records that are being put together.
#[derive(Default)]
struct OpenChunk {
    records: Vec<u8>,
    n_records: i64,
}

impl<'a> Writer<'a> {
    /// `None` when the log has no segment, which opening it rules out.
    fn new(shared: &'a LogState) -> Option<Self> {
        let segment = shared.segments().last()?.clone();
        let (ends, bytes) = (shared.ends(), shared.bytes.load(Ordering::Relaxed));
        let open = ends.iter().map(|_| OpenChunk::default()).collect();
        Some(Self { shared, ends, bytes, segment, open })
    }

    /// One batch, one fsync; then the records are there for subscribers.
    fn write(&mut self, group: &[Pending]) -> Outcome {
        let folder = &self.shared.folder;
        // before anything is counted
        folder.chain.space().check(Need::Data)?;
        let mut batch = folder.database.batch();
        let now_ms = now_ms();
        if self.segment.is_over(&self.shared.settings, now_ms, self.bytes) {
            let (number, starts) = (self.segment.number + 1, self.ends.clone());
            let entry = SegmentEntry { number, since_ms: now_ms, bytes: self.bytes, starts };
            batch.insert(&folder.meta, layout::segment(number), entry.value());
            self.segment = Segment::open(&folder.database, entry)?;
            folder.chain.keep(&self.segment.records)?;
            // Before its first record is durable: readers go no further than what is.
            self.shared.change_segments(|segments| segments.push(self.segment.clone()));
        }
        for record in group {
            let partition = usize::from(record.partition);
            let open = &mut self.open[partition];
            chunk::push(&mut open.records, &record.payload);
            open.n_records += 1;
            self.bytes += (record.payload.len() + RECORD_OVERHEAD_BYTES) as u64;
            if open.records.len() >= chunk::FULL_BYTES {
                self.close_chunk(&mut batch, partition);
            }
        }
        for partition in 0..self.open.len() {
            self.close_chunk(&mut batch, partition);
        }
        batch.insert(&folder.meta, layout::BYTES, self.bytes.to_be_bytes());
        folder.chain.commit(batch, Need::Asked)?;
        folder.chain.sync()?;
        self.shared.bytes.store(self.bytes, Ordering::Release);
        self.shared.advance(&self.ends, group.len() as u64);
        Ok(())
    }

    fn close_chunk(&mut self, batch: &mut OwnedWriteBatch, partition: usize) {
        let (open, end) = (std::mem::take(&mut self.open[partition]), &mut self.ends[partition]);
        if open.n_records > 0 {
            batch.insert(&self.segment.records, layout::record(partition, *end), open.records);
            *end += open.n_records;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{Settings, folder};
    use futures::FutureExt;
    use std::{sync::mpsc as sync_mpsc, thread};

    fn pending(cost_bytes: u32) -> (Pending, oneshot::Receiver<Outcome>) {
        let (receipt, outcome) = oneshot::channel();
        (Pending { partition: 0, payload: Bytes::new(), cost_bytes, since: Instant::now(), receipt }, outcome)
    }

    fn shared(dir: &std::path::Path) -> Arc<LogState> {
        let settings = Settings { max_in_flight_bytes: 1000, ..Settings::default() };
        let space = disk::Space::new(dir, 0);
        let shared = LogState::recover(folder::open(&dir.join("log"), &settings, space).unwrap(), settings).unwrap();
        Arc::new(shared)
    }

    #[tokio::test]
    async fn a_receipt_waits_for_the_write_and_failure_is_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let shared = shared(dir.path());
        let (queue, waiting) = mpsc::channel(10);
        let (begun, begins) = sync_mpsc::channel();
        let (go, goes) = sync_mpsc::channel::<Outcome>();
        let drained = shared.clone();
        let writing = thread::spawn(move || {
            drain(&drained, waiting, |group| {
                begun.send(group.len()).unwrap();
                goes.recv().unwrap()
            });
        });
        let publish = async |record| {
            shared.room.acquire_many(100).await.unwrap().forget();
            queue.send(record).await.map_err(|_| "closed").unwrap();
        };
        let (record, mut first) = pending(100);
        publish(record).await;
        assert_eq!(begins.recv().unwrap(), 1);
        assert!((&mut first).now_or_never().is_none(), "not before it is written");
        assert_eq!(shared.room.available_permits(), 900);
        go.send(Ok(())).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));

        let (record, second) = pending(100);
        publish(record).await;
        begins.recv().unwrap();
        let (record, third) = pending(100);
        publish(record).await;
        go.send(Err(Refusal::Failed("the disk is gone".into()))).unwrap();
        assert!(second.await.unwrap().is_err());
        // Nothing is written after a failure: nobody would know what is on the disk.
        assert!(third.await.unwrap().is_err());
        assert!(begins.try_recv().is_err());
        assert!(shared.fatal().unwrap().contains("the disk is gone"));
        drop(queue);
        writing.join().unwrap();
        assert_eq!(shared.room.available_permits(), 1000, "all room is given back");
    }
}
