//! `bench timeline`: a day of one patient among many, through the public API, and what a reading takes on disk.
//!
//! The rows are put into the store directly (how fast that goes is another benchmark's question); they are read as a
//! program would, in columns, page after page. In turns with it the bare engine reads the same rows, without decoding.

use super::{
    Engines, bare,
    load::{BASE_SECOND, register},
    material::Batches,
    process::disk_bytes,
    quantile,
    report::Report,
    server::Server,
    workspace::{Where, Workspace},
};
use anyhow::{Context, bail};
use auth::{DemoIssuer, demo_person};
use model::{Hour, PatientId, Row};
use node::engines;
use proto::{
    prost_types::Timestamp,
    telemetry::v1::{ReadTimelineRequest, TimelineLayout, timeline_service_client::TimelineServiceClient},
};
use serde_json::json;
use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use wardline::simulate::SimulatedDevice;

/// A page of columns is at most 500,000 readings.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const DAY_SECONDS: i64 = 86_400;
const N_METRICS: u64 = 5;
const SEED: u64 = 0xda7;
/// Rows of one call to the store: as the writer's polls.
const ROWS_A_CALL: usize = 4_000;
/// Reads before the ones that count: caches and connections.
const N_WARM: usize = 5;
/// How often turns are taken.
const N_TURNS: usize = 4;
/// A folder whose size does not change for so long has settled.
const SETTLED_FOR: Duration = Duration::from_secs(5);
const SETTLED_WITHIN: Duration = Duration::from_secs(300);

/// What to store and to read.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which log and store to run on.
    #[arg(long, value_enum, default_value_t = Engines::Embedded)]
    pub engines: Engines,
    /// Patients; one has the whole day.
    #[arg(long, default_value = "1000")]
    pub patients: NonZeroU32,
    /// All patients have the whole day; otherwise the others have its first hour.
    #[arg(long)]
    pub patients_full: bool,
    /// Readings a batch: 50 are ten seconds of five metrics.
    #[arg(long, default_value = "50")]
    pub batch: NonZeroU32,
    /// Times the day is read.
    #[arg(long, default_value = "200")]
    pub reads: NonZeroU32,
    /// The CQL server's data folder, to see what it takes on disk.
    #[arg(long, default_value = "deploy/engines/target/data/cassandra-1/rows")]
    pub cql_data: PathBuf,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let mut report = Report::new("timeline", &["what", "p50 ms", "p99 ms", "rows", "pages", "MB", "of bare"]);
    // the log is not used
    let place = Workspace::make(at, Engines::Embedded, options.engines).await?;
    let measured = measure(options, &place, &mut report).await;
    place.remove().await;
    measured?;
    Ok(report)
}

async fn measure(options: &Options, place: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    let identities: Vec<_> = (0..options.patients.get()).map(|number| SimulatedDevice::new(SEED, number)).collect();
    register(&place.config.directory_dir(), identities.iter().copied())?;
    let (n_rows, n_readings) = fill(options, place, &identities).await?;
    let from_rows = turns(options, place, identities[0].patient).await?;
    let rows_bytes = settle(options, place).await?;
    seal(place).await?;
    let sealed = turns(options, place, identities[0].patient).await?;
    let bytes = settle(options, place).await?;
    let bare: Vec<f64> = from_rows.bare.iter().chain(&sealed.bare).copied().collect();
    let mega = |bytes: u64| json!(bytes as f64 / 1e6);
    let line = |name, times: &[f64], pages, bytes| {
        let (p50, p99) = (quantile(times, 0.5), quantile(times, 0.99));
        let ratio = p50 / quantile(&bare, 0.5);
        [json!(name), json!(p50), json!(p99), json!(from_rows.rows.0), pages, mega(bytes), json!(ratio)]
    };
    for (name, turns) in [("public API, from rows", &from_rows), ("public API, sealed hours", &sealed)] {
        report.row(line(name, &turns.api, json!(turns.page.pages), turns.page.bytes));
    }
    report.row(line("bare engine, rows undecoded", &bare, json!(null), from_rows.rows.1));
    note(options, report, n_rows, n_readings, rows_bytes.zip(bytes));
    Ok(())
}

