//! Jobs under SIGKILL and SIGSTOP: each one has exactly one result, however often its workers are killed or paused.
//!
//! A node takes jobs in, others do them. At seeded random times a worker is killed, or paused for longer than its lease and let
//! go on: its late writes must change nothing. At the end all steps of all jobs are read from the store itself.
//! On the embedded engines there is one process, which is both, and it is only killed.

use crate::{
    figures::quantile,
    torture::{child::Child, engines::Kind, ward::Ward},
    wait::PATIENCE,
    with_token,
};
use anyhow::Context;
use node::{
    config::{Config, Sources},
    engines::Store,
};
use proto::analytics::v1::{JobState, ListJobsRequest, SubmitJobRequest, job_service_client::JobServiceClient};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use std::{
    fmt,
    time::{Duration, Instant},
};
use store::{Thing, ThingKind};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// A lease, and how much longer a paused worker is paused: others have taken its jobs over by then.
const LEASE: Duration = Duration::from_secs(2);
const PAUSED: Duration = Duration::from_secs(5);
/// Between two faults.
const ALIVE_MS: std::ops::Range<u64> = 300..1_500;
/// Before a worker that was killed is started again.
const DEAD: Duration = Duration::from_millis(300);
/// How many jobs of two seconds a worker does at once.
const AT_ONCE: u32 = 16;
/// Steps of one job at most: it is renewed three times a lease.
const STEPS: usize = 1_000;
/// How long the last jobs may take.
const ENDED_WITHIN: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Engines that the nodes run on.
    pub kind: Kind,
    /// Processes that do jobs.
    pub workers: u32,
    /// Jobs that are submitted.
    pub jobs: u32,
    /// SIGKILLs of workers.
    pub kills: u32,
    /// SIGSTOPs of workers.
    pub stops: u32,
    /// Decides on everything random.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// Workers that were killed.
    pub kills: u32,
    /// Workers that were paused.
    pub stops: u32,
    /// Jobs that were submitted.
    pub jobs: usize,
    /// Jobs with a right result.
    pub right: usize,
    /// Jobs that another worker took over.
    pub taken_over: usize,
    /// Attempts in all.
    pub attempts: usize,
    /// Half of the submissions were answered within so many milliseconds.
    pub submit_p50_ms: f64,
    /// The same of 99 of 100.
    pub submit_p99_ms: f64,
    /// From the first submission to the last result.
    pub seconds: f64,
    /// Anything that must not be; empty when the run was good.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "workers killed, paused               {}, {}", self.kills, self.stops)?;
        writeln!(f, "jobs, with their right result        {}, {}", self.jobs, self.right)?;
        writeln!(f, "attempts, jobs taken over            {}, {}", self.attempts, self.taken_over)?;
        writeln!(f, "submission, ms: p50, p99             {:.1}, {:.1}", self.submit_p50_ms, self.submit_p99_ms)?;
        writeln!(f, "seconds                              {:.1}", self.seconds)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION: {violation}"))?;
        write!(f, "{}", if self.violations.is_empty() { "PASS" } else { "FAIL" })
    }
}

/// Does all of it. An error means that the run could not be finished; what it found is in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let ward = Ward::new(plan.kind, 1).await?;
    let lease = format!("analytics.lease_seconds={}", LEASE.as_secs());
    let settings = |workers: u32| [format!("analytics.workers={workers}"), lease.clone()];
    let services = ["registry", "analytics"];
    let (mut front, mut workers) = (None, Vec::new());
    if plan.kind == Kind::Live {
        let mut node = ward.start_with("front", &services, "writer", &settings(0))?;
        node.ready().await?;
        front = Some(node);
    }
    for number in 0..plan.workers {
        let mut worker = ward.start_with(&format!("worker-{number}"), &services, "writer", &settings(AT_ONCE))?;
        worker.ready().await?;
        workers.push(worker);
    }
    let endpoint = front.as_ref().unwrap_or(&workers[0]).endpoint();
    let began = Instant::now();
    let submitting = tokio::spawn(submit(endpoint, ward.person("administrator")?, plan.clone()));
    let mut report = Report::default();
    disturb(plan, &mut workers, &mut report).await?;
    let submitted = timeout(ENDED_WITHIN, submitting).await.context("submission")???;
    let mut took: Vec<_> = submitted.iter().map(|one| one.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    [report.submit_p50_ms, report.submit_p99_ms] = [0.5, 0.99].map(|share| quantile(&took, share));
    report.jobs = submitted.len();
    ended(&ward, plan, front.as_ref().unwrap_or(&workers[0])).await?;
    report.seconds = began.elapsed().as_secs_f64();
    for node in front.iter_mut().chain(&mut workers) {
        node.stop().await?;
    }
    judge(&ward, &submitted, &mut report).await?;
    Ok(report)
}

