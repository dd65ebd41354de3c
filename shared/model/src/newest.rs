//! Newest, decided in one place: which readings may stand for a patient's present, which of them is the last, how old it is.
//!
//! The promise: a reading that was measured further ahead of its receipt than two clocks may differ never stands for the
//! present, neither now nor when its time has come: receipt decides, not the time of asking. Nor does one whose time is that of a
//! clock that was never set. Rows that were stored before these rules are judged by them when they are read. Of two readings of one instant the one received later is newer. An age
//! is never negative.

use crate::{
    block::{Column, Values},
    reading::{ClockQuality, Quality},
    record::BatchId,
    sheet::{Batch, Sheet, SheetColumn},
    time::Nanos,
    unset::is_unset,
};
use std::{collections::BTreeSet, ops::Range, time::Duration};

/// How far a device's clock may be ahead of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTolerance {
    max_ahead_ns: i64,
}

impl Default for ClockTolerance {
    /// Two minutes: more than clocks drift between two synchronisations, far less than a wrong time zone.
    fn default() -> Self {
        Self::new(Duration::from_secs(120))
    }
}

impl ClockTolerance {
    /// No clock is ever ahead.
    pub const EVERYTHING: Self = Self { max_ahead_ns: i64::MAX };

    /// Up to so much ahead of its receipt is no fault of a reading.
    pub fn new(max_ahead: Duration) -> Self {
        Self { max_ahead_ns: i64::try_from(max_ahead.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// The tolerance in nanoseconds.
    pub fn max_ahead_ns(self) -> u64 {
        // never negative
        self.max_ahead_ns.unsigned_abs()
    }

    /// The latest time at which what is received now can have been measured, if clocks are as they should be.
    pub fn latest_measured(self, now: Nanos) -> Nanos {
        now.plus(self.max_ahead_ns)
    }

    /// Whether a reading was measured too far ahead of its receipt.
    pub fn is_ahead(self, measured_at: Nanos, received_at: Nanos) -> bool {
        measured_at > received_at.plus(self.max_ahead_ns)
    }

    /// What is to be said against the time of a reading: [`Quality::ANCIENT`], [`Quality::UNSET_CLOCK`], [`Quality::FUTURE`], or
    /// nothing.
    pub fn doubts(self, measured_at: Nanos, received_at: Nanos) -> Quality {
        if self.is_ahead(measured_at, received_at) {
            Quality::FUTURE
        } else if !is_unset(measured_at, received_at) {
            Quality::GOOD
        } else if measured_at < Nanos::YEAR_1900 {
            Quality::ANCIENT
        } else {
            Quality::UNSET_CLOCK
        }
    }

    /// The same where the device may say itself that its clock was never set.
    pub fn doubts_by(self, clock: ClockQuality, measured_at: Nanos, received_at: Nanos) -> Quality {
        let said = if clock == ClockQuality::Unset { Quality::UNSET_CLOCK } else { Quality::GOOD };
        self.doubts(measured_at, received_at).with(said)
    }

    /// The same of a reading of a batch.
    pub(crate) fn doubts_in(self, batch: &Batch, measured_at: Nanos) -> Quality {
        self.doubts_by(batch.clock, measured_at, batch.received_at)
    }

    /// Marks what the way in may not have marked yet, because the rule is younger than the row ([`Self::doubts`]), and what only
    /// a whole sheet shows: corrections ([`Quality::CORRECTION`]), repeats ([`Quality::REPEAT`]) and what was taken back
    /// ([`Quality::ENTERED_IN_ERROR`]).
    pub fn mark(self, sheet: &mut Sheet) {
        let Sheet { batches, columns, .. } = sheet;
        for SheetColumn { lines, batch } in columns {
            let times = lines.measured_at.iter().zip(batch.iter());
            for (quality, (at, batch)) in lines.quality.iter_mut().zip(times) {
                *quality = quality.with(self.doubts_in(&batches[*batch as usize], *at));
            }
        }
        for (column, line, mark) in said_again(sheet) {
            let quality = &mut sheet.columns[column].lines.quality[line];
            *quality = quality.with(mark);
        }
    }
}

/// Which of two readings is newer: the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recency {
    /// From when it counts: see [`counts_from`].
    pub at: Nanos,
    /// When its batch was received, by our clock.
    pub received_at: Nanos,
    /// Its batch; of batches received in one instant.
    pub identity: BatchId,
    /// Its index in the batch, from 0.
    pub index: u32,
}

/// The time from which a reading counts when the newest is looked for; `None` when it never does. A clock that was never
/// set says nothing: then receipt counts. `quality` is that of a marked sheet ([`ClockTolerance::mark`]).
pub fn counts_from(quality: Quality, clock: ClockQuality, measured_at: Nanos, received_at: Nanos) -> Option<Nanos> {
    match clock {
        _ if quality.has(Quality::ENTERED_IN_ERROR) => None,
        ClockQuality::Unset => Some(received_at),
        _ if quality.has_any(Quality::FALSE_TIME) => None,
        _ => Some(measured_at),
    }
}

/// How old something is, in nanoseconds; 0 when it lies ahead.
pub fn age(at: Nanos, now: Nanos) -> i64 {
    now.0.saturating_sub(at.0).max(0)
}

/// Lines of which the same device has sent others of that metric and instant, with what they are beside those: the same in another
/// stream is a repeat, another value a correction. One that was entered in error takes back what came before it, and is shown once
/// with what it takes back.
pub(crate) fn said_again(sheet: &Sheet) -> Vec<(usize, usize, Quality)> {
    let mut found = Vec::new();
    each_same_instant(sheet, |same| found.extend(same.marks()));
    found
}

/// Lines, by column, in whose place their device has said something else in a later batch, or the same in another unit; and when that
/// was received. One time counts once where readings are added up; a timeline has it as it came. What is marked
/// as entered in error corrects nothing.
pub fn superseded(sheet: &Sheet) -> Vec<(usize, usize, Nanos)> {
    let mut found = Vec::new();
    each_same_instant(sheet, |same| found.extend(same.superseded()));
    found
}

/// Hands over the lines of each metric, instant and device that has several.
fn each_same_instant(sheet: &Sheet, mut each: impl FnMut(SameInstant<'_>)) {
    let columns = &sheet.columns;
    for (first, one) in columns.iter().enumerate() {
        let metric = one.lines.metric;
        let of_metric = |column: &&SheetColumn| column.lines.metric == metric;
        if columns[..first].iter().any(|column| of_metric(&column)) {
            continue;
        }
        // one column and no two lines of one instant: nothing was said again
        let is_alone = !columns[first + 1..].iter().any(|column| of_metric(&column));
        if is_alone && one.is_strictly_ascending() {
            continue;
        }
        let mut lines: Vec<_> = (first..columns.len())
            .filter(|&column| of_metric(&&columns[column]))
            .flat_map(|column| (0..columns[column].batch.len()).map(move |line| (column, line)))
            .collect();
        let key = |&(column, line): &(usize, usize)| {
            let SheetColumn { lines, batch } = &columns[column];
            let number = batch[line];
            let batch = &sheet.batches[number as usize];
            (lines.measured_at[line], batch.identity.device, batch.received_at, number, lines.index[line])
        };
        lines.sort_unstable_by_key(key);
        let same_instant = lines.chunk_by(|a, b| (key(a).0, key(a).1) == (key(b).0, key(b).1));
        same_instant.filter(|lines| lines.len() > 1).for_each(|lines| each(SameInstant { sheet, lines }));
    }
}

/// Of the lines of one metric, instant and device as many of the first are compared with each that came later, and as many of the
/// last that correct something with each that came before: no device has that many to say of an instant, and one that means harm
/// is not to keep a reader busy.
const COMPARED_MAX: usize = 256;

/// Lines of one metric, instant and device, in the order in which they came.
struct SameInstant<'a> {
    sheet: &'a Sheet,
    lines: &'a [(usize, usize)],
}

fn earlier(at: usize) -> Range<usize> {
    0..at.min(COMPARED_MAX)
}

impl SameInstant<'_> {
    fn marks(&self) -> impl Iterator<Item = (usize, usize, Quality)> {
        let n_taken_back = (1..self.lines.len()).rfind(|&at| self.takes_back(at)).unwrap_or_default();
        (0..self.lines.len()).filter_map(move |at| {
            let mut mark = Quality::GOOD;
            if self.is_repeat(at) || self.takes_back(at) && earlier(at).any(|before| self.is_same(before, at)) {
                mark = Quality::REPEAT;
            } else if earlier(at).any(|before| self.says_other(before, at)) {
                mark = Quality::CORRECTION;
            }
            if at < n_taken_back {
                mark = mark.with(Quality::ENTERED_IN_ERROR);
            }
            (mark != Quality::GOOD).then_some((self.lines[at].0, self.lines[at].1, mark))
        })
    }

    /// Lines that a later batch says otherwise, or in another unit, and when it came. Not where that batch has the line, too, as a
    /// repeat, beside another event of the instant.
    fn superseded(&self) -> Vec<(usize, usize, Nanos)> {
        // neither kind says of itself that it is wrong
        let (repeating, correcting): (Vec<_>, Vec<_>) =
            (1..self.lines.len()).rev().filter(|&at| !self.is_in_error(at)).partition(|&at| self.is_repeat(at));
        let [repeating, correcting] = [repeating, correcting].map(|last| last.into_iter().take(COMPARED_MAX));
        let since = |at: usize| {
            let keep = repeating.clone().filter(|&after| self.is_same(at, after));
            let kept_by: BTreeSet<_> = keep.map(|after| self.batch(after)).collect();
            let corrects = |after: &usize| {
                let (own, batch) = (self.batch(at), self.batch(*after));
                at < *after && own != batch && !self.is_same(at, *after) && !kept_by.contains(&batch)
            };
            // those that came last are first
            let first = correcting.clone().rfind(corrects)?;
            Some(self.sheet.batches[self.batch(first) as usize].received_at)
        };
        (0..self.lines.len()).filter_map(|at| Some((self.lines[at].0, self.lines[at].1, since(at)?))).collect()
    }

    /// Whether they say different things, and not as two events of one batch.
    fn says_other(&self, a: usize, b: usize) -> bool {
        self.batch(a) != self.batch(b) && !self.says_same(a, b)
    }

    fn batch(&self, at: usize) -> u32 {
        let (column, line) = self.lines[at];
        self.sheet.columns[column].batch[line]
    }

    fn is_in_error(&self, at: usize) -> bool {
        let (column, line) = self.lines[at];
        self.sheet.columns[column].lines.quality[line].has(Quality::ENTERED_IN_ERROR)
    }

    fn says_same(&self, a: usize, b: usize) -> bool {
        same_value(&self.sheet.columns, self.lines[a], self.lines[b])
    }

    /// Whether they say the same in one unit.
    fn is_same(&self, a: usize, b: usize) -> bool {
        let unit = |at: usize| &self.sheet.columns[self.lines[at].0].lines.unit;
        unit(a) == unit(b) && self.says_same(a, b)
    }

    /// Whether it came before, in another stream: in its own a device may have two events of one instant. What takes something back
    /// repeats only another that does.
    fn is_repeat(&self, at: usize) -> bool {
        let stream = |at| self.sheet.batches[self.batch(at) as usize].identity.stream;
        earlier(at).any(|before| {
            let may_be = self.is_in_error(before) || !self.is_in_error(at);
            may_be && stream(before) != stream(at) && self.is_same(before, at)
        })
    }

    fn takes_back(&self, at: usize) -> bool {
        self.is_in_error(at) && !self.is_repeat(at)
    }
}

/// Whether two readings say the same, whatever their units.
fn same_value(columns: &[SheetColumn], a: (usize, usize), b: (usize, usize)) -> bool {
    let lines = |(column, _): (usize, usize)| -> &Column { &columns[column].lines };
    let (one, other) = (lines(a), lines(b));
    if one.end(a.1) != other.end(b.1) {
        return false;
    }
    match (&one.values, &other.values) {
        (Values::Number(x), Values::Number(y)) => one.factor.apply(x[a.1]) == other.factor.apply(y[b.1]),
        (Values::Coded(x), Values::Coded(y)) => x[a.1] == y[b.1],
        (Values::Waveform(x), Values::Waveform(y)) => one.factor == other.factor && x[a.1] == y[b.1],
        (Values::Bounded(x), Values::Bounded(y)) => {
            let (x, y) = (x[a.1], y[b.1]);
            x.comparator == y.comparator && one.factor.apply(x.number) == other.factor.apply(y.number)
        }
        (Values::Absent(x), Values::Absent(y)) => x[a.1] == y[b.1],
        _ => false,
    }
}
