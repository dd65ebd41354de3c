//! The engines' own clients, without anything of ours: what a figure is compared with.

use super::workspace::Workspace;
use anyhow::{Context, bail};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use futures::{StreamExt, TryStreamExt, stream};
use model::{PatientId, Row, spread};
use rdkafka::{
    ClientConfig, ClientContext,
    error::KafkaError,
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    response::PagingState,
    statement::{
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};
use std::{
    ops::{ControlFlow, Range},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How long the last delivery reports may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);
/// Between two tries when librdkafka's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);
/// As the store: rows in one batch, batches under way, rows a page.
const BATCH_ROWS: usize = 50;
const CONCURRENCY: usize = 64;
const PAGE_ROWS: i32 = 5_000;
/// Bytes of a patient and an hour, which the embedded store's keys begin with.
const HOUR_KEY: usize = 20;

/// Delivery reports, counted.
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "bare producer");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        let counter = if report.is_ok() { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends all records with a librdkafka producer (acks=all, idempotent, our own settings); how long until the last
/// delivery report.
pub(super) fn produce(place: &Workspace, topic: &str, records: &[(PatientId, Bytes)]) -> anyhow::Result<Duration> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &place.config.log.kafka.brokers);
    config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
    config.set("compression.type", "zstd").set("linger.ms", "5").set("batch.size", "262144");
    config.set("queue.buffering.max.kbytes", "65536").set("queue.buffering.max.messages", "1000000");
    let reports = Reports { delivered: AtomicU64::new(0), failed: AtomicU64::new(0) };
    let producer: ThreadedProducer<Reports> = config.create_with_context(reports)?;
    // connected, and the partitions known
    producer.client().fetch_metadata(Some(topic), FLUSH_LIMIT).context("bare producer")?;
    let begun = Instant::now();
    for (key, payload) in records {
        let mut record = BaseRecord::to(topic).key(&key.as_bytes()[..]).payload(&payload[..]);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("bare producer");
            }
            std::thread::sleep(QUEUE_PAUSE);
            record = back;
        }
    }
    producer.flush(FLUSH_LIMIT).context("bare producer")?;
    let took = begun.elapsed();
    // the last report may be on its way from librdkafka's thread to ours
    let reports = producer.context();
    while reports.delivered.load(Ordering::Relaxed) + reports.failed.load(Ordering::Relaxed) < records.len() as u64
        && begun.elapsed() < took + FLUSH_LIMIT
    {
        std::thread::sleep(QUEUE_PAUSE);
    }
    let delivered = reports.delivered.load(Ordering::Relaxed);
    if delivered != records.len() as u64 {
        bail!("the bare producer delivered {delivered} of {} records", records.len());
    }
    Ok(took)
}

type Values = (i16, i32, Uuid, i32, Uuid, Uuid, i64, i64, Vec<u8>, i64);

/// A session in a keyspace, its statements prepared.
pub(super) struct Cql {
    session: Session,
    insert: PreparedStatement,
    select: PreparedStatement,
    buckets: u16,
}

impl Cql {
    /// Connects to a keyspace of the schema's.
    pub(super) async fn connect(place: &Workspace, keyspace: &str) -> anyhow::Result<Self> {
        let cql = &place.config.store.cql;
        let session = SessionBuilder::new().known_nodes(&cql.nodes).build().await?;
        let columns = "hour, device, stream, sequence, digest, payload";
        let insert = format!(
            "INSERT INTO {keyspace}.blocks (bucket, day, patient, {columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
             USING TIMESTAMP ?"
        );
        let select = format!("SELECT {columns} FROM {keyspace}.blocks WHERE bucket = ? AND day = ? AND patient = ?");
        let insert = session.prepare(insert).await?;
        let mut select = session.prepare(select).await?;
        select.set_page_size(PAGE_ROWS);
        Ok(Self { session, insert, select, buckets: cql.buckets.unsigned_abs() })
    }

    /// Makes rows durable, in unlogged batches of one partition out of each `window` rows.
    pub(super) async fn write(&self, rows: &[Row], window: usize) -> anyhow::Result<Duration> {
        let batches: Vec<Vec<Values>> = rows.chunks(window).flat_map(|window| self.batches(window)).collect();
        let shapes: Vec<Batch> = (1..=BATCH_ROWS)
            .map(|n| {
                let statements = vec![BatchStatement::from(self.insert.clone()); n];
                let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
                batch.set_is_idempotent(true);
                batch
            })
            .collect();
        let begun = Instant::now();
        stream::iter(&batches)
            .map(|batch| self.session.batch(&shapes[batch.len() - 1], batch))
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(begun.elapsed())
    }

