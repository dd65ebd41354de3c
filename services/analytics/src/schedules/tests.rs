//! Schedules on the embedded store, with clocks that are set.

use super::{Firing, Keeper, Missed, Schedule, State, What, history::Book, timetable::Timetable};
use crate::jobs::{
    board::Board,
    job::Job,
    kinds::Kinds,
    orders::Orders,
    step::{Notify, Priority},
    task::Task,
};
use jiff::{Timestamp, civil::Date};
use std::{collections::BTreeSet, sync::Arc};
use store::Histories;
use tempfile::TempDir;

const MINUTE: i64 = 60 * 1_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A store, and processes that know nothing of each other but what is in it.
struct Bench {
    _dir: TempDir,
    store: Arc<store::embedded::Store>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path()).unwrap());
        Self { _dir: dir, store }
    }

    fn histories(&self) -> Arc<dyn Histories> {
        Arc::clone(&self.store) as _
    }

    /// A process that knows the kind `task`, or none.
    fn keeper_of(&self, schedule: Schedule, kinds: Kinds) -> Keeper {
        let board = Board::new(self.histories(), guard::clock::now);
        Keeper::new(vec![schedule], self.histories(), Orders { board, kinds, pause_seconds: 0 })
    }

    fn keeper(&self, schedule: Schedule) -> Keeper {
        self.keeper_of(schedule, Kinds::new([Arc::new(Task) as _]))
    }

    /// All jobs that there are.
    async fn jobs(&self) -> Vec<Job> {
        let board = Board::new(self.histories(), guard::clock::now);
        board.follow().await.unwrap();
        let mut jobs = board.select(|job| Some(job.clone()));
        jobs.sort_unstable_by_key(|job| job.id);
        jobs
    }
}

fn schedule(cron: &str, zone: &str, missed: Missed) -> Schedule {
    Schedule {
        name: "nightly".to_owned(),
        timetable: Timetable::new(cron, zone).unwrap(),
        what: What::Job("task".to_owned(), [("n".to_owned(), "7".to_owned())].into()),
        missed,
        notify: Notify::Failure,
    }
}

async fn attend(keeper: &Keeper, now: i64) {
    keeper.attend(&keeper.schedules()[0], now).await.unwrap();
}

async fn state(keeper: &Keeper) -> State {
    keeper.state(&keeper.schedules()[0]).await.unwrap().unwrap()
}

fn instant(text: &str) -> i64 {
    i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap()
}

fn dates(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(|job| job.submission.date.as_deref().unwrap()).collect()
}

