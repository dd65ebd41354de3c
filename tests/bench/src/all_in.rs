//! `bench all-in`: from devices to queryable, with engines and load generator on the same machine.
//!
//! The clock runs from the first batch until everything is acknowledged and the writer has made all of it durable in
//! the store; then it is read back through the public API and counted. Devices hold back while the writer lags by more than
//! a bound, so that the figure is one that can go on for ever.

use super::{
    Devices, Engines,
    load::{self, Amount, BASE_SECOND, Fleet},
    median,
    process::cpu_seconds,
    report::Report,
    server::Server,
    template::Templates,
    timeline::Reader,
    workspace::{Where, Workspace},
};
use anyhow::bail;
use serde_json::json;
use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

/// How often the writer's lag is read.
const LAG_EVERY: Duration = Duration::from_millis(20);
/// Patients read back after each round.
const N_READ_BACK: usize = 2;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which log and store to run on.
    #[arg(long, value_enum, default_value_t = Engines::Embedded)]
    pub engines: Engines,
    /// Readings of one batch.
    #[arg(long, value_delimiter = ',', default_value = "1,10,60")]
    pub batch: Vec<NonZeroU32>,
    /// How long to send in each round.
    #[arg(long, default_value = "10")]
    pub seconds: NonZeroU64,
    /// Rounds of each size of batch; the median counts.
    #[arg(long, default_value = "3")]
    pub rounds: NonZeroU32,
    /// Batches by which the writer may be behind before devices hold back.
    #[arg(long, default_value = "20000")]
    pub lag: u64,
    /// Which client sends.
    #[command(flatten)]
    pub devices: Devices,
}

struct Round {
    acknowledged: f64,
    queryable: f64,
    lag_max: u64,
    catch_up_seconds: f64,
    server_cpu: f64,
    client_cpu: f64,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let mut report = Report::new(
        "all-in",
        &[
            "batch",
            "queryable/s",
            "acknowledged/s",
            "target/s",
            "largest lag, batches",
            "catch-up s",
            "server CPU s/M",
            "client CPU s/M",
            "generator s/M",
        ],
    );
    report.detail("engines", options.engines.name());
    report.detail("devices", options.devices.devices.get());
    let place = Workspace::make(at, options.engines, options.engines).await?;
    let measured = measure(options, &place, &mut report).await;
    place.remove().await;
    measured?;
    report.note(format!(
        "{}, {} devices on {} connections, {} s a round, median of {} rounds; rates are readings a second; devices hold \
         back while the writer is more than {} batches behind",
        options.engines.name(),
        options.devices.devices,
        options.devices.connections,
        options.seconds,
        options.rounds,
        options.lag
    ));
    report.note(format!("afterwards {N_READ_BACK} patients were read back whole through the public API, and counted"));
    report.note("s/M: CPU seconds per million readings; the generator's part is in the client's");
    Ok(report)
}

async fn measure(options: &Options, place: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::register(place, &options.devices)?;
    let server = Server::start(place, &[]).await?;
    let mut n_records = 0;
    for &batch in &options.batch {
        let templates = Arc::new(Templates::new(batch.get() as usize));
        let mut rounds = Vec::new();
        for _ in 0..options.rounds.get() {
            let time = Amount::For(Duration::from_secs(options.seconds.get()));
            let round = round(&fleet, &server, &templates, batch.get(), (time, options.lag), &mut n_records).await?;
            rounds.push(round);
        }
        let of = |figure: fn(&Round) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
        let target = match (options.engines, batch.get()) {
            (Engines::Embedded, 10) => json!(300_000),
            (Engines::Live, 10) => json!(50_000),
            _ => json!(null),
        };
        report.row([
            json!(batch.get()),
            json!(of(|round| round.queryable)),
            json!(of(|round| round.acknowledged)),
            target,
            json!(rounds.iter().map(|round| round.lag_max).max()),
            json!(of(|round| round.catch_up_seconds)),
            json!(of(|round| round.server_cpu)),
            json!(of(|round| round.client_cpu)),
            json!(templates.cost_ns() / 1e3 / f64::from(batch.get())),
        ]);
    }
    read_back(&fleet, &server, place).await?;
    server.stop().await
}

async fn round(
    fleet: &Fleet,
    server: &Server,
    templates: &Arc<Templates>,
    batch: u32,
    (time, lag_bound): (Amount, u64),
    n_records: &mut u64,
) -> anyhow::Result<Round> {
    let ready = fleet.open(&server.endpoint).await?;
    let streams = ready.acknowledged();
    let (server_before, client_before) = (cpu_seconds(server.pid)?, cpu_seconds(std::process::id())?);
    let (over, before, hold) = (CancellationToken::new(), *n_records, ready.hold());
    let watching = async {
        let (mut lag_max, mut due) = (0, interval(LAG_EVERY));
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = over.cancelled() => return anyhow::Ok(lag_max),
            }
            // first what is written: what is acknowledged meanwhile would only make the lag look larger
            let written = server.metric("wardline_writer_records_total").await?.saturating_sub(before);
            let lag = load::acknowledged(&streams).saturating_sub(written);
            hold.store(lag > lag_bound, Ordering::Relaxed);
            lag_max = lag_max.max(lag);
        }
    };
    let sending = async {
        let sent = ready.send(templates.clone(), batch, time).await;
        over.cancel();
        sent
    };
    let (sent, lag_max) = tokio::join!(sending, watching);
    let (sent, lag_max) = (sent?, lag_max?);
    *n_records += sent.batches;
    server.persisted(*n_records).await?;
    let now = Instant::now();
    let (readings, queryable_after) = (sent.readings as f64, (now - sent.begun).as_secs_f64());
    Ok(Round {
        acknowledged: readings / sent.seconds(),
        queryable: readings / queryable_after,
        lag_max,
        catch_up_seconds: (now - sent.acknowledged).as_secs_f64(),
        server_cpu: (cpu_seconds(server.pid)? - server_before) * 1e6 / readings,
        client_cpu: (cpu_seconds(std::process::id())? - client_before) * 1e6 / readings,
    })
}

/// Nothing is called queryable that was not read.
async fn read_back(fleet: &Fleet, server: &Server, place: &Workspace) -> anyhow::Result<()> {
    let mut reader = Reader::connect(&server.endpoint, place)?;
    for (patient, sent) in fleet.patients().take(N_READ_BACK) {
        let found = reader.read(patient, BASE_SECOND, fleet.data_until()).await?.readings;
        if found != sent {
            bail!("{found} readings of a patient were read back, {sent} were acknowledged");
        }
    }
    Ok(())
}
