//! One writer of the audit log: what happens in this process becomes a chain of entries and signed checkpoints.
//!
//! Guarantee: [`Auditor::record`] returns `Ok` only when the event is durable. Whoever shows data after that has left a
//! trace; whoever gets an error must show nothing. Events that wait at the same time share one append.
//!
//! The chain never forks: when an append fails nobody knows what of it is stored, so the same entries are appended again
//! until that works, and everything else waits behind. An event whose caller gave up meanwhile is still written. Each
//! process is a new writer, with a chain of its own: what an earlier one left behind is never gone on with.

use crate::{Audit, Error, metrics};
use async_trait::async_trait;
use model::{
    Clock, Nanos, WriterId,
    audit::{Chain, Checkpoint, Entry, Event, Hash},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Events that wait: a few seconds of a busy process. Whoever finds it full waits for room, within [`PATIENCE`].
const MAX_WAITING: usize = 1_024;
/// Events in one append: a fifth of a megabyte at most.
const MAX_AT_ONCE: usize = 256;
/// How long a caller waits before it is told that nothing is known.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of the log could be cut off unnoticed.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// How often it is tried whether a checkpoint could be kept: a full disk is to be known before it is needed.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// Wait before the second attempt at an append; doubles with each, up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What there may be trouble with.
const CHECKPOINTS: usize = 0;
const ENTRIES: usize = 1;

/// Signs the checkpoints of the audit log.
pub trait Sign: Send + Sync {
    /// Signs bytes: an Ed25519 signature (RFC 8032).
    fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], Error>;

    /// Which key it is: the first 8 bytes of the public key's SHA-256.
    fn key_id(&self) -> [u8; 8];
}

/// Keeps checkpoints apart from the log.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// Makes a checkpoint durable.
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), Error>;

    /// All there are, ascending by writer and number.
    async fn kept(&self) -> Result<Vec<Checkpoint>, Error>;

    /// Whether one could be kept now.
    async fn try_keeping(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Records events. Clones share one chain; a process has one.
#[derive(Clone)]
pub struct Auditor {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<AuditorState>,
}

/// The work behind an [`Auditor`]: nothing is recorded unless it runs.
pub struct Work {
    queue: mpsc::Receiver<Waiting>,
    chain: Chain,
    store: Arc<dyn Audit>,
    shared: Arc<AuditorState>,
}

struct AuditorState {
    writer: WriterId,
    signer: Arc<dyn Sign>,
    checkpoints: Arc<dyn Checkpoints>,
    store: Arc<dyn Audit>,
    clock: Clock,
    /// The last durable entry: number, 0 before the first, and hash.
    durable: Mutex<(u64, Hash)>,
    /// The number of the last entry that has a checkpoint; held while one is made.
    checkpointed: tokio::sync::Mutex<u64>,
    /// Why checkpoints cannot be kept, and why entries cannot be.
    trouble: Mutex<[Option<String>; 2]>,
}

/// An event, and whom to tell that it is durable.
struct Waiting {
    event: Event,
    done: oneshot::Sender<()>,
}

/// Why an event is not known to be durable.
#[derive(Debug, thiserror::Error)]
enum Unrecorded {
    #[error("the audit log did not take an event in time")]
    Late,
    #[error("the audit log is closed")]
    Closed,
}

impl Auditor {
    /// A new writer, and its work, which must run for as long as anything is to be recorded.
    pub fn new(
        store: Arc<dyn Audit>,
        signer: Arc<dyn Sign>,
        checkpoints: Arc<dyn Checkpoints>,
        clock: Clock,
    ) -> (Self, Work) {
        // of the kind that sorts by time: writers are listed in the order in which they started
        let chain = Chain::new(WriterId::new(Uuid::now_v7()));
        let shared = Arc::new(AuditorState {
            writer: chain.writer(),
            signer,
            checkpoints,
            store: Arc::clone(&store),
            clock,
            durable: Mutex::new((0, chain.last())),
            checkpointed: tokio::sync::Mutex::new(0),
            trouble: Mutex::default(),
        });
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        (Self { queue: sender, shared: Arc::clone(&shared) }, Work { queue, chain, store, shared })
    }

    /// The writer whose chain this node appends to.
    pub fn writer(&self) -> WriterId {
        self.shared.writer
    }

    /// Returns when the event is durable. On [`Error::Unavailable`] (after 5 s at the latest) it may be or become so, but
    /// the caller must act as if it were not: show nothing.
    pub async fn record(&self, event: Event) -> Result<(), Error> {
        let recorded = async {
            let (done, is_done) = oneshot::channel();
            self.queue.send(Waiting { event, done }).await.map_err(|_| Unrecorded::Closed)?;
            is_done.await.map_err(|_| Unrecorded::Closed)
        };
        let recorded = timeout(PATIENCE, recorded).await.unwrap_or(Err(Unrecorded::Late));
        recorded.map_err(|cause| Error::Unavailable(Box::new(cause)))
    }

    /// The time, by the clock that it was given.
    pub(crate) fn now(&self) -> Nanos {
        (self.shared.clock)()
    }

    /// Why entries or checkpoints cannot be kept at present, if so: then nothing should be shown, and the node is not ready.
    pub fn trouble(&self) -> Option<String> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().next().cloned()
    }

    /// Signs the last durable entry and has the signature kept; `None` when that was done before, or there is no entry.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        self.shared.checkpoint().await
    }
}

