//! The hostile trial: peers do what they can to bring a node down or to starve others, and another caller must be served.
//!
//! For each attack the real binary is started on embedded engines, in a folder of its own. Attackers come from 127.0.0.2
//! and 127.0.0.3, everybody else from 127.0.0.1. Whatever is random comes from one seed. What is judged for every attack:
//! memory, the other caller's latency and failures, the lines that the node logs, what becomes durable, and that
//! the node is alive, serves and gives back its descriptors as soon as the attack is over. Each attack adds what its own
//! answers must be.

mod attacks;
mod http1;
mod http2;
mod other_caller;
mod report;
mod tally;
mod target;
mod watch;
mod world;

pub use attacks::Attack;
pub use other_caller::{Pace, Seen};
pub use report::{Outcome, Report};
pub use target::Scale;

use crate::{http, torture::binary};
use anyhow::Context;
use other_caller::OtherCaller;
use std::{path::PathBuf, time::Duration};
use tally::Tally;
use target::Target;
use tokio::{
    runtime::Builder,
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use watch::{Held, sample, watch};
use world::{Node, World};

/// A node that holds so many times what it may is not attacked further: others need the machine, too.
const ENOUGH: f64 = 4.0;
/// Where no memory is judged: when the machine is in danger.
const ENOUGH_MIB: f64 = 2_048.0;
/// Descriptors that a node may have opened meanwhile for itself: files of its engines.
const FILES: usize = 64;
const AGAIN: Duration = Duration::from_millis(50);
/// The metrics that count durable writes.
const ENTRIES: &str = "wardline_store_audit_entries_total";
const CHANGES: &str = "wardline_registry_changes_total";

/// What a node must keep to, under any attack.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Resident memory, in MiB; `None`: not judged.
    pub rss_mib: Option<f64>,
    /// Of the other caller, in milliseconds; `None`: not judged.
    pub p99_ms: Option<f64>,
    /// From the end of an attack until everything is as before.
    pub recovery: Duration,
    /// Lines logged a second; `None`: not judged.
    pub log_hz: Option<f64>,
    /// Entries and changes a second that one caller, or one address without one, makes durable; `None`: not judged.
    pub durable_hz: Option<f64>,
}

impl Bounds {
    /// Those of the full trial.
    pub const FULL: Self = Self {
        rss_mib: Some(256.0),
        p99_ms: Some(250.0),
        recovery: Duration::from_secs(10),
        log_hz: Some(5.0),
        durable_hz: Some(50.0),
    };
    /// What is left where a machine is busy and an attack is over in a moment: refusals and life.
    pub const LIFE: Self =
        Self { rss_mib: None, p99_ms: None, recovery: Duration::from_secs(60), log_hz: None, durable_hz: None };
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which attacks, one after the other.
    pub attacks: Vec<Attack>,
    /// Duration of each attack.
    pub duration: Duration,
    /// How much longer one lasts at most when it has not yet seen what it must, so that it says something.
    pub patience: Duration,
    /// Decides on everything random.
    pub seed: u64,
    /// How hard; `None`: as hard as each is meant to be.
    pub scale: Option<Scale>,
    /// Of the other caller.
    pub pace: Pace,
    /// Limits that are judged by.
    pub bounds: Bounds,
    /// The binary; `None`: that of this build, made when a source is newer.
    pub binary: Option<PathBuf>,
    /// One folder for all attacks, instead of one for each.
    pub shares_folder: bool,
}

/// Does all of it. An error means that the trial could not be held; what it found is in the report.
///
/// # Errors
/// The binary cannot be built or started, or this process cannot have the descriptors that it needs.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    watch::raise_descriptors()?;
    let binary = match &plan.binary {
        Some(binary) => binary.clone(),
        None => spawn_blocking(binary::fresh).await??,
    };
    let mut report = Report { seed: plan.seed, outcomes: Vec::new() };
    let mut shared = None;
    for &attack in &plan.attacks {
        let world = match shared.take() {
            Some(world) => world,
            None => {
                let has_day = attack.needs_a_day() && plan.scale.is_none();
                World::make(&binary, plan.seed, has_day).await.with_context(|| attack.name())?
            }
        };
        let outcome = one(plan, attack, &world).await.with_context(|| attack.name())?;
        tracing::info!("{outcome}");
        report.outcomes.push(outcome);
        if plan.shares_folder {
            shared = Some(world);
        }
    }
    Ok(report)
}

