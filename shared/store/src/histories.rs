//! Things that change in steps: jobs, schedules, data sets, models.

use crate::Error;
use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

/// The most bytes of one step.
pub const STEP_BYTES: usize = 64 << 10;

/// What kind of thing has a history. The codes are stored: never give one to another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThingKind {
    /// Long work: submitted, started, finished.
    Job = 1,
    /// When work is due: its firings.
    Schedule = 2,
    /// Versions of a data set.
    DataSet = 3,
    /// Versions of a model.
    Model = 4,
    /// For which job a caller's idempotency key stands.
    SubmissionKey = 5,
}

impl ThingKind {
    /// The code under which it is stored.
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// A thing that has a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thing {
    /// Kind of thing that the history is of.
    pub kind: ThingKind,
    /// Which one of its kind.
    pub id: Uuid,
}

/// Histories: each step of a thing has the next number, from 1, and whoever comes second for a number is told so. So the
/// number fences: a worker that was paused while another took over changes nothing any more. Belongs to `analytics`.
#[async_trait]
pub trait Histories: Send + Sync {
    /// Puts a step (at most [`STEP_BYTES`]) at a number, durably. `false`: another one is there already; read it, and think
    /// again. The same bytes land on themselves.
    async fn put_step(&self, thing: Thing, number: u32, step: &[u8]) -> Result<bool, Error>;

    /// Steps from a number on, ascending up to the first that is missing, at most `limit`.
    async fn steps(&self, thing: Thing, from: u32, limit: usize) -> Result<Vec<Bytes>, Error>;

    /// Makes a thing known to those who list, and that it has a step of this number which they are to read. Call it before
    /// the step is put: what is listed and has no step was never begun.
    async fn announce(&self, thing: Thing, number: u32) -> Result<(), Error>;

    /// All things of a kind, ascending by id, each with the highest number that was announced.
    async fn announced(&self, kind: ThingKind) -> Result<Vec<(Uuid, u32)>, Error>;

    /// Removes a thing whose last step has this number, the last step first; twice is as once. What was announced is never
    /// announced again under the same id.
    async fn forget(&self, thing: Thing, last: u32) -> Result<(), Error>;
}
