//! Jobs as they are on the wire.

use super::{
    job::{Job, State},
    kinds::{Kind, Parameter},
    step::{Notify, Priority, Progress, Run, RunOf},
};
use crate::callers::caller_id;
use guard::convert;
use model::Nanos;
use proto::{
    analytics::v1::{
        self as v1, JobKind, JobNotify, JobParameter, JobPriority, JobProgress, JobRun, JobState, PipelineStep,
    },
    problem,
    prost_types::Duration,
};
use std::time;
use tonic::Status;

/// The longest deadline: a year.
const DEADLINE_SECONDS: i64 = 366 * 86_400;

/// A job, whole.
pub(crate) fn job(job: &Job) -> v1::Job {
    let timestamp = |at: i64| convert::timestamp(Nanos(at));
    let submission = &job.submission;
    let schedule = submission.submitter.strip_prefix("schedule:").unwrap_or_default().to_owned();
    v1::Job {
        job_id: job.id.to_string(),
        kind: submission.kind.clone(),
        parameters: submission.parameters.clone().into_iter().collect(),
        state: shown_state(job.state).into(),
        priority: shown_priority(submission.priority).into(),
        submitter: caller_id(&submission.submitter),
        submit_time: Some(timestamp(submission.at)),
        start_time: job.started_at.map(timestamp),
        end_time: job.ended_at.map(timestamp),
        deadline: submission.deadline.map(timestamp),
        attempt: job.attempt,
        max_attempts: submission.max_attempts,
        progress: Some(progress(&job.progress)),
        log: job.log.iter().cloned().collect(),
        error: job.error.clone(),
        result: job.result.as_ref().map(ToString::to_string).unwrap_or_default(),
        run: job.run.as_ref().map(run),
        depends_on: submission.depends_on.iter().map(ToString::to_string).collect(),
        schedule,
        step: job.number,
        notify: shown_notify(submission.notify).into(),
        pipeline_step: submission.run.as_ref().map(pipeline_step),
        date: submission.date.clone().unwrap_or_default(),
    }
}

/// A job in a list: without log and result.
pub(crate) fn outline(of: &Job) -> v1::Job {
    v1::Job { log: Vec::new(), result: String::new(), ..job(of) }
}

/// A parameter of a kind or a report, with its range in words.
pub(crate) fn parameter(parameter: Parameter) -> JobParameter {
    JobParameter {
        takes: parameter.range(),
        name: parameter.name,
        default_value: parameter.default,
        about: parameter.about,
    }
}

/// What jobs of a kind do, and what it takes.
pub(super) fn kind(kind: &dyn Kind) -> JobKind {
    JobKind {
        name: kind.name().to_owned(),
        about: kind.about().to_owned(),
        parameters: kind.parameters().into_iter().map(parameter).collect(),
        routes: kind.routes().into_iter().map(|route| route.word).collect(),
    }
}

fn pipeline_step(of: &RunOf) -> PipelineStep {
    let RunOf { pipeline, run_id, step, date } = of.clone();
    PipelineStep { pipeline, run_id: run_id.to_string(), step, date }
}

pub(crate) fn shown_notify(notify: Notify) -> JobNotify {
    match notify {
        Notify::Never => JobNotify::Never,
        Notify::Failure => JobNotify::Failure,
        Notify::Always => JobNotify::Always,
    }
}

/// When somebody is told, as it was asked for.
pub(crate) fn notify(sent: i32) -> Result<Notify, Status> {
    match JobNotify::try_from(sent) {
        Ok(JobNotify::Unspecified | JobNotify::Never) => Ok(Notify::Never),
        Ok(JobNotify::Failure) => Ok(Notify::Failure),
        Ok(JobNotify::Always) => Ok(Notify::Always),
        Err(_) => Err(problem::invalid("INVALID_NOTIFY", "notify", "must be never, failure or always")),
    }
}

fn progress(progress: &Progress) -> JobProgress {
    let Progress { done, total, unit, stage } = progress.clone();
    JobProgress { done, total, unit, stage }
}

fn run(run: &Run) -> JobRun {
    let took = time::Duration::try_from_secs_f64(run.seconds).unwrap_or_default();
    JobRun {
        data_versions: run.data_versions.clone().into_iter().collect(),
        code_version: run.code_version.clone(),
        seed: run.seed,
        rows_in: run.rows_in,
        rows_out: run.rows_out,
        // an attempt does not take three hundred years
        took: Some(convert::duration(i64::try_from(took.as_nanos()).unwrap_or(i64::MAX))),
        peak_memory_bytes: run.peak_memory_bytes,
    }
}

pub(crate) fn shown_state(state: State) -> JobState {
    match state {
        State::Queued => JobState::Queued,
        State::Running => JobState::Running,
        State::Succeeded => JobState::Succeeded,
        State::Failed => JobState::Failed,
        State::Cancelled => JobState::Cancelled,
    }
}

/// The state that was asked for; `None`: any.
pub(super) fn state(sent: i32) -> Result<Option<State>, Status> {
    match JobState::try_from(sent) {
        Ok(JobState::Unspecified) => Ok(None),
        Ok(JobState::Queued) => Ok(Some(State::Queued)),
        Ok(JobState::Running) => Ok(Some(State::Running)),
        Ok(JobState::Succeeded) => Ok(Some(State::Succeeded)),
        Ok(JobState::Failed) => Ok(Some(State::Failed)),
        Ok(JobState::Cancelled) => Ok(Some(State::Cancelled)),
        Err(_) => Err(problem::invalid("INVALID_STATE", "state", "must be a state of a job, or 0 for any")),
    }
}

fn shown_priority(priority: Priority) -> JobPriority {
    match priority {
        Priority::Low => JobPriority::Low,
        Priority::Normal => JobPriority::Normal,
        Priority::High => JobPriority::High,
    }
}

/// The priority that was asked for.
pub(super) fn priority(sent: i32) -> Result<Priority, Status> {
    match JobPriority::try_from(sent) {
        Ok(JobPriority::Low) => Ok(Priority::Low),
        Ok(JobPriority::Unspecified | JobPriority::Normal) => Ok(Priority::Normal),
        Ok(JobPriority::High) => Ok(Priority::High),
        Err(_) => Err(problem::invalid("INVALID_PRIORITY", "priority", "must be low, normal or high")),
    }
}

/// When a job must have ended that has so long from now.
pub(super) fn deadline(after: Duration, now: i64) -> Result<i64, Status> {
    let whole = (1..=DEADLINE_SECONDS).contains(&after.seconds) && (0..1_000_000_000).contains(&after.nanos);
    if !whole {
        let text = format!("1 s to {DEADLINE_SECONDS} s from now");
        return Err(problem::invalid("INVALID_DEADLINE", "deadline", text));
    }
    Ok(now.saturating_add(after.seconds * 1_000_000_000 + i64::from(after.nanos)))
}

/// How long to wait.
pub(super) fn wait(sent: Duration) -> Result<time::Duration, Status> {
    time::Duration::try_from(sent).map_err(|_| problem::invalid("INVALID_TIMEOUT", "timeout", "must not be below 0 s"))
}
