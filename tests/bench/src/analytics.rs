//! `bench analytics`: two reports over as many rows as a year of Medicare Part D has, and the import that brings them there,
//! beside DuckDB and Spark on the same files with the same SQL, in turns. And how long a submission of a job takes meanwhile.

use super::{
    Engines, median,
    process::{cpu_seconds, peak_since, resident_bytes},
    quantile,
    report::Report,
    server::Server,
    workspace::{Where, Workspace},
};
use anyhow::{Context, ensure};
use auth::{DemoIssuer, demo_person};
use proto::analytics::v1::{SubmitJobRequest, job_service_client::JobServiceClient};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::Command,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::{Request, metadata::MetadataValue};
use wardline::settings::Settings;

/// This crate's folder, in which the peers' program and the reports are.
const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// The reports, and the parameters that they are asked with.
const REPORTS: [(&str, &[(&str, &str)]); 2] =
    [("city_report", &[("state", "all")]), ("top_prescribers", &[("state", "all"), ("n", "5")])];
const MIB: f64 = 1_048_576.0;
/// Jobs that are submitted while a worker is busy, so many a second.
const SUBMISSIONS: usize = 600;
const SUBMISSIONS_A_SECOND: f64 = 40.0;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Rows of the made-up file.
    #[arg(long, default_value = "25000000")]
    pub rows: NonZeroU64,
    /// Repetitions, of which the median counts.
    #[arg(long, default_value = "3")]
    pub repeats: NonZeroU32,
    /// The binary with analytics [default: `wardline` beside this program].
    #[arg(long)]
    pub wardline: Option<PathBuf>,
    /// A Python with duckdb and pyspark (PyPI); the peers are left out without.
    #[arg(long)]
    pub python: Option<PathBuf>,
    /// Engines that are measured beside ours: duckdb, spark.
    #[arg(long, value_delimiter = ',', default_value = "duckdb,spark", value_parser = ["duckdb", "spark"])]
    pub peers: Vec<String>,
}

/// What a query or a reading took.
#[derive(Debug, Deserialize)]
struct Took {
    file: String,
    rows: u64,
    seconds: Vec<f64>,
    cpu_seconds: f64,
    peak_bytes: u64,
}

