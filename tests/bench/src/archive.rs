//! `bench archive`: from the log to Parquet files, what a reading takes there, and a day of one patient out of all of them, as DuckDB,
//! pandas and Spark read it, which must find the same.

use super::{
    Engines, analytics,
    material::Batches,
    median, persist,
    process::{cpu_seconds, disk_bytes, resident_bytes},
    report::Report,
    server::Server,
    workspace::{Where, Workspace},
};
use anyhow::{Context, ensure};
use guard::clock;
use model::Nanos;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};
use tokio::time::{Instant, sleep};
use wardline::{settings::Settings, simulate::SimulatedDevice};

const SEED: u64 = 0xa7c1;
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);
/// An archive that makes no progress for so long stands still.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// Files of which some partition has enough to be merged, if all have as many.
const MERGED_FROM: usize = 16 * 8;
const MIB: f64 = 1_048_576.0;
const DAY: i64 = 86_400;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Readings in the log, of five metrics at 1 Hz.
    #[arg(long, default_value = "20000000")]
    pub readings: NonZeroU64,
    /// Patients, one device each.
    #[arg(long, default_value = "40")]
    pub patients: NonZeroU32,
    /// Readings of one batch.
    #[arg(long, default_value = "50")]
    pub batch: NonZeroU32,
    /// Repetitions of each query, of which the median counts.
    #[arg(long, default_value = "5")]
    pub repeats: NonZeroU32,
    /// The binary with the archive [default: `wardline` beside this program].
    #[arg(long)]
    pub wardline: Option<PathBuf>,
    /// A Python with duckdb, pyarrow and pandas (and pyspark); readers are left out without.
    #[arg(long)]
    pub python: Option<PathBuf>,
    /// Who reads the files: duckdb, pandas, spark.
    #[arg(long, value_delimiter = ',', default_value = "duckdb,pandas,spark", value_parser = ["duckdb", "pandas", "spark"])]
    pub readers: Vec<String>,
}

/// What a reader found, and how long a patient's day took.
#[derive(Debug, Deserialize)]
struct ReaderResult {
    reader: String,
    n: u64,
    sum: f64,
    day_n: u64,
    day_sum: f64,
    seconds: Vec<f64>,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let columns = ["what", "readings", "seconds", "a second", "CPU s", "peak MiB", "bytes a reading", "files"];
    let mut report = Report::new("archive", &columns);
    let mut place = Workspace::make(at, Engines::Embedded, Engines::Embedded).await?;
    place.flags.push("archive.flush_seconds=1".to_owned());
    let measured = measure(options, &place, &mut report).await;
    place.remove().await;
    measured?;
    report.note(format!(
        "{} patients, batches of {} readings; folder on this disk, each file synced",
        options.patients, options.batch
    ));
    Ok(report)
}

async fn measure(options: &Options, place: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    // the last days, whole: the time is that of devices that send live
    let base = clock::now().0 / Nanos::SECOND / DAY * DAY - 30 * DAY;
    let device = |number| SimulatedDevice::new(SEED, number);
    let batch = options.batch.get() as usize;
    let mut devices: Vec<_> =
        (0..options.patients.get()).map(|number| Batches::new(device(number), batch, base, number.into())).collect();
    let n_batches = options.readings.get() / options.batch.get() as u64;
    let n_devices = devices.len() as u64;
    let records = (0..n_batches).filter_map(|n| devices[(n % n_devices) as usize].next());
    let n = persist::fill(place, records).await?;
    let program = options.wardline.clone().unwrap_or(std::env::current_exe()?.with_file_name("wardline"));
    let dir = Settings::of(&place.config)?.archive_dir(&place.config);
    let begun = Instant::now();
    let server = Server::start_as(&program, place, &["archive"]).await?;
    reached(&server, "wardline_archive_readings_total", n).await?;
    report.row(line("log to files", n, begun, &server, &dir)?);
    server.stop().await?;
    if files(&newest(&dir)?)? >= MERGED_FROM {
        let begun = Instant::now();
        let server = Server::start_as(&program, place, &["archive"]).await?;
        reached(&server, "wardline_archive_merges_total", 1).await?;
        report.row(line("merged", n, begun, &server, &dir)?);
        server.stop().await?;
    } else {
        report.note("not merged: the files are few");
    }
    let Some(python) = &options.python else { return Ok(()) };
    let pattern = newest(&dir)?.join("p*").join("*.parquet");
    let patient = device(options.patients.get() / 2).patient.uuid().to_string();
    let (pattern, from, repeats) =
        (pattern.display().to_string(), (base + DAY / 2).to_string(), options.repeats.to_string());
    let mut all: Vec<ReaderResult> = Vec::new();
    for reader in &options.readers {
        let program = format!("{}/peers/archive.py", env!("CARGO_MANIFEST_DIR"));
        let arguments = [&program, reader, &pattern, &patient, &from, &repeats];
        let said = analytics::output(tokio::process::Command::new(python).args(arguments)).await?;
        all.push(serde_json::from_str(&said).with_context(|| format!("{reader}: {said}"))?);
    }
    for found in &all {
        ensure!(found.n == n, "{}: {} readings, {n} were sent", found.reader, found.n);
        let first = &all[0];
        let alike = |a: f64, b: f64| (a - b).abs() <= a.abs() * 1e-12;
        let same = found.day_n == first.day_n && alike(found.sum, first.sum) && alike(found.day_sum, first.day_sum);
        ensure!(same, "{found:?} is not what {first:?} is");
        let what = format!("a patient's day, {} (its sum and all sums alike)", found.reader);
        let seconds = json!(median(&found.seconds));
        report.row([
            json!(what),
            json!(found.day_n),
            seconds,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]);
    }
    Ok(())
}

/// Waits until a counter has come so far.
async fn reached(server: &Server, counter: &str, end: u64) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let now = server.metric(counter).await?;
        if now >= end {
            return Ok(());
        }
        if now > last {
            (last, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "{counter} stands still at {now} of {end}");
        sleep(ASK_AGAIN).await;
    }
}

fn line(what: &str, n: u64, begun: Instant, server: &Server, dir: &Path) -> anyhow::Result<[Value; 8]> {
    let seconds = begun.elapsed().as_secs_f64();
    let (_, peak) = resident_bytes(server.pid)?;
    let newest = newest(dir)?;
    let bytes = disk_bytes(&newest, &is_file)? as f64 / n as f64;
    let n_files = files(&newest)?;
    Ok([
        json!(what),
        json!(n),
        json!(seconds),
        json!(n as f64 / seconds),
        json!(cpu_seconds(server.pid)?),
        json!(peak as f64 / MIB),
        json!(bytes),
        json!(n_files),
    ])
}

fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

/// How many files of rows a generation has.
fn files(generation: &Path) -> anyhow::Result<usize> {
    let parts = fs::read_dir(generation)?.filter_map(|part| fs::read_dir(part.ok()?.path()).ok());
    Ok(parts.flatten().filter(|entry| entry.as_ref().is_ok_and(|entry| is_file(&entry.path()))).count())
}

/// The folder of the newest generation: they are counted up.
fn newest(dir: &Path) -> anyhow::Result<PathBuf> {
    let names = fs::read_dir(dir.join("readings"))?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with('g')).max().context("the archive has no generation")?;
    Ok(dir.join("readings").join(newest))
}
