//! Fires schedules at their times.

use super::{
    due::{Missed, Next, next},
    history::{Book, Firing, History, State},
    timetable::Timetable,
};
use crate::{
    jobs::{
        board::SubmitError,
        job::Job,
        kinds::{Parameters, Unfit},
        orders::Orders,
        step::{Notify, Priority, Submission},
    },
    pipelines::{self, Target},
};
use jiff::{Timestamp, civil::Date};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::Histories;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Most dates, and most firings, of a backfill.
pub(crate) const BACKFILL_MAX: usize = 366;
/// A schedule that has fired for later than this, in nanoseconds from now, was fired by a wrong clock.
const AHEAD: i64 = 24 * 3_600 * 1_000_000_000;
/// The parameter that gets the date of a firing, where a kind of job has it.
const DATE: &str = "date";

/// A schedule of the settings.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Name of the schedule, unlike all others: 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// When it fires.
    pub timetable: Timetable,
    /// What it submits.
    pub what: What,
    /// What becomes of firings that were missed.
    pub missed: Missed,
    /// Whether somebody is told how it ended.
    pub notify: Notify,
}

/// What a schedule submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A job of a kind.
    Job(String, Parameters),
    /// A run of a pipeline, for the local date of the firing.
    Pipeline(String),
}

/// Why nothing is submitted for a range of dates.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The dates are not in order, too many, still to come or out of range.
    #[error("{0}")]
    Dates(String),
    /// What the schedule submits.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The job of a firing could not be submitted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Keeps all schedules. Clones are the same.
#[derive(Clone)]
pub struct Keeper {
    schedules: Arc<[Schedule]>,
    book: Book,
    orders: Orders,
    known: Arc<Mutex<HashMap<String, History>>>,
}

impl Keeper {
    /// Of these schedules, which submit to `orders`.
    pub fn new(schedules: Vec<Schedule>, store: Arc<dyn Histories>, orders: Orders) -> Self {
        Self { schedules: schedules.into(), book: Book(store), orders, known: Arc::default() }
    }

    /// Every schedule of the settings, in their order.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Where a schedule stands, as the store says; `None`: it never began.
    ///
    /// # Errors
    /// The store.
    pub async fn state(&self, schedule: &Schedule) -> Result<Option<State>, store::Error> {
        Ok(self.book.read(&schedule.name).await?.map(|history| history.state))
    }

