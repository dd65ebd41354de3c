//! What happens to a job, one step after the other, as it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most bytes of a result as JSON: what is larger goes to objects, which the result names.
pub const RESULT_BYTES: usize = 32 << 10;
/// The most lines of a log in one step, and the most bytes of one line.
pub const LINES: (usize, usize) = (50, 256);
/// The most bytes of what is said about a failure.
pub const ERROR_BYTES: usize = 2_000;

/// Which of the jobs that wait comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After all others.
    Low,
    /// By fairness, then by age.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// Whether somebody is told how a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// Nobody is told; the default.
    #[default]
    Never,
    /// When it failed or was cancelled.
    Failure,
    /// However it ended.
    Always,
}

impl Notify {
    /// As settings and parameters have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Failure => "failure",
            Self::Always => "always",
        }
    }

    /// The one of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Never, Self::Failure, Self::Always].into_iter().find(|one| one.word() == word)
    }
}

/// Of which run of a pipeline a job is a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOf {
    /// Name of the pipeline.
    pub pipeline: String,
    /// That of the pipeline for the date.
    pub run_id: Uuid,
    /// Name of the step.
    pub step: String,
    /// For which date, as in 2027-03-14.
    pub date: String,
}

/// The longest pause between two attempts, however often it doubles.
const PAUSE_SECONDS_MAX: u32 = 3_600;

/// What is to be done, and for whom. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Name of the kind.
    pub kind: String,
    /// With what, by name; checked against the kind's list.
    pub parameters: BTreeMap<String, String>,
    /// "user:UUID", "device:UUID", "schedule:NAME", "pipeline:NAME", or "system:NAME" for the node itself.
    pub submitter: String,
    /// When it was submitted.
    pub at: i64,
    /// Which comes first.
    #[serde(default)]
    pub priority: Priority,
    /// Until when it must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<i64>,
    /// Attempts that it has, from 1.
    pub max_attempts: u32,
    /// How long after a failure the next attempt begins, in seconds.
    pub pause_seconds: u32,
    /// Each pause is twice the one before, up to an hour.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pause_doubles: bool,
    /// Jobs that must have succeeded before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Uuid>,
    /// Jobs that must have ended before it begins, however they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Uuid>,
    /// Whether somebody is told how it ended.
    #[serde(default, skip_serializing_if = "is_never")]
    pub notify: Notify,
    /// The run of a pipeline that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunOf>,
    /// The local date of the schedule's firing that it was submitted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The idempotency key's own id, if it was submitted with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
}

impl Submission {
    /// How long after the failure of an attempt (from 1) the next one begins, in nanoseconds.
    pub(super) fn pause(&self, attempt: u32) -> i64 {
        let doubled = || {
            let times = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
            self.pause_seconds.saturating_mul(times).min(PAUSE_SECONDS_MAX)
        };
        let seconds = if self.pause_doubles { doubled() } else { self.pause_seconds };
        i64::from(seconds) * 1_000_000_000
    }
}

fn is_never(notify: &Notify) -> bool {
    *notify == Notify::Never
}

/// How far an attempt has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units that are done.
    pub done: u64,
    /// Units in all; 0: not known.
    pub total: u64,
    /// What a unit is.
    pub unit: String,
    /// What is being done.
    pub stage: String,
}

