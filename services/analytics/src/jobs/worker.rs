//! Does jobs: takes one, runs it, renews its lease while it runs, and writes down how it ended.
//!
//! A lease is not trusted, only its number: a worker that was paused while its job was taken over finds its next step refused,
//! ends the attempt, and nothing of it counts.

use super::{
    board::Board,
    job::Job,
    kinds::{Done, Failure, Kinds},
    metrics,
    step::{ERROR_BYTES, Progress, RESULT_BYTES, Run, Step, Submission},
    work::Work,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinSet, time};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

/// How workers go about it.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Jobs that are done at once.
    pub at_once: usize,
    /// A worker of which nothing was heard for so long is taken for lost.
    pub lease: Duration,
    /// How often is read what other processes did.
    pub follow_every: Duration,
}

/// Does the jobs of a board.
pub struct Worker {
    board: Board,
    kinds: Kinds,
    settings: Settings,
    /// A new one for each start: one who comes back is somebody else.
    id: Uuid,
    ours: Arc<Mutex<HashSet<Uuid>>>,
}

impl Worker {
    /// Of these kinds; jobs of others are left to those who know them.
    pub fn new(board: Board, kinds: Kinds, settings: Settings) -> Self {
        Self { board, kinds, settings, id: Uuid::new_v4(), ours: Arc::default() }
    }

