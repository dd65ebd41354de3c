//! The torture test: processes are killed while devices send, and a ledger outside them says what was promised.
//!
//! A run starts the real binary, drives devices through the public client, and kills the node, Kafka or the CQL server
//! with SIGKILL at seeded random times. A fifth of the batches is sent again. At the end everything is acknowledged, and
//! a doctor must see each acknowledged reading once, unchanged, and nothing else. Then the whole topic is replayed by a
//! new consumer group, and nothing may have changed. Given the same seed, the faults come in the same order.

pub mod binary;
pub mod child;
pub mod content;
pub mod engines;
mod faults;
pub mod judge;
pub mod ledger;
pub mod load;
pub mod memory;
mod persistent;
mod repeat;
pub mod ward;

use crate::wait;
use child::Child;
use content::Content;
use engines::Kind;
use faults::{Faults, Tally};
use judge::{Judge, Seen, Verdict, changed};
use ledger::{Account, Ledger, Pen};
use load::{Device, Load, Outcome, QUIET_LIMIT};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use ward::Ward;

/// The consumer groups: of the run, and of the replay.
const GROUPS: [&str; 2] = ["writer", "again"];

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Engines that the node runs on.
    pub kind: Kind,
    /// How often the node is killed.
    pub kills: u32,
    /// How often Kafka is killed.
    pub broker_kills: u32,
    /// How often the CQL server is killed.
    pub store_kills: u32,
    /// Decides on everything random.
    pub seed: u64,
    /// Devices, each with a patient.
    pub devices: u32,
    /// Batches a second and device.
    pub rate_hz: f64,
    /// Readings of one batch.
    pub batch: u32,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Seed of the plan.
    pub seed: u64,
    /// From the first device to the last judgement.
    pub seconds: f64,
    /// How often each process was killed.
    pub faults: Tally,
    /// Batches that devices handed over, repetitions not counted.
    pub batches: u64,
    /// Times that devices opened their streams.
    pub connections: u64,
    /// Batches sent again by a call, and over another stream.
    pub repeated: [u64; 2],
    /// Seconds until everything was acknowledged and in the store after the last fault.
    pub settle_seconds: f64,
    /// Hours that the last process sealed before the judgement.
    pub sealed_hours: u64,
    /// What was found before the quarantine was replayed.
    pub verdict: Verdict,
    /// What was found after the quarantine was replayed.
    pub replayed: Verdict,
    /// Records that the replay read.
    pub records_replayed: u64,
    /// Anything that must not be; empty when the run was good.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (faults, verdict, replayed) = (&self.faults, &self.verdict, &self.replayed);
        let lines: [(&str, String); 16] = [
            ("seed", self.seed.to_string()),
            ("seconds", format!("{:.1}", self.seconds)),
            ("node killed (while starting)", format!("{} ({})", faults.node_kills, faults.killed_starting)),
            ("Kafka, CQL server killed", format!("{}, {}", faults.broker_kills, faults.store_kills)),
            ("node ended by itself", faults.own_ends.to_string()),
            (
                "kill to first ack, s: median, most",
                format!("{:.2}, {:.2}", faults.recovery_median_s, faults.recovery_max_s),
            ),
            ("batches, connections", format!("{}, {}", self.batches, self.connections)),
            ("sent again: calls, streams", format!("{}, {}", self.repeated[0], self.repeated[1])),
            ("settled after, s", format!("{:.1}", self.settle_seconds)),
            ("hours sealed by the last process", self.sealed_hours.to_string()),
            ("readings acknowledged", verdict.acknowledged.to_string()),
            ("lost, twice, never sent", format!("{}, {}, {}", verdict.lost, verdict.twice, verdict.never_sent)),
            ("records replayed", self.records_replayed.to_string()),
            ("then lost, twice, never sent", format!("{}, {}, {}", replayed.lost, replayed.twice, replayed.never_sent)),
            ("changed by the replay", replayed.changed.to_string()),
            ("hours rolled up wrong, then", format!("{}, {}", verdict.rolled_up_wrong, replayed.rolled_up_wrong)),
        ];
        lines.iter().try_for_each(|(name, value)| writeln!(f, "{name:<36} {value}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION: {violation}"))?;
        write!(f, "{}", if self.violations.is_empty() { "PASS" } else { "FAIL" })
    }
}