/// What an attempt took, and with what it was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Versions of the data sets that it read, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_versions: BTreeMap<String, String>,
    /// Version of the program.
    pub code_version: String,
    /// Seed of what is random in it.
    #[serde(default)]
    pub seed: u64,
    /// Rows that it read.
    #[serde(default)]
    pub rows_in: u64,
    /// Rows that it wrote.
    #[serde(default)]
    pub rows_out: u64,
    /// How long it took.
    pub seconds: f64,
    /// Most memory of its process while it ran, in bytes, as far as it was measured.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// How far it came, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// One step. A worker's name is a new one for each start of its process: a worker that comes back is another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The first one.
    Submitted(Submission),
    /// A worker begins an attempt: that of a worker who was lost has ended with it.
    Started {
        /// When the attempt began, in nanoseconds since 1970, as all times here.
        at: i64,
        /// Id of the worker that does it.
        worker: Uuid,
    },
    /// The worker is still there.
    Renewed {
        /// When the lease was renewed.
        at: i64,
        /// How far it has come.
        progress: Progress,
        /// What it has to say since the last step.
        log: Vec<String>,
    },
    /// The attempt did what it should.
    Succeeded {
        /// When the attempt ended.
        at: i64,
        /// What came out of it.
        result: Value,
        /// What it took.
        run: Run,
        /// The last lines.
        log: Vec<String>,
    },
    /// The attempt failed, or the job as a whole.
    Failed {
        /// When the attempt failed, or the job was found to be unable to succeed.
        at: i64,
        /// Why, for whoever submitted it.
        error: String,
        /// What it took, if there was an attempt.
        run: Option<Run>,
        /// The last lines.
        log: Vec<String>,
        /// When the next attempt begins; `None`: there is none.
        again_at: Option<i64>,
    },
    /// The worker's process ends before the attempt did: it does not count.
    Released {
        /// When it was given back; from then on the next attempt may begin.
        at: i64,
    },
    /// Somebody ended it.
    Cancelled {
        /// When it was cancelled.
        at: i64,
        /// Who, as in [`Submission::submitter`].
        by: String,
    },
    /// Somebody queued it again, with all its attempts.
    Retried {
        /// When it was queued again; from then on the next attempt may begin.
        at: i64,
        /// Who queued it again, as in [`Submission::submitter`].
        by: String,
    },
}

impl Step {
    /// Its bytes: JSON, so that an operator can read it.
    pub fn encode(&self) -> Vec<u8> {
        // numbers, texts and ids: nothing that JSON cannot hold
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a step back; one that this version does not know is an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission(more: &str) -> Submission {
        let text = format!(
            "{{\"kind\":\"task\",\"parameters\":{{\"n\":\"1\"}},\"submitter\":\"user:a\",\"at\":1,\"max_attempts\":3,\
             \"pause_seconds\":5{more}}}"
        );
        match Step::decode(format!("{{\"submitted\":{text}}}").as_bytes()).unwrap() {
            Step::Submitted(submission) => submission,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_kept_before_there_were_runs_is_read_and_what_is_not_said_is_not_written() {
        let old = submission("");
        assert_eq!((old.notify, &old.run, &old.date, old.pause_doubles), (Notify::Never, &None, &None, false));
        assert!(old.after.is_empty());
        let written = String::from_utf8(Step::Submitted(old).encode()).unwrap();
        for name in ["notify", "run", "date", "pause_doubles", "after"] {
            assert!(!written.contains(name), "{written}");
        }
        let run_id = Uuid::from_u128(7);
        let run = format!(
            ",\"notify\":\"failure\",\"run\":{{\"pipeline\":\"daily\",\"run_id\":\"{run_id}\",\"step\":\"check\",\
             \"date\":\"2027-03-14\"}}"
        );
        let new = submission(&run);
        assert_eq!(new.notify, Notify::Failure);
        assert_eq!(new.run.as_ref().map(|run| (run.run_id, run.step.as_str())), Some((run_id, "check")));
        assert_eq!(Step::decode(&Step::Submitted(new.clone()).encode()), Ok(Step::Submitted(new)));
    }

    #[test]
    fn a_pause_is_the_same_each_time_or_doubles_up_to_an_hour() {
        let seconds = |more, attempt| submission(more).pause(attempt) / 1_000_000_000;
        assert_eq!([1, 2, 9].map(|attempt| seconds("", attempt)), [5, 5, 5]);
        let doubles = ",\"pause_doubles\":true";
        assert_eq!(
            [1, 2, 3, 9, 10, 11, 40].map(|attempt| seconds(doubles, attempt)),
            [5, 10, 20, 1280, 2560, 3600, 3600]
        );
    }
}
