//! The second half of `bench access`: how long it takes until a change of the directory has ended what it forbids.
//!
//! Each round opens streams of devices, half of which send all the time, and lets a clinician read; then the devices and
//! their patients' ward are taken out of the directory at once, and the time from there until each stream has ended with a
//! refusal, and until the patients do not exist for the clinician, is taken.

use super::Row;
use crate::{
    Engines,
    load::register,
    server::Server,
    workspace::{Where, Workspace},
};
use anyhow::Context;
use auth::{DemoIssuer, demo_person};
use client::{Connection, channel};
use guard::convert;
use proto::telemetry::v1::{
    Batch, LatestReadingsRequest, Open, Reading, StreamReadingsRequest, StreamReadingsResponse,
    ingest_service_client::IngestServiceClient, reading::Value, stream_readings_request::Message,
    timeline_service_client::TimelineServiceClient,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use uuid::Uuid;
use wardline::{
    operator,
    simulate::{DEFAULT_METRICS, SimulatedDevice},
};

const SEED: u64 = 0x4e70;
/// Streams that share a connection.
const A_CONNECTION: usize = 25;
/// Patients whom a clinician reads at the same time.
const READERS: u32 = 5;
/// Between two batches of a device that sends, and between two reads of a reader.
const EVERY: Duration = Duration::from_millis(50);
/// A change is in force within five seconds: what has not ended by then and long after never will.
const PATIENCE: Duration = Duration::from_secs(30);
/// The directory is read every second, a quiet stream every few: the change comes at any time of both.
const PHASE_MS: u64 = 5_000;
const WANTED_SECONDS: f64 = 5.0;

/// Seconds until each stream and each reader was stopped.
#[derive(Default)]
struct Ended {
    quiet: Vec<f64>,
    sending: Vec<f64>,
    readers: Vec<f64>,
}

/// A line for each of what is stopped.
pub(super) async fn rows(n_streams: u32, n_rounds: u32, at: &Where) -> anyhow::Result<Vec<Row>> {
    let place = Workspace::make(at, Engines::Embedded, Engines::Embedded).await?;
    let server = Server::start(&place, &[]).await?;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut ended = Ended::default();
    for _ in 0..n_rounds {
        let phase = Duration::from_millis(random.random_range(0..PHASE_MS));
        round(n_streams, phase, &place, &server, &mut ended).await?;
    }
    server.stop().await?;
    place.remove().await;
    let row = |what: &'static str, seconds: Vec<f64>| Row {
        what,
        n_allowed: 0,
        figures: seconds,
        unit: "s",
        wanted: Some(WANTED_SECONDS),
    };
    Ok(vec![
        row("a quiet stream ends, its device taken out", ended.quiet),
        row("a sending stream ends, its device taken out", ended.sending),
        row("a reader sees nothing, the relation ended", ended.readers),
    ])
}

async fn round(
    n_streams: u32,
    phase: Duration,
    place: &Workspace,
    server: &Server,
    ended: &mut Ended,
) -> anyhow::Result<()> {
    let identities: Vec<_> = (0..n_streams).map(|number| SimulatedDevice::new(SEED, number)).collect();
    let folder = place.config.directory_dir();
    register(&folder, identities.iter().copied())?;
    let issuer = DemoIssuer::open(&place.config.demo_dir())?;
    let mut streams = Vec::new();
    for some in identities.chunks(A_CONNECTION) {
        let channel = channel(&server.endpoint)?;
        for identity in some {
            streams.push(stream(&channel, &issuer.device_token(identity.device)?, *identity).await?);
        }
    }
    let token = issuer.user_token(demo_person("doctor").context("no doctor")?)?;
    let mut readers = Vec::new();
    for identity in identities.iter().take(READERS as usize) {
        let connection = operator::connect(&server.endpoint, &token).await?;
        let reader = Reader { client: TimelineServiceClient::new(connection), patient: identity.patient.uuid() };
        anyhow::ensure!(reader.read().await.is_ok(), "the clinician does not see the patient before");
        readers.push(reader);
    }
    let mut waiting: JoinSet<anyhow::Result<(What, Instant)>> = JoinSet::new();
    for (number, stream) in streams.into_iter().enumerate() {
        let sends = number % 2 == 1;
        waiting.spawn(async move { Ok((if sends { What::Sending } else { What::Quiet }, stream.ended(sends).await?)) });
    }
    for reader in readers {
        waiting.spawn(async move { Ok((What::Reader, reader.hidden().await?)) });
    }
    sleep(phase).await;
    let changed = Instant::now();
    register(&folder, std::iter::empty())?;
    while let Some(one) = waiting.join_next().await {
        let (what, at) = one??;
        let seconds = at.checked_duration_since(changed).context("it ended before the change")?.as_secs_f64();
        match what {
            What::Quiet => ended.quiet.push(seconds),
            What::Sending => ended.sending.push(seconds),
            What::Reader => ended.readers.push(seconds),
        }
    }
    Ok(())
}

