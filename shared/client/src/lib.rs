//! Sends readings to Wardline, and reads them.
//!
//! | To | use |
//! |---|---|
//! | send from a device that keeps what is not acknowledged on its own disk | [`QueuedSender`] over a [`Queue`] |
//! | send from memory, with sequences of one's own | [`Sender`] |
//! | send single batches: small devices, backfill | [`Writer`] |
//! | read patients, timelines, trends and newest values | [`Reader`] |
//! | call any other rpc | a generated client of [`proto`] over a [`Connection`], repeated by [`call()`] |
//!
//! All of them take a [`Connection`]: one or several endpoints, in the clear or over TLS, with a token for each call. What is
//! tried again, and when, is the server's contract: `UNAVAILABLE`, `ABORTED`, `DEADLINE_EXCEEDED`, `CANCELLED`, a lost connection,
//! and `RESOURCE_EXHAUSTED` where the answer says when to come back; with growing waits, jitter and a bound.
//!
//! The crate's folder `examples` has a device and a reader in full.

mod connection;
mod error;
mod link;
pub mod queue;
mod queued;
mod reader;
mod remote;
mod retry;
mod sender;
mod state;
mod window;
mod wire;
mod writer;

use proto::telemetry::v1::ClockQuality;
use std::{fs, path::PathBuf, sync::Arc};
use tonic::transport::Channel;
use uuid::Uuid;

pub use connection::Connection;
pub use error::Error;
/// The messages and generated clients of all services.
pub use proto;
pub use queue::Queue;
pub use queued::{MESSAGE_TOO_LARGE, QueuedSender, SessionStatus};
pub use reader::{Query, Reader};
pub use remote::{Remote, Tls};
pub use retry::{Repeat, call};
pub use sender::{OPEN_PATIENCE, Sender};
pub use window::{NOT_NAMED, Progress, Refusal, SAMPLE_REFUSALS_MAX};
pub use writer::Writer;

/// Any other error, as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Gives a bearer token. It is called for each call and at each connect, so that it may be a new one each time, and must not
/// block for long.
pub type Tokens = Arc<dyn Fn() -> Result<String, BoxError> + Send + Sync>;

/// Always the same token.
pub fn token(token: impl Into<String>) -> Tokens {
    let token = token.into();
    Arc::new(move || Ok(token.clone()))
}

/// The token that a file holds, read at each use: whoever renews it replaces the file.
pub fn token_file(path: impl Into<PathBuf>) -> Tokens {
    let path = path.into();
    Arc::new(move || {
        let text = fs::read_to_string(&path).map_err(|cause| format!("{}: {cause}", path.display()))?;
        Ok(text.trim().to_owned())
    })
}

/// Who sends, and where it left off.
#[derive(Clone)]
pub struct Stream {
    /// UUID of the device; must be the one that its token names.
    pub device: Uuid,
    /// UUID of the stream: a run of sequence numbers from 1. A device that lost its state takes a new one.
    pub stream: Uuid,
    /// The last sequence that was acknowledged; 0 at the start.
    pub resume_after: u64,
    /// How far the device's clock can be trusted.
    pub clock: ClockQuality,
}

/// A lazily connecting channel with the settings a client should have: a dead connection is noticed within 20 s.
///
/// # Errors
/// [`Error::Address`].
pub fn channel(remote: impl Into<Remote>) -> Result<Channel, Error> {
    remote.into().channel()
}
