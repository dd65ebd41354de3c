//! Jobs on the embedded store, with workers that come and go.

mod fixture;

use super::{
    board::SubmitError,
    job::{Job, State},
    step::{Priority, Step, Submission},
};
use fixture::{Bench, LEASE, PATIENCE, ended, submission, until};
use serde_json::json;
use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_done_and_everybody_sees_how() {
    let bench = Bench::new();
    let board = bench.board();
    let job = board.submit(submission("well", "a"), None).await.unwrap();
    assert_eq!((job.state, job.number), (State::Queued, 1));
    let stop = bench.worker(1);
    let job = ended(&board, job.id).await;
    assert_eq!((job.state, job.attempt, job.error.as_str()), (State::Succeeded, 1, ""));
    let run = job.run.clone().unwrap();
    assert_eq!((run.rows_in, run.rows_out, run.seed), (3, 2, 7));
    let progress = &job.progress;
    assert_eq!((progress.done, progress.total, progress.stage.as_str()), (1, 2, "trying"), "what it said last");
    assert!(run.peak_memory_bytes > 1 << 20 && run.code_version == env!("CARGO_PKG_VERSION"), "{run:?}");
    assert!(
        job.log == ["attempt at a"]
            && job.result.is_some()
            && job.ended_at >= job.started_at
            && job.started_at >= Some(job.submission.at)
    );
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_no_jobs_sees_in_its_list_what_became_of_them() {
    let bench = Bench::new();
    let (front, other) = (bench.board(), bench.board());
    let listed = async || {
        front.follow().await.unwrap();
        front.standing()[0].0.clone()
    };
    let job = other.submit(submission("well", "a"), None).await.unwrap();
    assert_eq!(listed().await.state, State::Queued);
    let job = other.put(&job, Step::Started { at: 1, worker: Uuid::new_v4() }).await.unwrap().unwrap();
    assert_eq!(listed().await.state, State::Running);
    let job = other.put(&job, Step::Released { at: 2 }).await.unwrap().unwrap();
    assert_eq!(listed().await.state, State::Queued);
    let job = other.put(&job, Step::Cancelled { at: 3, by: "user:a".to_owned() }).await.unwrap().unwrap();
    assert_eq!(listed().await.state, State::Cancelled);
    let job = other.put(&job, Step::Retried { at: 4, by: "user:a".to_owned() }).await.unwrap().unwrap();
    assert_eq!((listed().await.state, listed().await.number), (State::Queued, job.number));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_makes_one_job_however_often_it_is_sent() {
    let bench = Bench::new();
    let sent = (0..8).map(|_| {
        let board = bench.board();
        tokio::spawn(async move { board.submit(submission("well", "a"), Some("k")).await.unwrap().id })
    });
    let ids: HashSet<_> = futures::future::join_all(sent).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1);
    let board = bench.board();
    // for something else the key is taken; another caller's key is another one
    let other = board.submit(submission("ill", "a"), Some("k")).await;
    assert!(matches!(other, Err(SubmitError::KeyTaken)));
    let theirs = Submission { submitter: "user:b".to_owned(), ..submission("ill", "a") };
    let theirs = board.submit(theirs, Some("k")).await.unwrap();
    assert!(!ids.contains(&theirs.id));
    // what ended and was cleared holds no key
    let job = board.get(*ids.iter().next().unwrap()).await.unwrap().unwrap();
    let job = board.put(&job, Step::Cancelled { at: 1, by: "user:a".to_owned() }).await.unwrap().unwrap();
    assert_eq!(board.submit(submission("well", "a"), Some("k")).await.unwrap().id, job.id);
    board.forget(&job).await.unwrap();
    assert_eq!(board.get(job.id).await.unwrap(), None);
    assert_ne!(board.submit(submission("well", "a"), Some("k")).await.unwrap().id, job.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again_as_often_as_it_may() {
    let bench = Bench::new();
    let board = bench.board();
    let stop = bench.worker(1);
    let again = board.submit(submission("again", "again"), None).await.unwrap();
    let job = ended(&board, again.id).await;
    assert_eq!((job.state, job.attempt), (State::Succeeded, 2));
    let ill = board.submit(submission("ill", "ill"), None).await.unwrap();
    let job = ended(&board, ill.id).await;
    assert_eq!((job.state, job.attempt, job.error.as_str()), (State::Failed, 1, "never"));
    let panics = board.submit(submission("panic", "panic"), None).await.unwrap();
    let job = ended(&board, panics.id).await;
    assert!(job.state == State::Failed && job.error.contains("the program failed"), "{}", job.error);
    // and the worker goes on
    bench.tried.failures.store(0, Ordering::SeqCst);
    let mut never = submission("again", "never");
    never.parameters.insert("n".to_owned(), "9".to_owned());
    let job = ended(&board, board.submit(never, None).await.unwrap().id).await;
    assert_eq!((job.state, job.attempt, job.error.as_str()), (State::Failed, 3, "not yet"));
    bench.tried.failures.store(9, Ordering::SeqCst);
    let job = board.put(&job, Step::Retried { at: 1, by: "user:a".to_owned() }).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt), (State::Queued, 0));
    let job = ended(&board, job.id).await;
    assert_eq!((job.state, job.attempt), (State::Succeeded, 1));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_attempt_begins_no_earlier_than_the_failure_asks_for() {
    let bench = Bench::new();
    let board = bench.board();
    let stop = bench.worker(1);
    for (pause_seconds, expected_seconds) in [(0, 3_600), (7_200, 7_200)] {
        let job = Submission { pause_seconds, ..submission("later", "later") };
        let job = board.submit(job, None).await.unwrap();
        let job = until(&board, job.id, |job| job.state == State::Queued && job.attempt == 1).await;
        let waits = Duration::from_nanos((job.not_before - job.started_at.unwrap()) as u64);
        let expected = Duration::from_secs(expected_seconds);
        assert!((expected..expected + PATIENCE).contains(&waits) && job.error == "in an hour", "{waits:?}: {job:?}");
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_job_of_a_lost_worker_is_taken_over_and_its_late_end_changes_nothing() {
    let bench = Bench::new();
    let board = bench.board();
    let job = board.submit(submission("well", "a"), None).await.unwrap();
    // a worker that begins, and then is not heard of
    let lost = Uuid::new_v4();
    let paused = board.put(&job, Step::Started { at: board.now(), worker: lost }).await.unwrap().unwrap();
    let stop = bench.worker(1);
    let done = ended(&board, job.id).await;
    assert_eq!((done.state, done.attempt), (State::Succeeded, 2), "the lost attempt counts");
    // and is heard of again
    let late = Step::Succeeded { at: 1, result: json!("late"), run: Default::default(), log: Vec::new() };
    assert_eq!(board.put(&paused, late).await.unwrap(), None);
    let renewed = Step::Renewed { at: 1, progress: Default::default(), log: vec!["late".to_owned()] };
    assert_eq!(board.put(&paused, renewed).await.unwrap(), None);
    assert_eq!(board.get(job.id).await.unwrap().unwrap(), done);
    stop.cancel();
    // lost in each of its attempts, it ends
    let only = Submission { max_attempts: 1, ..submission("well", "b") };
    let job = board.submit(only, None).await.unwrap();
    board.put(&job, Step::Started { at: board.now(), worker: lost }).await.unwrap().unwrap();
    let stop = bench.worker(1);
    let job = ended(&board, job.id).await;
    assert!(job.state == State::Failed && job.error.contains("lost"), "{}", job.error);
    stop.cancel();
}

#[tokio::test]
async fn a_job_is_not_begun_after_its_last_attempt_however_late_that_is_known_to_be_lost() {
    let bench = Bench::new();
    let board = bench.board();
    for (max_attempts, is_taken) in [(1, false), (2, true)] {
        let job = board.submit(Submission { max_attempts, ..submission("well", "a") }, None).await.unwrap();
        board.put(&job, Step::Started { at: board.now(), worker: Uuid::new_v4() }).await.unwrap().unwrap();
        tokio::time::sleep(2 * LEASE).await;
        // as a worker that has just ended what was hopeless, before the lease was over
        let taken = board.take(Uuid::new_v4(), &HashSet::new(), LEASE).await.unwrap();
        assert_eq!(taken.map(|job| job.attempt), is_taken.then_some(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_ends_at_once_and_a_worker_that_stops_gives_back_what_it_has() {
    let bench = Bench::new();
    let (board, stop) = (bench.board(), bench.worker(2));
    let cancelled = board.submit(submission("gate", "cancelled"), None).await.unwrap();
    let kept = board.submit(submission("gate", "kept"), None).await.unwrap();
    let running = until(&board, cancelled.id, |job| job.state == State::Running).await;
    until(&board, kept.id, |job| job.progress.done == 1).await;
    let mut job = running;
    let job = loop {
        match board.put(&job, Step::Cancelled { at: board.now(), by: "user:a".to_owned() }).await.unwrap() {
            Some(job) => break job,
            None => job = board.get(job.id).await.unwrap().unwrap(),
        }
    };
    assert_eq!(job.state, State::Cancelled);
    stop.cancel();
    let given_back = until(&board, kept.id, |job| job.state == State::Queued).await;
    assert_eq!(given_back.attempt, 0, "what did not fail does not count");
    let stop = bench.worker(2);
    until(&board, kept.id, |job| job.state == State::Running).await;
    // the notice may come before the second worker waits for it
    let done = async {
        loop {
            bench.tried.gate.notify_waiters();
            if board.get(kept.id).await.unwrap().unwrap().state == State::Succeeded {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, done).await.unwrap();
    assert_eq!(board.get(cancelled.id).await.unwrap().unwrap().state, State::Cancelled);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_urgent_comes_first_then_whoever_has_least_then_the_oldest() {
    let bench = Bench::new();
    let board = bench.board();
    let mut ids = Vec::new();
    let of = |submitter: &str, priority, name: &str| Submission {
        submitter: submitter.to_owned(),
        priority,
        ..submission("well", name)
    };
    for (submitter, priority, name) in [
        ("user:a", Priority::Low, "low"),
        ("user:a", Priority::Normal, "first"),
        ("user:a", Priority::Normal, "second"),
        ("user:a", Priority::High, "urgent"),
    ] {
        ids.push(board.submit(of(submitter, priority, name), None).await.unwrap().id);
    }
    let stop = bench.worker(1);
    for id in ids {
        ended(&board, id).await;
    }
    stop.cancel();
    assert_eq!(bench.begun(), ["urgent", "first", "second", "low"]);
    // one whose job runs comes after another who waits
    let busy = board.submit(of("user:a", Priority::Normal, "busy"), None).await.unwrap();
    board.put(&busy, Step::Started { at: board.now(), worker: Uuid::new_v4() }).await.unwrap().unwrap();
    board.submit(of("user:a", Priority::Normal, "a waits"), None).await.unwrap();
    let theirs = board.submit(of("user:b", Priority::Normal, "b waits"), None).await.unwrap();
    let taken = board.take(Uuid::new_v4(), &Default::default(), PATIENCE).await.unwrap().unwrap();
    assert_eq!(taken.id, theirs.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_those_before_it_and_fails_with_them() {
    let bench = Bench::new();
    let board = bench.board();
    let after = |on: &Job, name: &str| Submission { depends_on: vec![on.id], ..submission("well", name) };
    let first = board.submit(submission("well", "first"), None).await.unwrap();
    let second = board.submit(after(&first, "second"), None).await.unwrap();
    let ill = board.submit(submission("ill", "ill"), None).await.unwrap();
    let never = board.submit(after(&ill, "never"), None).await.unwrap();
    let nor_this = board.submit(after(&never, "nor this"), None).await.unwrap();
    let stop = bench.worker(2);
    assert_eq!(ended(&board, second.id).await.state, State::Succeeded);
    let job = ended(&board, nor_this.id).await;
    assert!(job.state == State::Failed && job.error.contains("on which it depends, failed"), "{}", job.error);
    assert_eq!(ended(&board, never.id).await.attempt, 0);
    let begun = bench.begun();
    assert!(begun.iter().position(|name| name == "first") < begun.iter().position(|name| name == "second"));
    assert!(begun.iter().all(|name| name != "never" && name != "nor this"));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_deadline_a_job_has_failed_whether_it_runs_or_waits() {
    let bench = Bench::new();
    let board = bench.board();
    let soon = || Some(board.now() + 200_000_000);
    let stop = bench.worker(1);
    let runs = board.submit(Submission { deadline: soon(), ..submission("gate", "runs") }, None).await.unwrap();
    let waits = board.submit(Submission { deadline: soon(), ..submission("well", "waits") }, None).await.unwrap();
    for id in [runs.id, waits.id] {
        let job = ended(&board, id).await;
        assert!(
            job.state == State::Failed && job.error.contains("deadline"),
            "{}: {}",
            job.submission.parameters["name"],
            job.error
        );
    }
    // the slot of the one that ran is free again
    let next = board.submit(submission("well", "next"), None).await.unwrap();
    assert_eq!(ended(&board, next.id).await.state, State::Succeeded);
    stop.cancel();
}

/// 200 jobs, and workers that vanish without a word or go on too late: each job has one end, and one result that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_jobs_and_workers_that_come_and_go_each_has_one_result() {
    let bench = Bench::new();
    let board = bench.board();
    let mut ids = Vec::new();
    for n in 0..200 {
        let job = Submission { max_attempts: 10, ..submission("well", &n.to_string()) };
        ids.push(board.submit(job, None).await.unwrap().id);
    }
    // twenty that begin something and are not heard of again, or much later
    let mut late = Vec::new();
    for _ in 0..20 {
        late.extend(board.take(Uuid::new_v4(), &Default::default(), PATIENCE).await.unwrap());
    }
    let workers: Vec<_> = (0..3).map(|_| bench.worker(3)).collect();
    tokio::time::sleep(LEASE / 2).await;
    workers[0].cancel();
    for id in &ids {
        let job = ended(&board, *id).await;
        assert_eq!(job.state, State::Succeeded, "{job:?}");
    }
    for job in late {
        let result = Step::Succeeded { at: 1, result: json!("late"), run: Default::default(), log: Vec::new() };
        assert_eq!(board.put(&job, result).await.unwrap(), None);
    }
    let fresh = bench.board();
    fresh.follow().await.unwrap();
    let results: HashSet<_> =
        fresh.standing().iter().filter_map(|(job, _)| job.result.as_ref().map(ToString::to_string)).collect();
    assert_eq!(results.len(), 200, "each attempt that counts is another one");
    workers.iter().for_each(CancellationToken::cancel);
}
