//! Which jobs are forgotten when somebody clears them: not what others wait for, and not the log of a pipeline.

use super::job::Job;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

/// The last runs of each pipeline, by their dates, whose jobs stay: what a run did stands nowhere else.
const RUNS_KEPT: usize = 30;

/// Those that have ended, that no other one waits for, and that are of no run that is open or among the last of its pipeline.
pub(super) fn clearable(jobs: &[Arc<Job>]) -> Vec<&Arc<Job>> {
    let waiting = || jobs.iter().map(|job| (job, &job.submission)).filter(|(job, _)| !job.state.has_ended());
    let needed = waiting().flat_map(|(_, submission)| submission.depends_on.iter().chain(&submission.after));
    let needed: HashSet<_> = needed.copied().collect();
    let mut kept: HashSet<_> = waiting().filter_map(|(_, submission)| Some(submission.run.as_ref()?.run_id)).collect();
    let mut runs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for run in jobs.iter().filter_map(|job| job.submission.run.as_ref()) {
        runs.entry(run.pipeline.as_str()).or_default().insert((run.date.as_str(), run.run_id));
    }
    kept.extend(runs.values().flat_map(|runs| runs.iter().rev().take(RUNS_KEPT)).map(|(_, run_id)| *run_id));
    let is_of_kept = |job: &Job| job.submission.run.as_ref().is_some_and(|run| kept.contains(&run.run_id));
    let may_go = |job: &&Arc<Job>| job.state.has_ended() && !needed.contains(&job.id) && !is_of_kept(job);
    jobs.iter().filter(may_go).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{
        job::State,
        step::{RunOf, Submission},
    };
    use uuid::Uuid;

    fn job(state: State, run: Option<RunOf>, after: Vec<Uuid>) -> Arc<Job> {
        let mut job = Job::new(Uuid::now_v7(), Submission { run, after, ..Submission::default() });
        job.state = state;
        Arc::new(job)
    }

    fn run(pipeline: &str, day: u32) -> Option<RunOf> {
        let run_id = Uuid::new_v4();
        Some(RunOf {
            pipeline: pipeline.to_owned(),
            run_id,
            step: "plan".to_owned(),
            date: format!("2027-03-{day:02}"),
        })
    }

    #[test]
    fn the_last_runs_of_each_pipeline_what_waits_and_what_is_waited_for_stay() {
        let mut jobs: Vec<_> = (1..=31).map(|day| job(State::Succeeded, run("daily", day), Vec::new())).collect();
        jobs.push(job(State::Failed, run("weekly", 1), Vec::new()));
        let alone = job(State::Failed, None, Vec::new());
        let needed = job(State::Succeeded, None, Vec::new());
        let waiting = job(State::Queued, None, vec![needed.id]);
        jobs.extend([Arc::clone(&alone), needed, waiting]);
        let gone: Vec<_> = clearable(&jobs).into_iter().map(|job| job.id).collect();
        // of 31 days the first, and what belongs to nothing
        assert_eq!(gone, [jobs[0].id, alone.id]);
    }
}
