//! The embedded log: fjall on disk, one process, nothing to install.
//!
//! One thread writes. It takes everything that has been published meanwhile as one batch, one fsync, and only
//! then resolves the receipts and shows the records to subscribers: the slower the disk, the larger the batch.
//! When a write or an fsync fails nothing more is taken: what the disk holds then is known only after a restart. So that a
//! full disk is none of that, nothing is written when less than a reserve is free.
//!
//! Its files are read before the engine opens them, and what was durable must be in them (crate `disk`).
//!
//! Offsets are dense from 0 in each partition. A record goes only when every group that ever subscribed has
//! committed it and the retention has passed: a group that never comes back keeps everything.

mod chunk;
mod consumer;
mod folder;
mod layout;
mod retention;
mod segments;
mod shared;
mod writing;

pub use consumer::Consumer;

use crate::{Error, NextOffset, Outgoing, Progress, Publish, Receipt};
use async_trait::async_trait;
use model::PatientId;
use shared::LogState;
use std::{
    path::Path,
    sync::{Arc, mpsc as sync_mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use writing::{Pending, Refusal};

/// What a record in flight costs beside its payload, in bytes: bookkeeping, so that many small ones are bounded too.
pub const RECORD_OVERHEAD_BYTES: usize = 128;
/// Records that wait to be written: two batches, one being written and one filling.
const MAX_WAITING_RECORDS: usize = 2 * writing::MAX_GROUP_RECORDS;
/// More in flight than this is a mistake.
const MAX_IN_FLIGHT_BYTES: usize = 1 << 30;

/// How the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Fixed when the log is made.
    pub partitions: u16,
    /// Publishing waits when so many bytes are not durable yet; at most 1 GiB.
    pub max_in_flight_bytes: usize,
    /// Larger records are refused.
    pub max_record_bytes: usize,
    /// Committed records go when this many newer bytes have been written.
    pub retention_bytes: u64,
    /// Committed records go when they are this old.
    pub retention_age: Duration,
    /// Nothing is taken when less is free on the disk, or than an eighth of a small disk.
    pub reserve_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partitions: 8,
            max_in_flight_bytes: 16 << 20,
            max_record_bytes: 1 << 20,
            retention_bytes: 4 << 30,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            reserve_bytes: 256 << 20,
        }
    }
}

/// An open log. Clones are the same log; it is closed when the last one, and the last [`Consumer`], is dropped, which
/// waits for what has been published.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    shared: Arc<LogState>,
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Pending>>,
    closing: Option<sync_mpsc::SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Log {
    /// Opens the log in `dir`, making folder and log if there are none.
    ///
    /// # Errors
    /// `Config` when the settings are wrong, the folder is in use or holds something else; `Fatal` when its files
    /// cannot be read or something is missing, with file and byte; `Unavailable` when the disk refuses.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, Error> {
        let space = disk::Space::new(dir, settings.reserve_bytes);
        Self::open_within(dir, settings, space)
    }

    /// The same, asking for free space in a way of the caller's.
    pub fn open_within(dir: &Path, settings: Settings, space: disk::Space) -> Result<Self, Error> {
        if settings.partitions == 0 {
            return Err(Error::Config("a log has at least one partition".into()));
        }
        if !(2 * RECORD_OVERHEAD_BYTES..=MAX_IN_FLIGHT_BYTES).contains(&settings.max_in_flight_bytes) {
            return Err(Error::Config(format!(
                "{} bytes in flight is too few or too many",
                settings.max_in_flight_bytes
            )));
        }
        let folder = folder::open(dir, &settings, space)?;
        let shared = Arc::new(LogState::recover(folder, settings)?);
        let (queue, waiting) = mpsc::channel(MAX_WAITING_RECORDS);
        let (closing, closed) = sync_mpsc::sync_channel(0);
        let mut inner =
            Inner { shared: shared.clone(), queue: Some(queue), closing: Some(closing), threads: Vec::new() };
        let writing = shared.clone();
        inner.spawn("log-write", move || writing::run(&writing, waiting))?;
        inner.spawn("log-trim", move || retention::run(&shared, &closed))?;
        Ok(Self(Arc::new(inner)))
    }

    /// Lowers what groups have committed to where the log ends, after a repair that could not save its last records;
    /// says what was lowered. Until then such a log is not opened.
    pub fn forgive(dir: &Path, settings: &Settings) -> Result<Vec<String>, Error> {
        let folder = folder::open(dir, settings, disk::Space::new(dir, 0))?;
        shared::forgive(&folder, settings.partitions.into())
    }

    /// Reads as `group`, from where it has committed; a new group from the earliest record kept.
    ///
    /// # Errors
    /// `Config` when the group has a consumer already.
    pub fn subscribe(&self, group: &str) -> Result<Consumer, Error> {
        Consumer::new(self.clone(), group)
    }

    /// Removes what every group has committed and the retention does not keep; returns how many records. Done by
    /// itself every 30 seconds.
    pub fn trim(&self) -> Result<u64, Error> {
        retention::trim(&self.0.shared)
    }

    /// Where a group stands in each partition, and what there is: first offset kept, committed, end.
    pub fn standing(&self, group: &str) -> Vec<[i64; 3]> {
        let shared = self.shared();
        let committed = shared.committed(group);
        let places = shared.lows().into_iter().zip(shared.ends()).enumerate();
        places.map(|(at, (low, end))| [low, committed.get(at).copied().unwrap_or(low), end]).collect()
    }

    /// Takes back what a group has committed, in each partition down to `next` at least: it reads that again.
    pub fn rewind(&self, group: &str, next: &[i64]) -> Result<(), Error> {
        self.shared().rewind(group, next)
    }

    /// How far a group has come, for who is not of it.
    pub fn progress_of(&self, group: &str) -> impl Progress + 'static {
        GroupProgress { log: self.clone(), group: group.to_owned() }
    }

    fn shared(&self) -> &Arc<LogState> {
        &self.0.shared
    }
}

