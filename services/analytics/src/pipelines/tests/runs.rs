//! Runs, done by workers.

use super::made::Bench;
use crate::{
    jobs::{
        board::Board,
        job::State,
        step::{Notify, Priority, Step},
    },
    notify::Channels,
    pipelines::{PLAN, Run, Target, get, list, retry, run_id, submit, submitter},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn target(date: &str) -> Target {
    let (pipeline, date) = ("daily".to_owned(), date.to_owned());
    Target { pipeline, date, notify: Notify::Never, priority: Priority::Normal }
}

async fn ended(board: &Board, date: &str) -> Run {
    let id = run_id("daily", date);
    let waiting = async {
        loop {
            board.follow().await.unwrap();
            match get(board, id).filter(|run| run.ended_at().is_some()) {
                Some(run) => return run,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    match timeout(PATIENCE, waiting).await {
        Ok(run) => run,
        Err(_) => panic!("it stays {:?}", get(board, id)),
    }
}

fn states(run: &Run, state: State) -> BTreeSet<&str> {
    run.steps.iter().filter(|step| step.job.state == state).map(|step| step.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_check_stops_what_depends_on_it_and_the_run_goes_on_from_there() {
    let bench = Bench::new();
    let board = bench.board();
    let (_, orders) = bench.process(&board, Channels::default());
    bench.told.fails.lock().unwrap().insert("check_quality hospitals".to_owned());
    let stop = bench.worker(&orders);
    submit(&orders, &target("2027-03-14"), "user:a").await.unwrap();
    let run = ended(&board, "2027-03-14").await;
    assert_eq!(run.state(), State::Failed);
    let failed = states(&run, State::Failed);
    // whoever reads hospitals, and nobody else
    assert!(failed.contains("check hospitals") && failed.contains("train hospital_rating"), "{failed:?}");
    assert!(failed.contains("report hospitals_by_state") && failed.contains("summarise"), "{failed:?}");
    let done = states(&run, State::Succeeded);
    assert!(done.is_superset(&[PLAN, "collect hospitals/it", "check readmissions"].into()), "{done:?}");
    let skipped: BTreeSet<_> = run.skipped().into_iter().map(|(step, _)| step).collect();
    assert!(skipped.contains("load") && skipped.contains("notify"), "{skipped:?}");
    let log = run.log();
    assert!(log.iter().any(|line| line == "check hospitals: failed: check_quality hospitals went wrong"), "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("train hospital_rating: failed: job")), "{log:?}");
    // all is well again: only what failed is done again
    bench.told.fails.lock().unwrap().clear();
    bench.told.done.lock().unwrap().clear();
    let n = retry(&board, &run, "user:a").await.unwrap();
    assert_eq!(n, failed.len());
    let again = ended(&board, "2027-03-14").await;
    assert_eq!(again.state(), State::Succeeded, "{:?}", again.log());
    let mut done = bench.told.done.lock().unwrap().clone();
    assert_eq!(done.first().map(String::as_str), Some("check_quality hospitals"));
    done.sort();
    done.dedup();
    assert_eq!(done.len(), n, "each once, and nothing else: {done:?}");
    assert_eq!(retry(&board, &again, "user:a").await.unwrap(), 0);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_half_submitted_is_completed_and_is_one_run_however_often_it_is_asked_for() {
    let bench = Bench::new();
    let (board, other) = (bench.board(), bench.board());
    let (_, orders) = bench.process(&board, Channels::default());
    let (_, theirs) = bench.process(&other, Channels::default());
    let target = target("2027-03-15");
    // two at once, who tell somebody or not
    let loud = Target { notify: Notify::Always, ..target.clone() };
    let (one, two) = tokio::join!(submit(&orders, &target, "user:a"), submit(&theirs, &loud, "user:b"));
    let first = one.unwrap();
    assert_eq!(first.id, two.unwrap().id);
    // the worker is lost after it has submitted the first steps
    let stop = bench.worker(&orders);
    let run = ended(&board, "2027-03-15").await;
    stop.cancel();
    let ids = |run: &Run| run.steps.iter().map(|step| step.job.id).collect::<Vec<_>>();
    let half = run.steps.len() / 2;
    for step in &run.steps[half..] {
        board.forget(&step.job).await.unwrap();
    }
    let plan = board.put(&run.steps[0].job, Step::Retried { at: 1, by: "user:a".to_owned() }).await.unwrap().unwrap();
    assert_eq!(plan.id, first.id);
    let stop = bench.worker(&theirs);
    let completed = ended(&other, "2027-03-15").await;
    assert_eq!(completed.steps.len(), run.steps.len());
    assert_eq!(ids(&completed)[..half], ids(&run)[..half], "what was there is there");
    let names: BTreeSet<_> = completed.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names.len(), completed.steps.len(), "no step is twice");
    assert!(completed.steps.iter().all(|step| step.job.submission.submitter == submitter("daily")));
    // submitted again it is as it was
    assert_eq!(submit(&theirs, &target, "user:c").await.unwrap().state, State::Succeeded);
    assert_eq!(list(&other, "daily").len(), 1);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_could_not_be_planned_is_planned_when_it_is_asked_for_again() {
    let bench = Bench::new();
    let board = bench.board();
    let (_, orders) = bench.process(&board, Channels::default());
    let wrong = Target { date: "2027-3-1x".to_owned(), ..target("x") };
    let job = submit(&orders, &wrong, "user:a").await.unwrap();
    let stop = bench.worker(&orders);
    let run = ended(&board, &wrong.date).await;
    assert_eq!((run.steps.len(), run.state()), (1, State::Failed));
    stop.cancel();
    let again = submit(&orders, &wrong, "user:a").await.unwrap();
    assert_eq!((again.id, again.state), (job.id, State::Queued));
}
