//! `bench persist`: from the log to the store with the real writer, against the store's bare client that writes the
//! same rows in batches of the same shape.

use super::{
    Engines, bare,
    material::Batches,
    median,
    report::Report,
    workspace::{Where, Workspace},
};
use anyhow::{Context, bail};
use async_trait::async_trait;
use bus::{Commits, Delivery, Outgoing, Subscribe};
use guard::clock;
use model::{Block, Nanos, Record};
use node::engines;
use serde_json::json;
use std::{
    collections::VecDeque,
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wardline::simulate::SimulatedDevice;
use writer::{POLL_RECORDS, Writer};

const SEED: u64 = 0x9e51;
/// Receipts that wait while the log is filled; the bytes in flight are the bound that counts.
const WINDOW: usize = 20_000;
/// A writer that makes no progress for so long stands still.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which log and store to run on.
    #[arg(long, value_enum, default_value_t = Engines::Live)]
    pub engines: Engines,
    /// Readings of one batch.
    #[arg(long, value_delimiter = ',', default_value = "10,60")]
    pub batch: Vec<NonZeroU32>,
    /// Records of each round.
    #[arg(long, default_value = "200000")]
    pub records: NonZeroU64,
    /// Patients, one device each.
    #[arg(long, default_value = "1000")]
    pub patients: NonZeroU32,
    /// Rounds of each size of batch; the medians are compared.
    #[arg(long, default_value = "3")]
    pub rounds: NonZeroU32,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let mut report = Report::new("persist", &["batch", "log to store/s", "bare client/s", "ratio", "target", "rows/s"]);
    let mut place = Workspace::make(at, options.engines, options.engines).await?;
    let measured = measure(options, &mut place, &mut report).await;
    place.remove().await;
    measured?;
    report.detail("engines", options.engines.name());
    let bare = match options.engines {
        Engines::Live => "the scylla driver, unlogged batches of up to 50 rows of a partition, 64 under way".to_owned(),
        Engines::Embedded => format!("fjall, an fsync each {POLL_RECORDS} rows"),
    };
    report.note(format!("{}, {} patients; readings a second; bare: {bare}", options.engines.name(), options.patients));
    report.note("from the writer's first poll until the last row is durable: reading, checking and decoding included");
    Ok(report)
}

async fn measure(options: &Options, place: &mut Workspace, report: &mut Report) -> anyhow::Result<()> {
    let bare_keyspace = format!("{}_bare", place.config.store.cql.keyspace);
    if options.engines == Engines::Live {
        place.beside(&[format!("store.cql.keyspace={bare_keyspace}")]).await?;
    }
    let mut round = 0;
    for &batch in &options.batch {
        let (mut ours, mut theirs, mut rows_a_second) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds.get() {
            round += 1;
            let records = records(options, batch.get() as usize, round);
            let n_readings = (records.len() * batch.get() as usize) as f64;
            fill(place, records.iter().cloned()).await?;
            let took = drain(place, records.len() as u64).await?.as_secs_f64();
            ours.push(n_readings / took);
            rows_a_second.push(records.len() as f64 / took);
            let took = bare(options, place, &bare_keyspace, records).await?;
            theirs.push(n_readings / took.as_secs_f64());
        }
        let (ours, theirs) = (median(&ours), median(&theirs));
        let ratio = json!(ours / theirs);
        let rows = json!(median(&rows_a_second));
        report.row([json!(batch.get()), json!(ours), json!(theirs), ratio, json!(0.6), rows]);
    }
    Ok(())
}

/// All patients in turn, time going on; an hour's end cuts few batches, which is left out of the count.
fn records(options: &Options, batch: usize, round: u64) -> Vec<Record> {
    let n_patients = options.patients.get();
    // from this hour on, as devices send that are not late; each round is another day: no row is there before
    let base = clock::now().hour().start().0 / Nanos::SECOND + round as i64 * 86_400;
    let mut devices: Vec<_> = (0..n_patients)
        .map(|number| Batches::new(SimulatedDevice::new(SEED, number), batch, base, round << 32 | u64::from(number)))
        .collect();
    (0..options.records.get()).filter_map(|n| devices[(n % u64::from(n_patients)) as usize].next()).collect()
}

