//! `wardline replay`: plays a recording of real patients through the public gRPC API, as their devices would have sent it.
//!
//! What it promises: the same recording, order and anchor give the same devices, streams, batches and sequences, so
//! that a replay that is interrupted goes on where it was, and one that is repeated lands on itself. Every value of the
//! recording is accounted for in the [`Report`]: sent, recorded twice, skipped with a reason, or unmapped.
//!
//! A recording is held in memory, at 32 bytes a reading (MIMIC-III's demo: 24 MB). What items mean: `mapping.toml`.

mod eicu;
mod formats;
mod grpc;
mod lasting;
mod mapping;
mod pace;
mod plan;
mod progress;
mod recording;
mod report;
mod send;
mod source;
mod state;
mod table;
mod text;

pub use formats::Format;
pub use pace::Speed;
pub use plan::Order;
pub use report::Report;
pub use send::{Connect, Outlet};
pub use state::Progress;
pub(crate) use state::replace;

use crate::{
    demo_ward::{self, Bed, Callers},
    device_tokens::DeviceTokens,
    operator::Sending,
};
use anyhow::{Context, Result, bail};
use client::{Remote, Tokens};
use jiff::Timestamp;
use mapping::Mapping;
use model::Nanos;
use node::config::Config;
use plan::Plan;
use send::Ledger;
use state::State;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Streams open at once, unless told otherwise.
const DEVICES_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// How long a server that has gone is waited for, unless told otherwise: one that starts again is back long before.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to play, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Format of the recording.
    #[arg(value_enum)]
    pub format: Format,
    /// A file, folder or archive: plain, .gz, .zst or .tar.zst.
    pub path: PathBuf,
    /// By which time devices send [default: arrival where the format knows it].
    #[arg(long, value_enum)]
    pub order: Option<Order>,
    /// How fast: 1x, 60x ... or max.
    #[arg(long, default_value = "max")]
    pub speed: Speed,
    /// Where each patient's last reading lies (RFC 3339) [default: the minute of the first run].
    #[arg(long, conflicts_with = "keep_time", value_parser = exact_time)]
    pub anchor: Option<Timestamp>,
    /// Leave times as they were recorded (mimic, cgm).
    #[arg(long)]
    pub keep_time: bool,
    /// Send again what has been acknowledged before.
    #[arg(long)]
    pub again: bool,
    /// Only read and plan, and print what would be sent.
    #[arg(long)]
    pub dry_run: bool,
    /// Devices that send at once, each on a stream of its own.
    #[arg(long, default_value_t = DEVICES_IN_FLIGHT)]
    pub devices_in_flight: NonZeroUsize,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// As fast as the server takes it, everything else by default.
    pub fn of(format: Format, path: PathBuf) -> Self {
        Self {
            format,
            path,
            order: None,
            speed: Speed::Max,
            anchor: None,
            keep_time: false,
            again: false,
            dry_run: false,
            devices_in_flight: DEVICES_IN_FLIGHT,
            json: false,
        }
    }
}

/// Where to send to, and where to keep notes.
#[derive(Clone)]
pub struct Target {
    /// Address of the node, and how to connect to it.
    pub endpoint: Remote,
    /// Folder with the demo's signing key.
    pub demo_dir: PathBuf,
    /// Folder with `replay/`, the notes for resuming.
    pub data_dir: PathBuf,
    /// Whose tokens register the devices; none means the demo's people.
    pub tokens: Option<Tokens>,
    /// How long a server that has gone is waited for.
    pub patience: Duration,
}

impl Target {
    /// A node, and the folders of the settings.
    pub fn of(config: &Config, endpoint: Remote) -> Self {
        Self::new(endpoint, config.demo_dir(), config.data.dir.clone())
    }

    /// A node and folders.
    pub fn new(endpoint: Remote, demo_dir: PathBuf, data_dir: PathBuf) -> Self {
        Self { endpoint, demo_dir, data_dir, tokens: None, patience: PATIENCE }
    }

    /// As the command line says.
    #[must_use]
    pub fn with(self, sending: &Sending) -> Self {
        let (tokens, patience) = (sending.access.tokens(), Duration::from_secs(sending.patience.into()));
        Self { tokens, patience, ..self }
    }

    /// Puts devices into service; their tokens.
    pub(crate) async fn admit(&self, beds: &[Bed]) -> Result<DeviceTokens> {
        let callers = Callers::new(self.tokens.clone(), &self.demo_dir)?;
        demo_ward::admit(&self.endpoint, &callers, beds).await
    }
}

/// Plays a recording until all of it is acknowledged; Ctrl-C ends it early, and the same call goes on.
pub async fn run(options: Options, target: Target) -> Result<Report> {
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    let signal = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.cancel();
        }
    });
    let report = run_until(options, target, stop).await;
    signal.abort();
    report
}

/// [`run`], ended early by `stop` instead of Ctrl-C.
pub async fn run_until(options: Options, target: Target, stop: CancellationToken) -> Result<Report> {
    let connect: Arc<dyn Connect> = Arc::new(grpc::Grpc::new(&target, options.devices_in_flight.get())?);
    run_with(options, &target, connect, stop).await
}

