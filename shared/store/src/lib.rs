//! Where readings rest: rows by patient and hour.
//!
//! Two implementations, [`embedded`] (fjall on disk, nothing to install) and [`cql`] (ScyllaDB or Apache
//! Cassandra); one contract suite (`tests/contract.rs`) that both pass. The only crate that knows scylla.
//!
//! What is promised:
//! - [`Append::append`] returns only after every row is durable, and the hour index names the hour.
//! - Written again, a row changes nothing; of two versions the one received later stands, whatever comes last.
//! - Reads take a [`Permit`]: the patient comes from it, never from the caller.
//! - Reads page inside and return all there is: an empty page does not end one.

pub mod cql;
pub mod embedded;
mod known;
mod measure;
mod payload;

use async_trait::async_trait;
use bytes::Bytes;
use model::{ClockQuality, DeviceId, Hour, HourRange, MetricId, Nanos, Permit, Row, StreamId};

/// The way in; belongs to `writer`.
#[async_trait]
pub trait Append: Send + Sync {
    /// Makes rows durable, all or (on error) an unknown part of them: call again with the same rows.
    async fn append(&self, rows: &[Row]) -> Result<(), Error>;
}

/// The way out; belongs to `query`.
#[async_trait]
pub trait Timeline: Send + Sync {
    /// Hours in which the patient has rows, ascending (or descending), at most `limit`, and their metrics.
    async fn hours(
        &self,
        permit: &Permit,
        hours: HourRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<HourEntry>, Error>;

    /// All rows of the hours, ascending by hour, device, stream, sequence and digest.
    async fn rows(&self, permit: &Permit, hours: HourRange) -> Result<Vec<StoredRow>, Error>;
}

/// How far each stream had been acknowledged; a hint that may lag, never one that runs ahead.
#[async_trait]
pub trait Positions: Send + Sync {
    /// A sequence of the stream up to which everything is known to be durable; `None` when nothing is known.
    async fn position(&self, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error>;

    /// Notes how far streams have come; a lower sequence than the one known changes nothing.
    async fn note(&self, streams: &[(DeviceId, StreamId, u64)]) -> Result<(), Error>;
}

/// Records that could not be stored; belongs to `writer` and to the operator.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Puts a record aside, once: the same place in the log lands on itself.
    async fn put_aside(&self, record: &Quarantined) -> Result<(), Error>;

    /// All records put aside, ascending by topic, partition and offset.
    async fn quarantined(&self) -> Result<Vec<Quarantined>, Error>;

    /// Marks one as replayed (published again at the time given).
    async fn mark_replayed(&self, place: &Place, at: Nanos) -> Result<(), Error>;
}

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// An hour in which a patient has rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourEntry {
    /// Which hour.
    pub hour: Hour,
    /// Which metrics, ascending.
    pub metrics: Vec<MetricId>,
}

/// A row read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The hour.
    pub hour: Hour,
    /// Which batch.
    pub identity: model::Identity,
    /// When the batch was accepted.
    pub received_at: Nanos,
    /// What the device says of its clock.
    pub clock: ClockQuality,
    /// A `model::Block` of the hour.
    pub block: Bytes,
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A record put aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Where it was read.
    pub place: Place,
    /// When it was put aside.
    pub at: Nanos,
    /// Why, in one line without patient data.
    pub reason: String,
    /// The original bytes.
    pub payload: Bytes,
    /// When it was published again, if so.
    pub replayed_at: Option<Nanos>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may work later.
    #[error("the store did not answer in time or is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is in the store cannot be read.
    #[error("the store holds bytes that it should not: {0}")]
    Corrupt(String),
    /// The settings or the schema are wrong.
    #[error("store settings: {0}")]
    Config(String),
}
