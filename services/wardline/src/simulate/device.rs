//! One simulated device: makes batches when they are due, sends them, and notes when they are acknowledged.

use super::{Patient, Rate, Scenario, SimulatedDevice, latency::Histogram};
use anyhow::Context;
use client::{Connection, Error, Progress, Sender, Stream, Tokens};
use model::{Nanos, StreamId};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long to wait for the last acknowledgements.
const CLOSE_WITHIN: Duration = Duration::from_secs(60);
/// A storm breaks out so often, and at least twice in a run.
const STORM_PERIOD: Duration = Duration::from_secs(10);
/// Every so many batches one is sent again; and of all such a part, at most so many, by a device that lost its state.
const REPEAT_EVERY: u64 = 5;
const ANEW_MAX: u64 = 100;
/// From one reading to the next by the device's clock when it sends as fast as it can.
const FAST_PERIOD_NS: i64 = 20_000;

/// When batches are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    rate: Rate,
    batch: u32,
    seconds: u32,
}

impl Pace {
    pub(super) fn new(rate: Rate, batch: u32, seconds: u32) -> Self {
        Self { rate, batch, seconds }
    }

    /// Nanoseconds from one reading to the next, by the device's clock.
    fn period_ns(&self) -> i64 {
        match self.rate {
            Rate::Max => FAST_PERIOD_NS,
            Rate::Hertz(hertz) => (1e9 / hertz) as i64,
        }
    }

    /// When the `n`th batch, from 0, is complete; `None`: at once.
    fn due_after(&self, n: u64) -> Option<Duration> {
        let Rate::Hertz(hertz) = self.rate else { return None };
        Some(Duration::from_secs_f64((n + 1) as f64 * f64::from(self.batch) / hertz))
    }
}

/// What became of a device's batches, or of all devices'.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Readings handed over for the first time.
    pub(super) sent: u64,
    /// Readings handed over once more, in a new stream.
    pub(super) again: u64,
    pub(super) progress: Progress,
    pub(super) reconnects: u64,
    pub(super) latency: Histogram,
    /// When the first batch could have been sent.
    pub(super) begun: Option<Instant>,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.again += other.again;
        self.reconnects += other.reconnects;
        self.latency.add(&other.latency);
        self.begun = self.begun.into_iter().chain(other.begun).min();
        self.add_progress(other.progress);
    }

    fn add_progress(&mut self, progress: Progress) {
        self.progress.accepted += progress.accepted;
        self.progress.duplicate += progress.duplicate;
        for (reason, n) in progress.refused {
            *self.progress.refused.entry(reason).or_default() += n;
        }
    }
}

pub(super) struct Device {
    pub(super) identity: SimulatedDevice,
    pub(super) patient: Patient,
    pub(super) connection: Connection,
    pub(super) tokens: Tokens,
    pub(super) patience: Duration,
    pub(super) pace: Pace,
    pub(super) number: u32,
    pub(super) n_devices: u32,
}

/// Batches that wait for their acknowledgement: (sequence, due). Bounded by the sender's window.
type Waiting = Mutex<(VecDeque<(u64, Instant)>, Histogram)>;

impl Device {
    /// Sends until the time is over, then waits for the acknowledgements.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<Outcome> {
        // what an earlier run has sent is not known here, and its sequences are used
        self.identity.stream = StreamId::new(Uuid::new_v4());
        let mut sender = self.open(0).await?;
        let first = 1;
        let mut next = first;
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let start = i64::try_from(now_ns).unwrap_or(i64::MAX);
        self.patient = self.patient.with_clock(Nanos(start), self.pace.period_ns());

