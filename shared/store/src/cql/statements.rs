//! Every statement, prepared once.

use super::{Settings, connect::prepare_failed, histories::StepStatements};
use crate::Error;
use scylla::{
    client::session::Session,
    statement::{
        Consistency,
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use std::time::Duration;

/// Most rows in one batch: more do not make it faster (see [`super`]), and a batch is retried as a whole.
pub(super) const MAX_BATCH_ROWS: usize = 50;

// `KS` stands for the keyspace: the driver finds a statement's replicas by it.
const INSERT_BLOCK: &str = "INSERT INTO KS.blocks \
                            (bucket, day, patient, hour, device, stream, sequence, digest, payload) \
                            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_BLOCKS: &str = "SELECT hour, device, stream, sequence, digest, payload FROM KS.blocks \
                             WHERE bucket = ? AND day = ? AND patient = ? AND hour >= ? AND hour < ?";
const INSERT_HOUR: &str = "INSERT INTO KS.hours (patient, hour) VALUES (?, ?)";
const ADD_METRICS: &str = "UPDATE KS.hours SET metrics = metrics + ? WHERE patient = ? AND hour = ?";
const SELECT_HOURS: &str = "SELECT hour, metrics FROM KS.hours WHERE patient = ? AND hour >= ? AND hour < ?";
const INSERT_LATE: &str = "INSERT INTO KS.late (patient, hour, writer, change) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_LATE: &str = "SELECT hour, writer, change FROM KS.late WHERE patient = ? AND hour >= ? AND hour < ?";
const INSERT_UNSEALED: &str =
    "INSERT INTO KS.unsealed (bucket, hour, patient, writer, touched) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_UNSEALED: &str = "SELECT hour, patient, writer, touched FROM KS.unsealed WHERE bucket = ? AND hour < ?";
const DELETE_UNSEALED: &str =
    "DELETE FROM KS.unsealed USING TIMESTAMP ? WHERE bucket = ? AND hour = ? AND patient = ? AND writer = ?";
const INSERT_SEAL: &str = "INSERT INTO KS.seals (patient, day, hour, seal) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_SEALS: &str = "SELECT hour, seal FROM KS.seals WHERE patient = ? AND day = ? AND hour >= ? AND hour < ?";
const INSERT_ROLLUPS: &str =
    "INSERT INTO KS.rollups (patient, span, hour, rollups) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_ROLLUPS: &str =
    "SELECT hour, rollups FROM KS.rollups WHERE patient = ? AND span = ? AND hour >= ? AND hour < ?";
const INSERT_POSITION: &str = "INSERT INTO KS.positions (device, stream, sequence) VALUES (?, ?, ?) USING TIMESTAMP ?";
const SELECT_POSITION: &str = "SELECT sequence FROM KS.positions WHERE device = ? AND stream = ?";
const INSERT_SIGHTING: &str = "INSERT INTO KS.sightings (device, seen_at) VALUES (?, ?) USING TIMESTAMP ?";
const INSERT_LAST_STREAM: &str =
    "INSERT INTO KS.last_streams (device, stream, seen_at) VALUES (?, ?, ?) USING TIMESTAMP ?";
const SELECT_LAST_STREAM: &str = "SELECT stream, seen_at FROM KS.last_streams WHERE device = ?";
const SELECT_SIGHTING: &str = "SELECT seen_at FROM KS.sightings WHERE device = ?";
const INSERT_SEQUENCES: &str =
    "INSERT INTO KS.sequences (device, stream, stretch, patient, hour) VALUES (?, ?, ?, ?, ?)";
const SELECT_SEQUENCES: &str = "SELECT patient, hour FROM KS.sequences WHERE device = ? AND stream = ? AND stretch = ?";
const SELECT_LAST_STRETCH: &str =
    "SELECT stretch FROM KS.sequences WHERE device = ? AND stream = ? AND stretch < ? LIMIT 1";
const SELECT_IDENTITIES: &str = "SELECT sequence, digest FROM KS.blocks \
                                 WHERE bucket = ? AND day = ? AND patient = ? AND hour = ? \
                                 AND device = ? AND stream = ? AND sequence >= ? AND sequence <= ?";
const PLACE: &str = "topic = ? AND log_partition = ? AND log_offset = ?";
const INSERT_QUARANTINED: &str = "INSERT INTO KS.quarantine \
                                  (topic, log_partition, log_offset, put_at, reason, payload) \
                                  VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_QUARANTINE: &str =
    "SELECT topic, log_partition, log_offset, put_at, reason, payload, replayed_at FROM KS.quarantine";
const SELECT_QUARANTINE_TIMES: &str = "SELECT put_at, replayed_at FROM KS.quarantine";
const INSERT_CHANGE: &str = "INSERT INTO KS.registry_changes (chunk, sequence, change) VALUES (?, ?, ?) IF NOT EXISTS";
const SELECT_CHANGE: &str = "SELECT change FROM KS.registry_changes WHERE chunk = ? AND sequence = ?";
const SELECT_CHANGES: &str =
    "SELECT sequence, change FROM KS.registry_changes WHERE chunk = ? AND sequence >= ? LIMIT ?";
const INSERT_PROFILE: &str = "INSERT INTO KS.profiles (user, revision, profile) VALUES (?, ?, ?)";
const SELECT_PROFILE: &str = "SELECT profile FROM KS.profiles WHERE user = ? AND revision = ?";
const INSERT_AUDIT: &str = "INSERT INTO KS.audit (writer, chunk, sequence, entry) VALUES (?, ?, ?, ?)";
const SELECT_AUDIT: &str =
    "SELECT sequence, entry FROM KS.audit WHERE writer = ? AND chunk = ? AND sequence >= ? LIMIT ?";
const SELECT_AUDIT_ENTRY: &str = "SELECT entry FROM KS.audit WHERE writer = ? AND chunk = ? AND sequence = ?";
const INSERT_AUDIT_CHUNK: &str = "INSERT INTO KS.audit_chunks (part, writer, chunk) VALUES (?, ?, ?)";
const SELECT_AUDIT_CHUNKS: &str = "SELECT chunk FROM KS.audit_chunks WHERE part = ? AND writer = ? AND chunk >= ?";
const SELECT_AUDIT_WRITERS: &str = "SELECT writer FROM KS.audit_chunks WHERE part = ?";
const INSERT_AUDIT_BY_PATIENT: &str =
    "INSERT INTO KS.audit_by_patient (patient, span, at, writer, sequence) VALUES (?, ?, ?, ?, ?)";
const SELECT_AUDIT_BY_PATIENT: &str = "SELECT at, writer, sequence FROM KS.audit_by_patient \
                                       WHERE patient = ? AND span = ? AND at >= ? AND at < ? LIMIT ?";
const INSERT_AUDIT_SPAN: &str = "INSERT INTO KS.audit_spans (patient, span) VALUES (?, ?)";
const SELECT_AUDIT_SPANS: &str = "SELECT span FROM KS.audit_spans WHERE patient = ? AND span >= ? AND span <= ?";
const INSERT_AUDIT_BY_HOUR: &str = "INSERT INTO KS.audit_by_hour (hour, at, writer, sequence) VALUES (?, ?, ?, ?)";
const SELECT_AUDIT_BY_HOUR: &str =
    "SELECT at, writer, sequence FROM KS.audit_by_hour WHERE hour = ? AND at >= ? AND at < ? LIMIT ?";
const INSERT_AUDIT_HOUR: &str = "INSERT INTO KS.audit_hours (part, hour) VALUES (?, ?)";
const SELECT_AUDIT_HOURS: &str = "SELECT hour FROM KS.audit_hours WHERE part = ? AND hour >= ? AND hour <= ?";

/// Every statement, prepared once.
pub(super) struct Statements {
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] rows.
    pub(super) insert_blocks: Vec<Batch>,
    pub(super) select_blocks: PreparedStatement,
    pub(super) insert_hour: PreparedStatement,
    pub(super) add_metrics: PreparedStatement,
    pub(super) hours_ascending: PreparedStatement,
    pub(super) hours_descending: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] late changes.
    pub(super) insert_late: Vec<Batch>,
    pub(super) select_late: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] unsealed hours.
    pub(super) insert_unsealed: Vec<Batch>,
    pub(super) select_unsealed: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] unsealed hours.
    pub(super) delete_unsealed: Vec<Batch>,
    pub(super) insert_seal: PreparedStatement,
    pub(super) select_seals: PreparedStatement,
    pub(super) insert_rollups: PreparedStatement,
    pub(super) select_rollups: PreparedStatement,
    pub(super) insert_position: PreparedStatement,
    pub(super) select_position: PreparedStatement,
    pub(super) insert_sighting: PreparedStatement,
    pub(super) select_sighting: PreparedStatement,
    pub(super) insert_last_stream: PreparedStatement,
    pub(super) select_last_stream: PreparedStatement,
    pub(super) insert_sequences: PreparedStatement,
    pub(super) select_sequences: PreparedStatement,
    pub(super) select_last_stretch: PreparedStatement,
    pub(super) select_identities: PreparedStatement,
    pub(super) insert_quarantined: PreparedStatement,
    pub(super) select_quarantine: PreparedStatement,
    pub(super) select_quarantine_times: PreparedStatement,
    pub(super) select_put_at: PreparedStatement,
    pub(super) mark_replayed: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] entries of the audit log.
    pub(super) insert_audit: Vec<Batch>,
    pub(super) select_audit: PreparedStatement,
    pub(super) select_audit_entry: PreparedStatement,
    pub(super) insert_audit_chunk: PreparedStatement,
    pub(super) select_audit_chunks: PreparedStatement,
    pub(super) select_audit_writers: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] entries of a patient's index.
    pub(super) insert_audit_by_patient: Vec<Batch>,
    pub(super) select_audit_by_patient: PreparedStatement,
    pub(super) insert_audit_span: PreparedStatement,
    pub(super) select_audit_spans: PreparedStatement,
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] entries of an hour's index.
    pub(super) insert_audit_by_hour: Vec<Batch>,
    pub(super) select_audit_by_hour: PreparedStatement,
    pub(super) insert_audit_hour: PreparedStatement,
    pub(super) select_audit_hours: PreparedStatement,
    pub(super) insert_change: PreparedStatement,
    pub(super) select_change: PreparedStatement,
    pub(super) select_changes: PreparedStatement,
    pub(super) insert_profile: PreparedStatement,
    pub(super) select_profile: PreparedStatement,
    pub(super) steps: StepStatements,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, settings: &Settings) -> Result<Self, Error> {
        let prepare = async |text: &str, timeout: Duration| one(session, settings, text, timeout).await;
        let (write, read) = (settings.write_timeout, settings.read_timeout);
        let batches = async |text: &str| {
            let statement = prepare(text, write).await?;
            Ok::<_, Error>((1..=MAX_BATCH_ROWS).map(|n| batch(&statement, n, write)).collect())
        };
        Ok(Self {
            insert_blocks: batches(INSERT_BLOCK).await?,
            select_blocks: prepare(SELECT_BLOCKS, read).await?,
            insert_hour: prepare(INSERT_HOUR, write).await?,
            add_metrics: prepare(ADD_METRICS, write).await?,
            hours_ascending: prepare(&format!("{SELECT_HOURS} LIMIT ?"), read).await?,
            hours_descending: prepare(&format!("{SELECT_HOURS} ORDER BY hour DESC LIMIT ?"), read).await?,
            insert_late: batches(INSERT_LATE).await?,
            select_late: prepare(SELECT_LATE, read).await?,
            insert_unsealed: batches(INSERT_UNSEALED).await?,
            select_unsealed: prepare(SELECT_UNSEALED, read).await?,
            delete_unsealed: batches(DELETE_UNSEALED).await?,
            insert_seal: prepare(INSERT_SEAL, write).await?,
            select_seals: prepare(SELECT_SEALS, read).await?,
            insert_rollups: prepare(INSERT_ROLLUPS, write).await?,
            select_rollups: prepare(SELECT_ROLLUPS, read).await?,
            insert_position: prepare(INSERT_POSITION, write).await?,
            select_position: prepare(SELECT_POSITION, read).await?,
            insert_sighting: prepare(INSERT_SIGHTING, write).await?,
            select_sighting: prepare(SELECT_SIGHTING, read).await?,
            insert_last_stream: prepare(INSERT_LAST_STREAM, write).await?,
            select_last_stream: prepare(SELECT_LAST_STREAM, read).await?,
            insert_sequences: prepare(INSERT_SEQUENCES, write).await?,
            select_sequences: prepare(SELECT_SEQUENCES, read).await?,
            select_last_stretch: prepare(SELECT_LAST_STRETCH, read).await?,
            select_identities: prepare(SELECT_IDENTITIES, read).await?,
            insert_quarantined: prepare(INSERT_QUARANTINED, write).await?,
            select_quarantine: prepare(SELECT_QUARANTINE, read).await?,
            select_quarantine_times: prepare(SELECT_QUARANTINE_TIMES, read).await?,
            select_put_at: prepare(&format!("SELECT put_at FROM KS.quarantine WHERE {PLACE}"), read).await?,
            mark_replayed: prepare(&format!("UPDATE KS.quarantine SET replayed_at = ? WHERE {PLACE}"), write).await?,
            insert_audit: batches(INSERT_AUDIT).await?,
            select_audit: prepare(SELECT_AUDIT, read).await?,
            select_audit_entry: prepare(SELECT_AUDIT_ENTRY, read).await?,
            insert_audit_chunk: prepare(INSERT_AUDIT_CHUNK, write).await?,
            select_audit_chunks: prepare(SELECT_AUDIT_CHUNKS, read).await?,
            select_audit_writers: prepare(SELECT_AUDIT_WRITERS, read).await?,
            insert_audit_by_patient: batches(INSERT_AUDIT_BY_PATIENT).await?,
            select_audit_by_patient: prepare(SELECT_AUDIT_BY_PATIENT, read).await?,
            insert_audit_span: prepare(INSERT_AUDIT_SPAN, write).await?,
            select_audit_spans: prepare(SELECT_AUDIT_SPANS, read).await?,
            insert_audit_by_hour: batches(INSERT_AUDIT_BY_HOUR).await?,
            select_audit_by_hour: prepare(SELECT_AUDIT_BY_HOUR, read).await?,
            insert_audit_hour: prepare(INSERT_AUDIT_HOUR, write).await?,
            select_audit_hours: prepare(SELECT_AUDIT_HOURS, read).await?,
            insert_change: prepare(INSERT_CHANGE, write).await?,
            select_change: serial(session, settings, SELECT_CHANGE).await?,
            select_changes: prepare(SELECT_CHANGES, read).await?,
            insert_profile: prepare(INSERT_PROFILE, write).await?,
            select_profile: prepare(SELECT_PROFILE, read).await?,
            steps: StepStatements::prepare(session, settings).await?,
        })
    }
}

