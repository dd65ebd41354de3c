//! Sends a plan: each device on a stream of its own, some at a time, noting what is acknowledged.

use super::{
    pace::{Pace, Speed},
    plan::{DevicePlan, Plan},
    state::{Progress, State},
};
use crate::demo_ward::Bed;
use anyhow::Result;
use async_trait::async_trait;
use model::{DeviceId, StreamId};
use proto::telemetry::v1::Reading;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// A device whose next batch is further away than this gives its place to another one.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Registers devices with the server, and opens their streams.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Sees to it that the server knows the devices, and whose they are.
    async fn admit(&self, beds: &[Bed]) -> Result<()>;
    /// A stream of a device that has been acknowledged everything up to `resume_after`.
    async fn open(&self, device: DeviceId, stream: StreamId, resume_after: u64) -> Result<Box<dyn Outlet>>;
}

/// A device's open stream of readings.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// The last sequence that the server has, at least the one it was opened after.
    fn last_durable(&self) -> u64;
    /// Hands over a batch after `last_durable`; it is kept and sent again until it is acknowledged.
    async fn send(&self, sequence: u64, readings: Vec<Reading>) -> Result<()>;
    /// Sends a batch up to `last_durable` again and says what came of it; `through` is its sequence.
    async fn repeat(&self, sequence: u64, readings: Vec<Reading>) -> Result<Progress>;
    /// What came of the batches that were handed over to `send`, so far.
    fn progress(&self) -> Progress;
    /// Waits until all of them have an answer.
    async fn close(self: Box<Self>) -> Result<Progress>;
}

/// What is known of all devices, shared by those who send and those who show it.
pub struct Ledger(Mutex<State>);

impl Ledger {
    /// Goes on from a state.
    pub fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// A copy to write down.
    pub fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Readings with an answer.
    pub fn answered(&self) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.devices.values().map(|progress| progress.accepted + progress.refused.values().sum::<u64>()).sum()
    }

    fn of(&self, device: DeviceId) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of(device)
    }

    fn note(&self, device: DeviceId, progress: Progress) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).devices.insert(device.uuid(), progress);
    }
}

/// What all devices share.
struct Courier {
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    connect: Arc<dyn Connect>,
    pace: Pace,
    places: Semaphore,
    stop: CancellationToken,
}

/// Sends what the ledger does not have, until all is answered, `stop` is cancelled or a device cannot go on. Calls `tick`
/// now and then. At most `devices_in_flight` streams are open at once; at a finite speed a device beyond that is late.
pub async fn send(
    plan: Arc<Plan>,
    ledger: Arc<Ledger>,
    connect: Arc<dyn Connect>,
    speed: Speed,
    devices_in_flight: usize,
    stop: CancellationToken,
    tick: &mut (dyn FnMut(&Ledger) -> Result<()> + Send),
) -> Result<()> {
    const TICK: Duration = Duration::from_millis(200);
    let next = plan.devices.iter().map(|device| device.due(ledger.of(device.device).through + 1));
    let pace = Pace::new(speed, next.min().unwrap_or(0));
    let devices = plan.devices.len();
    let places = Semaphore::new(devices_in_flight);
    // one device that cannot go on stops the others, too
    let stop = stop.child_token();
    let courier = Arc::new(Courier { plan, ledger: ledger.clone(), connect, pace, places, stop: stop.clone() });
    let mut tasks = JoinSet::new();
    for place in 0..devices {
        let courier = courier.clone();
        tasks.spawn(async move { courier.device(place).await });
    }
    let mut result = Ok(());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(ended) => ended.map_err(anyhow::Error::from).flatten(),
                None => break,
            },
            _ = ticks.tick() => tick(&ledger),
        };
        if let Err(error) = ended {
            stop.cancel();
            result = result.and(Err(error));
        }
    }
    tick(&ledger)?;
    result
}

impl Courier {
    async fn device(&self, place: usize) -> Result<()> {
        let device = &self.plan.devices[place];
        loop {
            let next = self.ledger.of(device.device).through + 1;
            if next > device.batches() || !self.wait(device.due(next)).await {
                return Ok(());
            }
            let _place = tokio::select! {
                place = self.places.acquire() => place?,
                () = self.stop.cancelled() => return Ok(()),
            };
            if self.stop.is_cancelled() {
                return Ok(());
            }
            self.visit(device).await?;
        }
    }

    /// Opens the device's stream and sends, until all is sent or the next batch is far away.
    async fn visit(&self, device: &DevicePlan) -> Result<()> {
        let mut known = self.ledger.of(device.device);
        let opening = self.connect.open(device.device, device.stream, known.through);
        let outlet = tokio::select! {
            outlet = opening => outlet?,
            () = self.stop.cancelled() => return Ok(()),
        };
        // acknowledged, but written down nowhere (the replay was killed), or sent again on purpose
        let durable = outlet.last_durable().min(device.batches());
        while known.through < durable {
            let sequence = known.through + 1;
            if !self.wait(device.due(sequence)).await {
                return Ok(());
            }
            known = known.plus(&outlet.repeat(sequence, device.batch(sequence)).await?);
            self.ledger.note(device.device, known.clone());
        }
        for sequence in known.through + 1..=device.batches() {
            let due = device.due(sequence);
            let far = self.pace.due(due).is_some_and(|due| due > Instant::now() + IDLE_MAX);
            if far || !self.wait(due).await {
                break;
            }
            tokio::select! {
                sent = outlet.send(sequence, device.batch(sequence)) => sent?,
                () = self.stop.cancelled() => break,
            }
            self.ledger.note(device.device, known.plus(&outlet.progress()));
        }
        self.ledger.note(device.device, known.plus(&outlet.progress()));
        let closed = outlet.close().await?;
        self.ledger.note(device.device, known.plus(&closed));
        Ok(())
    }

    /// Waits for a time of the recording; `false` when it is not worth going on.
    async fn wait(&self, at_ns: i64) -> bool {
        if let Some(due) = self.pace.due(at_ns) {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.stop.cancelled() => {}
            }
        }
        !self.stop.is_cancelled()
    }
}
