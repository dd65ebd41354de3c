//! A device's session whose batches wait on its own disk: it goes on through lost connections, restarts and `kill -9`.
//!
//! What it promises: a batch of which [`QueuedSender::send`] has returned reaches the server, in order and under its own
//! number, unless the queue was full and the caller chose to drop the oldest. The server takes each once, however often it is
//! sent. One task drains the queue over a [`Sender`]; what the server has acknowledged leaves the disk.

use crate::{
    Connection, Error, Progress, Queue, Refusal, Sender, Stream, Tokens,
    queue::{self, Depth, Stored},
    retry::Backoff,
    state,
    window::keep_unread,
};
use proto::telemetry::v1::{ClockQuality, Reading};
use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// Reason of a batch that is larger than the server's messages may be: it is not sent.
pub const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// How long the server's last word may take once everything is acknowledged.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What a session has sent and still holds.
#[derive(Debug, Clone)]
pub struct SessionStatus {
    /// What is on the disk, and what was dropped.
    pub depth: Depth,
    /// What became of the batches that were sent since the session began.
    pub progress: Progress,
    /// How often the stream was opened.
    pub connections: u64,
    /// What the last failed attempt to connect said; none while there is a connection.
    pub trouble: Option<Error>,
}

/// A device's session with a queue on the disk. Dropping it loses nothing; [`QueuedSender::close`] waits for the server.
pub struct QueuedSender {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the caller and the task share.
struct Shared {
    state: Mutex<State>,
    /// Everything up to here needs not be sent any more.
    released: watch::Sender<u64>,
    ended: watch::Sender<Option<Error>>,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Of senders that have ended.
    progress: Progress,
    connections: u64,
    unread: VecDeque<Refusal>,
    /// The one that sends now.
    present: Option<Arc<state::SessionState>>,
    /// Why there is none.
    trouble: Option<Error>,
}

impl State {
    /// Takes over what became of the present sender's batches; there is none from here on.
    fn fold(&mut self) {
        let Some(present) = self.present.take() else { return };
        let mut present = present.lock();
        self.progress.add(present.window.progress());
        self.connections += present.n_opened;
        present.window.take_refusals().into_iter().for_each(|refusal| keep_unread(&mut self.unread, refusal));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedSender {
    /// Begins to drain the queue. It does not wait for a connection: a device may start where there is no network.
    pub fn open(connection: impl Into<Connection>, tokens: Tokens, queue: Queue, clock: ClockQuality) -> Self {
        let connection = connection.into();
        let queue = Arc::new(queue);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            released: watch::Sender::new(queue.released()),
            ended: watch::Sender::new(None),
            closing: watch::Sender::new(false),
        });
        let stream = Stream { device: queue.device(), stream: queue.stream(), resume_after: 0, clock };
        let drain = Drain { queue: queue.clone(), shared: shared.clone(), connection, tokens, stream };
        Self { queue, shared, task: tokio::spawn(drain.run()) }
    }

    /// Stores one batch; it is on the disk when this returns, and goes out as soon as the server takes it.
    ///
    /// It stores also after the session has ended ([`QueuedSender::ended`]): the batches wait for the next one.
    ///
    /// # Errors
    /// [`Error::Queue`]: it is not stored.
    pub async fn send(&self, readings: Vec<Reading>) -> Result<Stored, Error> {
        Ok(blocking(&self.queue, |queue| queue.append(readings)).await?)
    }

    /// Waits until the session cannot go on, and says why: the server said no and would say so again, or the queue is damaged.
    /// A server that cannot be reached, another thing in its place, and tokens that cannot be had, end nothing.
    pub async fn ended(&self) -> Error {
        let mut ended = self.shared.ended.subscribe();
        // the sender lives as long as `self`
        let ended = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        ended.unwrap_or(Error::Closed)
    }