    /// One patient's day: rows and bytes of payload.
    pub(super) async fn read_day(&self, patient: PatientId, day: i32) -> anyhow::Result<(u64, u64)> {
        let values = (spread(patient.as_bytes(), self.buckets) as i16, day, patient.uuid());
        let (mut state, mut rows, mut bytes) = (PagingState::start(), 0, 0);
        loop {
            let (page, next) = self.session.execute_single_page(&self.select, &values, state).await?;
            for row in page.into_rows_result()?.rows::<(i32, Uuid, Uuid, i64, i64, Bytes)>()? {
                rows += 1;
                bytes += row?.5.len() as u64;
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok((rows, bytes)),
                ControlFlow::Continue(next) => state = next,
            }
        }
    }

    fn batches(&self, rows: &[Row]) -> Vec<Vec<Values>> {
        let mut values: Vec<Values> = rows
            .iter()
            .map(|row| {
                let identity = &row.identity;
                let bucket = spread(row.patient.as_bytes(), self.buckets) as i16;
                let (device, stream) = (identity.device.uuid(), identity.stream.uuid());
                let (sequence, digest) = (identity.sequence as i64, identity.digest as i64);
                let (at, payload) = (row.received_at.0 / 1_000, payload(row));
                (bucket, row.hour.day(), row.patient.uuid(), row.hour.0, device, stream, sequence, digest, payload, at)
            })
            .collect();
        values.sort_unstable_by_key(|row| (row.0, row.1, row.2, row.3));
        let partitions = values.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
        partitions.flat_map(|partition| partition.chunks(BATCH_ROWS)).map(<[_]>::to_vec).collect()
    }

    /// Runs a statement that changes the schema.
    pub(super) async fn query(&self, statement: &str) -> anyhow::Result<()> {
        self.session.query_unpaged(statement, ()).await?;
        Ok(())
    }
}

/// A fjall keyspace of plain keys and values.
pub(super) struct Fjall {
    database: Database,
    rows: Keyspace,
}

impl Fjall {
    /// Opens a folder; `keyspace` is made when it is not there.
    pub(super) fn open(folder: &Path, keyspace: &str) -> anyhow::Result<Self> {
        let database = Database::builder(folder).open()?;
        // as the embedded store
        let rows = database.keyspace(keyspace, || KeyspaceCreateOptions::default().max_memtable_size(24 << 20))?;
        Ok(Self { database, rows })
    }

    /// Inserts items in order, with one fsync for each `group`.
    pub(super) fn write(&self, items: &[(Vec<u8>, Vec<u8>)], group: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for items in items.chunks(group) {
            let mut batch = self.database.batch();
            items.iter().for_each(|(key, value)| batch.insert(&self.rows, &key[..], &value[..]));
            batch.commit()?;
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(begun.elapsed())
    }

    /// The rows of a patient's hours: how many, and bytes of their values.
    pub(super) fn read(&self, patient: PatientId, hours: Range<i32>) -> anyhow::Result<(u64, u64)> {
        let (mut rows, mut bytes) = (0, 0);
        for guard in self.rows.range(hour_key(patient, hours.start)..hour_key(patient, hours.end)) {
            let (_, value) = guard.into_inner()?;
            rows += 1;
            bytes += value.len() as u64;
        }
        Ok((rows, bytes))
    }
}

/// A row as the embedded store keeps it.
pub(super) fn item(row: &Row) -> (Vec<u8>, Vec<u8>) {
    let mut key = hour_key(row.patient, row.hour.0).to_vec();
    key.extend_from_slice(row.identity.device.as_bytes());
    key.extend_from_slice(row.identity.stream.as_bytes());
    key.extend_from_slice(&row.identity.sequence.to_be_bytes());
    key.extend_from_slice(&row.identity.digest.to_be_bytes());
    (key, payload(row))
}

fn hour_key(patient: PatientId, hour: i32) -> [u8; HOUR_KEY] {
    let mut key = [0; HOUR_KEY];
    key[..16].copy_from_slice(patient.as_bytes());
    key[16..].copy_from_slice(&(hour as u32 ^ 1 << 31).to_be_bytes());
    key
}

/// As many bytes as the store keeps of a row.
fn payload(row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + row.block.len());
    out.extend_from_slice(&(row.received_at.0 as u64 ^ 1 << 63).to_be_bytes());
    out.push(row.clock.code());
    out.extend_from_slice(&row.block);
    out
}
