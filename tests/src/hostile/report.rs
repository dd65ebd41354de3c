//! What came of a trial: a table, and what is wrong with it.

use super::{Bounds, attacks::Attack, other_caller::Seen, tally::Counts, watch::Held};
use std::fmt;

/// Lines that a node may log at once, whatever happens to it: the first of each kind.
const LOG_BURST: f64 = 30.0;
/// Entries and changes that a caller may make at once.
const DURABLE_BURST: f64 = 200.0;
/// Descriptors that must be left for the engines' files at any time.
const RESERVE: usize = 16;

/// All attacks of a trial.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// Seed of the plan.
    pub seed: u64,
    /// In the order in which they were tried.
    pub outcomes: Vec<Outcome>,
}

/// What came of one attack.
#[derive(Debug, serde::Serialize)]
pub struct Outcome {
    /// Attack that was made.
    pub attack: Attack,
    /// How long it was attacked.
    pub seconds: f64,
    /// Whether the process was there at the end.
    pub is_alive: bool,
    /// Memory and descriptors that the node held.
    pub held: Held,
    /// Open descriptors before, at the most, and after.
    pub descriptors: [usize; 3],
    /// How many it may have.
    pub descriptors_max: usize,
    /// What the other caller saw.
    pub other: Seen,
    /// Until it was as before; `None`: it was not, in time.
    pub recovery_seconds: Option<f64>,
    /// Lines that the node logged meanwhile.
    pub log_lines: u64,
    /// Audit entries and registry changes meanwhile, those of the other caller included.
    pub durable: [u64; 2],
    /// What the attacker counted.
    pub counts: Counts,
    /// The end of the node's log, when something is wrong.
    #[serde(skip)]
    pub log_ends: String,
    /// Anything that must not be; empty when the node held.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether the node held against all of it.
    pub fn is_good(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.violations.is_empty())
    }
}

impl Outcome {
    /// An outcome before the attack.
    pub(super) fn new(attack: Attack) -> Self {
        Self {
            attack,
            seconds: 0.0,
            is_alive: false,
            held: Held::default(),
            descriptors: [0; 3],
            descriptors_max: usize::MAX,
            other: Seen::default(),
            recovery_seconds: None,
            log_lines: 0,
            durable: [0; 2],
            counts: Counts::new(),
            log_ends: String::new(),
            violations: Vec::new(),
        }
    }

    /// Durable entries a second that the attacker caused: all but one for each read, which is every second request, of
    /// the other caller.
    pub fn durable_hz(&self) -> f64 {
        let others = self.other.requests.div_ceil(2);
        self.durable.iter().sum::<u64>().saturating_sub(others) as f64 / self.seconds.max(1.0)
    }

    /// Log lines written a second.
    pub fn log_hz(&self) -> f64 {
        self.log_lines as f64 / self.seconds.max(1.0)
    }