/// A statement, prepared.
pub(super) async fn one(
    session: &Session,
    settings: &Settings,
    text: &str,
    timeout: Duration,
) -> Result<PreparedStatement, Error> {
    let mut statement = session.prepare(named(text, &settings.keyspace)).await.map_err(prepare_failed)?;
    statement.set_is_idempotent(true);
    statement.set_request_timeout(Some(timeout));
    statement.set_page_size(settings.page_rows);
    Ok(statement)
}

/// One that reads what those who take part in a lightweight transaction know.
pub(super) async fn serial(session: &Session, settings: &Settings, text: &str) -> Result<PreparedStatement, Error> {
    let mut statement = one(session, settings, text, settings.read_timeout).await?;
    statement.set_consistency(Consistency::LocalSerial);
    Ok(statement)
}

/// So many rows of one statement at once.
fn batch(statement: &PreparedStatement, n: usize, timeout: Duration) -> Batch {
    let rows = vec![BatchStatement::from(statement.clone()); n];
    let mut batch = Batch::new_with_statements(BatchType::Unlogged, rows);
    batch.set_is_idempotent(true);
    batch.set_request_timeout(Some(timeout));
    batch
}

/// A statement in which `KS.` is replaced by the keyspace, whose name the settings have checked.
pub(super) fn named(text: &str, keyspace: &str) -> String {
    text.replace("KS.", &format!("{keyspace}."))
}
