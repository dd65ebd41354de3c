//! The leakage test: random worlds of people, ties, wishes and readings, and random questions to the query service.
//!
//! A second statement of the rules (`oracle.rs`) says what each answer must be, from plain data: a row that it does not
//! allow is a leak. What may not be seen must answer exactly as what does not exist, pages of others must be refused, and
//! each answer and each refusal must be in the audit log once, as what it was. Between two pages the ties may end. All of
//! it in this process, without the network, and with a clock of the test's own; the same seed gives the same cases.

mod case;
mod closed;
mod oracle;
mod question;
mod readings;
mod served;
mod world;

pub use closed::ask_all;

use case::Run;
use rand::{SeedableRng, rngs::StdRng};
use std::{fmt, path::Path, sync::Arc, thread, time::Duration};
use store::{Append, Audit, Seal, embedded::Store};
use world::World;

/// Cases in each world.
const CASES_A_WORLD: u64 = 400;
/// Worlds whose readings are stored together: each call waits for the disk.
const WORLDS_AT_ONCE: usize = 16;
/// Violations that are kept as texts.
const TEXTS_MAX: usize = 20;
/// Values that one world may give to its readings.
const VALUES_A_WORLD: u64 = 10_000;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many questions, those for comparison not counted.
    pub cases: u64,
    /// Decides on everything random.
    pub seed: u64,
    /// Threads, each with worlds of its own.
    pub workers: u64,
    /// Keep the audit log in a real store, too, and not in memory.
    pub stored_log: bool,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Number of questions that were asked.
    pub cases: u64,
    /// Questions that were answered.
    pub answered: u64,
    /// Readings, hours and accesses in the answers.
    pub rows: u64,
    /// Answered as if there were no such patient.
    pub hidden: u64,
    /// Refused because no role grants it or the token takes it away.
    pub not_permitted: u64,
    /// Refused because the token had ended.
    pub expired: u64,
    /// Refusals that were compared with the one for a patient who does not exist.
    pub compared: u64,
    /// Later pages that were answered.
    pub pages: u64,
    /// Page tokens of others, or of another question, that were refused though the caller may see the patient.
    pub tokens_refused: u64,
    /// Pages that came to nothing because the caller may not see the patient any more.
    pub cut: u64,
    /// Entries of the audit logs.
    pub audited: u64,
    /// Rows shown that the rules do not allow.
    pub leaks: u64,
    /// Answers that differ from what the rules say, leaks included.
    pub differences: u64,
    /// The first of them.
    pub texts: Vec<String>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.answered += other.answered;
        self.rows += other.rows;
        self.hidden += other.hidden;
        self.not_permitted += other.not_permitted;
        self.expired += other.expired;
        self.compared += other.compared;
        self.pages += other.pages;
        self.tokens_refused += other.tokens_refused;
        self.cut += other.cut;
        self.audited += other.audited;
        self.leaks += other.leaks;
        self.differences += other.differences;
        self.texts.extend(other.texts);
        self.texts.truncate(TEXTS_MAX);
    }

    fn differs(&mut self, text: String) {
        self.differences += 1;
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(text);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cases, answered                      {}, {}", self.cases, self.answered)?;
        writeln!(f, "rows seen                            {}", self.rows)?;
        let [hidden, not_permitted, expired] = [self.hidden, self.not_permitted, self.expired];
        writeln!(f, "hidden, not permitted, expired       {hidden}, {not_permitted}, {expired}")?;
        writeln!(f, "refusals compared with a missing one {}", self.compared)?;
        writeln!(f, "later pages, cut, tokens refused     {}, {}, {}", self.pages, self.cut, self.tokens_refused)?;
        writeln!(f, "entries of the audit log             {}", self.audited)?;
        writeln!(f, "leaks, differences                   {}, {}", self.leaks, self.differences)?;
        self.texts.iter().try_for_each(|text| writeln!(f, "DIFFERENCE: {text}"))?;
        write!(f, "{}", if self.differences == 0 { "PASS" } else { "FAIL" })
    }
}

/// Does all of it. An error means that the run could not be finished; what it found is in the report.
pub fn run(plan: &Plan) -> anyhow::Result<Report> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("store"))?;
    let worker = |number: u64| {
        let (store, dir) = (store.clone(), dir.path().join(format!("worker-{number}")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(plan, number, store, &dir))
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.workers).map(|number| scope.spawn(move || worker(number))).collect();
        for worker in workers {
            report.add(worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??);
        }
        anyhow::Ok(report)
    })
}

/// Every so manyth world, some at a time.
async fn work(plan: &Plan, first: u64, store: Store, dir: &Path) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let n_worlds = plan.cases.div_ceil(CASES_A_WORLD);
    let numbers: Vec<_> = (first..n_worlds).step_by(plan.workers as usize).collect();
    for numbers in numbers.chunks(WORLDS_AT_ONCE) {
        let (mut worlds, mut rows) = (Vec::new(), Vec::new());
        for number in numbers {
            let seed = plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
            let mut random = StdRng::seed_from_u64(seed);
            let world = World::random(&mut random);
            let (readings, own) = readings::random(&world, &mut (number * VALUES_A_WORLD), &mut random);
            rows.extend(own);
            worlds.push((*number, world, readings, random));
        }
        // some hours are sealed, some are not, and some were and changed
        let (before, after): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.identity.sequence % 3 > 0);
        Append::append(&store, &before).await?;
        store.seal(Duration::ZERO).await?;
        Append::append(&store, &after).await?;
        for (number, world, readings, random) in worlds {
            let folder = dir.join(number.to_string());
            std::fs::create_dir_all(&folder)?;
            let log: Arc<dyn Audit> =
                if plan.stored_log { Arc::new(store.clone()) } else { Arc::new(served::MemoryLog::default()) };
            let mut served = served::Served::open(Arc::new(store.clone()), log, folder.clone())?;
            served.know(&world)?;
            let run = Run::new(format!("seed {}, world {number}", plan.seed), world, readings, served, random);
            report.add(run.all(CASES_A_WORLD.min(plan.cases - number * CASES_A_WORLD)).await?);
            std::fs::remove_dir_all(folder)?;
        }
    }
    Ok(report)
}
