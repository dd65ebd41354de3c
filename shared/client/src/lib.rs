//! The device side of the wire: how an integrator should send readings.
//!
//! What it promises: a batch handed to [`Sender::send`] is kept until the server has acknowledged it, and is sent again
//! under its own number after every loss of the connection, in order. It leaves memory only when it is durable, was
//! refused, or the sender has ended with an error. A sender ends on statuses that trying again cannot change.
//!
//! One task a stream: it connects, reads and connects again. Batches are encoded once, in the caller's task, and the
//! transport takes them straight from the window, as many to a frame as are waiting.

mod link;
mod remote;
mod retry;
mod window;
mod wire;
mod writer;

use bytes::Bytes;
use link::Shared;
use proto::telemetry::v1::{ClockQuality, Reading};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;
use uuid::Uuid;

pub use remote::{Remote, Tls};
pub use window::{NOT_NAMED, Progress, Refusal, SAMPLE_REFUSALS_MAX};
pub use writer::Writer;

/// How long [`Sender::open`] tries to reach a server before it gives up.
pub const OPEN_PATIENCE: Duration = Duration::from_secs(30);

/// Any other error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Gives a bearer token; called at each connect, so that it may be a new one each time.
pub type Tokens = Arc<dyn Fn() -> Result<String, BoxError> + Send + Sync>;

/// Who sends, and where it left off.
#[derive(Clone)]
pub struct Stream {
    /// The device; the token's own.
    pub device: Uuid,
    /// This run of sequence numbers.
    pub stream: Uuid,
    /// The last sequence that was acknowledged; 0 at the start.
    pub resume_after: u64,
    /// How far the device's clock can be trusted.
    pub clock: ClockQuality,
}

/// Why sending ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no token to send with.
    #[error("no token for the device")]
    Token(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The server said no, and would say so again.
    #[error("the server refuses: {} ({:?})", .0.message(), .0.code())]
    Refused(#[source] Arc<Status>),
    /// It is not a URI such as `http://127.0.0.1:7300`, or its certificates cannot be used.
    #[error("{uri} cannot be connected to")]
    Address {
        /// As it was given.
        uri: String,
        /// Why not.
        #[source]
        cause: Arc<tonic::transport::Error>,
    },
    /// Nobody is at the address now.
    #[error("no node answers at {uri}")]
    NoAnswer {
        /// Where.
        uri: String,
        /// What the attempt came to.
        #[source]
        cause: Arc<tonic::transport::Error>,
    },
    /// No server answered in time.
    #[error("no server answered within {} s", .waited.as_secs())]
    Unreachable {
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt said.
        #[source]
        last: Option<Arc<Status>>,
    },
    /// Not everything was acknowledged in time.
    #[error("{left} batches are not acknowledged yet (all up to {through} are)")]
    Deadline {
        /// The last acknowledged sequence.
        through: u64,
        /// Batches that wait.
        left: usize,
    },
    /// The batch does not fit into a message; it was not sent.
    #[error("the batch has {bytes} bytes, the server takes {limit}: send smaller batches")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// `Limits.max_message_bytes`.
        limit: usize,
    },
    /// The sender has been closed.
    #[error("the sender is closed")]
    Closed,
}

impl Error {
    /// `ErrorInfo.reason` of the server's answer (UPPER_SNAKE_CASE), if it gave one.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Refused(status) => status.get_details_error_info().map(|info| info.reason),
            _ => None,
        }
    }

    /// The server's status code, if it answered.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            _ => None,
        }
    }
}

/// A lazily connecting channel with the settings a device should have: a dead connection is noticed within 20 s.
///
/// # Errors
/// [`Error::Address`].
pub fn channel(remote: impl Into<Remote>) -> Result<Channel, Error> {
    remote.into().channel()
}

/// An open stream of batches. Dropping it drops what is not acknowledged; [`Sender::close`] does not.
pub struct Sender {
    shared: Arc<Shared>,
    link: JoinHandle<()>,
    last_durable: u64,
}

impl Sender {
    /// Connects and waits for the server's `Opened`.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Refused`], or [`Error::Unreachable`] after [`OPEN_PATIENCE`].
    pub async fn open(channel: Channel, tokens: Tokens, stream: Stream) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(stream.resume_after));
        let link = tokio::spawn(link::run(shared.clone(), channel, tokens, stream));
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
