//! Where readings rest: rows by patient and hour.
//!
//! Two implementations, [`embedded`] (fjall on disk, nothing to install) and [`cql`] (ScyllaDB or Apache
//! Cassandra); one contract suite (`tests/contract.rs`) that both pass. The only crate that knows scylla.
//!
//! What is promised:
//! - [`Append::append`] returns only after every row is durable, and the hour index names the hour.
//! - A row is found by its identity ([`Identities`]) as soon as it can be read.
//! - Written again, a row changes nothing; of two versions the one received later stands, whatever comes last.
//! - Reads take a [`Permit`]: the patient comes from it, never from the caller.
//! - Reads page inside and return all there is: an empty page does not end one.
//! - An hour may be read as one sealed sheet instead of its rows, only when the sheet is proven to hold every row that
//!   [`Append::append`] had returned for when [`Timeline::hours`] was called. Rows stay; a seal is derived from them.
//! - Rollups are recomputed from the rows when these changed, and never counted up: late and repeated rows make them right.
//! - The registry's changes ([`Registry`]) have one order on which all agree: a place in it is given once.
//! - The audit log ([`Audit`]) is only ever added to; what was done to it from outside is found by `model::audit`.

mod audit;
mod auditor;
mod checkpoints;
pub mod cql;
pub mod embedded;
mod histories;
mod known;
pub mod metrics;
mod pages;
mod payload;
mod refusals;
mod sheet;
mod stretches;

pub use auditor::{Auditor, Checkpoints, Sign, Work};
pub use checkpoints::FolderCheckpoints;
pub use histories::{Histories, STEP_BYTES, Thing, ThingKind};
pub use pages::{AuditPlace, audit_page};
pub use refusals::Refusals;

use async_trait::async_trait;
use bytes::Bytes;
use model::{
    ClockQuality, DeviceId, Hour, HourRange, Malformed, MetricId, Nanos, PatientId, Permit, Reach, Rollup, Row, Sheet,
    StreamId, UserId, WriterId, audit::Entry,
};
use std::time::Duration;

/// The way in; belongs to `writer`.
#[async_trait]
pub trait Append: Send + Sync {
    /// Makes rows durable, all or (on error) an unknown part of them: call again with the same rows.
    async fn append(&self, rows: &[Row]) -> Result<(), Error>;

    /// The same, noting with the rows how far a topic was read for them and for all before them: the next offset of some
    /// partitions. A store that lives elsewhere than its log has no use for it.
    async fn append_through(&self, rows: &[Row], topic: &str, read: &[(i32, i64)]) -> Result<(), Error> {
        let _ = (topic, read);
        match rows.is_empty() {
            true => Ok(()),
            false => self.append(rows).await,
        }
    }
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

    /// What there is of each of these hours (entries that [`Self::hours`] gave), in their order.
    ///
    /// An hour without rows gives no rows. [`Error::Corrupt`] when a row or a seal cannot be read.
    async fn read(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourData>, Error>;
}

/// What trends over days to years are drawn from; belongs to `query`.
#[async_trait]
pub trait Rollups: Timeline {
    /// What the rows of each of these hours (entries that [`Timeline::hours`] gave) come to, in their order: as stored
    /// with the hour's seal, where it has one, and else computed from its rows.
    async fn rollups(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourRollups>, Error>;
}

/// What makes old hours cheap to read; belongs to `writer`.
#[async_trait]
pub trait Seal: Send + Sync {
    /// Puts each hour that is over, and did not change for `quiet`, into one sheet and its rollups, recomputed from
    /// its rows.
    ///
    /// May be called by several processes at once, and dropped at any point: nothing is lost, the next call goes on.
    async fn seal(&self, quiet: Duration) -> Result<Sealed, Error>;
}

/// How far each stream had been acknowledged, and when each device was heard; hints that may lag, never run ahead.
#[async_trait]
pub trait Positions: Send + Sync {
    /// A sequence of the stream up to which everything is known to be durable; `None` when nothing is known.
    async fn position(&self, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error>;

    /// Notes how far streams have come; a lower sequence than the one known changes nothing.
    async fn note(&self, streams: &[(DeviceId, StreamId, u64)]) -> Result<(), Error>;

    /// When the last batch of each device was received, in the order asked; `None` when nothing is known.
    async fn last_seen(&self, devices: &[DeviceId]) -> Result<Vec<Option<Nanos>>, Error>;

    /// The stream of the device's last batch, and when that was received; `None` when nothing is known.
    async fn last_stream(&self, device: DeviceId) -> Result<Option<(StreamId, Nanos)>, Error>;

    /// Notes when devices were heard; an earlier time than the one known changes nothing.
    async fn note_seen(&self, sightings: &[Sighting]) -> Result<(), Error>;
}

/// What identities were used for, as the rows' own keys say; belongs to `writer`, which decides by it, and to `ingest`.
#[async_trait]
pub trait Identities: Send + Sync {
    /// The highest sequence that is known to have been used in each of these streams, in the order asked; `None`: none is.
    /// No row that [`Append::append`] had returned for has a higher one.
    async fn highest(&self, streams: &[(DeviceId, StreamId)]) -> Result<Vec<Option<u64>>, Error>;

