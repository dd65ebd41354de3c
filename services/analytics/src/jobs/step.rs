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

/// What is to be done, and for whom. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Name of the kind.
    pub kind: String,
    /// With what, by name; checked against the kind's list.
    pub parameters: BTreeMap<String, String>,
    /// "user:UUID", "device:UUID", or "schedule:NAME".
    pub submitter: String,
    /// When.
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
    /// Jobs that must have succeeded before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Uuid>,
    /// The idempotency key's own id, if it was submitted with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
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
}

/// One step. A worker's name is a new one for each start of its process: a worker that comes back is another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The first one.
    Submitted(Submission),
    /// A worker begins an attempt: that of a worker who was lost has ended with it.
    Started {
        /// When.
        at: i64,
        /// Which worker.
        worker: Uuid,
    },
    /// The worker is still there.
    Renewed {
        /// When.
        at: i64,
        /// How far it has come.
        progress: Progress,
        /// What it has to say since the last step.
        log: Vec<String>,
    },
    /// The attempt did what it should.
    Succeeded {
        /// When.
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
        /// When.
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
        /// When.
        at: i64,
    },
    /// Somebody ended it.
    Cancelled {
        /// When.
        at: i64,
        /// Who, as in [`Submission::submitter`].
        by: String,
    },
    /// Somebody queued it again, with all its attempts.
    Retried {
        /// When.
        at: i64,
        /// Who.
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