impl AuditorState {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let mut checkpointed = self.checkpointed.lock().await;
        let (sequence, hash) = *self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if sequence == *checkpointed {
            return Ok(None);
        }
        let (at, key_id) = ((self.clock)(), self.signer.key_id());
        let mut checkpoint = Checkpoint { writer: self.writer, sequence, hash, at, key_id, signature: [0; 64] };
        checkpoint.signature = self.signer.sign(&checkpoint.signed_bytes())?;
        self.checkpoints.keep(&checkpoint).await?;
        self.store.note_signed(self.writer, sequence).await?;
        *checkpointed = sequence;
        Ok(Some(checkpoint))
    }

    /// Makes checkpoints until stopped, and tries in between whether that would work.
    async fn checkpoint_often(&self, stop: &CancellationToken) {
        let mut ticks = interval_at(Instant::now() + TRY_EVERY, TRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut made = Instant::now();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let is_due = made.elapsed() >= CHECKPOINT_EVERY;
            let outcome = match is_due {
                true => self.checkpoint().await.map(drop),
                false => self.checkpoints.try_keeping().await,
            };
            if is_due {
                made = Instant::now();
            }
            if let Err(cause) = &outcome
                && (is_due || self.is_well(CHECKPOINTS))
            {
                metrics::checkpoint_failed();
                tracing::error!(error = cause as &dyn std::error::Error, "a checkpoint of the audit log was not kept");
            }
            self.note(CHECKPOINTS, outcome.err());
        }
    }

    fn is_well(&self, what: usize) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)[what].is_none()
    }

    fn note(&self, what: usize, cause: Option<Error>) {
        let said = cause.map(|cause| match cause {
            Error::Unavailable(cause) => cause.to_string(),
            other => other.to_string(),
        });
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)[what] = said;
    }
}

impl Work {
    /// Writes what is recorded, and a checkpoint every 30 s if there is anything new. Stopped, it writes what waits, unless
    /// the store refuses, and makes the last checkpoint, of which it returns the error.
    ///
    /// Stop it when nothing records any more: later events are refused.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        tokio::join!(self.append_all(&stop), shared.checkpoint_often(&stop));
        shared.checkpoint().await.map(drop)
    }

    async fn append_all(mut self, stop: &CancellationToken) {
        let mut waiting = Vec::with_capacity(MAX_AT_ONCE);
        loop {
            if stop.run_until_cancelled(self.queue.recv_many(&mut waiting, MAX_AT_ONCE)).await.is_none() {
                // what is in the queue is still taken, without waiting for more
                self.queue.close();
                self.queue.recv_many(&mut waiting, MAX_AT_ONCE).await;
            }
            if waiting.is_empty() {
                return;
            }
            let (events, callers): (Vec<_>, Vec<_>) = waiting.drain(..).map(|one| (one.event, one.done)).unzip();
            let entries: Vec<_> = events.into_iter().map(|event| self.chain.append(event)).collect();
            if !self.append(&entries, stop).await {
                // whoever waits is told, by nobody answering
                return;
            }
            *self.shared.durable.lock().unwrap_or_else(PoisonError::into_inner) =
                (self.chain.sequence(), self.chain.last());
            for caller in callers {
                // one that gave up does not want to know
                let _ = caller.send(());
            }
        }
    }

    /// Appends these very entries, however often it takes; false when stopped before that worked.
    async fn append(&self, entries: &[Entry], stop: &CancellationToken) -> bool {
        let mut wait = FIRST_WAIT;
        loop {
            let was_stopped = stop.is_cancelled();
            let Err(cause) = self.store.append(entries).await else {
                self.shared.note(ENTRIES, None);
                return true;
            };
            metrics::audit_waits();
            if wait == FIRST_WAIT {
                let n = entries.len();
                tracing::error!(
                    error = &cause as &dyn std::error::Error,
                    n,
                    "the audit log takes nothing, requests fail"
                );
            }
            self.shared.note(ENTRIES, Some(cause));
            // one more attempt after the stop
            if was_stopped {
                return false;
            }
            let _ = stop.run_until_cancelled(sleep(wait)).await;
            wait = MAX_WAIT.min(wait * 2);
        }
    }
}

#[cfg(test)]
mod tests;