    /// State of the session and of its queue, now.
    pub fn status(&self) -> SessionStatus {
        let depth = self.queue.depth();
        let state = self.shared.lock();
        let (mut progress, mut connections) = (state.progress.clone(), state.connections);
        let mut trouble = state.trouble.clone();
        if let Some(present) = &state.present {
            let present = present.lock();
            progress.add(present.window.progress());
            connections += present.n_opened;
            trouble = present.unreachable();
        }
        SessionStatus { depth, progress, connections, trouble }
    }

    /// The refusals since the last call, as [`Sender::take_refusals`] gives them.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        let mut state = self.shared.lock();
        let present = state.present.as_ref().map(|present| present.lock().window.take_refusals());
        state.unread.drain(..).chain(present.into_iter().flatten()).collect()
    }

    /// Waits until what has been stored so far is acknowledged, refused or dropped.
    ///
    /// # Errors
    /// The session has ended before.
    pub async fn flush(&self) -> Result<(), Error> {
        let newest = self.queue.depth().next_sequence - 1;
        let mut released = self.shared.released.subscribe();
        tokio::select! {
            biased;
            _ = released.wait_for(|released| *released >= newest) => Ok(()),
            error = self.ended() => Err(error),
        }
    }

    /// Waits until everything is acknowledged, and ends the stream. What is left waits on the disk for the next session.
    ///
    /// # Errors
    /// [`Error::Deadline`] when something is left after `deadline`, or what ended the session before.
    pub async fn close(mut self, deadline: Duration) -> Result<Progress, Error> {
        let flushed = timeout(deadline, self.flush()).await;
        if let Ok(Ok(())) = flushed
            && self.shared.lock().present.is_some()
        {
            self.shared.closing.send_replace(true);
            let _ = timeout(2 * LAST_WORD, &mut self.task).await;
        }
        self.task.abort();
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
        blocking(&self.queue, Queue::settle).await?;
        // what the task had begun on the disk: the folder is free when this returns
        while Arc::strong_count(&self.queue) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let SessionStatus { depth, progress, .. } = self.status();
        match flushed {
            Ok(flushed) => flushed.map(|()| progress),
            Err(_) => Err(Error::Deadline {
                through: depth.acknowledged,
                left: usize::try_from(depth.batches).unwrap_or(usize::MAX),
            }),
        }
    }
}

impl Drop for QueuedSender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does something that waits for the disk.
async fn blocking<T: Send + 'static>(
    queue: &Arc<Queue>,
    work: impl FnOnce(&Queue) -> Result<T, queue::Error> + Send + 'static,
) -> Result<T, queue::Error> {
    let queue = queue.clone();
    match spawn_blocking(move || work(&queue)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // the runtime is about to end, and this task with it
        Err(_) => std::future::pending().await,
    }
}

/// The one task of a session.
struct Drain {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    connection: Connection,
    tokens: Tokens,
    /// Without the place to go on from.
    stream: Stream,
}

/// Why a sender is not used any longer.
enum Next {
    /// Batches were dropped before they were sent. The server must be told that nothing of them comes, which a stream can say
    /// only when it is opened.
    Dropped,
    /// The server takes no message as large as this batch: it is left out in the same way.
    TooLarge(u64),
    /// The caller closes, and all is acknowledged.
    Close,
}

