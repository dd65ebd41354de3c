//! `wardline simulate`: seeded devices that send vital signs through the public API as real ones would.
//!
//! The same seed gives the same patients, devices, sequences and values; only the time of day differs. Each run is a device
//! that has lost its state: it has a stream of its own. Sending is open-loop: each batch has
//! a time at which it is due, and latency counts from there, so a slow server cannot slow the clock it is measured by.

mod device;
mod latency;
mod patient;
pub mod prescribers;

use crate::{demo_ward::Bed, device_tokens::DeviceTokens, replay::Target};
use anyhow::Context;
use auth::DemoIssuer;
use device::{Device, Outcome, Pace};
use latency::Histogram;
use model::{DeviceId, Nanos, PatientId, StreamId};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    num::NonZeroU32,
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use patient::{DEFAULT_METRICS, METRICS, Patient, Scenario};

/// Streams that share a connection: below the 128 that a node takes by default.
const STREAMS_PER_CONNECTION: usize = 64;
/// Devices are assigned from long before the first run, so that late readings and slow clocks find their patient: 2000.
const FROM: Nanos = Nanos(946_684_800 * Nanos::SECOND);
/// Namespace of simulated identifiers.
const NAMESPACE: Uuid = Uuid::from_u128(0x5157_0f1a_7e5e_4c1b_9d35_77a2_d1a1_0001);

/// Other things that can be made up, beside devices.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Other {
    /// Rows of Medicare Part D, by prescriber and drug, in a file.
    Prescribers(prescribers::Options),
}

/// Options of `wardline simulate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How many devices, one patient each.
    #[arg(long, default_value = "10")]
    pub devices: NonZeroU32,
    /// Readings a second of each device, cycling over its metrics; `max`: as fast as the server's credits allow.
    #[arg(long, default_value = "5")]
    pub rate: Rate,
    /// Readings of one batch, which is acknowledged as one.
    #[arg(long, default_value = "5")]
    pub batch: NonZeroU32,
    /// What happens to the patients and to the devices.
    #[arg(long, value_enum, default_value_t = Scenario::Calm)]
    pub scenario: Scenario,
    /// The same seed gives the same values, sequences and identifiers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// For how many seconds to send.
    #[arg(long, default_value = "30")]
    pub seconds: NonZeroU32,
    /// Metrics by LOINC code [default: heart rate, SpO2, respiratory rate, systolic blood pressure, temperature].
    #[arg(long, value_delimiter = ',')]
    pub metrics: Vec<String>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// How fast a device sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As fast as it may.
    Max,
    /// So many readings a second.
    Hertz(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(hertz) if (0.001..=100_000.0).contains(&hertz) => Ok(Self::Hertz(hertz)),
                _ => Err(format!("{} is no rate: give max, or 0.001 to 100000 readings a second", model::quoted(text))),
            },
        }
    }
}

/// What was sent, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Number of devices that sent.
    pub devices: u32,
    /// Readings handed over, repetitions not counted.
    pub sent: u64,
    /// Readings sent once more in a new stream, as by a device that lost its state: in none of the other numbers but `refused`. They
    /// are kept, and shown once.
    pub again: u64,
    /// Readings that the server acknowledged, and so made durable, for the first time.
    pub acknowledged: u64,
    /// Readings that the server knew already when they came.
    pub duplicate: u64,
    /// Readings refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Connections that devices made again after their first one ended.
    pub reconnects: u64,
    /// Seconds from the first batch to the last acknowledgement.
    pub seconds: f64,
    /// Acknowledged readings a second.
    pub readings_per_second: f64,
    /// Half of the batches were acknowledged within so many milliseconds after they were due.
    pub ack_p50_ms: f64,
    /// The same of 99 of 100 batches, in milliseconds.
    pub ack_p99_ms: f64,
    /// UUID of the first device's patient: whose timeline to read afterwards.
    pub first_patient: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { devices, sent, acknowledged, duplicate, .. } = self;
        let mut refused = String::new();
        for (reason, n) in &self.refused {
            write!(refused, "{}{n} {reason}", if refused.is_empty() { "" } else { ", " })?;
        }
        writeln!(f, "devices       {devices}")?;
        writeln!(f, "sent          {sent} readings")?;
        if self.again > 0 {
            writeln!(f, "once more     {} in a new stream", self.again)?;
        }
        writeln!(f, "acknowledged  {acknowledged}")?;
        writeln!(f, "duplicate     {duplicate}")?;
        writeln!(f, "refused       {}", if refused.is_empty() { "0" } else { &refused })?;
        writeln!(f, "reconnects    {}", self.reconnects)?;
        writeln!(f, "time          {:.1} s, {:.0} readings/s", self.seconds, self.readings_per_second)?;
        writeln!(
            f,
            "ack latency   p50 {:.1} ms, p99 {:.1} ms after a batch was due",
            self.ack_p50_ms, self.ack_p99_ms
        )?;
        write!(f, "a patient     {}", self.first_patient)
    }
}

/// Identifiers of a simulated device and its patient.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedDevice {
    /// Id of the patient.
    pub patient: PatientId,
    /// Id of the device.
    pub device: DeviceId,
    /// The device's only stream.
    pub stream: StreamId,
}