/// [`run_until`] over streams of any kind.
pub async fn run_with(
    options: Options,
    target: &Target,
    connect: Arc<dyn Connect>,
    stop: CancellationToken,
) -> Result<Report> {
    if options.keep_time && !options.format.has_dates() {
        bail!("--keep-time: {} knows times since admission only, no dates", options.format.name());
    }
    let reading = options.clone();
    let (mut plan, files) = tokio::task::spawn_blocking(move || prepare(&reading)).await??;
    plan.fingerprint = fingerprint(&options, &plan)?;
    let path = target.data_dir.join("replay").join(format!("{}.json", plan.fingerprint));
    let found = State::read(&path)?;
    let anchor = match (&found, options.keep_time, options.anchor) {
        (_, true, _) => None,
        (_, _, Some(at)) => Some(nanos(at)?),
        (Some(state), _, None) => state.anchor_ns.map(Nanos),
        (None, _, None) => Some(this_minute()?),
    };
    plan.anchor(anchor)?;
    let state = match found {
        Some(state) if state.complete && !options.again && !options.dry_run => {
            let report = Report::new(options.format, files, &plan, &state);
            return Ok(Report { already_complete: true, ..report });
        }
        Some(state) if !options.again => state,
        _ => State::new(anchor),
    };
    if options.dry_run {
        return Ok(Report::new(options.format, files, &plan, &state));
    }
    state.write(&path)?;
    connect.admit(&plan.beds(options.format)).await?;
    play(&options, Arc::new(plan), state, &path, connect, stop).await.map(|(plan, state)| {
        let report = Report::new(options.format, files, &plan, &state);
        if !report.balances() {
            tracing::error!("the replay's books do not close");
        }
        report
    })
}

/// Reads and plans.
fn prepare(options: &Options) -> Result<(Plan, u64)> {
    let mapping = Arc::new(Mapping::load()?);
    let reading = progress::Reading::start(options.format.name());
    let recording = options.format.read(&options.path, &mapping)?;
    reading.end(recording.tally.read, recording.readings());
    let default = if options.format.has_arrival() { Order::Arrival } else { Order::Measured };
    let files = recording.files;
    Ok((Plan::new(options.format, recording, &mapping, options.order.unwrap_or(default))?, files))
}

/// Sends the rest of the plan and writes down how far it came.
async fn play(
    options: &Options,
    plan: Arc<Plan>,
    mut state: State,
    path: &Path,
    connect: Arc<dyn Connect>,
    stop: CancellationToken,
) -> Result<(Arc<Plan>, State)> {
    state.complete = false;
    let before_seconds = state.seconds;
    let ledger = Arc::new(Ledger::new(state));
    let started = Instant::now();
    let total = plan.readings();
    let mut shown = progress::Sending::start(total, ledger.answered());
    let mut written = Instant::now();
    let snapshot = |ledger: &Ledger| {
        let mut state = ledger.state();
        state.seconds = before_seconds + started.elapsed().as_secs_f64();
        state
    };
    let mut tick = |ledger: &Ledger| {
        shown.show(ledger.answered());
        if written.elapsed() >= progress::WRITE_EVERY {
            snapshot(ledger).write(path)?;
            written = Instant::now();
        }
        Ok(())
    };
    let in_flight = options.devices_in_flight.get();
    let sent = send::send(plan.clone(), ledger.clone(), connect, options.speed, in_flight, stop, &mut tick).await;
    shown.end(ledger.answered());
    let mut state = snapshot(&ledger);
    state.complete = plan.devices.iter().all(|device| state.of(device.device).through >= device.batches());
    state.write(path)?;
    sent.context("the replay ended early; the same command goes on where it was")?;
    Ok((plan, state))
}

/// What tells this recording, order and kind of time from others.
fn fingerprint(options: &Options, plan: &Plan) -> Result<Uuid> {
    let time = match (options.keep_time, options.anchor) {
        (true, _) => "kept".to_owned(),
        (false, Some(at)) => nanos(at)?.0.to_string(),
        (false, None) => "first run".to_owned(),
    };
    Ok(Uuid::new_v5(&plan.fingerprint, time.as_bytes()))
}

/// A time that is what its text says.
fn exact_time(text: &str) -> Result<Timestamp, String> {
    let exact =
        model::exact_time(text).ok_or("a leap second that never was, or more than nine digits after a second")?;
    exact.parse().map_err(|error: jiff::Error| error.to_string())
}

fn nanos(at: Timestamp) -> Result<Nanos> {
    let at = i64::try_from(at.as_nanosecond());
    at.map(Nanos).context("--anchor lies outside 1678 to 2261")
}

fn this_minute() -> Result<Nanos> {
    let now = nanos(Timestamp::now())?;
    Ok(Nanos(now.0 - now.0.rem_euclid(60 * Nanos::SECOND)))
}