/// One attack on a new node.
async fn one(plan: &Plan, attack: Attack, world: &World) -> anyhow::Result<Outcome> {
    let mut node = world.start(&attack.name(), attack.soft_descriptors(), &[])?;
    node.child.ready().await?;
    let pid = node.child.id().context("it has ended")?;
    let other = || OtherCaller::new(world, node.grpc, node.api, plan.pace);
    other()?.once().await.context("before the attack")?;
    let before = sample(pid)?;
    let durable_before = durable(&node).await?;
    let lines_before = watch::lines(&node.log)?;
    let target = Target {
        grpc: node.grpc,
        api: node.api,
        http: node.http,
        has: world.credentials()?,
        tally: Tally::default(),
        scale: plan.scale.unwrap_or(attack.scale()),
        seed: plan.seed,
    };
    let mut outcome = Outcome::new(attack);
    outcome.descriptors_max = watch::descriptors_max(pid)?;
    let attacked = during(plan, attack, target, other()?, pid).await?;
    outcome.seconds = attacked.seconds;
    (outcome.held, outcome.other, outcome.counts) = (attacked.held, attacked.other, attacked.tally.counts());
    outcome.descriptors[0] = before.descriptors;
    outcome.log_lines = watch::lines(&node.log)? - lines_before;
    outcome.is_alive = node.child.is_running()?;
    if outcome.is_alive {
        outcome.recovery_seconds = recover(plan, &node, &other()?, before.descriptors, &mut outcome.descriptors).await;
        let [entries, changes] = durable(&node).await.unwrap_or_default();
        outcome.durable = [entries.saturating_sub(durable_before[0]), changes.saturating_sub(durable_before[1])];
        outcome.held.peak_mib = sample(pid).map_or(outcome.held.peak_mib, |held| held.peak_mib);
    }
    outcome.judge(&plan.bounds);
    if !outcome.violations.is_empty() {
        outcome.log_ends = node.child.tail();
    }
    // a node that cannot stop well is killed when it is dropped
    if node.child.is_running()?
        && let Err(error) = node.child.stop().await
    {
        outcome.violations.push(format!("{error:#}"));
    }
    Ok(outcome)
}

/// What came of the time of an attack.
struct Attacked {
    seconds: f64,
    held: Held,
    other: Seen,
    tally: Tally,
}

/// The attacker and the other caller, each on a thread of its own, and the node sampled all the while.
async fn during(plan: &Plan, attack: Attack, target: Target, other: OtherCaller, pid: u32) -> anyhow::Result<Attacked> {
    let stop = CancellationToken::new();
    let over = stop.clone();
    let calling = spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        anyhow::Ok(runtime.block_on(other.run(over)))
    });
    let (over, duration, patience) = (stop.clone(), plan.duration, plan.patience);
    let attacking = spawn_blocking(move || {
        let begun = Instant::now();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                () = attack.run(&target) => {}
                () = enough(attack, &target.tally, duration, patience) => {}
                () = over.cancelled() => {}
            }
        });
        // with the runtime all that it still holds open ends
        drop(runtime);
        over.cancel();
        anyhow::Ok((begun.elapsed().as_secs_f64(), target.tally))
    });
    let enough = plan.bounds.rss_mib.map_or(ENOUGH_MIB, |bound| bound * ENOUGH);
    let held = watch(pid, enough, &stop).await;
    stop.cancel();
    let (seconds, tally) = attacking.await.context("the attacker")??;
    let other = calling.await.context("the other caller")??;
    Ok(Attacked { seconds, held, other, tally })
}

/// Waits as long as the attack is meant to last, and then until it has seen what it must, or what must not be.
async fn enough(attack: Attack, tally: &Tally, duration: Duration, patience: Duration) {
    sleep(duration).await;
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let counts = tally.counts();
        let n_missing = attack.missing(&counts).len();
        if n_missing == 0 || attack.judge(&counts, None).len() > n_missing {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Waits until the node is ready, serves, and has its descriptors back; the seconds that it took, if it did in time.
async fn recover(
    plan: &Plan,
    node: &Node,
    other: &OtherCaller,
    before: usize,
    descriptors: &mut [usize; 3],
) -> Option<f64> {
    let begun = Instant::now();
    let mut is_served = false;
    loop {
        is_served = is_served || is_ready(node).await && other.once().await.is_ok();
        let now = node.child.id().and_then(|pid| sample(pid).ok());
        descriptors[2] = now.map_or(0, |now| now.descriptors);
        if is_served && descriptors[2] <= before + FILES {
            return Some(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() > plan.bounds.recovery {
            return None;
        }
        sleep(AGAIN).await;
    }
}

async fn is_ready(node: &Node) -> bool {
    let asked = tokio::time::timeout(Duration::from_secs(5), http::get(node.http, "/ready")).await;
    matches!(asked, Ok(Ok((200, _))))
}

/// Entries of the audit log and changes of the registry that this process has written.
async fn durable(node: &Node) -> anyhow::Result<[u64; 2]> {
    let entries = node.child.metric(ENTRIES).await?;
    Ok([entries as u64, node.child.metric(CHANGES).await? as u64])
}
