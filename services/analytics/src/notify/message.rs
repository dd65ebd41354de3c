//! What is said about work that has ended.

use super::NAME;
use crate::{
    jobs::{
        job::{Job, State},
        step::RunOf,
    },
    pipelines::{Run, Step},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// Steps that a message about a run names: those that did not succeed come first.
const STEPS_MAX: usize = 100;
/// Most characters of what is said about a failure.
const ERROR_CHARS: usize = 1_000;

/// A message. It holds no parameters and no results.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Of two with the same id one was sent again.
    pub id: String,
    /// In one line.
    pub subject: String,
    /// The message as a JSON object.
    pub body: Value,
}

impl Message {
    /// About a job that has ended.
    pub fn of_job(job: &Job) -> Self {
        let id = format!("{}/{}", job.id, job.number);
        let submission = &job.submission;
        let mut body = json!({
            "type": "job", "id": id, "job_id": job.id, "kind": submission.kind, "state": word(job.state),
            "error": said(&job.error), "attempts": job.attempt, "submit_time": shown(Some(submission.at)),
            "start_time": shown(job.started_at), "end_time": shown(job.ended_at),
        });
        if let Some(name) = submission.submitter.strip_prefix("schedule:") {
            body["schedule"] = name.into();
        }
        if let Some(date) = &submission.date {
            body["date"] = date.clone().into();
        }
        if let Some(RunOf { pipeline, run_id, step, date }) = &submission.run {
            body["pipeline"] = json!({ "name": pipeline, "run_id": run_id, "step": step, "date": date });
        }
        Self::read(body)
    }

    /// About a run, of which `own` is a job that tells of it.
    pub fn of_run(run: &Run, own: Uuid) -> Self {
        // those that tell of it are no part of what is told
        let steps: Vec<_> = run.steps.iter().filter(|step| step.job.submission.kind != NAME).collect();
        let state = crate::pipelines::state(steps.iter().map(|step| step.job.state));
        // a run that was begun again where it failed is told of again
        let changes: u64 = steps.iter().map(|step| u64::from(step.job.number)).sum();
        let mut ordered = steps.clone();
        ordered.sort_by_key(|step| step.job.state == State::Succeeded);
        let shown_steps: Vec<_> = ordered.iter().take(STEPS_MAX).map(|step| of_step(step)).collect();
        Self::read(json!({
            "type": "pipeline_run", "id": format!("{}/{changes}", run.run_id), "run_id": run.run_id, "job_id": own,
            "pipeline": run.pipeline, "date": run.date, "state": word(state), "submit_time": shown(run.submitted_at()),
            "end_time": shown(steps.iter().filter_map(|step| step.job.ended_at).max()),
            "steps": shown_steps, "steps_left_out": steps.len().saturating_sub(STEPS_MAX),
            "skipped": run.skipped().iter().map(|(step, _)| step).collect::<Vec<_>>(),
        }))
    }

    /// One that was written down.
    pub fn read(body: Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let what = match text("type").as_str() {
            "pipeline_run" => format!("pipeline {} for {}", text("pipeline"), text("date")),
            _ => format!("job {} ({})", text("kind"), text("job_id")),
        };
        Self { id: text("id"), subject: format!("Wardline: {what}: {}", text("state")), body }
    }

    /// All of it for people.
    pub fn text(&self) -> String {
        let mut lines = vec![self.subject.clone(), String::new()];
        for (name, value) in self.body.as_object().into_iter().flatten() {
            match value {
                Value::Array(items) if !items.is_empty() => {
                    lines.push(format!("{name}:"));
                    lines.extend(items.iter().map(|item| format!("  {}", line(item))));
                }
                Value::Array(_) | Value::Null => {}
                other => lines.push(format!("{name}: {}", line(other))),
            }
        }
        lines.join("\r\n") + "\r\n"
    }
}

fn of_step(step: &Step) -> Value {
    let Step { name, job } = step;
    json!({
        "step": name, "state": word(job.state), "error": said(&job.error), "kind": job.submission.kind,
        "job_id": job.id, "start_time": shown(job.started_at), "end_time": shown(job.ended_at),
    })
}

/// A value in a line.
fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null() && *value != "");
            fields.map(|(name, value)| format!("{name} {}", line(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Running => "running",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

/// What a failure says, in one line and bounded.
fn said(error: &str) -> String {
    error.chars().take(ERROR_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shown(at: Option<i64>) -> Option<String> {
    Some(Timestamp::from_nanosecond(at?.into()).ok()?.to_string())
}
