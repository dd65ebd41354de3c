//! The device side of the wire: how an integrator should send readings.
//!
//! What it promises: a batch handed to [`Sender::send`] is kept until the server has acknowledged it, and is sent again
//! under its own number after every loss of the connection, in order. It leaves memory only when it is durable, was
//! refused, or the sender has ended with an error. A sender ends on statuses that trying again cannot change.
//!
//! One task a stream: it connects, reads and connects again. Batches are encoded once, in the caller's task, and the
//! transport takes them straight from the window, as many to a frame as are waiting.

mod error;
mod link;
pub mod queue;
mod queued;
mod remote;
mod retry;
mod sender;
mod window;
mod wire;
mod writer;

use proto::telemetry::v1::ClockQuality;
use std::sync::Arc;
use tonic::transport::Channel;
use uuid::Uuid;

pub use error::Error;
pub use queue::Queue;
pub use queued::{QueuedSender, Status};
pub use remote::{Remote, Tls};
pub use sender::{OPEN_PATIENCE, Sender};
pub use window::{NOT_NAMED, Progress, Refusal, SAMPLE_REFUSALS_MAX};
pub use writer::Writer;

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

/// A lazily connecting channel with the settings a device should have: a dead connection is noticed within 20 s.
///
/// # Errors
/// [`Error::Address`].
pub fn channel(remote: impl Into<Remote>) -> Result<Channel, Error> {
    remote.into().channel()
}
