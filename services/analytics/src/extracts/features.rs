//! Point-in-time features: at each instant of prediction what was known by then of the hours before it. A reading counts from when it was
//! received; one that was taken back later counts until then.

use super::{
    asked::Asked,
    judge::{Judgement, plain_number, received_at},
    readings::SubjectHour,
};
use crate::reports::Error;
use model::{Nanos, Quality};
use std::collections::VecDeque;

/// What was known at an instant.
pub(super) struct Prediction {
    /// The instant, of moved times.
    pub at: Nanos,
    /// Of each metric that was asked for; none where nothing was known.
    pub windows: Vec<Option<Window>>,
}

/// What was known of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// How many readings there were.
    pub n: i64,
    /// The value of the newest.
    pub last: f64,
    /// How old it was, in seconds.
    pub age_s: f64,
    /// Their arithmetic mean.
    pub mean: f64,
    /// The least of their values, in the metric's own unit.
    pub least: f64,
    /// The greatest of their values.
    pub greatest: f64,
}

/// One reading, from when on it was known, and when it did not stand, by our clock.
struct Known {
    measured_at: Nanos,
    from: Nanos,
    away: Vec<(Nanos, Nanos)>,
    value: f64,
}

/// Makes features of one subject's hours, which come in the order of time.
pub(super) struct Features {
    keys: Vec<&'static str>,
    every: i64,
    window: i64,
    moved_by: i64,
    /// The first instant of prediction, and the first one that is none any more.
    range: (Nanos, Nanos),
    next: Option<Nanos>,
    /// By metric, in the order of time, no older than a window.
    known: Vec<VecDeque<Known>>,
}

impl Features {
    pub(super) fn new(asked: &Asked, moved_by: i64) -> Self {
        let (every, window) = asked.every_and_window;
        let keys: Vec<_> = asked.metrics.iter().map(|metric| metric.key).collect();
        let known = keys.iter().map(|_| VecDeque::new()).collect();
        let range = (asked.from.plus(moved_by), asked.to.plus(moved_by));
        Self { keys, every, window, moved_by, range, next: None, known }
    }

    /// What is read for it: from a window before the first instant of prediction on.
    pub(super) fn reads(&self) -> (Nanos, Nanos) {
        (self.range.0.plus(-self.window), self.range.1)
    }

    /// Adds an hour, after it has given what can be said before it.
    pub(super) fn add(
        &mut self,
        hour: &SubjectHour,
        give: impl FnMut(Prediction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let begins = hour.rows.at(0).hour().start();
        self.predict(begins, give)?;
        // instants of prediction lie between hours
        self.next.get_or_insert(self.after(begins));
        let SubjectHour { rows, judgement, shown, .. } = hour;
        for row in (0..rows.len()).filter(|row| shown[*row]) {
            let doubts = judgement.quality[row].bits() & !Quality::ENTERED_IN_ERROR.bits();
            let place = self.keys.iter().position(|key| *key == rows.metric.value(row));
            let number = plain_number(rows, row).filter(|_| Quality::from_bits(doubts).is_good());
            if let (Some(place), Some(value)) = (place, number) {
                let (from, away) = (received_at(rows, row), judgement.away(row).to_vec());
                self.known[place].push_back(Known { measured_at: rows.at(row), from, away, value });
            }
        }
        Ok(())
    }

    /// Gives what is left to be said.
    pub(super) fn end(&mut self, give: impl FnMut(Prediction) -> Result<(), Error>) -> Result<(), Error> {
        self.predict(self.range.1.plus(-1), give)
    }

    /// All instants up to one, as far as something is known by them.
    fn predict(&mut self, upto: Nanos, mut give: impl FnMut(Prediction) -> Result<(), Error>) -> Result<(), Error> {
        while let Some(at) = self.next.filter(|at| *at <= upto) {
            let begins = at.plus(-self.window);
            for known in &mut self.known {
                while known.front().is_some_and(|oldest| oldest.measured_at < begins) {
                    known.pop_front();
                }
            }
            if self.known.iter().all(VecDeque::is_empty) {
                // the next hour says where it goes on
                self.next = None;
                break;
            }
            let windows: Vec<_> = self.known.iter().map(|known| window(known, at)).collect();
            if at >= self.range.0 && windows.iter().any(Option::is_some) {
                give(Prediction { at: at.plus(-self.moved_by), windows })?;
            }
            self.next = Some(at.plus(self.every));
        }
        Ok(())
    }

    /// The first instant of prediction after one. Times are moved by whole days: the instants are those of moved times.
    fn after(&self, at: Nanos) -> Nanos {
        let moved = at.0 - self.moved_by;
        Nanos(moved - moved.rem_euclid(self.every)).plus(self.every).plus(self.moved_by)
    }
}

fn window(known: &VecDeque<Known>, at: Nanos) -> Option<Window> {
    let there = |one: &&Known| one.measured_at < at && one.from <= at && Judgement::stands(&one.away, at);
    let (mut sum, mut window) = (0.0, None::<Window>);
    for Known { measured_at, value, .. } in known.iter().filter(there) {
        let before =
            window.unwrap_or(Window { n: 0, last: *value, age_s: 0.0, mean: 0.0, least: *value, greatest: *value });
        sum += value;
        window = Some(Window {
            n: before.n + 1,
            last: *value,
            age_s: (at.0 - measured_at.0) as f64 / 1e9,
            mean: sum / (before.n + 1) as f64,
            least: before.least.min(*value),
            greatest: before.greatest.max(*value),
        });
    }
    window
}
