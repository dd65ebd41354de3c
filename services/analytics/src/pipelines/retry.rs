//! A run again from where it failed.

use super::{PLAN, Run, Step};
use crate::jobs::{
    board::Board,
    job::{Job, State},
    step,
};

/// Queues what failed or was cancelled again, each step after those for which it waits; then what tells how the run ended, if
/// anything was. How many steps are queued again.
///
/// # Errors
/// The store.
pub async fn retry(board: &Board, run: &Run, by: &str) -> Result<usize, store::Error> {
    let mut n = 0;
    for Step { job, .. } in &run.steps {
        n += usize::from(again(board, job, by, State::has_failed).await?.is_some());
    }
    if n == 0 {
        return Ok(0);
    }
    // they come after the job that submits the others, too
    let plan = run.steps.iter().find(|step| step.name == PLAN).map(|step| step.job.id);
    let is_last = |step: &&Step| step.job.submission.after.iter().any(|id| Some(*id) == plan);
    for Step { job, .. } in run.steps.iter().filter(is_last) {
        n += usize::from(again(board, job, by, State::has_ended).await?.is_some());
    }
    Ok(n)
}

/// Queues a job again, if it stands as it must. `None`: it does not.
pub(super) async fn again(
    board: &Board,
    job: &Job,
    by: &str,
    is_so: impl Fn(State) -> bool,
) -> Result<Option<Job>, store::Error> {
    loop {
        let Some(job) = board.get(job.id).await?.filter(|job| is_so(job.state)) else { return Ok(None) };
        let step = step::Step::Retried { at: board.now(), by: by.to_owned() };
        if let Some(job) = board.put(&job, step).await? {
            return Ok(Some(job));
        }
    }
}