/// The binary, and a node of it.
struct Product<'p> {
    program: PathBuf,
    place: &'p Workspace,
    server: Server,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let columns = ["what", "engine", "rows", "seconds", "CPU s", "peak MiB", "ours / peer"];
    let mut report = Report::new("analytics", &columns);
    let mut place = Workspace::make(at, Engines::Embedded, Engines::Embedded).await?;
    // a file that is made up here is larger than what is sent over a network
    place.flags.push("analytics.workers=1".to_owned());
    place.flags.push("quotas.writes_a_second=1000".to_owned());
    let csv = place.dir.join("prescribers.csv");
    let program = options.wardline.clone().unwrap_or(std::env::current_exe()?.with_file_name("wardline"));
    let rows = options.rows.to_string();
    let made_up = ["simulate", "prescribers", "--rows", &rows, "--to", &csv.display().to_string()];
    output(Command::new(&program).args(made_up)).await.context("the made-up file")?;
    let bytes = fs::metadata(&csv)?.len();
    let source = format!("{{ name = \"bench\", kind = \"prescribers\", path = \"{}\" }}", csv.display());
    place.flags.push(format!("analytics.sources=[{source}]"));
    let server = Server::start_as(&program, &place, &["registry", "analytics"]).await?;
    let product = Product { program, place: &place, server };
    product.wardline(&["import", "cities", &format!("{HERE}/../../services/analytics/samples/cities.csv.zst")]).await?;
    let import = product.job(&["import", "kind=prescribers", "source=bench"]).await?;
    let ours = product.reports(options).await?;
    let files = product.parquet()?;
    let submissions = product.submissions().await?;
    product.server.stop().await?;
    let mut peers = Vec::new();
    if let Some(python) = &options.python {
        if options.peers.iter().any(|peer| peer == "duckdb") {
            let parquet = place.dir.join("peer.parquet").display().to_string();
            peers.push(("duckdb", peer(python, &["csv", &csv.display().to_string(), &parquet]).await?.remove(0)));
        }
        for engine in &options.peers {
            let name = if engine == "duckdb" { "duckdb" } else { "spark" };
            let took = queries(python, engine, options, &place.dir, &files).await?;
            peers.extend(took.into_iter().map(|took| (name, took)));
        }
    }
    line(&mut report, "CSV to Parquet", "wardline", &import, None);
    for (name, took) in &peers {
        if took.file == "csv" {
            line(&mut report, "CSV to Parquet", name, took, Some(&import));
        }
    }
    for took in &ours {
        line(&mut report, &took.file, "wardline", took, None);
        for (name, peer) in &peers {
            if peer.file == format!("{}.sql", took.file) {
                ensure!(peer.rows == took.rows, "{}: {} rows, {name} has {}", took.file, took.rows, peer.rows);
                line(&mut report, &took.file, name, peer, Some(took));
            }
        }
    }
    report.note(format!(
        "SubmitJob while the worker makes the city report, {SUBMISSIONS_A_SECOND} a second, in milliseconds: {:.1} (p50), {:.1} (p99), \
         {:.1} (most of {})",
        quantile(&submissions, 0.5),
        quantile(&submissions, 0.99),
        quantile(&submissions, 1.0),
        submissions.len()
    ));
    report.note(format!("{} MiB of CSV; seconds are the median of {}", bytes / (1 << 20), options.repeats));
    report.note("wardline's seconds are those of a job, with its result written as Parquet; its peak is the node's");
    report.note(
        "wardline's import also checks every cell, and writes down what it repaired and refused; DuckDB's sniffs",
    );
    place.remove().await;
    Ok(report)
}

fn line(report: &mut Report, what: &str, engine: &str, took: &Took, ours: Option<&Took>) {
    let seconds = median(&took.seconds);
    let ratio = ours.map_or(Value::Null, |ours| json!(median(&ours.seconds) / seconds.max(1e-9)));
    let peak = took.peak_bytes as f64 / MIB;
    report.row([
        json!(what),
        json!(engine),
        json!(took.rows),
        json!(seconds),
        json!(took.cpu_seconds),
        json!(peak),
        ratio,
    ]);
}