/// Publishes all records, until they are durable; how many readings they have, where a batch lies in one hour.
pub(super) async fn fill(place: &Workspace, records: impl IntoIterator<Item = Record>) -> anyhow::Result<u64> {
    let log = engines::Log::open(&place.config)?;
    let publisher = log.publisher()?;
    let mut waiting = VecDeque::with_capacity(WINDOW);
    let mut n_readings = 0;
    for record in records {
        for slice in &record.slices {
            n_readings += Block::decode(slice.hour, &slice.block).map_or(0, |block| block.len() as u64);
        }
        let outgoing = Outgoing { key: record.patient, payload: record.encode() };
        waiting.push_back(publisher.publish(outgoing).await?);
        if waiting.len() == WINDOW
            && let Some(receipt) = waiting.pop_front()
        {
            receipt.await?;
        }
    }
    for receipt in waiting {
        receipt.await?;
    }
    Ok(n_readings)
}

/// Runs the writer until every record is in the store; from its first poll that brought something.
async fn drain(place: &Workspace, n_records: u64) -> anyhow::Result<Duration> {
    let log = engines::Log::open(&place.config)?;
    let store = engines::Store::open(&place.config).await?;
    let (rows, mut progress) = watch::channel(0);
    let begun = Arc::new(OnceLock::new());
    let append = Arc::new(Counted { store: store.append, rows });
    let subscriber = Box::new(Timed { log: log.subscriber(&place.config.writer.group)?, begun: begun.clone() });
    let writer = Writer::new(append, store.quarantine, store.positions, store.identities, clock::now);
    let stop = CancellationToken::new();
    let running = tokio::spawn(writer.run(subscriber, stop.clone()));
    while *progress.borrow_and_update() < n_records {
        if tokio::time::timeout(PATIENCE, progress.changed()).await.is_err() {
            bail!("the writer stands still at {} of {n_records} rows", *progress.borrow());
        }
    }
    let took = begun.get().map(Instant::elapsed).context("the writer wrote what it never read")?;
    stop.cancel();
    running.await??;
    Ok(took)
}

async fn bare(options: &Options, place: &Workspace, keyspace: &str, records: Vec<Record>) -> anyhow::Result<Duration> {
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        rows.extend(record.rows()?);
    }
    if options.engines == Engines::Live {
        return bare::Cql::connect(place, keyspace).await?.write(&rows, POLL_RECORDS).await;
    }
    // one keyspace over all rounds, as ours
    let fjall = bare::Fjall::open(&place.dir.join("bare"), "rows")?;
    let mut items: Vec<_> = rows.iter().map(bare::item).collect();
    items.chunks_mut(POLL_RECORDS).for_each(<[_]>::sort_unstable);
    tokio::task::block_in_place(|| fjall.write(&items, POLL_RECORDS))
}

/// A store that counts the rows it has made durable.
struct Counted {
    store: Arc<dyn store::Append>,
    rows: watch::Sender<u64>,
}

#[async_trait]
impl store::Append for Counted {
    async fn append(&self, rows: &[model::Row]) -> Result<(), store::Error> {
        self.store.append(rows).await?;
        self.rows.send_modify(|n| *n += rows.len() as u64);
        Ok(())
    }
}

/// A log that remembers when it first gave something.
struct Timed {
    log: Box<dyn Subscribe>,
    begun: Arc<OnceLock<Instant>>,
}

#[async_trait]
impl Subscribe for Timed {
    async fn poll(
        &mut self,
        max_records: usize,
        max_bytes: usize,
        max_wait: Duration,
    ) -> Result<Vec<Delivery>, bus::Error> {
        let asked = Instant::now();
        let deliveries = self.log.poll(max_records, max_bytes, max_wait).await?;
        if !deliveries.is_empty() {
            self.begun.get_or_init(|| asked);
        }
        Ok(deliveries)
    }

    async fn commit(&mut self, commits: &Commits) -> Result<(), bus::Error> {
        self.log.commit(commits).await
    }

    async fn lag(&mut self) -> Result<u64, bus::Error> {
        self.log.lag().await
    }
}