        let begun = Instant::now();
        let mut outcome = Outcome { begun: Some(begun), ..Outcome::default() };
        let end = begun + Duration::from_secs(self.pace.seconds.into());
        let storm_period = STORM_PERIOD.min((end - begun) / 3);
        let mut storm = begun + storm_period;
        let waiting = Waiting::default();
        loop {
            let is_stormy = self.patient.scenario() == Scenario::ReconnectStorm && storm + storm_period / 2 < end;
            let until = if is_stormy { storm } else { end };
            let acknowledged = sender.acknowledged();
            tokio::select! {
                sent = self.produce(&sender, &waiting, begun, first, &mut next, until) => sent?,
                () = observe(acknowledged, &waiting) => {}
                () = stop.cancelled() => break,
            }
            if !is_stormy {
                break;
            }
            storm += storm_period;
            let progress = sender.progress();
            let through = progress.through;
            outcome.reconnects += sender.connections();
            outcome.add_progress(progress);
            drop(sender);
            sender = self.open(through).await?;
            // durable, and nobody was there to hear it
            outcome.progress.accepted += self.n_readings(through + 1, sender.last_durable().max(through) + 1);
            self.resend(&sender, &waiting, next).await?;
        }
        outcome.sent = self.n_readings(first, next);
        let acknowledged = sender.acknowledged();
        let reconnects = sender.connections() - 1;
        let closed = tokio::select! {
            closed = sender.close(CLOSE_WITHIN) => closed?,
            () = observe(acknowledged.clone(), &waiting) => Progress::default(),
        };
        settle(*acknowledged.borrow(), &waiting);
        outcome.add_progress(closed);
        outcome.reconnects += reconnects;
        outcome.latency = waiting.into_inner().unwrap_or_else(PoisonError::into_inner).1;
        let lost_through = ((next - first) / REPEAT_EVERY).min(ANEW_MAX);
        if self.patient.scenario() == Scenario::Duplicates && lost_through > 0 && !stop.is_cancelled() {
            outcome.again = self.n_readings(first, lost_through + 1);
            let Progress { refused, .. } = self.send_anew(lost_through).await?;
            outcome.add_progress(Progress { refused, ..Progress::default() });
        }
        Ok(outcome)
    }

    /// As a device that lost its state: what it measured first goes out again, in a new stream. It is acknowledged there, and shown
    /// once.
    async fn send_anew(&mut self, through: u64) -> anyhow::Result<Progress> {
        self.identity.stream = StreamId::new(Uuid::new_v4());
        let sender = self.open(0).await?;
        for sequence in 1..=through {
            sender.send(sequence, self.patient.batch(sequence, self.pace.batch)).await?;
        }
        Ok(sender.close(CLOSE_WITHIN).await?)
    }

    async fn open(&self, resume_after: u64) -> anyhow::Result<Sender> {
        let SimulatedDevice { device, stream, .. } = self.identity;
        let stream = Stream { device: device.uuid(), stream: stream.uuid(), resume_after, clock: self.patient.clock() };
        let opened = Sender::open(self.connection.clone(), self.tokens.clone(), stream).await;
        Ok(opened.context("a device's stream")?.with_patience(self.patience))
    }

    /// Sends what is due until `until`.
    async fn produce(
        &self,
        sender: &Sender,
        waiting: &Waiting,
        begun: Instant,
        first: u64,
        next: &mut u64,
        until: Instant,
    ) -> Result<(), Error> {
        // spread over the first batch's time, or all devices would send in the same instant
        let phase = f64::from(self.number) / f64::from(self.n_devices.max(1));
        let shift = self.pace.due_after(0).unwrap_or_default().mul_f64(phase);
        loop {
            let due = match self.pace.due_after(*next - first) {
                Some(after) => begun + after - shift,
                None => Instant::now(),
            };
            if due >= until {
                tokio::time::sleep_until(until).await;
                return Ok(());
            }
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let sequence = *next;
            lock(waiting).0.push_back((sequence, due));
            sender.send(sequence, self.patient.batch(sequence, self.pace.batch)).await?;
            *next += 1;
            if self.patient.scenario() == Scenario::Duplicates && (*next - first).is_multiple_of(REPEAT_EVERY) {
                // an older one: what is not durable yet is not a duplicate to the server
                let again = *next - REPEAT_EVERY;
                sender.send(again, self.patient.batch(again, self.pace.batch)).await?;
            }
        }
    }

    /// Sends again what the connection that was dropped had not acknowledged.
    async fn resend(&self, sender: &Sender, waiting: &Waiting, next: u64) -> Result<(), Error> {
        settle(sender.last_durable(), waiting);
        for sequence in sender.last_durable() + 1..next {
            sender.send(sequence, self.patient.batch(sequence, self.pace.batch)).await?;
        }
        Ok(())
    }

    fn n_readings(&self, first: u64, next: u64) -> u64 {
        if self.patient.scenario() != Scenario::LeadOff {
            return (next - first) * u64::from(self.pace.batch);
        }
        (first..next).map(|sequence| self.patient.batch(sequence, self.pace.batch).len() as u64).sum()
    }
}

/// Notes acknowledgements as they come; never ends.
async fn observe(mut acknowledged: watch::Receiver<u64>, waiting: &Waiting) {
    loop {
        let through = *acknowledged.borrow_and_update();
        settle(through, waiting);
        if acknowledged.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn settle(through: u64, waiting: &Waiting) {
    let (waiting, latency) = &mut *lock(waiting);
    while waiting.front().is_some_and(|(sequence, _)| *sequence <= through) {
        if let Some((_, due)) = waiting.pop_front() {
            latency.record(due.elapsed());
        }
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, (VecDeque<(u64, Instant)>, Histogram)> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
