//! The faults of a run: what is killed, in which order, and when.

use super::{
    Plan,
    child::Child,
    engines::{Engine, Engines},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// From the first acknowledgement after a fault to the next fault.
const ALIVE_MS: Range<u64> = 50..800;
/// A node that is killed while it starts lives so long.
const STARTING_MS: Range<u64> = 0..150;
/// One kill in so many meets a node that has not yet started.
const STARTING_ONE_IN: u32 = 8;
/// How long an engine stays dead.
const DEAD_MS: Range<u64> = 0..2_000;
/// While one engine in so many is dead, the node is killed too: it has to start without it.
const BOTH_ONE_IN: u32 = 2;
/// How long a device may take to come back: its longest pause between two tries, and a slow start.
const LIFE_LIMIT: Duration = Duration::from_secs(120);
const ASK_EVERY: Duration = Duration::from_millis(5);

/// What was killed, and how long it took.
#[derive(Debug, Default, serde::Serialize)]
pub struct Tally {
    /// SIGKILLs of the node.
    pub node_kills: u32,
    /// Of these, without waiting for it to be ready.
    pub killed_starting: u32,
    /// Number of SIGKILLs of Kafka.
    pub broker_kills: u32,
    /// SIGKILLs of the CQL server.
    pub store_kills: u32,
    /// How often the node ended by itself: its engines were away when it started.
    pub own_ends: u32,
    /// From a kill of the node to the first acknowledgement after it: the median.
    pub recovery_median_s: f64,
    /// Seconds of the longest recovery.
    pub recovery_max_s: f64,
}

enum Fault {
    Node,
    Engine(Engine),
}

/// The faults that are still to come.
pub(super) struct Faults<'a> {
    plan: &'a Plan,
    engines: &'a Engines,
    acknowledged: Arc<AtomicU64>,
    rng: StdRng,
    tally: Tally,
    recoveries_s: Vec<f64>,
}

impl<'a> Faults<'a> {
    /// `acknowledged` counts batches while the devices live.
    pub(super) fn new(plan: &'a Plan, engines: &'a Engines, acknowledged: Arc<AtomicU64>) -> Self {
        let rng = StdRng::seed_from_u64(plan.seed);
        Self { plan, engines, acknowledged, rng, tally: Tally::default(), recoveries_s: Vec::new() }
    }

    /// Lets them all come; afterwards the node is ready and the devices send.
    pub(super) async fn run(mut self, node: &mut Child) -> anyhow::Result<Tally> {
        let mut faults: Vec<Fault> = (0..self.plan.kills).map(|_| Fault::Node).collect();
        faults.extend((0..self.plan.broker_kills).map(|_| Fault::Engine(Engine::Kafka)));
        faults.extend((0..self.plan.store_kills).map(|_| Fault::Engine(Engine::Cassandra)));
        faults.shuffle(&mut self.rng);
        let (n_faults, mut killed) = (faults.len(), None);
        for (place, fault) in faults.into_iter().enumerate() {
            tracing::info!(place, n_faults, acknowledged = self.acknowledged.load(Ordering::Relaxed), "next fault");
            let starting = place > 0 && matches!(fault, Fault::Node) && self.rng.random_ratio(1, STARTING_ONE_IN);
            if starting {
                self.pause(STARTING_MS).await;
                self.tally.killed_starting += 1;
            } else {
                self.life(node, killed).await?;
                self.pause(ALIVE_MS).await;
            }
            killed = match fault {
                Fault::Node => {
                    self.kill(node).await?;
                    Some(Instant::now())
                }
                Fault::Engine(engine) => {
                    self.engine(engine, node).await?;
                    None
                }
            };
        }
        self.life(node, killed).await?;
        self.tally.own_ends = node.n_own_ends();
        self.recoveries_s.sort_by(f64::total_cmp);
        self.tally.recovery_median_s = self.recoveries_s.get(self.recoveries_s.len() / 2).copied().unwrap_or_default();
        self.tally.recovery_max_s = self.recoveries_s.last().copied().unwrap_or_default();
        Ok(self.tally)
    }

    async fn pause(&mut self, length_ms: Range<u64>) {
        let length_ms = self.rng.random_range(length_ms);
        sleep(Duration::from_millis(length_ms)).await;
    }

    /// Waits until the node is ready and a device has heard from it.
    async fn life(&mut self, node: &mut Child, killed: Option<Instant>) -> anyhow::Result<()> {
        let known = self.acknowledged.load(Ordering::Relaxed);
        node.ready().await?;
        let deadline = Instant::now() + LIFE_LIMIT;
        while self.acknowledged.load(Ordering::Relaxed) == known {
            anyhow::ensure!(Instant::now() < deadline, "no device hears anything; the log ends:\n{}", node.tail());
            sleep(ASK_EVERY).await;
        }
        self.recoveries_s.extend(killed.map(|at| at.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn kill(&mut self, node: &mut Child) -> anyhow::Result<()> {
        node.kill().await?;
        self.tally.node_kills += 1;
        node.restart()
    }

    async fn engine(&mut self, engine: Engine, node: &mut Child) -> anyhow::Result<()> {
        self.engines.kill(engine).await?;
        match engine {
            Engine::Kafka => self.tally.broker_kills += 1,
            Engine::Cassandra => self.tally.store_kills += 1,
        }
        self.pause(DEAD_MS).await;
        if (self.tally.broker_kills + self.tally.store_kills).is_multiple_of(BOTH_ONE_IN) {
            self.kill(node).await?;
        }
        self.engines.start(engine).await
    }
}
