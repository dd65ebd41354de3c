//! The load generator: devices that send as fast as the server's credits allow, each on a stream of its own.

use super::{
    Devices,
    template::{METRICS, Templates},
    workspace::Workspace,
};
use anyhow::{Context, bail};
use auth::DemoIssuer;
use client::{Sender, Stream, Tokens, channel};
use model::PatientId;
use proto::telemetry::v1::ClockQuality;
use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tonic::transport::Channel;
use uuid::Uuid;
use wardline::simulate::SimulatedDevice;

/// How long the last acknowledgements may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// Devices and patients of benchmarks.
const SEED: u64 = 0xbe7c;
/// 2026-01-01: the devices' clocks start there, and run as fast as they send.
pub(super) const BASE_SECOND: i64 = 1_767_225_600;

/// Registered devices, one patient each.
pub(super) struct Fleet {
    devices: Vec<Arc<Device>>,
    issuer: Arc<DemoIssuer>,
    n_connections: usize,
}

struct Device {
    number: usize,
    identity: SimulatedDevice,
    /// The device's clock goes on from round to round.
    next_second: AtomicU64,
    /// Readings sent and acknowledged in all rounds.
    n_readings: AtomicU64,
}

/// When the devices stop: after a number of readings, or after a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Amount {
    /// So many readings, of all devices together.
    Readings(u64),
    /// As much as is done in this time.
    For(Duration),
}

/// How long a device that is held waits before it checks again.
const HELD_PAUSE: Duration = Duration::from_millis(2);

/// Open streams, before the first batch.
pub(super) struct Ready {
    senders: Vec<(Arc<Device>, Sender)>,
    acknowledged: Vec<watch::Receiver<u64>>,
    hold: Arc<AtomicBool>,
}

/// What was sent and acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// When the first batch could have been sent.
    pub(super) begun: Instant,
    /// When the last acknowledgement had come.
    pub(super) acknowledged: Instant,
    pub(super) batches: u64,
    pub(super) readings: u64,
}

impl Sent {
    /// From the first batch to the last acknowledgement.
    pub(super) fn seconds(&self) -> f64 {
        (self.acknowledged - self.begun).as_secs_f64()
    }
}

impl Fleet {
    /// Registers devices in the place's directory; do it before the server starts, or it will not know them at once.
    pub(super) fn register(place: &Workspace, devices: &Devices) -> anyhow::Result<Self> {
        let n_devices = devices.devices.get();
        let device = |number| {
            let identity = SimulatedDevice::new(SEED, number);
            let next_second = AtomicU64::new(BASE_SECOND as u64);
            Arc::new(Device { number: number as usize, identity, next_second, n_readings: AtomicU64::new(0) })
        };
        let n_connections = devices.connections.get() as usize;
        let devices: Vec<_> = (0..n_devices).map(device).collect();
        register(&place.config.directory_dir(), devices.iter().map(|device| device.identity))?;
        let issuer = Arc::new(DemoIssuer::open(&place.config.demo_dir()).context("demo issuer")?);
        Ok(Self { devices, issuer, n_connections })
    }

    /// Opens a new stream for each device.
    pub(super) async fn open(&self, endpoint: &str) -> anyhow::Result<Ready> {
        self.open_some(endpoint, self.devices.len()).await
    }

    /// Opens a new stream for each of the first devices.
    pub(super) async fn open_some(&self, endpoint: &str, n_devices: usize) -> anyhow::Result<Ready> {
        let channels: Vec<Channel> =
            (0..self.n_connections).map(|_| channel(endpoint)).collect::<Result<_, _>>().context("endpoint")?;
        let mut senders = Vec::new();
        for (device, channel) in self.devices.iter().take(n_devices).zip(channels.iter().cycle()) {
            let (issuer, identity) = (self.issuer.clone(), device.identity);
            let tokens: Tokens = Arc::new(move || Ok(issuer.device_token(identity.device)?));
            let stream = Stream {
                device: identity.device.uuid(),
                stream: Uuid::new_v4(),
                resume_after: 0,
                clock: ClockQuality::Synchronized,
            };
            senders.push((device.clone(), Sender::open(channel.clone(), tokens, stream).await?));
        }
        let acknowledged = senders.iter().map(|(_, sender)| sender.acknowledged()).collect();
        Ok(Ready { senders, acknowledged, hold: Arc::default() })
    }

