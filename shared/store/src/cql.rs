//! The CQL store: ScyllaDB or Apache Cassandra.
//!
//! Guarantee: `Append::append` returns `Ok` after the cluster acknowledged every row and every hour index entry at
//! the consistency of the [`Settings`]; how durable an acknowledged write is, is the cluster's setting (commit log
//! synced per batch, replicas). Of two versions of a row the one received later stands: the write timestamp is when
//! the batch was received, in microseconds, and the one payload column starts with that time in nanoseconds.
//!
//! Every statement is idempotent, prepared once at [`Store::connect`], and tried a few times with growing waits; then
//! it is [`Error::Unavailable`]. No reading is ever deleted, there are no counters; lightweight transactions are for changes of
//! the registry, steps of histories and [`migrate`] alone.
//! Old hours are read from seals; the module `seal` says why these never lack a row.
//!
//! # Why a partition is a bucket of patients for a day
//!
//! Measured with `examples/measure.rs` (rows of 200 B, 1,000 patients in turn) against one Cassandra 5.0.9 with a
//! 512 MB heap and `commitlog_sync: batch`, client and server on the same two cores, which other work kept busy
//! (load 4 to 10): the ratios count, not the figures.
//!
//! | partition | rows a call | rows a batch | rows/s | a day of 8,640 rows, p50 |
//! |---|---|---|---|---|
//! | (bucket, day), 64 buckets | 2,000 | 31 | 22,000 to 38,000 | 58 to 61 ms |
//! | (bucket, day), 64 buckets | 8,000 | 50 (the bound) | 41,000 | 73 ms, partitions four times as full |
//! | (patient, day) | 2,000 | 2 | 8,000 | 43 to 48 ms |
//!
//! Three to four times the rows for a third more time to read a day. The rows a batch holds decide, so a number of
//! buckets that is a multiple of the log's partitions (a writer's poll then has few buckets) is worth most. The price
//! is the size of a partition: patients / buckets * rows a day * (70 B + block); raise `buckets` before it passes
//! 100 MB.
//!
//! # What sealing and late changes cost
//!
//! The same machine and server, rows of 118 B (30 readings): a day of 8,640 rows to sheets took 48 ms (p50) as rows, and
//! 6 ms as 24 sealed hours; 355 hours a second were sealed. Rows as they come are written as before; late rows
//! cost more, the more hours they are spread over: 9,300 rows/s at two rows of each hour in a call, the worst there is
//! (46,000 in the same run as they come), because the late changes of a patient are a partition.

mod append;
mod audit;
mod connect;
mod histories;
mod identities;
mod migrations;
mod read;
mod registry;
mod rest;
mod seal;
mod settings;
mod statements;

pub use migrations::{Applied, migrate};
pub use settings::{Consistency, Credentials, Settings, Tls, TlsIdentity};

use crate::{Error, known::Known, stretches::Written};
use model::{ClockTolerance, PatientId, spread};
use scylla::{
    client::session::Session,
    response::query_result::QueryResult,
    value::{CqlValue, Row},
};
use statements::Statements;
use std::sync::{Arc, atomic::AtomicI64};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// A store in a cluster. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    statements: Statements,
    buckets: i16,
    tolerance: ClockTolerance,
    known: Known,
    indexed: Written,
    /// Partitions of the audit log that are known to be named.
    audit_named: audit::Named,
    /// This run of this process.
    writer: Uuid,
    /// The number of the last late change.
    changes: AtomicI64,
    /// When an hour was last touched, in microseconds.
    touched: AtomicI64,
    /// One permit for each batch under way.
    writes: Semaphore,
    write_concurrency: usize,
    read_concurrency: usize,
}

/// The bucket of a patient among `buckets`, which the settings keep at 1 or above.
fn bucket(patient: PatientId, buckets: i16) -> i16 {
    // below `buckets`
    spread(patient.as_bytes(), buckets.unsigned_abs()) as i16
}

impl Store {
    /// Connects; refuses a schema that is missing or older than this version's ([`migrate`] helps).
    pub async fn connect(settings: &Settings) -> Result<Self, Error> {
        let session = connect::session(settings).await?;
        migrations::check(&session, settings).await?;
        let statements = Statements::prepare(&session, settings).await?;
        let inner = Inner {
            session,
            statements,
            buckets: settings.buckets,
            tolerance: settings.tolerance,
            known: Known::new(),
            indexed: Written::new(),
            audit_named: audit::Named::new(),
            writer: Uuid::new_v4(),
            changes: AtomicI64::new(0),
            touched: AtomicI64::new(0),
            writes: Semaphore::new(settings.write_concurrency),
            write_concurrency: settings.write_concurrency,
            read_concurrency: settings.read_concurrency,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Whether a statement with an `IF` was applied.
fn took_effect(answer: QueryResult) -> Result<bool, Error> {
    let rows = answer.into_rows_result().map_err(unreadable)?;
    let row = rows.first_row::<Row>().map_err(unreadable)?;
    Ok(matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true)))))
}

/// An answer whose columns are not those of the statement.
fn unreadable(cause: impl std::error::Error) -> Error {
    Error::Corrupt(format!("an answer of another shape: {cause}"))
}