struct GroupProgress {
    log: Log,
    group: String,
}

#[async_trait]
impl Progress for GroupProgress {
    async fn progress(&self, key: PatientId) -> Result<(NextOffset, NextOffset), Error> {
        let partition = model::spread(key.as_bytes(), self.log.shared().settings.partitions);
        let standing = self.log.standing(&self.group);
        let found = standing.get(usize::from(partition)).copied();
        found
            .map(|[_, next, end]| (NextOffset::at(next), NextOffset::at(end)))
            .ok_or_else(|| Error::Fatal("the log has no segment".into()))
    }
}

impl Inner {
    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.into()).spawn(work);
        self.threads.push(thread.map_err(|error| Error::Unavailable(Box::new(error)))?);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        (self.queue, self.closing) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
    }
}

#[async_trait]
impl Publish for Log {
    async fn publish(&self, record: Outgoing) -> Result<Receipt, Error> {
        let shared = &self.0.shared;
        let limit = shared.settings.max_record_bytes.min(shared.settings.max_in_flight_bytes - RECORD_OVERHEAD_BYTES);
        let bytes = record.payload.len();
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit: Some(limit) });
        }
        let closed = || Error::Fatal(shared.fatal().unwrap_or("the log is closed").to_owned());
        if shared.fatal().is_some() {
            return Err(closed());
        }
        let queue = self.0.queue.as_ref().ok_or_else(closed)?;
        let since = Instant::now();
        let cost_bytes = (bytes + RECORD_OVERHEAD_BYTES) as u32;
        let room = shared.room.acquire_many(cost_bytes).await.map_err(|_| closed())?;
        let partition = model::spread(record.key.as_bytes(), shared.settings.partitions);
        let (receipt, outcome) = oneshot::channel();
        let pending = Pending { partition, payload: record.payload, cost_bytes, since, receipt };
        queue.send(pending).await.map_err(|_| closed())?;
        // Given back by the writing thread.
        room.forget();
        Ok(Box::pin(async move {
            match outcome.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(Refusal::NoSpace(reason))) => Err(Error::NoSpace(reason.to_string())),
                Ok(Err(Refusal::Failed(reason))) => Err(Error::Unavailable(reason.to_string().into())),
                Err(gone) => Err(Error::Unavailable(Box::new(gone))),
            }
        }))
    }

    fn has_room(&self) -> bool {
        self.0.shared.room.available_permits() > 0 && self.0.queue.as_ref().is_some_and(|queue| queue.capacity() > 0)
    }

    async fn flush(&self, limit: Duration) -> Result<(), Error> {
        // All the room there is: nothing is in flight then. Others wait meanwhile.
        let shared = &self.0.shared;
        let all = shared.room.acquire_many(shared.settings.max_in_flight_bytes as u32);
        match tokio::time::timeout(limit, all).await {
            Ok(_) => Ok(()),
            Err(elapsed) => Err(Error::Unavailable(Box::new(elapsed))),
        }
    }

    fn fatal(&self) -> Option<String> {
        self.0.shared.fatal().map(str::to_owned)
    }
}

/// An error of fjall while opening or reading: files that say nonsense do not get better.
fn unreadable(error: fjall::Error) -> Error {
    match error {
        fjall::Error::Io(error) => Error::Unavailable(Box::new(error)),
        fjall::Error::Locked => Error::Config("the log is open already, perhaps in another process".into()),
        error => Error::Fatal(format!("the log's files cannot be read: {error}")),
    }
}

/// An error of fjall while writing.
fn unwritable(error: fjall::Error) -> Error {
    Error::Unavailable(Box::new(error))
}

/// What is wrong with a folder, in the log's words.
fn on_disk(error: disk::Error) -> Error {
    match error {
        disk::Error::Engine(error) => unwritable(error),
        disk::Error::Locked(_) => Error::Config(error.to_string()),
        disk::Error::Damaged(_) => Error::Fatal(error.to_string()),
        disk::Error::NoSpace { .. } => Error::NoSpace(error.to_string()),
        error @ disk::Error::Io { .. } => Error::Unavailable(Box::new(error)),
    }
}
