//! Which of the jobs that wait is begun next, and which can never be.

use super::{
    board::{Board, Standing},
    job::{Job, State},
    step::{Priority, Step},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// The jobs that this process knows, and how they bear on each other.
pub(super) struct Queue {
    jobs: HashMap<Uuid, Standing>,
    /// Attempts that run now, by submitter and by kind.
    running_of: HashMap<String, usize>,
    running_kinds: HashMap<String, usize>,
    now: i64,
    lease: Duration,
}

impl Queue {
    /// As the board knows it. A running job of which nothing was heard here for a lease has lost its worker.
    pub(super) fn of(board: &Board, lease: Duration) -> Self {
        let jobs: HashMap<_, _> = board.standing().into_iter().map(|one| (one.0.id, one)).collect();
        let (mut running_of, mut running_kinds) = (HashMap::new(), HashMap::new());
        for (job, _) in jobs.values().filter(|(job, _)| job.state == State::Running) {
            *running_of.entry(job.submission.submitter.clone()).or_default() += 1;
            *running_kinds.entry(job.submission.kind.clone()).or_default() += 1;
        }
        Self { jobs, running_of, running_kinds, now: board.now(), lease }
    }

    /// Jobs that can never succeed, each with the reason. `ours`: attempts of this very process, which knows better what became
    /// of them.
    fn hopeless(&self, ours: &HashSet<Uuid>) -> Vec<(Arc<Job>, String)> {
        let open = self.jobs.values().filter(|(job, _)| !job.state.has_ended());
        open.filter_map(|one| Some((one.0.clone(), self.why(&one.0, self.is_lost(one, ours))?))).collect()
    }

    /// The one to begin, if one is due.
    fn first(&self, ours: &HashSet<Uuid>) -> Option<Arc<Job>> {
        let due = self.jobs.values().filter(|one| {
            let is_lost = self.is_lost(one, ours);
            // what became hopeless since those were ended is not begun
            (is_lost || self.is_due(&one.0)) && self.why(&one.0, is_lost).is_none()
        });
        due.map(|(job, _)| job).min_by_key(|job| self.rank(job)).cloned()
    }

    fn is_lost(&self, (job, unheard): &Standing, ours: &HashSet<Uuid>) -> bool {
        job.state == State::Running && *unheard > self.lease && !ours.contains(&job.id)
    }

    /// Why it can never succeed, if so.
    fn why(&self, job: &Job, is_lost: bool) -> Option<String> {
        if job.submission.deadline.is_some_and(|deadline| deadline <= self.now) {
            return Some("it had not ended by its deadline".to_owned());
        }
        if is_lost && job.attempt >= job.submission.max_attempts {
            return Some(format!("its worker was lost in the last of {} attempts", job.attempt));
        }
        let failed = job.submission.depends_on.iter().find_map(|id| match self.jobs.get(id) {
            None => Some(format!("job {id}, on which it depends, is not there any more")),
            Some((on, _)) if on.state.has_failed() => {
                let how = if on.state == State::Failed { "failed" } else { "was cancelled" };
                Some(format!("job {id} ({}), on which it depends, {how}", on.submission.kind))
            }
            Some(_) => None,
        });
        failed.filter(|_| job.state == State::Queued)
    }

    fn is_due(&self, job: &Job) -> bool {
        let has_succeeded = |id| self.jobs.get(id).is_some_and(|(on, _)| on.state == State::Succeeded);
        // one that was cleared has ended
        let has_ended = |id| self.jobs.get(id).is_none_or(|(on, _)| on.state.has_ended());
        job.state == State::Queued
            && job.not_before <= self.now
            && job.submission.depends_on.iter().all(has_succeeded)
            && job.submission.after.iter().all(has_ended)
    }

    /// The least comes first: priority, then whoever has least running, then the kind that has, then age.
    fn rank(&self, job: &Job) -> (Reverse<Priority>, usize, usize, Uuid) {
        let submission = &job.submission;
        let running = |of: &HashMap<String, usize>, key: &str| of.get(key).copied().unwrap_or_default();
        (
            Reverse(submission.priority),
            running(&self.running_of, &submission.submitter),
            running(&self.running_kinds, &submission.kind),
            job.id,
        )
    }
}

impl Board {
    /// Ends the jobs that can never succeed: past their deadline, without a worker in their last attempt, or after a job that did
    /// not.
    pub(super) async fn end_hopeless(&self, ours: &HashSet<Uuid>, lease: Duration) -> Result<(), store::Error> {
        let hopeless = Queue::of(self, lease).hopeless(ours);
        if hopeless.is_empty() {
            return Ok(());
        }
        for (job, _) in hopeless {
            // what it depends on may have been queued again before it was
            self.refresh(&job).await?;
        }
        for (job, error) in Queue::of(self, lease).hopeless(ours) {
            let at = self.now();
            // where somebody else was first, it is known by now how it stands
            self.put(&job, Step::Failed { at, error, run: None, log: Vec::new(), again_at: None }).await?;
        }
        Ok(())
    }

    /// Reads again what a job waits for: who saw it queued again has seen at least as much of them. `false`: it waits for nothing.
    async fn refresh(&self, job: &Job) -> Result<bool, store::Error> {
        let submission = &job.submission;
        for on in submission.depends_on.iter().chain(&submission.after) {
            self.get(*on).await?;
        }
        Ok(!submission.depends_on.is_empty() || !submission.after.is_empty())
    }

    /// The next job for a worker, which is then its own; `None`: none is due.
    pub(super) async fn take(
        &self,
        worker: Uuid,
        ours: &HashSet<Uuid>,
        lease: Duration,
    ) -> Result<Option<Job>, store::Error> {
        while let Some(job) = Queue::of(self, lease).first(ours) {
            if self.refresh(&job).await? && Queue::of(self, lease).first(ours).as_ref() != Some(&job) {
                continue;
            }
            if let Some(job) = self.put(&job, Step::Started { at: self.now(), worker }).await? {
                return Ok(Some(job));
            }
            // somebody else was first, and it is known by now who: there may be another one
        }
        Ok(None)
    }
}
