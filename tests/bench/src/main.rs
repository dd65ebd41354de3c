//! What this machine can do, each figure beside that of the bare engine measured in the same run.
//!
//! Servers run as child processes of the same binary (`bench run` is `wardline run`), so that their CPU time and memory are theirs alone; the load
//! generator is this process. Whatever is compared is measured in turns (ours, bare, ours, bare ...) and the medians
//! are compared: on a shared machine only ratios mean something.

mod access;
mod all_in;
mod analytics;
mod archive;
mod bare;
mod idle;
mod ingest;
mod load;
mod machine;
mod material;
mod memory;
mod persist;
mod process;
mod report;
mod server;
mod template;
mod timeline;
mod workspace;

use anyhow::Context;
use clap::Parser;
use report::Report;
use std::{env, fs::OpenOptions, io::Write, num::NonZeroU32, path::PathBuf};
use tokio_util::sync::CancellationToken;

/// As the product has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What this machine can do, each figure beside that of the bare engine.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// Benchmark to run.
    #[command(subcommand)]
    pub what: What,
    /// Append the result to this file, one JSON object a line.
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Folder for data, removed afterwards [default: a new one in the system's temporary folder].
    #[arg(long, global = true)]
    pub dir: Option<PathBuf>,
    /// Where Kafka is, for the live engines.
    #[arg(long, global = true, default_value = "127.0.0.1:19092")]
    pub kafka: String,
    /// Where the CQL server is, for the live engines.
    #[arg(long, global = true, default_value = "127.0.0.1:19042")]
    pub cql: String,
}

/// Benchmarks, each a command with options of its own.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum What {
    /// Acknowledged readings a second through gRPC and the log, against the log's bare client.
    Ingest(ingest::Options),
    /// Readings a second from the log to the store, against the store's bare client.
    Persist(persist::Options),
    /// What it costs to decide who may see a patient, and how long a change takes to be in force.
    Access(access::Options),
    /// Devices to queryable, everything on this machine.
    AllIn(all_in::Options),
    /// Reports over the rows of a year of Medicare Part D, beside DuckDB and Spark.
    Analytics(analytics::Options),
    /// Readings a second from the log to Parquet files, and a day of one patient out of them.
    Archive(archive::Options),
    /// A day of one patient through the public API, and bytes a reading on disk.
    Timeline(timeline::Options),
    /// What a stream costs on which nothing happens.
    IdleStreams(idle::Options),
    /// Memory while the writer is stopped at full rate, and while it catches up.
    Memory(memory::Options),
}

/// Which log and store to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engines {
    /// In the server's process.
    Embedded,
    /// Kafka and a CQL server (`deploy/engines/engines up` starts them).
    #[value(alias = "kafka", alias = "cql")]
    Live,
}

impl Engines {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Live => "Kafka + CQL",
        }
    }
}

/// The devices of a benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Devices {
    /// How many devices send at once.
    #[arg(long, default_value = "32")]
    pub devices: NonZeroU32,
    /// TCP connections that they share.
    #[arg(long, default_value = "4")]
    pub connections: NonZeroU32,
}

/// Measures, prints the table, keeps the JSON; fails when what was sent is not what is there afterwards.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // one provider for the whole process: two in the dependencies would panic at the first handshake
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if env::args().nth(1).is_some_and(|what| what == "run") {
        let stop = CancellationToken::new();
        tokio::spawn(wardline::signals(stop.clone()));
        return wardline::commands::execute(wardline::cli::Cli::parse(), &node::services::ALL, stop).await;
    }
    let options = Options::parse();
    let report = measure(&options).await?;
    print!("{report}");
    if let Some(path) = &options.json {
        let mut line = serde_json::to_string(&report.json())?;
        line.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

async fn measure(options: &Options) -> anyhow::Result<Report> {
    let at = workspace::Where { dir: options.dir.clone(), kafka: options.kafka.clone(), cql: options.cql.clone() };
    match &options.what {
        What::Ingest(what) => ingest::run(what, &at).await,
        What::Persist(what) => persist::run(what, &at).await,
        What::Access(what) => access::run(what, &at).await,
        What::AllIn(what) => all_in::run(what, &at).await,
        What::Analytics(what) => analytics::run(what, &at).await,
        What::Archive(what) => archive::run(what, &at).await,
        What::Timeline(what) => timeline::run(what, &at).await,
        What::IdleStreams(what) => idle::run(what, &at).await,
        What::Memory(what) => memory::run(what, &at).await,
    }
}

/// The middle one of some figures; the upper of the two middle ones of an even number; 0 of none.
fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// The figure below which that share of all lies; 0 of none.
fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(last)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_figures() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        let hundred: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 0.99), quantile(&hundred, 1.0)), (99.0, 99.0));
    }
}
