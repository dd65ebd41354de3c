//! A run as its jobs tell it.

use crate::jobs::{
    board::Board,
    job::{Job, State},
    step::RunOf,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The step that submits the others.
pub const PLAN: &str = "plan";
/// Most lines of a run's log.
const LOG_LINES: usize = 500;

/// A run of a pipeline, as far as this process knows.
#[derive(Debug, Clone)]
pub struct Run {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Id of the run, which follows from pipeline and date.
    pub run_id: Uuid,
    /// For which date.
    pub date: String,
    /// In their order, the one that submits the others first.
    pub steps: Vec<Step>,
}

/// A step of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name of the step, with what it is for: `check hospitals`; [`PLAN`] is the first.
    pub name: String,
    /// The job that does this step.
    pub job: Job,
}

/// Runs of a pipeline, the latest date first.
pub fn list(board: &Board, pipeline: &str) -> Vec<Run> {
    let mut runs = made_of(board, |run| run.pipeline == pipeline);
    runs.sort_unstable_by(|one, other| (&other.date, other.run_id).cmp(&(&one.date, one.run_id)));
    runs
}

/// A run; `None`: there is none, or none any more.
pub fn get(board: &Board, run_id: Uuid) -> Option<Run> {
    made_of(board, |run| run.run_id == run_id).pop()
}

fn made_of(board: &Board, is_wanted: impl Fn(&RunOf) -> bool) -> Vec<Run> {
    let jobs = board.select(|job| job.submission.run.as_ref().filter(|run| is_wanted(run)).map(|_| job.clone()));
    let mut runs = BTreeMap::new();
    for job in jobs {
        let Some(RunOf { pipeline, run_id, step, date }) = job.submission.run.clone() else { continue };
        let run = runs.entry(run_id).or_insert_with(|| Run { pipeline, run_id, date, steps: Vec::new() });
        run.steps.push(Step { name: step, job });
    }
    let sorted = |mut run: Run| {
        run.steps.sort_unstable_by_key(|step| (step.name != PLAN, step.job.id));
        run
    };
    runs.into_values().map(sorted).collect()
}

impl Run {
    /// Where it stands.
    pub fn state(&self) -> State {
        state(self.steps.iter().map(|step| step.job.state))
    }

    /// When it was submitted.
    pub fn submitted_at(&self) -> Option<i64> {
        self.steps.iter().map(|step| step.job.submission.at).min()
    }

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<i64> {
        let ended: Option<Vec<_>> = self.steps.iter().map(|step| step.job.ended_at).collect();
        ended?.into_iter().max()
    }

    /// Names of the steps that one waits for to have succeeded.
    pub fn names<'r>(&'r self, jobs: &'r [Uuid]) -> impl Iterator<Item = &'r str> {
        jobs.iter().filter_map(|id| Some(self.steps.iter().find(|step| step.job.id == *id)?.name.as_str()))
    }

    /// Steps for which there was nothing, and why.
    pub fn skipped(&self) -> Vec<(String, String)> {
        let plan = self.steps.iter().find(|step| step.name == PLAN);
        let skipped = plan.and_then(|step| step.job.result.as_ref()?.get("skipped").cloned());
        skipped.and_then(|skipped| serde_json::from_value(skipped).ok()).unwrap_or_default()
    }

    /// What its steps said, in the order of their beginning, and how each ended.
    pub fn log(&self) -> Vec<String> {
        let mut begun: Vec<_> = self.steps.iter().filter(|step| step.job.started_at.is_some()).collect();
        begun.sort_by_key(|step| step.job.started_at);
        let never = self.steps.iter().filter(|step| step.job.started_at.is_none() && step.job.state.has_ended());
        let lines = begun.into_iter().chain(never).flat_map(lines);
        let mut lines: Vec<_> = lines.collect();
        lines.drain(..lines.len().saturating_sub(LOG_LINES));
        lines
    }
}

/// What jobs amount to.
pub(crate) fn state(jobs: impl Iterator<Item = State>) -> State {
    let jobs: Vec<_> = jobs.collect();
    let is_any = |state: State| jobs.contains(&state);
    match jobs.iter().all(|state| state.has_ended()) {
        true if is_any(State::Failed) => State::Failed,
        true if is_any(State::Cancelled) => State::Cancelled,
        true => State::Succeeded,
        false if jobs.iter().all(|state| *state == State::Queued) => State::Queued,
        false => State::Running,
    }
}

fn lines(step: &Step) -> Vec<String> {
    let Step { name, job } = step;
    let ended = match job.state {
        State::Succeeded => vec![format!("{name}: succeeded in attempt {}", job.attempt)],
        State::Failed => vec![format!("{name}: failed: {}", job.error)],
        State::Cancelled => vec![format!("{name}: cancelled")],
        State::Queued | State::Running if !job.error.is_empty() => {
            vec![format!("{name}: attempt failed: {}", job.error)]
        }
        State::Queued | State::Running => Vec::new(),
    };
    job.log.iter().map(|line| format!("{name}: {line}")).chain(ended).collect()
}
