//! Pipelines: jobs that belong together, once for each date.
//!
//! A run is that of a pipeline for a date. Its first job, `plan`, submits the others under keys that are the run's: a worker that
//! is lost half-way leaves what the next one completes, and a run that is submitted again is the same run. What is known of a run
//! is what its jobs say.

mod definition;
mod plan;
mod planning;
mod retry;
mod run;

pub use definition::{Pipeline, all, find, names};
pub use plan::{Given, Plan, plan};
pub use planning::{NAME, PlanError, Planner, Target, submit};
pub use retry::retry;
pub(crate) use run::state;
pub use run::{PLAN, Run, Step, get, list};

use uuid::Uuid;

/// Names the ids of runs.
const RUNS: Uuid = Uuid::from_u128(0x2b3c_9e10_7a41_4f0c_8c55_d6a1_03f7_e2b9);

/// The run of a pipeline for a date.
pub fn run_id(pipeline: &str, date: &str) -> Uuid {
    Uuid::new_v5(&RUNS, format!("{pipeline} {date}").as_bytes())
}

/// Who submits a pipeline's jobs, whoever asked for the run.
pub fn submitter(pipeline: &str) -> String {
    format!("pipeline:{pipeline}")
}

#[cfg(test)]
mod tests;
