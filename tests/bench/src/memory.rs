//! `bench memory`: devices send at full rate while the writer is stopped; then it catches up. What each process has
//! in memory at most, and how fast the backlog goes.

use super::{
    Devices, Engines,
    load::{Amount, Fleet},
    process::resident_bytes,
    report::Report,
    server::Server,
    template::Templates,
    workspace::{Where, Workspace},
};
use serde_json::json;
use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::{Duration, Instant},
};

/// Each service is to stay below.
const LIMIT_MIB: u64 = 256;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which log and store to run on.
    #[arg(long, value_enum, default_value_t = Engines::Embedded)]
    pub engines: Engines,
    /// How long to send while the writer is stopped.
    #[arg(long, default_value = "120")]
    pub seconds: NonZeroU64,
    /// Readings of one batch.
    #[arg(long, default_value = "10")]
    pub batch: NonZeroU32,
    /// Which client sends.
    #[command(flatten)]
    pub devices: Devices,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let mut report = Report::new("memory", &["process", "peak MiB", "limit MiB", "readings/s"]);
    let place = Workspace::make(at, options.engines, options.engines).await?;
    let measured = measure(options, &place, &mut report).await;
    place.remove().await;
    measured?;
    report.note(format!(
        "{}, {} devices at full rate for {} s in batches of {}, the writer stopped; then it catches up",
        options.engines.name(),
        options.devices.devices,
        options.seconds,
        options.batch
    ));
    if options.engines == Engines::Embedded {
        report.note("the embedded log is one process's: ingest was ended before the writer was started");
    }
    Ok(report)
}

async fn measure(options: &Options, place: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::register(place, &options.devices)?;
    let templates = Arc::new(Templates::new(options.batch.get() as usize));
    let server = Server::start(place, &["ingest"]).await?;
    let ready = fleet.open(&server.endpoint).await?;
    let amount = Amount::For(Duration::from_secs(options.seconds.get()));
    let sent = ready.send(templates, options.batch.get(), amount).await?;
    let line = |process, peak: u64, rate: f64| [json!(process), json!(peak >> 20), json!(LIMIT_MIB), json!(rate)];
    report.row(line("ingest", resident_bytes(server.pid)?.1, sent.readings as f64 / sent.seconds()));
    let ingest = match options.engines {
        Engines::Embedded => {
            server.stop().await?;
            None
        }
        Engines::Live => Some(server),
    };
    let begun = Instant::now();
    let writer = Server::start(place, &["writer"]).await?;
    writer.persisted(sent.batches).await?;
    let rate = sent.readings as f64 / begun.elapsed().as_secs_f64();
    report.row(line("writer, catching up", resident_bytes(writer.pid)?.1, rate));
    report.detail("backlog_records", sent.batches);
    writer.stop().await?;
    match ingest {
        Some(ingest) => ingest.stop().await,
        None => Ok(()),
    }
}