impl SimulatedDevice {
    /// Of the `number`th device of a seed, from 0.
    pub fn new(seed: u64, number: u32) -> Self {
        let id = |what: &str| Uuid::new_v5(&NAMESPACE, format!("{seed} {what} {number}").as_bytes());
        Self {
            patient: PatientId::new(id("patient")),
            device: DeviceId::new(id("device")),
            stream: StreamId::new(id("stream")),
        }
    }
}

/// Registers the devices, and lets them [`send`].
pub async fn run(options: Options, target: Target) -> anyhow::Result<Report> {
    // before anything is registered
    metrics(&options.metrics)?;
    let bed = |number| {
        let SimulatedDevice { patient, device, .. } = SimulatedDevice::new(options.seed, number);
        let name = |what| format!("Simulated {what} {}-{number}", options.seed);
        let (patient_name, device_name) = (name("patient"), name("monitor"));
        Bed { patient, patient_name, device, device_name, model: "simulated monitor".to_owned(), from: FROM }
    };
    let beds: Vec<_> = (0..options.devices.get()).map(bed).collect();
    let tokens = target.admit(&beds).await?;
    send_as(options, &target, tokens).await
}

/// Sends with tokens of the demo's issuer for the time given (or until Ctrl-C), waits for the acknowledgements, reports. The
/// devices are in service already.
pub async fn send(options: Options, target: Target) -> anyhow::Result<Report> {
    let issuer = Arc::new(DemoIssuer::open(&target.demo_dir).context("demo issuer")?);
    send_as(options, &target, DeviceTokens::Demo(issuer)).await
}

async fn send_as(options: Options, target: &Target, tokens: DeviceTokens) -> anyhow::Result<Report> {
    let metrics = metrics(&options.metrics)?;
    let n_devices = options.devices.get();
    let pace = Pace::new(options.rate, options.batch.get(), options.seconds.get());
    let mut connection = target.endpoint.connection()?;
    let stop = CancellationToken::new();
    let mut devices = JoinSet::new();
    for number in 0..n_devices {
        if number > 0 && (number as usize).is_multiple_of(STREAMS_PER_CONNECTION) {
            connection = target.endpoint.connection()?;
        }
        let identity = SimulatedDevice::new(options.seed, number);
        let device = Device {
            identity,
            patient: Patient::new(options.seed, number, options.scenario)
                .with_metrics(&metrics)
                .with_course(Duration::from_secs(options.seconds.get().into())),
            connection: connection.clone(),
            tokens: tokens.of(identity.device),
            patience: target.patience,
            pace,
            number,
            n_devices,
        };
        devices.spawn(device.run(stop.clone()));
    }
    let total = collect(devices, stop).await?;
    Ok(report(total, n_devices, SimulatedDevice::new(options.seed, 0)))
}

/// The metrics asked for, or the default ones.
fn metrics(keys: &[String]) -> anyhow::Result<Vec<&'static str>> {
    if keys.is_empty() {
        return Ok(DEFAULT_METRICS.to_vec());
    }
    let known = |key: &String| {
        METRICS.iter().find(|metric| **metric == key).copied().with_context(|| {
            format!("metric {} cannot be simulated; known are {}", model::quoted(key), METRICS.join(", "))
        })
    };
    keys.iter().map(known).collect()
}

/// Waits for all devices; the first that fails, and Ctrl-C, stop the others.
async fn collect(mut devices: JoinSet<anyhow::Result<Outcome>>, stop: CancellationToken) -> anyhow::Result<Outcome> {
    let mut total = Outcome::default();
    let mut failure = None;
    loop {
        let next = tokio::select! {
            next = devices.join_next() => next,
            _ = tokio::signal::ctrl_c(), if !stop.is_cancelled() => {
                stop.cancel();
                continue;
            }
        };
        match next {
            None => break,
            Some(Ok(Ok(outcome))) => total.add(outcome),
            Some(ended) => {
                stop.cancel();
                let error = ended.map_err(anyhow::Error::from).and_then(|result| result.map(drop)).err();
                failure = failure.or(error);
            }
        }
    }
    failure.map_or(Ok(total), Err)
}

fn report(total: Outcome, devices: u32, first: SimulatedDevice) -> Report {
    let Outcome { sent, again, progress, reconnects, latency, begun } = total;
    let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
    let quantile = |share| Histogram::milliseconds(latency.quantile(share));
    Report {
        devices,
        sent,
        again,
        acknowledged: progress.accepted,
        duplicate: progress.duplicate,
        refused: progress.refused,
        reconnects,
        seconds,
        readings_per_second: progress.accepted as f64 / seconds.max(1e-9),
        ack_p50_ms: quantile(0.5),
        ack_p99_ms: quantile(0.99),
        first_patient: first.patient.uuid().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_from_the_seed() {
        let (a, b) = (SimulatedDevice::new(1, 0), SimulatedDevice::new(1, 0));
        assert_eq!((a.patient, a.device, a.stream), (b.patient, b.device, b.stream));
        assert_ne!(a.device, SimulatedDevice::new(1, 1).device);
        assert_ne!(a.device, SimulatedDevice::new(2, 0).device);
        assert_ne!(a.device.uuid(), a.patient.uuid());
    }

    #[test]
    fn rates_and_metrics_are_checked() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("2.5".parse(), Ok(Rate::Hertz(2.5)));
        for wrong in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
        assert_eq!(metrics(&[]).unwrap(), DEFAULT_METRICS);
        assert!(metrics(&["0000-0".to_owned()]).unwrap_err().to_string().contains("8867-4"));
    }
}