    /// The digests of the batches that have rows under each of these identities, ascending, in the order asked.
    async fn digests(&self, sought: &[Sought]) -> Result<Vec<Vec<u64>>, Error>;
}

/// Records that could not be stored; belongs to `writer` and to the operator.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Puts a record aside, once: the same place in the log lands on itself.
    async fn put_aside(&self, record: &Quarantined) -> Result<(), Error>;

    /// All records put aside, ascending by topic, partition and offset.
    async fn quarantined(&self) -> Result<Vec<Quarantined>, Error>;

    /// How many of them were not replayed.
    async fn depth(&self) -> Result<u64, Error>;

    /// Marks one as replayed (published again at the time given).
    async fn mark_replayed(&self, position: &LogPosition, at: Nanos) -> Result<(), Error>;
}

/// The audit log: who accessed what; belongs to whoever answers for it.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Makes entries of one writer durable, all or (on error) an unknown number of the first: call again with the same
    /// entries, which land on themselves. Never call it with another entry of the same number.
    async fn append(&self, entries: &[Entry]) -> Result<(), Error>;

    /// A writer's entries from a number on, ascending, at most `limit`, each with the number it is kept under: as they are
    /// stored, readable or not, for `model::audit::Verifier`.
    async fn entries(&self, writer: WriterId, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error>;

    /// Every writer that appended anything (or, on error, tried to), ascending.
    async fn writers(&self) -> Result<Vec<WriterId>, Error>;

    /// Entries of a patient, or of all, in a range of time: newest first, of equal times the larger writer and number.
    ///
    /// Found through an index that is no part of the chains. What it names and the log does not have, or not so, is
    /// counted: one entry that somebody changed must not hide all others.
    async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error>;

    /// Notes up to which entry a writer's chain was signed: a checkpoint that goes missing is then noticed. A store that
    /// several nodes share has no use for it, as each keeps its own checkpoints.
    async fn note_signed(&self, writer: WriterId, sequence: u64) -> Result<(), Error> {
        let _ = (writer, sequence);
        Ok(())
    }

    /// For each writer, the highest number that was noted with [`Audit::note_signed`].
    async fn signed(&self) -> Result<Vec<(WriterId, u64)>, Error> {
        Ok(Vec::new())
    }
}

/// What was changed of people, devices and their relations, in one order; belongs to `registry`, and is followed by all.
///
/// Numbers start at 1. What is known of a person beyond that is kept apart, so that who follows the changes never has it.
#[async_trait]
pub trait Registry: Profiles {
    /// Puts a change at the number after the last one, durably. `false`: another one is there already; read it, and think
    /// again. The same bytes land on themselves.
    async fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error>;

    /// Changes from a number on, ascending up to the first that is missing, at most `limit`.
    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error>;

    /// Keeps what is known of a person, durably. A revision is never used for two things.
    async fn put_profile(&self, user: UserId, revision: Revision, profile: &[u8]) -> Result<(), Error>;
}

/// What is known of people, by person and revision; belongs to who shows it.
#[async_trait]
pub trait Profiles: Send + Sync {
    /// What was kept of a person under a revision.
    async fn profile(&self, user: UserId, revision: Revision) -> Result<Option<Bytes>, Error>;
}

/// A device was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The device that sent the batch.
    pub device: DeviceId,
    /// When its batch was received.
    pub at: Nanos,
    /// The batch's stream.
    pub stream: StreamId,
}

/// A batch to be found by device, stream and sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The device that sent the batch.
    pub device: DeviceId,
    /// The run of sequence numbers.
    pub stream: StreamId,
    /// The sequence number sought in that run.
    pub sequence: u64,
    /// Hours of patients to search in any case: rows from before sequences were indexed are found only there.
    pub near: Vec<(PatientId, Hour)>,
}

