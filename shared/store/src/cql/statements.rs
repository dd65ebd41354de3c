//! Every statement, prepared once.

use super::{Settings, connect::prepare_failed};
use crate::Error;
use scylla::{
    client::session::Session,
    statement::{
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use std::time::Duration;

/// Most rows in one batch: more do not make it faster (see [`super`]), and a batch is retried as a whole.
pub(super) const MAX_BATCH_ROWS: usize = 50;

const INSERT_BLOCK: &str = "INSERT INTO blocks (bucket, day, patient, hour, device, stream, sequence, digest, payload) \
                            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_BLOCKS: &str = "SELECT hour, device, stream, sequence, digest, payload FROM blocks \
                             WHERE bucket = ? AND day = ? AND patient = ? AND hour >= ? AND hour < ?";
const INSERT_HOUR: &str = "INSERT INTO hours (patient, hour) VALUES (?, ?)";
const ADD_METRICS: &str = "UPDATE hours SET metrics = metrics + ? WHERE patient = ? AND hour = ?";
const SELECT_HOURS: &str = "SELECT hour, metrics FROM hours WHERE patient = ? AND hour >= ? AND hour < ?";
const INSERT_POSITION: &str = "INSERT INTO positions (device, stream, sequence) VALUES (?, ?, ?) USING TIMESTAMP ?";
const SELECT_POSITION: &str = "SELECT sequence FROM positions WHERE device = ? AND stream = ?";
const PLACE: &str = "topic = ? AND log_partition = ? AND log_offset = ?";
const INSERT_QUARANTINED: &str = "INSERT INTO quarantine (topic, log_partition, log_offset, put_at, reason, payload) \
                                  VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_QUARANTINE: &str =
    "SELECT topic, log_partition, log_offset, put_at, reason, payload, replayed_at FROM quarantine";

/// Every statement, prepared once.
pub(super) struct Statements {
    /// Batches of 1, 2, .. [`MAX_BATCH_ROWS`] rows.
    pub(super) insert_blocks: Vec<Batch>,
    pub(super) select_blocks: PreparedStatement,
    pub(super) insert_hour: PreparedStatement,
    pub(super) add_metrics: PreparedStatement,
    pub(super) hours_ascending: PreparedStatement,
    pub(super) hours_descending: PreparedStatement,
    pub(super) insert_position: PreparedStatement,
    pub(super) select_position: PreparedStatement,
    pub(super) insert_quarantined: PreparedStatement,
    pub(super) select_quarantine: PreparedStatement,
    pub(super) select_put_at: PreparedStatement,
    pub(super) mark_replayed: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, settings: &Settings) -> Result<Self, Error> {
        let prepare = async |text: &str, timeout: Duration| {
            let mut statement = session.prepare(text).await.map_err(prepare_failed)?;
            statement.set_is_idempotent(true);
            statement.set_request_timeout(Some(timeout));
            statement.set_page_size(settings.page_rows);
            Ok::<_, Error>(statement)
        };
        let (write, read) = (settings.write_timeout, settings.read_timeout);
        let insert_block = prepare(INSERT_BLOCK, write).await?;
        let batch = |n: usize| {
            let rows = vec![BatchStatement::from(insert_block.clone()); n];
            let mut batch = Batch::new_with_statements(BatchType::Unlogged, rows);
            batch.set_is_idempotent(true);
            batch.set_request_timeout(Some(write));
            batch
        };
        Ok(Self {
            insert_blocks: (1..=MAX_BATCH_ROWS).map(batch).collect(),
            select_blocks: prepare(SELECT_BLOCKS, read).await?,
            insert_hour: prepare(INSERT_HOUR, write).await?,
            add_metrics: prepare(ADD_METRICS, write).await?,
            hours_ascending: prepare(&format!("{SELECT_HOURS} LIMIT ?"), read).await?,
            hours_descending: prepare(&format!("{SELECT_HOURS} ORDER BY hour DESC LIMIT ?"), read).await?,
            insert_position: prepare(INSERT_POSITION, write).await?,
            select_position: prepare(SELECT_POSITION, read).await?,
            insert_quarantined: prepare(INSERT_QUARANTINED, write).await?,
            select_quarantine: prepare(SELECT_QUARANTINE, read).await?,
            select_put_at: prepare(&format!("SELECT put_at FROM quarantine WHERE {PLACE}"), read).await?,
            mark_replayed: prepare(&format!("UPDATE quarantine SET replayed_at = ? WHERE {PLACE}"), write).await?,
        })
    }
}