    /// The patients, and how many readings of each were acknowledged in all rounds.
    pub(super) fn patients(&self) -> impl Iterator<Item = (PatientId, u64)> + '_ {
        self.devices.iter().map(|device| (device.identity.patient, device.n_readings.load(Ordering::Relaxed)))
    }

    /// The first second after all that was sent.
    pub(super) fn data_until(&self) -> i64 {
        let seconds = self.devices.iter().map(|device| device.next_second.load(Ordering::Relaxed));
        seconds.max().unwrap_or(0) as i64
    }
}

impl Ready {
    /// The sequence that each stream is acknowledged up to.
    pub(super) fn acknowledged(&self) -> Vec<watch::Receiver<u64>> {
        self.acknowledged.clone()
    }

    /// While it is set devices do not send.
    pub(super) fn hold(&self) -> Arc<AtomicBool> {
        self.hold.clone()
    }

    /// Sends, waits for all acknowledgements, and sees that every reading was accepted.
    pub(super) async fn send(self, templates: Arc<Templates>, batch: u32, amount: Amount) -> anyhow::Result<Sent> {
        let n_devices = self.senders.len() as u64;
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for (device, sender) in self.senders {
            let (templates, hold) = (templates.clone(), self.hold.clone());
            tasks.spawn(async move {
                let base = device.next_second.load(Ordering::Relaxed);
                let (last, until) = match amount {
                    Amount::Readings(n) => (n / u64::from(batch) / n_devices, None),
                    Amount::For(time) => (u64::MAX, Some(begun + time)),
                };
                let mut sequence = 0;
                while sequence < last && until.is_none_or(|until| Instant::now() < until) {
                    if hold.load(Ordering::Relaxed) {
                        tokio::time::sleep(HELD_PAUSE).await;
                        continue;
                    }
                    sequence += 1;
                    let message = templates.message(device.number, sequence, base as i64);
                    sender.send_encoded(sequence, message, batch).await?;
                }
                let n_seconds = (sequence + 1) * u64::from(batch) / METRICS.len() as u64 + 1;
                device.next_second.store(base + n_seconds, Ordering::Relaxed);
                device.n_readings.fetch_add(sequence * u64::from(batch), Ordering::Relaxed);
                let progress = sender.close(ACKNOWLEDGED_WITHIN).await?;
                anyhow::Ok((sequence, progress))
            });
        }
        let (mut batches, mut accepted) = (0, 0);
        while let Some(ended) = tasks.join_next().await {
            let (sequence, progress) = ended??;
            batches += sequence;
            accepted += progress.accepted;
            if let Some(refusal) = progress.sample.first() {
                bail!("a reading was refused: {} {}", refusal.field, refusal.reason);
            }
        }
        let readings = batches * u64::from(batch);
        if accepted != readings {
            bail!("{readings} readings were sent, {accepted} acknowledged");
        }
        Ok(Sent { begun, acknowledged: Instant::now(), batches, readings })
    }
}

/// Batches that are acknowledged by now.
pub(super) fn acknowledged(streams: &[watch::Receiver<u64>]) -> u64 {
    streams.iter().map(|stream| *stream.borrow()).sum()
}

/// Writes a directory file with devices, their patients and the ward of the demo's people.
pub(super) fn register(folder: &Path, devices: impl Iterator<Item = SimulatedDevice>) -> anyhow::Result<()> {
    let mut text = String::from("# Devices of a benchmark.\n");
    for SimulatedDevice { patient, device, .. } in devices {
        let (patient, device) = (patient.uuid(), device.uuid());
        writeln!(text, "\n[[patient]]\nid = \"{patient}\"\nward = \"icu\"")?;
        writeln!(text, "\n[[device]]\nid = \"{device}\"\nmodel = \"load generator\"")?;
        writeln!(text, "\n[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"")?;
        writeln!(text, "from = \"2000-01-01T00:00:00Z\"")?;
    }
    fs::create_dir_all(folder)?;
    let unfinished = folder.join("bench.tmp");
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, folder.join("bench.toml")))?;
    Ok(())
}
