//! What a schedule has done, as it is kept: each step is the whole of it, so the last one is enough.
//!
//! A schedule of every minute writes about 300 bytes each time; it is never read but from the last step that was announced on.

use crate::steps;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Histories, Thing, ThingKind};
use uuid::Uuid;

/// Names the ids of schedules.
const SCHEDULES: Uuid = Uuid::from_u128(0x51c6_04d7_b3f2_4a0e_9d0b_7f2e_68a1_c390);
/// Each so manyth step is announced: from there on it is read.
const ANNOUNCED_EVERY: u32 = 64;

/// Where a schedule stands. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When this was written.
    pub at: i64,
    /// The pattern and the zone by which it goes: with others it begins anew.
    pub timetable: String,
    /// Since when it has gone by them.
    pub begun_at: i64,
    /// What is due up to here has been dealt with.
    pub until: i64,
    /// A firing that is perhaps not submitted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<i64>,
    /// The last firing that was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Firing>,
    /// Firings that were left out because they were missed.
    #[serde(default)]
    pub n_left_out: u64,
}

/// A firing that was dealt with. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When it was due.
    pub instant: i64,
    /// When it was submitted.
    pub at: i64,
    /// The job; `None`: it could not be submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Uuid>,
    /// Why it could not be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A schedule's state, and the number of its last step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) number: u32,
    pub(super) state: State,
}

/// Reads and writes what schedules have done.
#[derive(Clone)]
pub(super) struct Book(pub(super) Arc<dyn Histories>);

impl Book {
    /// What is known of a schedule; `None`: it never began.
    pub(super) async fn read(&self, name: &str) -> Result<Option<History>, store::Error> {
        let thing = thing(name);
        let announced = self.0.announced(thing.kind).await?;
        let Some((_, announced)) = announced.into_iter().find(|(id, _)| *id == thing.id) else { return Ok(None) };
        // what is announced is perhaps not written
        for from in [announced, announced.saturating_sub(ANNOUNCED_EVERY).max(1)] {
            if let Some(found) = self.last(name, from).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn last(&self, name: &str, from: u32) -> Result<Option<History>, store::Error> {
        let steps = steps::all(&*self.0, thing(name), from).await?;
        let Some(last) = steps.last() else { return Ok(None) };
        let unreadable = |error| store::Error::Corrupt(format!("a step of the schedule {name}: {error}"));
        let state = serde_json::from_slice(last).map_err(unreadable)?;
        // no more than are announced at once, or have been put since
        Ok(Some(History { number: from + steps.len() as u32 - 1, state }))
    }

    /// Puts the step after the one that is known. `None`: somebody else put one.
    pub(super) async fn put(
        &self,
        name: &str,
        before: Option<&History>,
        state: State,
    ) -> Result<Option<History>, store::Error> {
        let number = before.map_or(0, |before| before.number) + 1;
        let thing = thing(name);
        if number % ANNOUNCED_EVERY == 1 {
            self.0.announce(thing, number).await?;
        }
        // numbers, texts and ids: nothing that JSON cannot hold
        let bytes = serde_json::to_vec(&state).unwrap_or_default();
        let is_ours = self.0.put_step(thing, number, &bytes).await?;
        Ok(is_ours.then_some(History { number, state }))
    }
}

fn thing(name: &str) -> Thing {
    Thing { kind: ThingKind::Schedule, id: Uuid::new_v5(&SCHEDULES, name.as_bytes()) }
}
