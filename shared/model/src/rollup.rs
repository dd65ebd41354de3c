//! A rollup: what the numbers of one metric came to in one hour, for trends over days to years.
//!
//! Derived from a [`Sheet`], never counted up: late, repeated and corrected data make it right, not double. Of a value and what
//! corrects it, or says it in another unit, the later one counts, and the earlier one nowhere, doubtful or not. What was measured
//! ahead of its receipt, or by a clock that was never set, is doubtful; how far ahead that is stands in the bytes, so that they are
//! used under the same rule only. Layout (notation as in [`crate::Block`]), version 6 (version 1 knew none of these rules, version 2
//! nothing of clocks that were never set, nor of repeats, bounds and what is absent, version 3 not all repeats, version 4 nothing
//! against what is no number but that it was entered in error, version 5 added up what was corrected and what corrects it):
//!
//! ```text
//! rollups = 6:u8, v max_ahead_ns, v n, (v metric, v n_doubtful, v n_repeats, v n_bounded, v n_absent, v n_good,
//!           (f64 min, f64 max, f64 sum) unless n_good is 0)*
//! ```

use crate::{
    block::Values,
    bytes::{Malformed, Reader, put_varint},
    catalog::MetricId,
    newest::{ClockTolerance, said_again, superseded},
    reading::Quality,
    sheet::{Batch, Sheet, SheetColumn},
};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 6;
/// Written before repeats, all that is doubtful, or what was corrected were left out.
const OF_OTHER_RULES: std::ops::RangeInclusive<u8> = 1..=5;
/// The fewest bytes that a rollup takes.
const MIN_BYTES: usize = 6;

/// The numbers of one metric in one hour. Codes and waveforms have none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// Catalogue number of the metric.
    pub metric: MetricId,
    /// Readings left out because something is known against them ([`crate::Quality`]), bounds and those without a value among
    /// them; not what was corrected.
    pub n_doubtful: u64,
    /// Readings left out because their device had sent the same before ([`crate::Quality::REPEAT`]).
    pub n_repeats: u64,
    /// Other readings of which only a bound is known ([`crate::Bound`]): they have no part in `good`.
    pub n_bounded: u64,
    /// Other readings without a value.
    pub n_absent: u64,
    /// The others, if there are any, but for what was corrected: that counts nowhere ([`superseded`]).
    pub good: Option<Summary>,
}

/// Some numbers, at least one, in the metric's canonical unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of readings, at least 1.
    pub n: u64,
    /// Smallest value, in the canonical unit.
    pub min: f64,
    /// Largest value, in the canonical unit.
    pub max: f64,
    /// Sum of all values, in the canonical unit and double precision.
    pub sum: f64,
}

impl Summary {
    /// Of one number.
    fn one(value: f64) -> Self {
        Self { n: 1, min: value, max: value, sum: value }
    }

    /// Of the numbers of both.
    fn and(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
        }
    }

    /// The arithmetic mean, between `min` and `max`.
    pub fn mean(&self) -> f64 {
        // a rounded sum must not put it outside
        (self.sum / self.n as f64).clamp(self.min, self.max)
    }
}

impl Rollup {
    fn empty(metric: MetricId) -> Self {
        Self { metric, n_doubtful: 0, n_repeats: 0, n_bounded: 0, n_absent: 0, good: None }
    }

    /// The rollups of an hour, ascending by metric. The same rows always give the same ones, bit for bit. Of a marked sheet the
    /// marks count.
    pub fn of(sheet: &Sheet, tolerance: ClockTolerance) -> Vec<Self> {
        let mut rollups: BTreeMap<MetricId, Self> = BTreeMap::new();
        let again: BTreeMap<_, _> =
            said_again(sheet).into_iter().map(|(column, line, mark)| ((column, line), mark)).collect();
        let superseded: BTreeSet<_> = superseded(sheet).into_iter().map(|(column, line, _)| (column, line)).collect();
        for (place, column) in sheet.columns.iter().enumerate() {
            let metric = column.lines.metric;
            let rollup = rollups.entry(metric).or_insert_with(|| Self::empty(metric));
            let again = |line| again.get(&(place, line)).copied().unwrap_or_default();
            let counts = |line| !superseded.contains(&(place, line));
            rollup.add(column, &sheet.batches, tolerance, (again, counts));
        }
        rollups.into_values().filter(|rollup| *rollup != Self::empty(rollup.metric)).collect()
    }