impl Product<'_> {
    /// A command against the node; what it prints.
    async fn wardline(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["--endpoint", &self.server.endpoint]).args(arguments);
        command.args(self.place.flags.iter().flat_map(|flag| ["--set", flag]));
        output(&mut command).await.with_context(|| arguments.join(" "))
    }

    /// Submits a job, waits for its end, and says what its attempt took.
    async fn job(&self, what: &[&str]) -> anyhow::Result<Took> {
        let before = cpu_seconds(self.server.pid)?;
        peak_since(self.server.pid)?;
        let said = self.wardline(&[&["jobs", "submit", "--watch"], what].concat()).await?;
        let (_, peak_bytes) = resident_bytes(self.server.pid)?;
        let cpu_seconds = cpu_seconds(self.server.pid)? - before;
        let id = said.lines().next().context("no id of a job")?;
        let job: Value = serde_json::from_str(&self.wardline(&["jobs", "get", id]).await?)?;
        let seconds = job["run"]["seconds"].as_f64().context("the job does not say how long it took")?;
        let rows = job["run"]["rows_out"].as_u64().context("the job does not say how many rows it wrote")?;
        Ok(Took { file: what[0].to_owned(), rows, seconds: vec![seconds], cpu_seconds, peak_bytes })
    }

    /// Every report, once to warm up and then as often as asked.
    async fn reports(&self, options: &Options) -> anyhow::Result<Vec<Took>> {
        let mut all = Vec::new();
        for (name, parameters) in REPORTS {
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut what = vec![name, "format=parquet"];
            what.extend(parameters.iter().map(String::as_str));
            self.job(&what).await?;
            let mut took = Took { seconds: Vec::new(), cpu_seconds: 0.0, peak_bytes: 0, ..self.job(&what).await? };
            for _ in 0..options.repeats.get() {
                let one = self.job(&what).await?;
                took.seconds.extend(one.seconds);
                took.cpu_seconds += one.cpu_seconds / f64::from(options.repeats.get());
                took.peak_bytes = took.peak_bytes.max(one.peak_bytes);
            }
            all.push(took);
        }
        Ok(all)
    }

    /// Submits reports, which keep the worker busy; the milliseconds that each submission took.
    async fn submissions(&self) -> anyhow::Result<Vec<f64>> {
        let issuer = DemoIssuer::open(&self.place.config.demo_dir())?;
        let person = demo_person("administrator").context("the demo has no administrator")?;
        let bearer = MetadataValue::try_from(format!("Bearer {}", issuer.user_token(person)?))?;
        let mut jobs = JobServiceClient::new(client::channel(&self.server.endpoint)?);
        let mut took = Vec::with_capacity(SUBMISSIONS);
        let mut next = interval(Duration::from_secs_f64(1.0 / SUBMISSIONS_A_SECOND));
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..SUBMISSIONS {
            next.tick().await;
            let mut request = Request::new(SubmitJobRequest { kind: REPORTS[0].0.to_owned(), ..Default::default() });
            request.metadata_mut().insert("authorization", bearer.clone());
            let begun = Instant::now();
            jobs.submit_job(request).await?;
            took.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(took)
    }

    /// The Parquet files of the tables: NAME=PATH.
    fn parquet(&self) -> anyhow::Result<Vec<String>> {
        let objects = Settings::of(&self.place.config)?.objects_dir(&self.place.config);
        let table = |kind: &str| {
            let folders = fs::read_dir(objects.join("datasets").join(kind)).context(kind.to_owned())?;
            let newest = folders.filter_map(|entry| Some(entry.ok()?.path())).max().context(kind.to_owned())?;
            Ok(format!("{kind}={}", newest.join("*.parquet").display()))
        };
        ["cities", "prescribers"].into_iter().map(table).collect()
    }
}

/// The same SQL in another engine.
async fn queries(
    python: &Path,
    engine: &str,
    options: &Options,
    dir: &Path,
    tables: &[String],
) -> anyhow::Result<Vec<Took>> {
    let mut arguments = vec![engine.to_owned(), options.repeats.to_string()];
    arguments.extend(tables.iter().cloned());
    arguments.push("--".to_owned());
    for (name, parameters) in REPORTS {
        let text = fs::read_to_string(format!("{HERE}/../../services/analytics/reports/{name}.sql"))?;
        let given = parameters.iter().fold(text, |text, (name, value)| {
            let value = value.parse::<u32>().map_or_else(|_| format!("'{value}'"), |number| number.to_string());
            text.replace(&format!("${name}"), &value)
        });
        let path = dir.join(format!("{name}.sql"));
        fs::write(&path, given)?;
        arguments.push(path.display().to_string());
    }
    peer(python, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn peer(python: &Path, arguments: &[&str]) -> anyhow::Result<Vec<Took>> {
    let mut command = Command::new(python);
    command.arg(format!("{HERE}/peers/sql.py")).args(arguments);
    let said = output(&mut command).await.with_context(|| arguments[0].to_owned())?;
    said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// What a program prints; an error with its last words when it fails.
pub(super) async fn output(command: &mut Command) -> anyhow::Result<String> {
    let done = command.stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&done.stderr);
    let last: Vec<_> = said.lines().rev().take(5).collect();
    ensure!(done.status.success(), "{}: {}", done.status, last.join(" / "));
    Ok(String::from_utf8(done.stdout)?)
}