impl Drain {
    async fn run(self) {
        let mut backoff = Backoff::default();
        let error = loop {
            match self.connection().await {
                Ok(Next::Dropped | Next::TooLarge(_)) => backoff.reset(),
                Ok(Next::Close) => break Error::Closed,
                // a device keeps its data while its server or its tokens are out of reach
                Err(error @ (Error::Unreachable { .. } | Error::NotGrpc { .. } | Error::Token(_))) => {
                    self.shared.lock().trouble = Some(error);
                    tokio::time::sleep(backoff.next(Duration::ZERO)).await;
                }
                Err(error) => break error,
            }
        };
        if !matches!(error, Error::Closed) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a device's session has ended; its batches stay on the disk"
            );
        }
        self.shared.ended.send_replace(Some(error));
    }

    /// Opens the stream and sends what is in the queue.
    async fn connection(&self) -> Result<Next, Error> {
        let resume_after = blocking(&self.queue, |queue| Ok(queue.released())).await?;
        let stream = Stream { resume_after, ..self.stream.clone() };
        let sender = Sender::open(self.connection.clone(), self.tokens.clone(), stream).await?;
        {
            let mut state = self.shared.lock();
            (state.present, state.trouble) = (Some(sender.shared.clone()), None);
        }
        let next = self.converse(sender, resume_after).await;
        self.shared.lock().fold();
        next
    }

    async fn converse(&self, sender: Sender, resume_after: u64) -> Result<Next, Error> {
        let durable = sender.last_durable();
        let known = blocking(&self.queue, |queue| Ok(queue.depth().next_sequence - 1)).await?;
        if durable > known {
            return Err(queue::Error::Behind { durable, known }.into());
        }
        self.release(durable).await?;
        let from = durable.max(resume_after);
        let handed = AtomicU64::new(from);
        let mut closing = self.shared.closing.subscribe();
        let next = tokio::select! {
            next = self.pump(&sender, &handed) => next?,
            error = self.settle(&sender, from) => return Err(error),
            _ = closing.wait_for(|closing| *closing) => Next::Close,
        };
        if let Next::Close = next {
            sender.close(LAST_WORD).await?;
            return Ok(next);
        }
        // what was handed over comes to its end before a part of the stream is left out
        tokio::select! {
            flushed = sender.flush() => flushed?,
            error = self.settle(&sender, from) => return Err(error),
        }
        let handed = handed.into_inner();
        self.release(if let Next::TooLarge(sequence) = next { sequence } else { handed }).await?;
        Ok(next)
    }

    /// Hands over what is in the queue, in order.
    async fn pump(&self, sender: &Sender, handed: &AtomicU64) -> Result<Next, Error> {
        let mut newest = self.queue.newest();
        loop {
            let after = handed.load(Ordering::Acquire);
            let batches = blocking(&self.queue, move |queue| queue.read(after)).await?;
            if batches.is_empty() && newest.wait_for(|newest| *newest > after).await.is_err() {
                return Err(Error::Closed);
            }
            for batch in batches {
                if batch.sequence != handed.load(Ordering::Acquire) + 1 {
                    return Ok(Next::Dropped);
                }
                match sender.send_encoded(batch.sequence, batch.bytes, batch.n_readings).await {
                    Ok(()) => handed.store(batch.sequence, Ordering::Release),
                    Err(Error::TooLarge { bytes, limit }) => {
                        self.too_large(batch.sequence, batch.n_readings, bytes, limit);
                        return Ok(Next::TooLarge(batch.sequence));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Takes acknowledgements to the queue; ends with the sender only.
    async fn settle(&self, sender: &Sender, mut through: u64) -> Error {
        loop {
            through = match sender.settled(through).await {
                Ok(through) => through,
                Err(error) => return error,
            };
            if let Err(error) = self.release(through).await {
                return error;
            }
        }
    }

    fn too_large(&self, sequence: u64, n_readings: u32, bytes: usize, limit: usize) {
        let description = format!("{bytes} bytes; the server takes {limit}: send smaller batches");
        let (field, reason) = ("readings".to_owned(), MESSAGE_TOO_LARGE.to_owned());
        let mut state = self.shared.lock();
        *state.progress.refused.entry(reason.clone()).or_default() += u64::from(n_readings);
        keep_unread(&mut state.unread, Refusal { sequence, index: None, field, reason, description });
    }

    async fn release(&self, through: u64) -> Result<(), Error> {
        let acknowledge = move |queue: &Queue| queue.acknowledge(through).map(|()| queue.released());
        let released = blocking(&self.queue, acknowledge).await?;
        self.shared.released.send_if_modified(|known| mem::replace(known, released) != released);
        Ok(())
    }
}
