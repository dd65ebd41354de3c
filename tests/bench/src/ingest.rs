//! `bench ingest`: acknowledged readings a second through gRPC, judgement and the log, against the log's bare client
//! that is given the same bytes: the records that we make of batches (a quarter to a half of the size), and the
//! devices' own messages as they come in.

use super::{
    Devices, Engines, bare,
    load::{Amount, BASE_SECOND, Fleet, Sent},
    median,
    report::Report,
    server::{Server, Unread},
    template::Templates,
    workspace::{Where, Workspace},
};
use anyhow::{Context, bail};
use bytes::Bytes;
use model::{PatientId, Record};
use node::engines::Log;
use proto::telemetry::v1::Limits;
use serde_json::json;
use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

/// Records of one poll while the topic is read back.
const POLL: (usize, usize, Duration) = (10_000, 8 << 20, Duration::from_secs(5));
/// Batches of a round, at least: with fewer the bare client is through before it has begun, and looks slow.
const N_BATCHES_MIN: u64 = 500_000;
/// Records of one fsync of the bare embedded engine: about what 32 devices have in flight.
const BARE_GROUP: usize = 4_000;

/// Options of the benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which log to run on.
    #[arg(long, value_enum, default_value_t = Engines::Live)]
    pub engines: Engines,
    /// Readings of one batch.
    #[arg(long, value_delimiter = ',', default_value = "10,60")]
    pub batch: Vec<NonZeroU32>,
    /// Readings of each round; more when they are less than 500,000 batches.
    #[arg(long, default_value = "2000000")]
    pub readings: NonZeroU64,
    /// Rounds of each size of batch; the medians are compared.
    #[arg(long, default_value = "3")]
    pub rounds: NonZeroU32,
    /// Which client sends.
    #[command(flatten)]
    pub devices: Devices,
}

pub(super) async fn run(options: &Options, at: &Where) -> anyhow::Result<Report> {
    let columns = [
        "batch",
        "acknowledged/s",
        "bare, records/s",
        "ratio",
        "target",
        "gRPC alone/s",
        "possible",
        "bytes",
        "bare, messages/s",
        "ratio to messages",
        "message bytes",
    ];
    let mut report = Report::new("ingest", &columns);
    // nothing is written to a store: its kind does not matter
    let mut place = Workspace::make(at, options.engines, Engines::Embedded).await?;
    let measured = measure(options, &mut place, &mut report).await;
    place.remove().await;
    measured?;
    let bare = match options.engines {
        Engines::Live => "librdkafka, acks=all, idempotent, zstd".to_owned(),
        Engines::Embedded => format!("fjall, an fsync each {BARE_GROUP} records"),
    };
    report.detail("engines", options.engines.name());
    report.note(format!(
        "readings a second of {} devices through gRPC and {}; bare: {bare}, given our records, or the devices' messages",
        options.devices.devices,
        if options.engines == Engines::Live { "Kafka" } else { "the embedded log" },
    ));
    report.note(
        "gRPC alone: the same messages from the same generator to a server that answers each with an Ack, unread; \
         possible: the ratio if nothing but that and the bare client ran, 1 / (1 / gRPC alone + 1 / bare) / bare",
    );
    report.note("the ratio counts what gRPC, authorisation, judgement and the load generator take on the same cores");
    Ok(report)
}