/// Does all of it. An error means that the run could not be finished; what it found is in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let ward = Ward::new(plan.kind, plan.devices).await?;
    let mut node = ward.start("node", &[], GROUPS[0])?;
    node.ready().await?;
    let content = Content::new(guard::clock::now(), plan.batch);
    let devices = devices(&ward, &node.endpoint())?;
    let (ledger, pen) = Ledger::open(&ward.dir.path().join("ledger"))?;
    let load = Load {
        content,
        rate_hz: plan.rate_hz,
        repeat_one_in: 5,
        seed: plan.seed,
        acknowledged: Arc::default(),
        stop: tokio_util::sync::CancellationToken::new(),
    };
    let began = Instant::now();
    let mut sending = JoinSet::new();
    for device in &devices {
        let (number, sent) = (device.number, device.clone().run(load.clone(), pen.clone()));
        sending.spawn(async move { (number, sent.await) });
    }
    let faulted = Faults::new(plan, &ward.engines, load.acknowledged.clone()).run(&mut node).await;
    load.stop.cancel();
    let since = Instant::now();
    let mut report = Report { seed: plan.seed, faults: faulted?, ..Report::default() };
    let mut lasts = report.collect(sending).await;
    let judge = Judge::new(client::channel(node.endpoint())?, ward.person("doctor")?, content);
    settle(&judge, &devices, &lasts, &mut report.violations).await;
    // what is judged shall be rows and sealed hours
    let sealed = async || node.metric("wardline_store_seals_written_total").await;
    report.sealed_hours = wait::until("sealed hours", sealed, |hours| *hours > 0.0).await? as u64;
    report.settle_seconds = since.elapsed().as_secs_f64();
    // a second ledger for the last batches of the replay: the first is read back now
    drop(pen);
    let accounts = ledger.close()?;
    report.batches = accounts.values().map(|account| account.sent).sum();
    let before = report.judge(&judge, &devices, &accounts, &lasts).await?;

    node.stop().await?;
    drop(node);
    if plan.kind == Kind::Live {
        ward.migrate(GROUPS[1]).await?;
    }
    let mut node = ward.start("replaying", &[], GROUPS[1])?;
    node.ready().await?;
    let (ledger, pen) = Ledger::open(&ward.dir.path().join("ledger-of-the-replay"))?;
    let behind = replayed(&node, &ward, content, &accounts, &pen, &mut lasts).await?;
    let judge = Judge::new(client::channel(node.endpoint())?, ward.person("doctor")?, content);
    settle(&judge, &behind, &lasts, &mut report.violations).await;
    drop(pen);
    let accounts = ledger.close()?.into_iter().collect();
    let first = std::mem::take(&mut report.verdict);
    let after = report.judge(&judge, &behind, &accounts, &lasts).await?;
    report.replayed = std::mem::replace(&mut report.verdict, first);
    report.records_replayed = node.metric("wardline_writer_records_total").await? as u64;
    report.compare(&before, &after);
    node.stop().await?;
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// A device a bed, all on a few connections.
fn devices(ward: &Ward, endpoint: &str) -> anyhow::Result<Vec<Device>> {
    let channels = [client::channel(endpoint)?, client::channel(endpoint)?];
    let device = |(number, bed): (usize, &crate::Bed)| Device {
        number: number as u32,
        bed: *bed,
        channel: channels[number % channels.len()].clone(),
        tokens: ward.tokens(bed.device),
    };
    Ok(ward.beds.iter().enumerate().map(device).collect())
}

/// Batches that were a device's last, when they were sent.
type Lasts = BTreeMap<u32, BTreeSet<u64>>;

