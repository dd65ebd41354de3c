//! A device's stream: batches go out in order, and again after each loss of the connection.

use crate::{
    Connection, Error, Progress, Refusal, Stream, Tokens, link,
    state::{SessionState, State},
    wire,
};
use bytes::Bytes;
use proto::telemetry::v1::Reading;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// How long [`Sender::open`] tries to reach a server before it gives up.
pub const OPEN_PATIENCE: Duration = Duration::from_secs(30);

/// An open stream of batches. Dropping it drops what is not acknowledged; [`Sender::close`] does not.
pub struct Sender {
    pub(crate) shared: Arc<SessionState>,
    link: JoinHandle<()>,
    last_durable: u64,
}

impl Sender {
    /// Connects and waits for the server's `Opened`.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Refused`], [`Error::NotGrpc`], or [`Error::Unreachable`] after [`OPEN_PATIENCE`].
    pub async fn open(connection: impl Into<Connection>, tokens: Tokens, stream: Stream) -> Result<Self, Error> {
        let shared = Arc::new(SessionState::new(stream.resume_after));
        let link = tokio::spawn(link::run(shared.clone(), connection.into(), tokens, stream));
        // from here on dropping it ends the task
        let mut sender = Self { shared, link, last_durable: 0 };
        let opened = sender.shared.wait(|state| state.ended().or(state.first_durable.map(Ok)));
        sender.last_durable = match tokio::time::timeout(OPEN_PATIENCE, opened).await {
            Ok(last_durable) => last_durable?,
            Err(_) => {
                let last = sender.shared.lock().trouble.clone();
                return Err(Error::Unreachable { waited: OPEN_PATIENCE, last });
            }
        };
        Ok(sender)
    }

    /// Ends with [`Error::Unreachable`] when the server is gone for so long; without this it is tried for ever, as a device should.
    /// Once the sender has ended, `send`, `flush` and `close` say so.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        self.shared.lock().patience = Some(patience);
        self
    }

    /// What the server had of this stream when it was opened: a device that lost its place goes on after it.
    pub fn last_durable(&self) -> u64 {
        self.last_durable
    }

    /// Hands over one batch; returns as soon as there is a credit for it, which is before it is durable.
    ///
    /// Sequences ascend by one. One that was handed over before is sent again on purpose: the server must find it to be
    /// a duplicate, and it is not counted as accepted a second time.
    ///
    /// # Errors
    /// The sender has ended, or the batch does not fit into a message.
    pub async fn send(&self, sequence: u64, readings: Vec<Reading>) -> Result<(), Error> {
        // a batch of more is more than a message holds
        let n_readings = u32::try_from(readings.len()).unwrap_or(u32::MAX);
        let bytes = wire::batch(sequence, readings);
        self.shared.push(sequence, bytes, n_readings).await
    }

    /// As [`Sender::send`], with the message encoded already: a load generator must not cost what it measures.
    pub async fn send_encoded(&self, sequence: u64, message: Bytes, n_readings: u32) -> Result<(), Error> {
        self.shared.push(sequence, message, n_readings).await
    }

    /// Waits until all that was handed over is acknowledged or refused.
    ///
    /// # Errors
    /// The sender has ended before.
    pub async fn flush(&self) -> Result<(), Error> {
        // an empty window counts even when the stream has ended since
        self.shared.wait(|state| if state.window.is_empty() { Some(Ok(())) } else { state.ended() }).await
    }

    /// What became of the batches so far.
    pub fn progress(&self) -> Progress {
        self.shared.lock().window.progress().clone()
    }

    /// The readings and batches that were refused since the last call, so that each can be handled: of those that nobody
    /// fetches the last 1,000 are kept. [`Progress::refused`] counts all.
    pub fn take_refusals(&self) -> Vec<Refusal> {
        self.shared.lock().window.take_refusals()
    }

    /// Waits until batches after `through` are settled: durable or refused, with all before them. Answers how far.
    ///
    /// # Errors
    /// The sender has ended before.
    pub(crate) async fn settled(&self, through: u64) -> Result<u64, Error> {
        let settled = |state: &State| Some(state.window.settled_through()).filter(|settled| *settled > through);
        self.shared.wait(|state| settled(state).map(Ok).or_else(|| state.ended())).await
    }

    /// Batches handed over and not yet acknowledged.
    pub fn pending(&self) -> usize {
        self.shared.lock().window.len()
    }

    /// How often the stream was opened; 1 while the first connection lasts.
    pub fn connections(&self) -> u64 {
        self.shared.lock().n_opened
    }

    /// The last sequence up to which everything is durable, as soon as the server says so.
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.shared.acknowledged.subscribe()
    }

    /// Waits until all is acknowledged, then ends the stream and reads the server's last word.
    ///
    /// # Errors
    /// The sender has ended with batches unacknowledged, or `deadline` passed.
    pub async fn close(self, deadline: Duration) -> Result<Progress, Error> {
        let deadline = Instant::now() + deadline;
        if let Ok(flushed) = tokio::time::timeout_at(deadline, self.flush()).await {
            flushed?;
            self.shared.half_close();
            // all is safe: what the server still has to say can only be about repetitions
            let _ =
                tokio::time::timeout_at(deadline, self.shared.wait(|state| state.is_over().then_some(Ok(())))).await;
            return Ok(self.progress());
        }
        Err(Error::Deadline { through: self.progress().through, left: self.pending() })
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.link.abort();
    }
}
