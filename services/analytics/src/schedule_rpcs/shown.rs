//! Schedules and runs as they are on the wire.

use crate::{
    jobs::{job::State, wire},
    pipelines::{self, Run},
    schedules::{self, Missed, Schedule, What},
};
use guard::convert;
use model::Nanos;
use proto::{
    analytics::v1::{self as v1, PipelineRun, RunStep, SkippedStep},
    prost_types::Timestamp,
};

fn time(at: i64) -> Timestamp {
    convert::timestamp(Nanos(at))
}

/// A schedule, and where it stands.
pub(super) fn schedule(schedule: &Schedule, state: Option<&schedules::State>) -> v1::Schedule {
    let (pipeline, kind, parameters) = match schedule.what.clone() {
        What::Pipeline(pipeline) => (pipeline, String::new(), Default::default()),
        What::Job(kind, parameters) => (String::new(), kind, parameters),
    };
    let missed = match schedule.missed {
        Missed::CatchUp => v1::Missed::CatchUp,
        Missed::Skip => v1::Missed::Skip,
    };
    let firing = |firing: &schedules::Firing| v1::Firing {
        due_time: Some(time(firing.instant)),
        submit_time: Some(time(firing.at)),
        job_id: firing.job.map(|id| id.to_string()).unwrap_or_default(),
        error: firing.error.clone(),
    };
    v1::Schedule {
        name: schedule.name.clone(),
        cron: schedule.timetable.cron().to_owned(),
        time_zone: schedule.timetable.time_zone().to_owned(),
        pipeline,
        kind,
        parameters: parameters.into_iter().collect(),
        missed: missed.into(),
        notify: wire::shown_notify(schedule.notify).into(),
        begin_time: state.map(|state| time(state.begun_at)),
        last: state.and_then(|state| state.last.as_ref()).map(firing),
        next_time: state.and_then(|state| schedule.timetable.after(state.until)).map(time),
        n_left_out: state.map_or(0, |state| state.n_left_out),
    }
}

/// A run without steps and log.
pub(super) fn outline(run: &Run) -> PipelineRun {
    let n_succeeded = run.steps.iter().filter(|step| step.job.state == State::Succeeded).count();
    PipelineRun {
        run_id: run.run_id.to_string(),
        pipeline: run.pipeline.clone(),
        date: run.date.clone(),
        state: wire::shown_state(run.state()).into(),
        submit_time: run.submitted_at().map(time),
        end_time: run.ended_at().map(time),
        // a run has at most 501
        n_steps: run.steps.len() as u32,
        n_succeeded: n_succeeded as u32,
        ..PipelineRun::default()
    }
}

/// A run with steps and log.
pub(super) fn whole(run: &Run) -> PipelineRun {
    let step = |step: &pipelines::Step| RunStep {
        name: step.name.clone(),
        job_id: step.job.id.to_string(),
        kind: step.job.submission.kind.clone(),
        state: wire::shown_state(step.job.state).into(),
        attempt: step.job.attempt,
        start_time: step.job.started_at.map(time),
        end_time: step.job.ended_at.map(time),
        error: step.job.error.clone(),
        depends_on: run.names(&step.job.submission.depends_on).map(str::to_owned).collect(),
    };
    PipelineRun {
        steps: run.steps.iter().map(step).collect(),
        skipped: run.skipped().into_iter().map(|(name, reason)| SkippedStep { name, reason }).collect(),
        log: run.log(),
        ..outline(run)
    }
}
