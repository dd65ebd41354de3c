//! A run again from where it failed.

use super::{Run, Step};
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
        let has_failed = |job: &Job| matches!(job.state, State::Failed | State::Cancelled);
        n += usize::from(again(board, job, by, has_failed).await?);
    }
    if n == 0 {
        return Ok(0);
    }
    for Step { job, .. } in run.steps.iter().filter(|step| !step.job.submission.after.is_empty()) {
        n += usize::from(again(board, job, by, |job| job.state.has_ended()).await?);
    }
    Ok(n)
}

/// Queues a job again, if it is as it must be. `false`: it is not.
async fn again(board: &Board, job: &Job, by: &str, is_so: impl Fn(&Job) -> bool) -> Result<bool, store::Error> {
    loop {
        let Some(job) = board.get(job.id).await?.filter(&is_so) else { return Ok(false) };
        let step = step::Step::Retried { at: board.now(), by: by.to_owned() };
        if board.put(&job, step).await?.is_some() {
            return Ok(true);
        }
    }
}