/// A job that was submitted: its id, its number, and how long the answer took.
struct Submitted {
    id: Uuid,
    n: u32,
    took: Duration,
}

/// Submits all, evenly over the time that the faults take; what is not answered is submitted again with its key.
async fn submit(endpoint: String, token: String, plan: Plan) -> anyhow::Result<Vec<Submitted>> {
    let faults = Duration::from_millis(u64::from(plan.kills) * 1_200) + PAUSED * plan.stops;
    let every = (faults / plan.jobs.max(1)).min(Duration::from_millis(100));
    let mut client = JobServiceClient::new(client::channel(endpoint)?);
    let mut all = Vec::new();
    for n in 0..plan.jobs {
        let request = SubmitJobRequest {
            kind: "task".to_owned(),
            parameters: [("n".to_owned(), n.to_string())].into(),
            request_id: format!("job {n} of {}", plan.seed),
            max_attempts: 10,
            ..SubmitJobRequest::default()
        };
        let first = Instant::now();
        let (job, took) = loop {
            let began = Instant::now();
            match client.submit_job(with_token(request.clone(), &token)?).await {
                Ok(answer) => break (answer.into_inner().job.context("no job")?, began.elapsed()),
                Err(status) if first.elapsed() > PATIENCE => anyhow::bail!("a job is not taken: {status}"),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
        all.push(Submitted { id: job.job_id.parse()?, n, took });
        sleep(every.saturating_sub(took)).await;
    }
    Ok(all)
}

/// Kills and pauses workers, in a random order.
async fn disturb(plan: &Plan, workers: &mut [Child], report: &mut Report) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let (mut kills, mut stops) = (plan.kills, plan.stops);
    while kills + stops > 0 {
        sleep(Duration::from_millis(random.random_range(ALIVE_MS))).await;
        let worker = random.random_range(0..workers.len());
        let worker = &mut workers[worker];
        if random.random_range(0..kills + stops) < kills {
            kills -= 1;
            worker.kill().await?;
            report.kills += 1;
            sleep(DEAD).await;
            worker.restart()?;
            worker.ready().await?;
        } else {
            stops -= 1;
            worker.freeze().await?;
            report.stops += 1;
            sleep(PAUSED).await;
            worker.thaw().await?;
        }
    }
    Ok(())
}

/// Waits until no job is queued or running.
async fn ended(ward: &Ward, plan: &Plan, node: &Child) -> anyhow::Result<()> {
    let mut client = JobServiceClient::new(client::channel(node.endpoint())?);
    let until = Instant::now() + ENDED_WITHIN;
    loop {
        let mut left = 0;
        // one that is given back between two questions is found by the third
        for state in [JobState::Queued, JobState::Running, JobState::Queued] {
            let request = ListJobsRequest { state: state.into(), page_size: 500, ..ListJobsRequest::default() };
            let answer = client.list_jobs(with_token(request, &ward.person("administrator")?)?).await;
            left += answer.map_or(1, |answer| answer.into_inner().jobs.len());
        }
        if left == 0 {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < until, "about {left} of {} jobs have not ended", plan.jobs);
        sleep(Duration::from_millis(200)).await;
    }
}

/// Reads the steps of all jobs from the store.
async fn judge(ward: &Ward, submitted: &[Submitted], report: &mut Report) -> anyhow::Result<()> {
    let config = Config::load(&Sources { flags: ward.settings(), ..Default::default() })?;
    let store = Store::open(&config).await?;
    let mut ids: Vec<_> = submitted.iter().map(|job| job.id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != submitted.len() {
        report.violations.push(format!("{} jobs have {} ids", submitted.len(), ids.len()));
    }
    let announced = store.histories.announced(ThingKind::Job).await?;
    if announced.len() != ids.len() {
        report.violations.push(format!("{} jobs were answered, {} are in the store", ids.len(), announced.len()));
    }
    for Submitted { id, n, .. } in submitted {
        let steps = store.histories.steps(Thing { kind: ThingKind::Job, id: *id }, 1, STEPS).await?;
        let steps: Vec<Value> = steps.iter().map(|step| serde_json::from_slice(step)).collect::<Result<_, _>>()?;
        let having = |name: &str| steps.iter().filter(|step| step.get(name).is_some()).count();
        let attempts = having("started");
        report.attempts += attempts;
        report.taken_over += usize::from(attempts > 1);
        let result = steps.last().and_then(|last| last["succeeded"]["result"]["n"].as_u64());
        match (having("succeeded"), result) {
            (1, Some(result)) if result == u64::from(n + 1) => report.right += 1,
            (results, last) => {
                report.violations.push(format!("job {id}: {results} results, the last step says {last:?}"))
            }
        }
    }
    Ok(())
}
