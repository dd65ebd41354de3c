//! Where readings wait: a durable, partitioned log.
//!
//! Two implementations, [`embedded`] (fjall on disk, nothing to install) and [`kafka`]; one contract suite
//! (`tests/contract.rs`) that both pass. The only crate that knows rdkafka.
//!
//! What is promised:
//! - [`Publish::publish`] resolves to `Ok` only after the record is durable (fsync, or Kafka's `acks=all`).
//! - Records with one key are in one partition, in the order in which they were published.
//! - A subscriber sees each durable record at least once; what it commits it does not see again, what it
//!   does not commit it sees again after a restart.
//! - Memory is bounded: publishing waits for room (bytes in flight), subscribing reads no further than its limit.

mod consume;
pub mod embedded;
pub mod kafka;
pub mod metrics;
mod position;
mod progress;

pub use consume::{Backoff, Handle, Pace, consume, until_done};
pub use position::{Commits, NextOffset, Partition};
pub use progress::{Progress, catches_up};

use async_trait::async_trait;
use bytes::Bytes;
use model::PatientId;
use std::time::Duration;

/// The topic of accepted batches: key = patient, value = a `model::Record`.
pub const READINGS: &str = "readings.v1";

/// The topic of what those who treat a patient should know: key = patient, value = a `wardline.registry.v1.Notice`.
pub const NOTICES: &str = "notices.v1";

/// A record on its way in.
#[derive(Clone)]
pub struct Outgoing {
    /// Chooses the partition: `murmur2(16 bytes) & 0x7fffffff % partitions`, as Kafka's own clients do.
    pub key: PatientId,
    /// The bytes: on [`READINGS`] a `model::Record`.
    pub payload: Bytes,
}

/// A record on its way out.
#[derive(Clone)]
pub struct Delivery {
    /// The partition that it was read from.
    pub partition: Partition,
    /// Offset of the record in its partition, from 0.
    pub offset: i64,
    /// The record's bytes, as published. May share memory with its neighbours: copy what is kept for long.
    pub payload: Bytes,
}

/// What comes of publishing: resolves when the record's fate is known. Dropping it does not unpublish.
pub type Receipt = futures::future::BoxFuture<'static, Result<(), Error>>;

/// The way in; belongs to `ingest`, and to `registry` for notices.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Queues one record, waiting for room when too many bytes are in flight. Records of one caller with one key
    /// keep their order. The receipt resolves once the record is durable.
    async fn publish(&self, record: Outgoing) -> Result<Receipt, Error>;

    /// Whether there is room for more at once; `false` means that `publish` would wait.
    fn has_room(&self) -> bool;

    /// Waits until everything published is durable or failed, at most for `limit`.
    async fn flush(&self, limit: Duration) -> Result<(), Error>;

    /// The reason why nothing can be published any more, if so: the process should end.
    fn fatal(&self) -> Option<String>;

    /// Whether somebody is there to take records, asked within `limit`; cheap enough to be asked all the time. Who is asked
    /// so and does not answer twice in a row refuses what is published, and what waits, until there is an answer again: what
    /// had been sent may still arrive.
    async fn probe(&self, _limit: Duration) -> Result<(), Error> {
        self.fatal().map_or(Ok(()), |reason| Err(Error::Fatal(reason)))
    }
}

/// The way out; belongs to `writer`. One instance per consumer; instances of one group share the partitions.
#[async_trait]
pub trait Subscribe: Send {
    /// Up to `max_records` and about `max_bytes`, waiting at most `max_wait` for the first. Empty when nothing came.
    async fn poll(&mut self, max_records: usize, max_bytes: usize, max_wait: Duration) -> Result<Vec<Delivery>, Error>;

    /// Makes positions durable: a restart goes on from there. Partitions that are no longer assigned are left
    /// alone (their new owner reads the records again, which is harmless: rows are idempotent).
    async fn commit(&mut self, commits: &Commits) -> Result<(), Error>;

    /// Records between the committed position and the end of the assigned partitions.
    async fn lag(&mut self) -> Result<u64, Error>;
}

/// Why the log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may work later; whether the record is in the log is unknown. Send it again.
    #[error("the log did not answer in time or is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The record can never be published.
    #[error("the record of {bytes} bytes is larger than the log takes{}", known(*.limit))]
    TooLarge {
        /// Bytes of the record's payload.
        bytes: usize,
        /// The largest size, in bytes; `None`: it is the log's own setting, and not known here.
        limit: Option<usize>,
    },
    /// The client can never publish or read again: end the process.
    #[error("the log's client failed for good: {0}")]
    Fatal(String),
    /// The disk is full; nothing was written. Send it again when there is room.
    #[error("the log takes nothing: {0}")]
    NoSpace(String),
    /// The settings are wrong.
    #[error("log settings: {0}")]
    Config(String),
}

fn known(limit: Option<usize>) -> String {
    limit.map_or_else(String::new, |bytes| format!(" ({bytes} bytes)"))
}