/// Names one version of what is known of a person: a UUID's bytes.
pub type Revision = [u8; 16];

/// Which entries of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditQuery {
    /// About whom; `None`: all entries, those about nobody too.
    pub patient: Option<PatientId>,
    /// Start of the range of time, inclusive.
    pub from: Nanos,
    /// The first instant after the last.
    pub to: Nanos,
    /// The most entries to return.
    pub limit: usize,
}

/// What a search of the audit log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundEntries {
    /// Those that can be read, and are what the index says.
    pub entries: Vec<Entry>,
    /// How many others the index names, within the limit.
    pub unreadable: usize,
}

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// From the oldest hour to the newest.
    Ascending,
    /// From the newest hour to the oldest.
    Descending,
}

/// An hour in which a patient has rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourEntry {
    /// The hour (UTC) of the patient.
    pub hour: Hour,
    /// Metrics with readings in the hour, ascending by number.
    pub metrics: Vec<MetricId>,
    /// How far its readings reach beyond its end.
    pub reach: Reach,
    /// Which late changes the entry has seen; a seal of another version is not used.
    pub version: u64,
}

impl HourEntry {
    /// Of an hour's metrics as they are stored, ascending, before any late change.
    fn stored(hour: Hour, mut metrics: Vec<MetricId>) -> Self {
        let reach = Reach::take(&mut metrics);
        Self { hour, metrics, reach, version: 0 }
    }
}

/// What there is of an hour.
#[derive(Debug, Clone, PartialEq)]
pub struct HourData {
    /// The hour (UTC) that the data is of.
    pub hour: Hour,
    /// The readings of the hour, as rows or as a seal.
    pub data: Data,
}

/// The readings of an hour, in the form in which they are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Its rows, ascending by identity.
    Rows(Vec<StoredRow>),
    /// An encoded `model::Sheet` of all its rows.
    Sealed(Bytes),
}

impl HourData {
    /// The hour's readings, put together or as they were sealed; of metrics only those `wanted` (ascending; empty: all).
    pub fn sheet(&self, wanted: &[MetricId]) -> Result<Sheet, Malformed> {
        match &self.data {
            Data::Rows(rows) => sheet::collect(self.hour, rows, wanted),
            Data::Sealed(bytes) => Sheet::decode(self.hour, bytes, wanted),
        }
    }
}

/// What the rows of an hour come to.
#[derive(Debug, Clone, PartialEq)]
pub struct HourRollups {
    /// The hour (UTC) that the rollups are of.
    pub hour: Hour,
    /// Ascending by metric; of metrics that have numbers.
    pub rollups: Vec<Rollup>,
}

/// What a call of [`Seal::seal`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Hours sealed by this call.
    pub hours: u64,
    /// Hours that are over and still unsealed, because they changed a short while ago.
    pub waiting: u64,
}

/// A row read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The hour (UTC) that the readings were measured in.
    pub hour: Hour,
    /// Identity of the batch: device, stream, sequence and digest.
    pub identity: model::BatchId,
    /// When the batch was accepted.
    pub received_at: Nanos,
    /// What the device says of its clock.
    pub clock: ClockQuality,
    /// A `model::Block` of the hour.
    pub block: Bytes,
}

/// Where a record stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition, from 0.
    pub partition: i32,
    /// Offset of the record in its partition, from 0.
    pub offset: i64,
}

/// A record put aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Where it was read.
    pub position: LogPosition,
    /// When it was put aside.
    pub at: Nanos,
    /// Why, in one line without patient data.
    pub reason: String,
    /// The record's bytes, as they were read from the log.
    pub payload: Bytes,
    /// When it was published again, if so.
    pub replayed_at: Option<Nanos>,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer; the same call may work later.
    #[error("the store did not answer in time or is not reachable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is in the store cannot be read.
    #[error("the store holds bytes that it should not: {0}")]
    Corrupt(String),
    /// The disk is full; nothing was written, and reading goes on.
    #[error("the store takes nothing: {0}")]
    NoSpace(String),
    /// The settings or the schema are wrong.
    #[error("store settings: {0}")]
    Config(String),
}
