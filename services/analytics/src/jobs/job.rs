//! A job: what its steps amount to.

use super::step::{Progress, Run, Step, Submission};
use serde_json::Value;
use std::collections::VecDeque;
use uuid::Uuid;

/// Lines of a log that are kept.
const LOG_LINES: usize = 100;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for a worker, for other jobs, or for its time.
    Queued,
    /// A worker does it.
    Running,
    /// Did what it should.
    Succeeded,
    /// After its last attempt, after its deadline, or because of a job on which it depends.
    Failed,
    /// Ended by somebody.
    Cancelled,
}

impl State {
    /// Whether it ended, and not as it should have.
    pub fn has_failed(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }

    /// Whether nothing more happens by itself.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A job. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Ascending with the time of submission.
    pub id: Uuid,
    /// The number of its last step.
    pub number: u32,
    /// What is to be done.
    pub submission: Submission,
    /// Where it stands.
    pub state: State,
    /// Who does it, while it runs.
    pub worker: Option<Uuid>,
    /// Attempts that were begun since it was submitted or retried.
    pub attempt: u32,
    /// When the last attempt began.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Before this no attempt begins.
    pub not_before: i64,
    /// How far the last attempt came.
    pub progress: Progress,
    /// The last lines of its log.
    pub log: VecDeque<String>,
    /// Why the last attempt failed.
    pub error: String,
    /// What came out of it.
    pub result: Option<Value>,
    /// What the last attempt took.
    pub run: Option<Run>,
}

impl Job {
    /// A job that was just submitted.
    pub fn new(id: Uuid, submission: Submission) -> Self {
        Self {
            id,
            number: 1,
            not_before: submission.at,
            submission,
            state: State::Queued,
            worker: None,
            attempt: 0,
            started_at: None,
            ended_at: None,
            progress: Progress::default(),
            log: VecDeque::new(),
            error: String::new(),
            result: None,
            run: None,
        }
    }

    /// Takes the next step into account.
    pub fn apply(&mut self, step: Step) {
        self.number += 1;
        match step {
            // there is only one first step
            Step::Submitted(_) => {}
            Step::Started { at, worker } => {
                self.state = State::Running;
                self.worker = Some(worker);
                self.attempt += 1;
                self.started_at = Some(at);
                self.progress = Progress::default();
            }
            Step::Renewed { progress, log, .. } => {
                self.progress = progress;
                self.say(log);
            }
            Step::Succeeded { at, result, run, log } => {
                self.say(log);
                self.result = Some(result);
                self.ran(Some(run));
                self.error.clear();
                self.end(State::Succeeded, at);
            }
            Step::Failed { at, error, run, log, again_at } => {
                self.say(log);
                self.error = error;
                self.ran(run);
                match again_at {
                    Some(again_at) => self.queue(again_at),
                    None => self.end(State::Failed, at),
                }
            }
            Step::Released { at } => {
                self.attempt = self.attempt.saturating_sub(1);
                self.queue(at);
            }
            Step::Cancelled { at, .. } => self.end(State::Cancelled, at),
            Step::Retried { at, .. } => {
                self.attempt = 0;
                self.ended_at = None;
                self.error.clear();
                self.queue(at);
            }
        }
    }

    /// What the attempt took; `None`: the job failed without one.
    fn ran(&mut self, run: Option<Run>) {
        let Some(run) = run else { return };
        // what it said since its lease was renewed
        if let Some(progress) = &run.progress {
            self.progress = progress.clone();
        }
        self.run = Some(run);
    }

    fn queue(&mut self, not_before: i64) {
        self.state = State::Queued;
        self.worker = None;
        self.not_before = not_before;
    }

    fn end(&mut self, state: State, at: i64) {
        self.state = state;
        self.worker = None;
        self.ended_at = Some(at);
    }

    fn say(&mut self, lines: Vec<String>) {
        self.log.extend(lines);
        self.log.drain(..self.log.len().saturating_sub(LOG_LINES));
    }
}