enum What {
    Quiet,
    Sending,
    Reader,
}

/// An open stream.
struct OpenStream {
    batches: mpsc::Sender<StreamReadingsRequest>,
    answers: Streaming<StreamReadingsResponse>,
}

/// Opens a stream; waits until the node knows the device.
async fn stream(channel: &Channel, token: &str, identity: SimulatedDevice) -> anyhow::Result<OpenStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (batches, messages) = mpsc::channel(1);
        let open = Open {
            device_id: identity.device.uuid().to_string(),
            stream_id: Uuid::new_v4().to_string(),
            resume_after: 0,
            clock_quality: 1,
        };
        batches.send(StreamReadingsRequest { message: Some(Message::Open(open)) }).await?;
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        let mut answers = IngestServiceClient::new(channel.clone()).stream_readings(request).await?.into_inner();
        match answers.message().await {
            Ok(Some(_)) => return Ok(OpenStream { batches, answers }),
            other if Instant::now() > until => anyhow::bail!("a stream is not opened: {:?}", other.err()),
            _ => sleep(EVERY).await,
        }
    }
}

impl OpenStream {
    /// When it was ended as it should be; meanwhile it sends, or not.
    async fn ended(mut self, sends: bool) -> anyhow::Result<Instant> {
        let until = Instant::now() + PATIENCE;
        let mut sequence = 0;
        loop {
            let pause = if sends { EVERY } else { PATIENCE };
            match timeout(pause, self.answers.message()).await {
                Ok(Ok(Some(_))) => continue,
                Ok(Ok(None)) => anyhow::bail!("a stream ended without a reason"),
                Ok(Err(status)) if status.code() == Code::PermissionDenied => return Ok(Instant::now()),
                Ok(Err(status)) => anyhow::bail!("a stream ended with {:?}: {}", status.code(), status.message()),
                Err(_) => {}
            }
            anyhow::ensure!(Instant::now() < until, "a stream goes on after {PATIENCE:?}");
            sequence += 1;
            // one that was ended meanwhile takes nothing, and says so at the next read
            let _ = self.batches.try_send(batch(sequence));
        }
    }
}

fn batch(sequence: u64) -> StreamReadingsRequest {
    let reading = Reading {
        metric: DEFAULT_METRICS[0].to_owned(),
        measured_at: Some(convert::timestamp(guard::clock::now())),
        value: Some(Value::Number(70.0)),
        ..Default::default()
    };
    StreamReadingsRequest { message: Some(Message::Batch(Batch { sequence, readings: vec![reading] })) }
}

/// A clinician at one patient.
struct Reader {
    client: TimelineServiceClient<Connection>,
    patient: Uuid,
}

impl Reader {
    async fn read(&self) -> Result<(), Status> {
        let request = LatestReadingsRequest { patient_id: self.patient.to_string(), metrics: vec![] };
        self.client.clone().latest_readings(request).await.map(drop)
    }

    /// When there was no such patient any more.
    async fn hidden(self) -> anyhow::Result<Instant> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.read().await {
                Err(status) if status.code() == Code::NotFound => return Ok(Instant::now()),
                Err(status) => anyhow::bail!("a read failed with {:?}: {}", status.code(), status.message()),
                Ok(()) => {}
            }
            anyhow::ensure!(Instant::now() < until, "a reader still sees a patient after {PATIENCE:?}");
            sleep(EVERY).await;
        }
    }
}