    /// Fires until told to stop. A store that is away is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = time::interval(EVERY);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for schedule in self.schedules.iter() {
                if let Err(error) = self.attend(schedule, self.orders.board.now()).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(schedule = schedule.name, error, "a schedule cannot be kept, tried again");
                }
            }
        }
    }

    /// Does what is due by a schedule at an instant.
    ///
    /// # Errors
    /// The store; what is due stays so.
    pub async fn attend(&self, schedule: &Schedule, now: i64) -> Result<(), store::Error> {
        let mut history = self.begun(schedule, now).await?;
        loop {
            let state = history.state.clone();
            let after = match state.open {
                Some(instant) => {
                    let firing = self.submitted(schedule, instant, now).await?;
                    State { at: now, open: None, last: Some(firing), ..state }
                }
                None => match next(&schedule.timetable, schedule.missed, state.until, now) {
                    Next::Rest => return Ok(()),
                    Next::Fire(instant) => State { at: now, until: instant, open: Some(instant), ..state },
                    Next::LeaveOut(until, n) => {
                        let name = schedule.name.as_str();
                        tracing::warn!(schedule = name, firings = n, "firings that were missed are left out");
                        State { at: now, until, n_left_out: state.n_left_out + n, ..state }
                    }
                },
            };
            history = match self.book.put(&schedule.name, Some(&history), after).await? {
                Some(history) => history,
                // somebody else was first
                None => self.book.read(&schedule.name).await?.unwrap_or(history),
            };
            self.note(schedule, &history);
        }
    }

    /// A schedule as far as this process has followed it: one that is new, goes by another timetable, or was fired by a clock that
    /// ran ahead, begins now. (What was fired too early has its job: it is found, and not submitted again.)
    async fn begun(&self, schedule: &Schedule, now: i64) -> Result<History, store::Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&schedule.name).cloned();
        let is_ahead = |state: &State| state.until > now.saturating_add(AHEAD);
        if let Some(known) = known.filter(|known| !is_ahead(&known.state)) {
            return Ok(known);
        }
        let timetable = format!("{} {}", schedule.timetable.cron(), schedule.timetable.time_zone());
        loop {
            let before = self.book.read(&schedule.name).await?;
            let history = match before {
                Some(history) if history.state.timetable == timetable && !is_ahead(&history.state) => history,
                before => {
                    let old = before.as_ref().map(|before| before.state.clone());
                    if old.as_ref().is_some_and(is_ahead) {
                        tracing::warn!(
                            schedule = schedule.name,
                            "it was fired by a clock that ran ahead: it begins now"
                        );
                    }
                    let until = old.as_ref().filter(|old| !is_ahead(old)).map_or(now, |old| old.until.max(now));
                    let (open, last) = old.map_or((None, None), |old| (old.open, old.last));
                    let timetable = timetable.clone();
                    let state = State { at: now, timetable, begun_at: now, until, open, last, n_left_out: 0 };
                    match self.book.put(&schedule.name, before.as_ref(), state).await? {
                        Some(history) => history,
                        None => continue,
                    }
                }
            };
            self.note(schedule, &history);
            return Ok(history);
        }
    }

    fn note(&self, schedule: &Schedule, history: &History) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(schedule.name.clone(), history.clone());
    }

    /// Submits a firing, or finds that it was; what cannot be submitted is written down with the reason.
    async fn submitted(&self, schedule: &Schedule, instant: i64, now: i64) -> Result<Firing, store::Error> {
        let (job, error) = match self.submit(schedule, instant, (schedule.notify, Priority::Normal)).await {
            Ok(job) => (Some(job.id), String::new()),
            Err(BackfillError::Submit(SubmitError::Store(error))) => return Err(error),
            Err(error) => {
                let error = error.to_string();
                tracing::error!(schedule = schedule.name, error, "a firing cannot be submitted");
                (None, error)
            }
        };
        Ok(Firing { instant, at: now, job, error })
    }

    /// Submits the firing of an instant; one whose job is there is answered as it is.
    async fn submit(
        &self,
        schedule: &Schedule,
        instant: i64,
        (notify, priority): (Notify, Priority),
    ) -> Result<Job, BackfillError> {
        let out_of_range = || BackfillError::Dates("a firing lies outside of 1678 to 2261".to_owned());
        let date = schedule.timetable.date(instant).ok_or_else(out_of_range)?.to_string();
        let by = format!("schedule:{}", schedule.name);
        let (kind, parameters) = match &schedule.what {
            What::Pipeline(pipeline) => {
                // a pipeline runs once for a date, whoever asks for it
                let target = Target { pipeline: pipeline.clone(), date, notify, priority };
                return Ok(pipelines::submit(&self.orders, &target, &by).await?);
            }
            What::Job(kind, parameters) => (kind, parameters),
        };
        let mut parameters = parameters.clone();
        let takes = self.orders.kinds.find(kind)?.parameters();
        if takes.iter().any(|parameter| parameter.name == DATE) {
            parameters.entry(DATE.to_owned()).or_insert_with(|| date.clone());
        }
        let plain = self.orders.of(kind, &parameters, &by)?;
        let submission = Submission { notify, priority, date: Some(date), ..plain };
        let due = Timestamp::from_nanosecond(instant.into()).map_err(|_| out_of_range())?;
        let key = format!("schedule {} at {due}", schedule.name);
        match self.orders.board.submit(submission, Some(&key)).await {
            Err(SubmitError::KeyTaken) => {
                // the settings were otherwise when it was submitted
                let there = self.orders.board.submitted(&by, &key).await.map_err(SubmitError::Store)?;
                Ok(there.ok_or(SubmitError::KeyTaken)?)
            }
            submitted => Ok(submitted?),
        }
    }

    /// Submits the firings of local dates, both included, after everything else.
    ///
    /// # Errors
    /// The dates are not in order, too many, or still to come; a firing cannot be submitted. What was submitted stays so, and
    /// is found when this is called again.
    pub async fn backfill(&self, schedule: &Schedule, from: Date, to: Date) -> Result<Vec<Job>, BackfillError> {
        let wrong = |text: &str| Err(BackfillError::Dates(text.to_owned()));
        let span = from.until(to).map(|span| i64::from(span.get_days()));
        match span {
            Ok(days) if days < 0 => return wrong("must not be before start_date"),
            Ok(days) if days < BACKFILL_MAX as i64 => {}
            _ => return wrong("at most 366 dates; take fewer"),
        }
        let firings: Vec<_> = schedule.timetable.on(from, to).take(BACKFILL_MAX + 1).collect();
        if firings.len() > BACKFILL_MAX {
            return wrong("at most 366 firings; take fewer dates");
        }
        if firings.last().is_some_and(|last| *last > self.orders.board.now()) {
            return wrong("the schedule has not come so far yet; take an earlier date");
        }
        let notify = if schedule.notify == Notify::Never { Notify::Never } else { Notify::Failure };
        let mut jobs = Vec::new();
        for instant in firings {
            jobs.push(self.submit(schedule, instant, (notify, Priority::Low)).await?);
        }
        Ok(jobs)
    }
}