    /// Works until told to stop; then gives back what it has begun. A store that is away is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.settings.at_once));
        let worker = Arc::new(self);
        let mut attempts = JoinSet::new();
        let mut changes = worker.board.changes();
        let mut follow = time::interval(worker.settings.follow_every);
        follow.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = follow.tick() => worker.said(worker.board.follow().await, "jobs cannot be read"),
                _ = changes.changed() => {}
                Some(_) = attempts.join_next() => {}
            }
            changes.mark_unchanged();
            let lease = worker.settings.lease;
            let ours = worker.ours().clone();
            worker.said(worker.board.end_hopeless(&ours, lease).await, "jobs cannot be ended");
            while let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                let ours = worker.ours().clone();
                let taken = worker.board.take(worker.id, &ours, lease).await;
                let Ok(Some(job)) = taken else {
                    worker.said(taken.map(|_| ()), "no job can be begun");
                    break;
                };
                worker.ours().insert(job.id);
                let (worker, stop) = (Arc::clone(&worker), stop.child_token());
                attempts.spawn(async move {
                    let id = job.id;
                    worker.attempt(job, stop).await;
                    worker.ours().remove(&id);
                    drop(slot);
                });
            }
        }
        while attempts.join_next().await.is_some() {}
    }

    /// The jobs that this process does.
    fn ours(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, outcome: Result<(), store::Error>, what: &str) {
        if let Err(error) = outcome {
            tracing::warn!(error = &error as &dyn std::error::Error, "{what}, tried again");
        }
    }

    /// One attempt, from its first step, which is put, to its last.
    async fn attempt(&self, mut job: Job, stop: CancellationToken) {
        let began = Instant::now();
        let unwanted = CancellationToken::new();
        let (work, mut questions) = Work::new(&job, unwanted.clone());
        let mut running = std::pin::pin!(self.go(job.submission.clone(), work.clone()));
        let mut renewal = time::interval(self.settings.lease / 3);
        renewal.reset();
        let ended = loop {
            let question = tokio::select! {
                ended = &mut running => break Some(ended),
                () = stop.cancelled() => {
                    unwanted.cancel();
                    break None;
                }
                _ = renewal.tick() => None,
                Some(question) = questions.recv() => Some(question),
            };
            match self.renewed(&job, &work).await {
                Ok(Some(next)) => {
                    job = next;
                    // who asked may have ended meanwhile
                    let _ = question.map(|question| question.send(true));
                }
                Ok(None) => {
                    tracing::info!(job = %job.id, "the job is not this worker's any more: what it does for it ends");
                    unwanted.cancel();
                    return;
                }
                // who asked gets no answer, and makes nothing known
                Err(error) => self.said(Err(error), "a job's lease cannot be renewed"),
            }
        };
        let last = self.last(&job, &work, ended, began.elapsed());
        self.put_last(&job, last).await;
    }

    /// Runs the job's kind; a panic of it is a failure of this job alone.
    async fn go(&self, submission: Submission, work: Work) -> Result<Done, Failure> {
        let kind = self.kinds.find(&submission.kind).map_err(|unfit| Failure::Final(unfit.to_string()))?;
        let kind = Arc::clone(kind);
        // on a task of its own: work that does not yield must not keep the lease from being renewed
        let task = AbortOnDropHandle::new(tokio::spawn(async move { kind.run(&work, &submission.parameters).await }));
        task.await.unwrap_or_else(|_| {
            Err(Failure::Final("the program failed: its operators find more in its log".to_owned()))
        })
    }

    async fn renewed(&self, job: &Job, work: &Work) -> Result<Option<Job>, store::Error> {
        let (progress, log) = work.take();
        let put = self.board.put(job, Step::Renewed { at: self.board.now(), progress, log: log.clone() }).await;
        if put.is_err() {
            work.give_back(log);
        }
        put
    }

    /// How the attempt ends; `None`: this process is told to stop before it did.
    fn last(&self, job: &Job, work: &Work, ended: Option<Result<Done, Failure>>, took: Duration) -> Step {
        let at = self.board.now();
        let (progress, log) = work.take();
        let mut run = Run {
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: took.as_secs_f64(),
            peak_memory_bytes: work.peak_memory_bytes(),
            progress: Some(progress).filter(|progress| *progress != Progress::default()),
            ..Run::default()
        };
        let failed = |error: String, again_at, run| {
            let error = error[..error.floor_char_boundary(ERROR_BYTES)].to_owned();
            Step::Failed { at, error, run: Some(run), log: Vec::new(), again_at }
        };
        let step = match ended {
            None => return Step::Released { at },
            Some(Ok(done)) => {
                (run.rows_in, run.rows_out) = done.rows;
                (run.data_versions, run.seed) = (done.data_versions, done.seed);
                let bytes = done.result.to_string().len();
                match bytes <= RESULT_BYTES {
                    true => Step::Succeeded { at, result: done.result, run, log: Vec::new() },
                    false => failed(format!("a result of {bytes} bytes; at most {RESULT_BYTES} are kept"), None, run),
                }
            }
            Some(Err(Failure::Final(error))) => failed(error, None, run),
            Some(Err(Failure::Again(error))) => failed(error, again_at(job, at, Duration::ZERO), run),
            Some(Err(Failure::Later { text, after })) => failed(text, again_at(job, at, after), run),
        };
        metrics::attempted(&job.submission.kind, &step, took);
        with_log(step, log)
    }

    /// Puts the last step, as long as it takes: what was done must not be done again because the store was away for a while.
    async fn put_last(&self, job: &Job, last: Step) {
        let mut wait = Duration::from_millis(100);
        loop {
            match self.board.put(job, last.clone()).await {
                Ok(Some(_)) => return,
                Ok(None) => {
                    tracing::info!(job = %job.id, "the job was somebody else's before it was done: this result counts nothing");
                    return;
                }
                Err(error) => self.said(Err(error), "how a job ended cannot be written down"),
            }
            time::sleep(wait).await;
            wait = (wait * 2).min(self.settings.lease / 3);
            // another one may have taken it over by now, which the next try finds
        }
    }
}

/// When the attempt after one that failed begins: after the job's pause, or after what the failure asks for if that is longer;
/// `None`: it was the last one.
fn again_at(job: &Job, failed_at: i64, after: Duration) -> Option<i64> {
    let asked = i64::try_from(after.as_nanos()).unwrap_or(i64::MAX);
    let pause = job.submission.pause(job.attempt).max(asked);
    (job.attempt < job.submission.max_attempts).then(|| failed_at.saturating_add(pause))
}

fn with_log(step: Step, lines: Vec<String>) -> Step {
    match step {
        Step::Succeeded { at, result, run, .. } => Step::Succeeded { at, result, run, log: lines },
        Step::Failed { at, error, run, again_at, .. } => Step::Failed { at, error, run, log: lines, again_at },
        other => other,
    }
}