/// Waits until the last batches are visible.
async fn settle(judge: &Judge, devices: &[Device], lasts: &Lasts, violations: &mut Vec<String>) {
    let deadline = Instant::now() + QUIET_LIMIT;
    for device in devices {
        let Some(last) = lasts.get(&device.number).and_then(BTreeSet::last) else { continue };
        let limit = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        if let Err(error) = judge.clone().await_last(&device.bed, *last, limit).await {
            violations.push(format!("device {}: {error}", device.number));
        }
    }
}

/// Sends one more batch a device: behind everything that is replayed. Its account goes on from the run's; a device that
/// ended early, which has been said, has batches that nobody acknowledged, and sends no more.
async fn replayed(
    node: &Child,
    ward: &Ward,
    content: Content,
    accounts: &BTreeMap<u32, Account>,
    pen: &Pen,
    lasts: &mut Lasts,
) -> anyhow::Result<Vec<Device>> {
    let account = |device: &Device| accounts.get(&device.number).copied().unwrap_or_default();
    let mut devices = devices(ward, &node.endpoint())?;
    devices.retain(|device| account(device).acknowledged == account(device).sent);
    for device in &devices {
        let last = account(device).sent + 1;
        device.last(last, content, pen).await?;
        lasts.entry(device.number).or_default().insert(last);
    }
    Ok(devices)
}

impl Report {
    /// What the devices say.
    async fn collect(&mut self, mut sending: JoinSet<(u32, anyhow::Result<Outcome>)>) -> Lasts {
        let mut lasts = Lasts::new();
        while let Some(ended) = sending.join_next().await {
            match ended {
                Ok((number, Ok(outcome))) => {
                    lasts.entry(number).or_default().insert(outcome.last);
                    self.connections += outcome.connections;
                    self.repeated[0] += outcome.repeated[0];
                    self.repeated[1] += outcome.repeated[1];
                    self.verdict.acknowledged += outcome.accepted;
                    self.violations.extend(outcome.violations);
                }
                Ok((number, Err(error))) => self.violations.push(format!("device {number} ended: {error:#}")),
                Err(panic) => self.violations.push(format!("a device panicked: {panic}")),
            }
        }
        lasts
    }

    /// Judges every patient.
    async fn judge(
        &mut self,
        judge: &Judge,
        devices: &[Device],
        accounts: &BTreeMap<u32, Account>,
        lasts: &Lasts,
    ) -> anyhow::Result<BTreeMap<u32, Seen>> {
        let (mut total, mut seen) = (Verdict::default(), BTreeMap::new());
        for device in devices {
            let account = accounts.get(&device.number).copied().unwrap_or_default();
            let lasts = lasts.get(&device.number).cloned().unwrap_or_default();
            let judged = judge.judge(device, account, &lasts, &mut self.violations).await?;
            total.add(&judged.0);
            seen.insert(device.number, judged.1);
        }
        // the books: what the clients count as accepted, what the ledger holds, and what is visible
        let accepted = std::mem::replace(&mut self.verdict, total.clone()).acknowledged;
        if accepted > 0 && accepted != total.acknowledged {
            self.violations.push(format!("clients count {accepted} readings, the ledger {}", total.acknowledged));
        }
        if total.visible != total.acknowledged {
            self.violations.push(format!("{} readings visible, {} acknowledged", total.visible, total.acknowledged));
        }
        Ok(seen)
    }

    /// What the replay has changed.
    fn compare(&mut self, before: &BTreeMap<u32, Seen>, after: &BTreeMap<u32, Seen>) {
        let none = Seen::new();
        self.replayed.changed =
            before.iter().map(|(number, seen)| changed(seen, after.get(number).unwrap_or(&none))).sum();
        if self.replayed.changed > 0 {
            self.violations.push(format!("the replay changed {} readings", self.replayed.changed));
        }
        if self.records_replayed < self.batches {
            let (n_records, n_batches) = (self.records_replayed, self.batches);
            self.violations.push(format!("the replay read {n_records} records, {n_batches} batches were sent"));
        }
    }
}