#[tokio::test]
async fn each_night_is_fired_once_on_the_days_of_the_change_of_clocks_too() {
    for (zone, from, days, expected) in [
        ("America/New_York", "2027-03-13T00:00:00Z", 3, ["2027-03-13", "2027-03-14", "2027-03-15"]),
        ("America/New_York", "2027-11-06T00:00:00Z", 3, ["2027-11-06", "2027-11-07", "2027-11-08"]),
        ("Australia/Lord_Howe", "2027-10-01T12:00:00Z", 3, ["2027-10-02", "2027-10-03", "2027-10-04"]),
        ("Asia/Kolkata", "2027-10-01T12:00:00Z", 3, ["2027-10-02", "2027-10-03", "2027-10-04"]),
    ] {
        let bench = Bench::new();
        let keeper = bench.keeper(schedule("0 2 * * *", zone, Missed::CatchUp));
        let begin = instant(from);
        for minutes in (0..days * 24 * 60).step_by(10) {
            let now = begin + minutes * MINUTE;
            attend(&keeper, now).await;
            // a clock that goes back, as in this process, so in another one
            attend(&keeper, now - 3 * HOUR).await;
        }
        let other = bench.keeper(schedule("0 2 * * *", zone, Missed::CatchUp));
        attend(&other, begin + 5 * HOUR).await;
        let jobs = bench.jobs().await;
        assert_eq!(dates(&jobs), expected, "{zone} {from}");
        let first = &jobs[0].submission;
        assert_eq!(
            (first.submitter.as_str(), first.notify, first.kind.as_str()),
            ("schedule:nightly", Notify::Failure, "task")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_processes_one_fires() {
    let bench = Bench::new();
    let keepers: Vec<_> = (0..4).map(|_| bench.keeper(schedule("0 * * * *", "UTC", Missed::CatchUp))).collect();
    for hour in 0..=12 {
        let all = keepers
            .iter()
            .cloned()
            .map(|keeper| tokio::spawn(async move { attend(&keeper, 100 * DAY + hour * HOUR).await }));
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
    }
    assert_eq!(bench.jobs().await.len(), 12);
    let state = state(&keepers[0]).await;
    assert_eq!((state.until, state.open, state.n_left_out), (100 * DAY + 12 * HOUR, None, 0));
}

#[tokio::test]
async fn a_process_that_dies_while_it_fires_loses_nothing_and_doubles_nothing() {
    let bench = Bench::new();
    let nightly = || schedule("0 2 * * *", "UTC", Missed::CatchUp);
    let begin = instant("2025-06-01T00:00:00Z");
    attend(&bench.keeper(nightly()), begin).await;
    let book = Book(bench.histories());
    // written down, and not submitted
    let due = begin + 2 * HOUR;
    let before = book.read("nightly").await.unwrap().unwrap();
    let open = State { until: due, open: Some(due), ..before.state.clone() };
    let open = book.put("nightly", Some(&before), open).await.unwrap().unwrap();
    assert!(bench.jobs().await.is_empty());
    // what was read before that changes nothing any more
    assert_eq!(book.put("nightly", Some(&before), before.state.clone()).await.unwrap(), None);
    let next = bench.keeper(nightly());
    attend(&next, due + MINUTE).await;
    let [job] = bench.jobs().await.try_into().unwrap();
    let last = state(&next).await.last;
    assert_eq!(last, Some(Firing { instant: due, at: due + MINUTE, job: Some(job.id), error: String::new() }));
    // submitted, and not written down as such
    let now = book.read("nightly").await.unwrap().unwrap();
    let again = State { last: None, ..open.state };
    book.put("nightly", Some(&now), again).await.unwrap().unwrap();
    attend(&bench.keeper(nightly()), due + 2 * MINUTE).await;
    assert_eq!(bench.jobs().await.len(), 1);
    assert_eq!(state(&next).await.last.unwrap().job, Some(job.id));
}

#[tokio::test]
async fn what_was_missed_is_caught_up_with_up_to_a_bound_or_skipped_and_what_is_new_begins_now() {
    let begin = instant("2025-01-01T00:00:00Z");
    for (missed, n_jobs, n_left_out) in [(Missed::CatchUp, 31, 9), (Missed::Skip, 0, 40)] {
        let bench = Bench::new();
        attend(&bench.keeper(schedule("0 2 * * *", "UTC", missed)), begin).await;
        assert!(bench.jobs().await.is_empty(), "it does not fire for the past");
        let late = bench.keeper(schedule("0 2 * * *", "UTC", missed));
        attend(&late, begin + 40 * DAY).await;
        let jobs = bench.jobs().await;
        assert_eq!((jobs.len(), state(&late).await.n_left_out), (n_jobs, n_left_out));
        if missed == Missed::CatchUp {
            assert_eq!((dates(&jobs)[0], dates(&jobs)[30]), ("2025-01-10", "2025-02-09"));
        }
        // on time again
        attend(&late, begin + 40 * DAY + 2 * HOUR).await;
        assert_eq!(bench.jobs().await.len(), n_jobs + 1);
        // by another timetable it begins anew
        let other = bench.keeper(schedule("0 * * * *", "UTC", missed));
        attend(&other, begin + 90 * DAY).await;
        assert_eq!((bench.jobs().await.len(), state(&other).await.n_left_out), (n_jobs + 1, 0));
        attend(&other, begin + 90 * DAY + HOUR).await;
        assert_eq!(bench.jobs().await.len(), n_jobs + 2);
    }
}

#[tokio::test]
async fn a_firing_that_cannot_be_submitted_is_written_down_and_the_next_one_comes() {
    let bench = Bench::new();
    let begin = instant("2025-06-01T00:00:00Z");
    let lacking = bench.keeper_of(schedule("0 2 * * *", "UTC", Missed::CatchUp), Kinds::default());
    attend(&lacking, begin).await;
    attend(&lacking, begin + 2 * HOUR).await;
    let last = state(&lacking).await.last.unwrap();
    assert!(last.job.is_none() && last.error.starts_with("kind: "), "{last:?}");
    let keeper = bench.keeper(schedule("0 2 * * *", "UTC", Missed::CatchUp));
    attend(&keeper, begin + DAY + 2 * HOUR).await;
    assert_eq!(dates(&bench.jobs().await), ["2025-06-02"]);
}

#[tokio::test]
async fn a_clock_that_ran_years_ahead_does_not_silence_a_schedule_once_a_process_starts_that_goes_right() {
    let bench = Bench::new();
    let begin = instant("2025-06-01T00:00:00Z");
    let nightly = || bench.keeper(schedule("0 2 * * *", "UTC", Missed::Skip));
    attend(&nightly(), begin).await;
    let wrong = nightly();
    attend(&wrong, begin + 2 * HOUR + MINUTE).await;
    attend(&wrong, begin + 3_650 * DAY + 2 * HOUR + MINUTE).await;
    let right = nightly();
    attend(&right, begin + 3 * HOUR).await;
    attend(&right, begin + DAY + 2 * HOUR).await;
    assert_eq!(dates(&bench.jobs().await), ["2025-06-01", "2035-05-30", "2025-06-02"]);
    // what was fired too early is not fired again when its time comes
    attend(&right, begin + 3_650 * DAY + 2 * HOUR + MINUTE).await;
    assert_eq!(bench.jobs().await.len(), 3);
}

#[tokio::test]
async fn a_clock_that_ran_ahead_and_is_put_right_does_not_silence_a_schedule_of_the_same_process() {
    let bench = Bench::new();
    let begin = instant("2025-06-01T00:00:00Z");
    let keeper = bench.keeper(schedule("0 2 * * *", "UTC", Missed::Skip));
    attend(&keeper, begin).await;
    attend(&keeper, begin + 3_650 * DAY + 2 * HOUR + MINUTE).await;
    attend(&keeper, begin + 3 * HOUR).await;
    attend(&keeper, begin + DAY + 2 * HOUR).await;
    assert_eq!(dates(&bench.jobs().await), ["2035-05-30", "2025-06-02"]);
}

#[tokio::test]
async fn of_many_firings_the_last_one_is_found_again() {
    let bench = Bench::new();
    let keeper = bench.keeper(schedule("* * * * *", "UTC", Missed::CatchUp));
    for minute in 0..150 {
        attend(&keeper, 100 * DAY + minute * MINUTE).await;
        if minute % 30 == 0 {
            let read = bench.keeper(schedule("* * * * *", "UTC", Missed::CatchUp));
            assert_eq!(state(&read).await.until, 100 * DAY + minute * MINUTE);
        }
    }
    assert_eq!(bench.jobs().await.len(), 149);
}

#[tokio::test]
async fn a_backfill_submits_the_firings_of_its_dates_and_no_other_and_none_twice() {
    let bench = Bench::new();
    let keeper = bench.keeper(schedule("0 2 * * *", "America/New_York", Missed::Skip));
    let one = &keeper.schedules()[0];
    let (from, to) = (Date::constant(2025, 3, 8), Date::constant(2025, 3, 10));
    let jobs = keeper.backfill(one, from, to).await.unwrap();
    assert_eq!(dates(&jobs), ["2025-03-08", "2025-03-09", "2025-03-10"]);
    assert!(jobs.iter().all(|job| job.submission.priority == Priority::Low));
    let ids = |jobs: &[Job]| jobs.iter().map(|job| job.id).collect::<BTreeSet<_>>();
    let more = keeper.backfill(one, from, Date::constant(2025, 3, 11)).await.unwrap();
    assert_eq!(more.len(), 4);
    assert!(ids(&more).is_superset(&ids(&jobs)));
    assert_eq!(bench.jobs().await.len(), 4);
    for (from, to, said) in [
        (Date::constant(2025, 3, 10), Date::constant(2025, 3, 9), "before"),
        (Date::constant(2024, 1, 1), Date::constant(2025, 1, 1), "366 dates"),
        (Date::constant(2099, 1, 1), Date::constant(2099, 1, 2), "not come so far"),
    ] {
        let error = keeper.backfill(one, from, to).await.unwrap_err().to_string();
        // whoever answers names the field
        assert!(error.contains(said) && !error.contains("date: "), "{error}");
    }
    let hourly = bench.keeper(schedule("0 * * * *", "UTC", Missed::Skip));
    let error = hourly.backfill(&hourly.schedules()[0], Date::constant(2025, 1, 1), to).await.unwrap_err().to_string();
    assert!(error.contains("366 firings"), "{error}");
    // a leap year fits
    let year = keeper.backfill(one, Date::constant(2024, 1, 1), Date::constant(2024, 12, 31)).await.unwrap();
    assert_eq!(year.len(), 366);
}