    /// Adds what may be added up or counted: codes and waveforms have no part in it.
    fn add(
        &mut self,
        column: &SheetColumn,
        batches: &[Batch],
        tolerance: ClockTolerance,
        (again, counts): (impl Fn(usize) -> Quality, impl Fn(usize) -> bool),
    ) {
        let SheetColumn { lines, batch } = column;
        if matches!(lines.values, Values::Coded(_) | Values::Waveform(_)) {
            return;
        }
        for (line, quality) in lines.quality.iter().enumerate() {
            let quality = quality.with(again(line));
            let doubts = || tolerance.doubts_in(&batches[batch[line] as usize], lines.measured_at[line]);
            if quality.has(Quality::REPEAT) {
                self.n_repeats += 1;
            } else if !counts(line) {
                // what stands in its place counts
            } else if !quality.with(doubts()).is_good() {
                self.n_doubtful += 1;
            } else {
                match &lines.values {
                    Values::Number(values) => {
                        let one = Summary::one(lines.factor.apply(values[line]));
                        self.good = Some(self.good.map_or(one, |good| good.and(one)));
                    }
                    Values::Bounded(_) => self.n_bounded += 1,
                    Values::Absent(_) => self.n_absent += 1,
                    Values::Coded(_) | Values::Waveform(_) => {}
                }
            }
        }
    }

    /// The bytes of an hour's rollups, which were made under this rule.
    pub fn encode(rollups: &[Self], tolerance: ClockTolerance) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(&mut out, tolerance.max_ahead_ns());
        put_varint(&mut out, rollups.len() as u64);
        for rollup in rollups {
            put_varint(&mut out, u64::from(rollup.metric.0));
            put_varint(&mut out, rollup.n_doubtful);
            put_varint(&mut out, rollup.n_repeats);
            put_varint(&mut out, rollup.n_bounded);
            put_varint(&mut out, rollup.n_absent);
            put_varint(&mut out, rollup.good.map_or(0, |good| good.n));
            if let Some(good) = rollup.good {
                for value in [good.min, good.max, good.sum] {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
        out
    }

    /// Reads an hour's rollups back; `None` when they were made under another rule than this, and have to be made again.
    pub fn decode(bytes: &[u8], tolerance: ClockTolerance) -> Result<Option<Vec<Self>>, Malformed> {
        let mut input = Reader::new(bytes);
        match input.byte()? {
            VERSION if input.varint()? == tolerance.max_ahead_ns() => {}
            VERSION => return Ok(None),
            version if OF_OTHER_RULES.contains(&version) => return Ok(None),
            _ => return Err(input.malformed("rollup version 1 to 6")),
        }
        let n = input.count(MIN_BYTES)?;
        let mut rollups: Vec<Self> = Vec::with_capacity(n);
        for _ in 0..n {
            let metric = u16::try_from(input.varint()?).map_err(|_| input.malformed("a metric of 16 bits"))?;
            if rollups.last().is_some_and(|last| last.metric.0 >= metric) {
                return Err(input.malformed("metrics in ascending order"));
            }
            let (n_doubtful, n_repeats) = (input.varint()?, input.varint()?);
            let (n_bounded, n_absent) = (input.varint()?, input.varint()?);
            let good = match input.varint()? {
                0 => None,
                n => {
                    let good = Summary { n, min: input.float()?, max: input.float()?, sum: input.float()? };
                    if good.min > good.max || [good.min, good.max, good.sum].iter().any(|value| value.is_nan()) {
                        return Err(input.malformed("the least number, the greatest and a sum"));
                    }
                    Some(good)
                }
            };
            rollups.push(Self { metric: MetricId(metric), n_doubtful, n_repeats, n_bounded, n_absent, good });
        }
        input.end()?;
        Ok(Some(rollups))
    }
}