    /// Holds what was seen against the bounds.
    pub(super) fn judge(&mut self, bounds: &Bounds) {
        self.descriptors[1] = self.held.descriptors.max(self.descriptors[0]);
        let mut wrong = Vec::new();
        if !self.is_alive {
            wrong.push("the node has ended".to_owned());
        } else if self.recovery_seconds.is_none() {
            let [before, _, after] = self.descriptors;
            let within = bounds.recovery;
            wrong
                .push(format!("not ready, served and rid of descriptors ({before} before, {after}) within {within:?}"));
        }
        // the kernel sees what is between two samples, too
        let most = self.held.peak_mib.max(self.held.rss_mib);
        if let Some(bound) = bounds.rss_mib.filter(|bound| most >= *bound) {
            wrong.push(format!("{most:.0} MiB resident, where {bound:.0} are the limit"));
        }
        if let Some(soft) = self.attack.soft_descriptors().filter(|soft| self.descriptors_max <= *soft as usize) {
            wrong.push(format!("the soft limit of {soft} descriptors was not raised"));
        }
        if self.descriptors[1] > self.descriptors_max.saturating_sub(RESERVE) {
            let (most, may) = (self.descriptors[1], self.descriptors_max);
            wrong.push(format!("{most} descriptors of {may}, where the engines need {RESERVE} more"));
        }
        if self.other.failed > 0 {
            wrong.push(format!("the other caller failed {} times of {}", self.other.failed, self.other.requests));
            wrong.extend(self.other.complaints.iter().map(|complaint| format!("  {complaint}")));
        }
        if let Some(bound) = bounds.p99_ms.filter(|bound| self.other.p99_ms >= *bound) {
            wrong.push(format!(
                "the other caller's p99 was {:.0} ms, where {bound:.0} are the limit",
                self.other.p99_ms
            ));
        }
        let allowed = |hz: f64, burst: f64| hz + burst / self.seconds.max(1.0);
        if let Some(bound) = bounds.log_hz.filter(|bound| self.log_hz() > allowed(*bound, LOG_BURST)) {
            wrong.push(format!("{:.1} lines logged a second, where {bound:.0} are the limit", self.log_hz()));
        }
        let writers = f64::from(self.attack.n_writers());
        let over = |bound: &f64| self.durable_hz() > allowed(bound * writers, DURABLE_BURST * writers);
        if let Some(bound) = bounds.durable_hz.filter(over) {
            wrong.push(format!(
                "{:.0} durable entries a second of {writers} callers, where {bound:.0} each are the limit",
                self.durable_hz()
            ));
        }
        if self.is_alive && self.durable[0] == 0 {
            wrong.push("no audit entry was counted, not even for the other caller".to_owned());
        }
        let durable_most = bounds.durable_hz.map(|bound| bound * self.seconds + DURABLE_BURST);
        wrong.extend(self.attack.judge(&self.counts, durable_most));
        self.violations = wrong;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}; memory in MiB, descriptors before/most/after, the other caller's requests (failed) and p50/p99/most in ms",
            self.seed
        )?;
        writeln!(
            f,
            "{:<21} {:>5} {:>5}  {:<14} {:>12}  {:<19} {:>6} {:>8} {:>8}",
            "attack", "s", "MiB", "descriptors", "other", "ms", "log/s", "durable/s", "recovered"
        )?;
        self.outcomes.iter().try_for_each(|outcome| writeln!(f, "{outcome}"))?;
        for outcome in &self.outcomes {
            for violation in &outcome.violations {
                writeln!(f, "VIOLATION, {}: {violation}", outcome.attack.name())?;
            }
        }
        write!(f, "{}", if self.is_good() { "PASS" } else { "FAIL" })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (held, other) = (&self.held, &self.other);
        let recovered = self.recovery_seconds.map_or_else(|| "no".to_owned(), |seconds| format!("{seconds:.1} s"));
        write!(
            f,
            "{:<21} {:>5.1} {:>5.0}  {:<14} {:>12}  {:<19} {:>6.1} {:>8.0} {:>8}  {}",
            self.attack.name(),
            self.seconds,
            held.peak_mib.max(held.rss_mib),
            self.descriptors.map(|n| n.to_string()).join("/"),
            format!("{} ({})", other.requests, other.failed),
            format!("{:.0}/{:.0}/{:.0}", other.p50_ms, other.p99_ms, other.most_ms),
            self.log_hz(),
            self.durable_hz(),
            if self.is_alive { recovered } else { "ended".to_owned() },
            if self.violations.is_empty() { "held" } else { "FELL" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node looks like that holds.
    fn held() -> Outcome {
        let mut outcome = Outcome::new(Attack::SlowHttp1);
        outcome.seconds = 10.0;
        outcome.is_alive = true;
        outcome.held = Held { rss_mib: 100.0, peak_mib: 120.0, descriptors: 50 };
        outcome.other = Seen { requests: 400, p99_ms: 20.0, ..Seen::default() };
        outcome.recovery_seconds = Some(0.1);
        outcome.durable = [200, 0];
        outcome.counts.insert("reads asked for".to_owned(), 120);
        outcome
    }

    #[test]
    fn each_bound_is_broken_by_itself() {
        type Change<'a> = &'a dyn Fn(&mut Outcome);
        let judged = |change: Change<'_>| {
            let mut outcome = held();
            change(&mut outcome);
            outcome.judge(&Bounds::FULL);
            outcome.violations
        };
        assert_eq!(judged(&|_| {}), Vec::<String>::new());
        let changes: [(Change<'_>, &str); 10] = [
            (&|outcome| outcome.is_alive = false, "has ended"),
            (&|outcome| outcome.recovery_seconds = None, "not ready"),
            (&|outcome| outcome.held.peak_mib = 256.0, "MiB resident"),
            (&|outcome| outcome.descriptors_max = 60, "the engines need"),
            (&|outcome| outcome.other.failed = 1, "failed 1 times"),
            (&|outcome| outcome.other.p99_ms = 250.0, "p99"),
            (&|outcome| outcome.log_lines = 100, "lines logged"),
            (&|outcome| outcome.durable[1] = 2_000, "durable entries"),
            (&|outcome| outcome.durable[0] = 0, "no audit entry"),
            (&|outcome| outcome.counts.clear(), "never"),
        ];
        for (change, says) in changes {
            let violations = judged(change);
            assert!(matches!(&violations[..], [only] if only.contains(says)), "{says}: {violations:?}");
        }
    }
}