/// Times, and what was read.
#[derive(Default)]
struct Turns {
    api: Vec<f64>,
    bare: Vec<f64>,
    page: Read,
    rows: (u64, u64),
}

/// Reads the day by the API and by the bare engine, in turns.
async fn turns(options: &Options, place: &Workspace, patient: PatientId) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    let n_reads = (options.reads.get() as usize).div_ceil(N_TURNS);
    for _ in 0..N_TURNS {
        let server = Server::start(place, &["query"]).await?;
        let mut reader = Reader::connect(&server.endpoint, place)?;
        for read in 0..N_WARM + n_reads {
            let begun = Instant::now();
            turns.page = reader.read(patient, BASE_SECOND, BASE_SECOND + DAY_SECONDS).await?;
            if read >= N_WARM {
                turns.api.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        server.stop().await?;
        turns.rows = read_bare(options, place, patient, n_reads, &mut turns.bare).await?;
    }
    if turns.page.readings != DAY_SECONDS as u64 * N_METRICS {
        bail!("{} readings were read back, not a day's {}", turns.page.readings, DAY_SECONDS as u64 * N_METRICS);
    }
    Ok(turns)
}

/// Seals every hour there is, as the writer does once they are quiet.
async fn seal(place: &Workspace) -> anyhow::Result<()> {
    let store = engines::Store::open(&place.config).await?;
    while store.seal.seal(Duration::ZERO).await?.waiting > 0 {}
    Ok(())
}

fn note(options: &Options, report: &mut Report, n_rows: u64, n_readings: u64, bytes: Option<(u64, u64)>) {
    let others = if options.patients_full { "as many" } else { "the day's first hour (--patients-full: the day)" };
    report.note(format!(
        "{}: one patient's {} readings of 24 h, the other {} patients have {others}; {n_readings} readings in {n_rows} rows",
        options.engines.name(),
        DAY_SECONDS as u64 * N_METRICS,
        options.patients.get() - 1,
    ));
    report.note("aim: p99 20 ms; 5 bytes a stored reading");
    match bytes {
        Some((rows, all)) => {
            let a_reading = |bytes: u64| bytes as f64 / n_readings as f64;
            report.note(format!(
                "{:.2} bytes a stored reading, of {:.1} MB on disk; with sealed hours {:.2}",
                a_reading(rows),
                rows as f64 / 1e6,
                a_reading(all),
            ));
            report.detail("bytes_a_reading", a_reading(rows));
            report.detail("bytes_a_reading_sealed", a_reading(all));
        }
        None => report.note(format!("no bytes a reading: {} is not there (--cql-data)", options.cql_data.display())),
    }
}

/// Puts all rows into the store; how many rows and readings there are.
async fn fill(options: &Options, place: &Workspace, identities: &[SimulatedDevice]) -> anyhow::Result<(u64, u64)> {
    let store = engines::Store::open(&place.config).await?;
    let (mut n_rows, mut n_readings) = (0, 0);
    let mut rows: Vec<Row> = Vec::with_capacity(ROWS_A_CALL);
    let batch = options.batch.get() as usize;
    for (number, &identity) in identities.iter().enumerate() {
        let seconds = if number == 0 || options.patients_full { DAY_SECONDS } else { 3_600 };
        let mut batches = Batches::new(identity, batch, BASE_SECOND, number as u64);
        n_readings += seconds as u64 * N_METRICS;
        while batches.second() < BASE_SECOND + seconds {
            rows.extend(batches.next().context("batches do not end")?.rows()?);
            if rows.len() >= ROWS_A_CALL {
                store.append.append(&rows).await?;
                n_rows += rows.len() as u64;
                rows.clear();
            }
        }
    }
    store.append.append(&rows).await?;
    Ok((n_rows + rows.len() as u64, n_readings))
}

/// What the rows take on disk once the engine has put them where they stay.
async fn settle(options: &Options, place: &Workspace) -> anyhow::Result<Option<u64>> {
    let (folder, journals) = match options.engines {
        Engines::Embedded => (place.dir.join("store"), true),
        Engines::Live => {
            let keyspace = &place.config.store.cql.keyspace;
            let folder = options.cql_data.join(keyspace);
            if !folder.is_dir() {
                return Ok(None);
            }
            // no nodetool: rows leave memory because the table says so
            let cql = bare::Cql::connect(place, keyspace).await?;
            for table in ["blocks", "seals"] {
                let alter = format!("ALTER TABLE {keyspace}.{table} WITH memtable_flush_period_in_ms = 1000");
                cql.query(&alter).await?;
            }
            (folder, false)
        }
    };
    // a journal is a copy of what is on its way to a table, of bounded size
    let is_table = |path: &Path| !journals || path.extension().is_none_or(|extension| extension != "jnl");
    if journals {
        // rows still in the journals go to tables as others push them out; here they are few
        tokio::time::sleep(SETTLED_FOR).await;
    }
    let begun = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < SETTLED_FOR && begun.elapsed() < SETTLED_WITHIN {
        let now = disk_bytes(&folder, &is_table).with_context(|| format!("{}", folder.display()))?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(Some(last))
}

/// Reads the day with the bare engine; rows and bytes of a read.
async fn read_bare(
    options: &Options,
    place: &Workspace,
    patient: PatientId,
    n_reads: usize,
    times: &mut Vec<f64>,
) -> anyhow::Result<(u64, u64)> {
    let first = Hour((BASE_SECOND / 3_600) as i32);
    let mut found = (0, 0);
    let fjall = match options.engines {
        Engines::Embedded => Some(bare::Fjall::open(&place.dir.join("store"), "blocks")?),
        Engines::Live => None,
    };
    let cql = match options.engines {
        Engines::Embedded => None,
        Engines::Live => Some(bare::Cql::connect(place, &place.config.store.cql.keyspace).await?),
    };
    for read in 0..N_WARM + n_reads {
        let begun = Instant::now();
        if let Some(fjall) = &fjall {
            found = fjall.read(patient, first.0..first.0 + 24)?;
        }
        if let Some(cql) = &cql {
            found = cql.read_day(patient, first.day()).await?;
        }
        if read >= N_WARM {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(found)
}

/// A doctor who reads timelines.
pub(super) struct Reader {
    client: TimelineServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

/// What came of one read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Read {
    pub(super) readings: u64,
    pub(super) pages: u64,
    /// About: eight of each number, one of each second.
    pub(super) bytes: u64,
}

impl Reader {
    /// Signs the demo's doctor in.
    pub(super) fn connect(endpoint: &str, place: &Workspace) -> anyhow::Result<Self> {
        let issuer = DemoIssuer::open(&place.config.demo_dir())?;
        let doctor = demo_person("doctor").context("the demo has no doctor")?;
        let bearer = MetadataValue::try_from(format!("Bearer {}", issuer.user_token(doctor)?))?;
        let client = TimelineServiceClient::new(client::channel(endpoint)?);
        Ok(Self { client: client.max_decoding_message_size(MESSAGE_BYTES_MAX), bearer })
    }

    /// Reads all pages of columns from one second to another.
    pub(super) async fn read(&mut self, patient: PatientId, from: i64, to: i64) -> anyhow::Result<Read> {
        let instant = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let mut request = ReadTimelineRequest {
            patient_id: patient.uuid().to_string(),
            start_time: instant(from),
            end_time: instant(to),
            layout: TimelineLayout::Columns.into(),
            page_size: i32::MAX,
            ..Default::default()
        };
        let mut read = Read::default();
        loop {
            let mut call = Request::new(request.clone());
            call.metadata_mut().insert("authorization", self.bearer.clone());
            let page = self.client.read_timeline(call).await?.into_inner();
            read.pages += 1;
            for series in &page.series {
                read.readings += series.measured_at_delta_ticks.len() as u64;
                read.bytes += (8 * series.numbers.len() + series.measured_at_delta_ticks.len()) as u64;
            }
            if page.next_page_token.is_empty() {
                return Ok(read);
            }
            request.page_token = page.next_page_token;
        }
    }
}
