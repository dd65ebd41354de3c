//! The devices: each streams batches through the public client, keeps the ledger, and sends a fifth of them again.

use super::{content::Content, ledger::Pen, persistent::Persistent, repeat::Repeater};
use crate::Bed;
use client::{Sender, Stream, Tokens};
use proto::telemetry::v1::ClockQuality;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long everything may take to be acknowledged once the faults are over.
pub const QUIET_LIMIT: Duration = Duration::from_secs(120);
/// Batches that wait to be sent again; when there are more the device's ledger waits.
const REPEATS_WAITING: usize = 4_096;
/// Now and then a device sends so many batches without a pause.
const BURST: std::ops::Range<u32> = 20..200;
const BURSTS_ONE_IN: u32 = 25;

/// What the devices of a run have in common.
#[derive(Clone)]
pub struct Load {
    /// Content of the batches.
    pub content: Content,
    /// Batches a second and device, on average; 0: as many as there are credits for.
    pub rate_hz: f64,
    /// One acknowledged batch in so many is sent again; 0: none.
    pub repeat_one_in: u32,
    /// Decides on pauses and repetitions.
    pub seed: u64,
    /// Counts what has been acknowledged, for whoever waits for life.
    pub acknowledged: Arc<AtomicU64>,
    /// Cancelled to end the load.
    pub stop: CancellationToken,
}

/// One device and its stream.
#[derive(Clone)]
pub struct Device {
    /// Its number: that of its bed.
    pub number: u32,
    /// The device and its patient.
    pub bed: Bed,
    /// Channel to the node.
    pub channel: Channel,
    /// Tokens of the device.
    pub tokens: Tokens,
}

/// What came of one device.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The last sequence; the device's last batch.
    pub last: u64,
    /// How often its stream was opened.
    pub connections: u64,
    /// Readings that the client counts as accepted.
    pub accepted: u64,
    /// Batches sent again: by unary calls, and over another stream.
    pub repeated: [u64; 2],
    /// Anything that must not be.
    pub violations: Vec<String>,
}

impl Device {
    /// Its stream, for a client that has heard of `resume_after`.
    pub fn stream(&self, resume_after: u64) -> Stream {
        Stream {
            device: self.bed.device.uuid(),
            stream: self.bed.stream.uuid(),
            resume_after,
            clock: ClockQuality::Synchronized,
        }
    }

    /// Sends until the load ends, then one last batch behind everything else, and waits until it is acknowledged.
    pub async fn run(self, load: Load, pen: Pen) -> anyhow::Result<Outcome> {
        let mut sender = Persistent::open(self.clone(), load.content).await?;
        let (repeats, queue) = mpsc::channel(REPEATS_WAITING);
        let repeating = tokio::spawn(Repeater::new(self.clone(), load.content, load.seed).run(queue));
        let listening = tokio::spawn(self.clone().listen(sender.acknowledged(), load.clone(), pen.clone(), repeats));
        let mut rng = StdRng::seed_from_u64(load.seed ^ u64::from(self.number));
        let (mut sequence, mut burst) = (0, 0_u32);
        while !load.stop.is_cancelled() {
            sequence += 1;
            pen.sent(self.number, sequence)?;
            sender.send(sequence).await?;
            if burst > 0 {
                burst -= 1;
            } else if load.rate_hz > 0.0 {
                if rng.random_ratio(1, BURSTS_ONE_IN) {
                    burst = rng.random_range(BURST);
                }
                sleep(Duration::from_secs_f64(rng.random_range(0.0..2.0) / load.rate_hz)).await;
            }
        }
        let flushed = tokio::time::timeout(QUIET_LIMIT, sender.flush()).await;
        anyhow::ensure!(flushed.is_ok(), "device {}: {} batches never acknowledged", self.number, sender.pending());
        flushed??;
        let (connections, progress) = sender.close().await?;
        // ends by itself: the sender is gone, and with it what it listens to
        listening.await??;
        let repeated = repeating.await?;
        let mut outcome = Outcome {
            last: sequence + 1,
            connections,
            accepted: progress.accepted + u64::from(load.content.batch),
            repeated: repeated.n_repeated,
            violations: repeated.violations,
        };
        if !progress.refused.is_empty() {
            outcome.violations.push(format!("device {}: refused {:?}", self.number, progress.refused));
        }
        self.last(outcome.last, load.content, &pen).await?;
        Ok(outcome)
    }

    /// One batch, behind everything that the device has sent before.
    pub async fn last(&self, sequence: u64, content: Content, pen: &Pen) -> anyhow::Result<()> {
        pen.sent(self.number, sequence)?;
        let sender = Sender::open(self.channel.clone(), self.tokens.clone(), self.stream(sequence - 1)).await?;
        sender.send(sequence, content.readings(self.number, sequence, true)).await?;
        let progress = sender.close(QUIET_LIMIT).await?;
        anyhow::ensure!(progress.through == sequence, "device {}: its last batch was not taken", self.number);
        pen.acknowledged(self.number, sequence)
    }

    /// Writes acknowledgements into the ledger, and chooses what is sent again.
    async fn listen(
        self,
        mut acknowledged: tokio::sync::watch::Receiver<u64>,
        load: Load,
        pen: Pen,
        repeats: mpsc::Sender<u64>,
    ) -> anyhow::Result<()> {
        let mut rng = StdRng::seed_from_u64(load.seed.rotate_left(32) ^ u64::from(self.number));
        let mut known = 0;
        loop {
            let through = *acknowledged.borrow_and_update();
            if through > known {
                pen.acknowledged(self.number, through)?;
                load.acknowledged.fetch_add(through - known, Ordering::Relaxed);
                for sequence in known + 1..=through {
                    if load.repeat_one_in > 0 && rng.random_ratio(1, load.repeat_one_in) {
                        repeats.send(sequence).await?;
                    }
                }
                known = through;
            } else if acknowledged.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}