async fn measure(options: &Options, place: &mut Workspace, report: &mut Report) -> anyhow::Result<()> {
    let fleet = Fleet::register(place, &options.devices)?;
    let bare_topic = format!("{}_bare", place.config.log.kafka.topic);
    if options.engines == Engines::Live {
        place.beside(&[format!("log.kafka.topic={bare_topic}")]).await?;
    }
    for &batch in &options.batch {
        let templates = Arc::new(Templates::new(batch.get() as usize));
        let (mut ours, mut bare_records, mut bare_messages) = (Vec::new(), Vec::new(), Vec::new());
        let mut grpc = Vec::new();
        let mut bytes = (0.0, 0.0);
        for _ in 0..options.rounds.get() {
            let server = Server::start(place, &["ingest"]).await?;
            let ready = fleet.open(&server.endpoint).await?;
            let amount = Amount::Readings(options.readings.get().max(N_BATCHES_MIN * u64::from(batch.get())));
            let sent = ready.send(templates.clone(), batch.get(), amount).await?;
            let rate = |took: f64| sent.readings as f64 / took;
            ours.push(rate(sent.seconds()));
            server.stop().await?;
            let records = records(place, sent.batches).await?;
            let message = |(n, (key, _)): (usize, &(PatientId, Bytes))| {
                (*key, templates.message(0, n as u64 / u64::from(options.devices.devices.get()) + 1, BASE_SECOND))
            };
            let messages: Vec<_> = records.iter().enumerate().map(message).collect();
            bytes = (mean_bytes(&records), mean_bytes(&messages));
            let unread = unread(&fleet, place, &templates, batch.get(), amount).await?;
            grpc.push(unread.readings as f64 / unread.seconds());
            bare_records.push(rate(bare(options, place, &bare_topic, records).await?.as_secs_f64()));
            bare_messages.push(rate(bare(options, place, &bare_topic, messages).await?.as_secs_f64()));
        }
        let (ours, records, messages) = (median(&ours), median(&bare_records), median(&bare_messages));
        let grpc = median(&grpc);
        let target = if options.engines == Engines::Live { json!(0.6) } else { json!(null) };
        report.row([
            json!(batch.get()),
            json!(ours),
            json!(records),
            json!(ours / records),
            target,
            json!(grpc),
            json!(grpc / (grpc + records)),
            json!(bytes.0),
            json!(messages),
            json!(ours / messages),
            json!(bytes.1),
        ]);
    }
    Ok(())
}

/// The same through gRPC and no further.
async fn unread(
    fleet: &Fleet,
    place: &Workspace,
    templates: &Arc<Templates>,
    batch: u32,
    amount: Amount,
) -> anyhow::Result<Sent> {
    let limits = Limits {
        max_in_flight: place.config.ingest.max_in_flight,
        max_readings: place.config.ingest.max_readings,
        max_message_bytes: place.config.ingest.max_message_kib * 1_024,
        ..Limits::default()
    };
    let server = Unread::start(limits, &place.config).await?;
    fleet.open(&server.endpoint).await?.send(templates.clone(), batch, amount).await
}

fn mean_bytes(records: &[(PatientId, Bytes)]) -> f64 {
    let total: usize = records.iter().map(|(_, payload)| payload.len()).sum();
    total as f64 / records.len().max(1) as f64
}

/// The records of the round, read back from the log.
async fn records(place: &Workspace, n_records: u64) -> anyhow::Result<Vec<(PatientId, Bytes)>> {
    let mut log = Log::open(&place.config)?.subscriber(&place.config.writer.group)?;
    let mut records = Vec::new();
    while (records.len() as u64) < n_records {
        let deliveries = log.poll(POLL.0, POLL.1, POLL.2).await?;
        if deliveries.is_empty() && !records.is_empty() {
            bail!("{} of {n_records} acknowledged records are in the log", records.len());
        }
        let mut commits = bus::Commits::default();
        for delivery in deliveries {
            commits.add(&delivery);
            let patient = Record::decode(&delivery.payload).context("a record of our own")?.patient;
            records.push((patient, Bytes::copy_from_slice(&delivery.payload)));
        }
        log.commit(&commits).await?;
    }
    Ok(records)
}

async fn bare(
    options: &Options,
    place: &Workspace,
    topic: &str,
    records: Vec<(PatientId, Bytes)>,
) -> anyhow::Result<Duration> {
    if options.engines == Engines::Live {
        return tokio::task::block_in_place(|| bare::produce(place, topic, &records));
    }
    let folder = place.dir.join("bare");
    let items: Vec<_> =
        (0u64..).zip(&records).map(|(n, (_, payload))| (n.to_be_bytes().into(), payload.to_vec())).collect();
    let took = tokio::task::block_in_place(|| bare::Fjall::open(&folder, "records")?.write(&items, BARE_GROUP))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(took)
}
