//! Readings as packed columns: one series for each metric, unit and kind of value.

use crate::{
    named,
    readings::{Readings, waveform},
};
use model::{Column, Factor, MetricId, Quality, Values};
use proto::telemetry::v1 as wire;
use std::{
    mem::{Discriminant, discriminant},
    ops::Range,
};

/// A series on its way.
struct Packing {
    metric: MetricId,
    factor_is_identity: bool,
    /// Numbers, bounds, absent values: each has a series of its own.
    kind: Discriminant<Values>,
    series: wire::Series,
    n_readings: usize,
}

/// The readings of some hours, ascending, as packed columns.
pub(crate) fn pack(hours: &[Readings]) -> Vec<wire::Series> {
    let mut all: Vec<Packing> = Vec::new();
    let columns = || hours.iter().flat_map(Readings::columns).filter(|(_, run)| !run.is_empty());
    for (column, run) in columns() {
        find(&mut all, &column.lines).n_readings += run.len();
    }
    for (column, run) in columns() {
        let packing = find(&mut all, &column.lines);
        add(packing, &column.lines, run);
    }
    let mut series: Vec<_> = all.into_iter().flat_map(|packing| finish(packing.series)).collect();
    let key = |series: &wire::Series| {
        let kind = (series.comparators.len().min(1), series.absent_reasons.len().min(1));
        (series.metric.clone(), series.original_unit.clone(), kind)
    };
    // stable: parts of one series stay in the order of time
    series.sort_by_cached_key(key);
    series
}

/// The series to which a column's readings belong.
fn find<'a>(all: &'a mut Vec<Packing>, column: &Column) -> &'a mut Packing {
    let factor_is_identity = column.factor == Factor::IDENTITY;
    let same = |one: &Packing| {
        one.metric == column.metric
            && *one.series.original_unit == *column.unit
            && one.factor_is_identity == factor_is_identity
            && one.kind == discriminant(&column.values)
    };
    let at = all.iter().position(same).unwrap_or_else(|| {
        let (key, unit) = named(column.metric);
        let series = wire::Series {
            metric: key.to_owned(),
            unit: unit.to_owned(),
            original_unit: column.unit.to_string(),
            ..Default::default()
        };
        let kind = discriminant(&column.values);
        all.push(Packing { metric: column.metric, factor_is_identity, kind, series, n_readings: 0 });
        all.len() - 1
    });
    &mut all[at]
}

/// Adds lines of a column. Until [`finish`] times are nanoseconds since 1970, and flags may end early.
fn add(packing: &mut Packing, column: &Column, run: Range<usize>) {
    let (series, room) = (&mut packing.series, packing.n_readings);
    let times = &mut series.measured_at_delta_ticks;
    let before = times.len();
    let room = room - before;
    let quality = &column.quality[run.clone()];
    if !series.flags.is_empty() || quality.iter().any(|&quality| quality != Quality::GOOD) {
        series.flags.resize(before, 0);
        series.flags.extend(quality.iter().map(|quality| quality.bits()));
    }
    if !column.lasting.is_empty() || !series.lasting_ns.is_empty() {
        series.lasting_ns.resize(before, 0);
        series.lasting_ns.extend(run.clone().map(|line| column.lasting.get(line).copied().unwrap_or_default()));
    }
    // the first time for all that will come: growing again and again costs more than filling
    times.reserve_exact(room);
    times.extend(column.measured_at[run.clone()].iter().map(|at| at.0));
    match &column.values {
        Values::Number(values) if packing.factor_is_identity => {
            series.numbers.reserve_exact(room);
            series.numbers.extend_from_slice(&values[run]);
        }
        Values::Number(values) => {
            series.numbers.reserve_exact(room);
            series.numbers.extend(values[run.clone()].iter().map(|&value| column.factor.apply(value)));
            series.original_numbers.reserve_exact(room);
            series.original_numbers.extend_from_slice(&values[run]);
        }
        Values::Coded(codes) => series.codes.extend(codes[run].iter().map(ToString::to_string)),
        Values::Waveform(waves) => series.waveforms.extend(waves[run].iter().map(|wave| waveform(column, wave))),
        Values::Bounded(bounds) => {
            series.comparators.extend(bounds[run.clone()].iter().map(|bound| i32::from(bound.comparator.code())));
            series.bounds.extend(bounds[run.clone()].iter().map(|bound| column.factor.apply(bound.number)));
            if !packing.factor_is_identity {
                series.original_numbers.extend(bounds[run].iter().map(|bound| bound.number));
            }
        }
        Values::Absent(reasons) => {
            series.absent_reasons.extend(reasons[run].iter().map(|reason| i32::from(reason.code())));
        }
    }
}

/// Puts a series in order (several devices may have measured one metric), and times as differences. Where two times are
/// further apart than a difference can say (292 years), another series begins.
fn finish(mut series: wire::Series) -> Vec<wire::Series> {
    if !series.flags.is_empty() {
        series.flags.resize(series.measured_at_delta_ticks.len(), 0);
    }
    if !series.lasting_ns.is_empty() {
        series.lasting_ns.resize(series.measured_at_delta_ticks.len(), 0);
    }
    if !series.measured_at_delta_ticks.is_sorted() {
        sort(&mut series);
    }
    let mut parts = Vec::with_capacity(1);
    while let Some(at) = gap(&series.measured_at_delta_ticks) {
        let rest = split_off(&mut series, at);
        parts.push(std::mem::replace(&mut series, rest));
    }
    parts.push(series);
    for part in &mut parts {
        part.tick_ns = to_deltas(&mut part.measured_at_delta_ticks);
    }
    parts
}

/// The first of ascending times that is too far from the one before; from the first to the last it is seldom so far.
fn gap(times: &[i64]) -> Option<usize> {
    let is_near = times.first().zip(times.last()).is_none_or(|(first, last)| last.checked_sub(*first).is_some());
    let is_far = |pair: &[i64]| pair[1].checked_sub(pair[0]).is_none();
    if is_near { None } else { times.windows(2).position(is_far).map(|at| at + 1) }
}

/// Takes the readings from one on out of a series whose times are no differences yet.
fn split_off(one: &mut wire::Series, at: usize) -> wire::Series {
    fn rest<T>(items: &mut Vec<T>, at: usize) -> Vec<T> {
        items.split_off(at.min(items.len()))
    }
    wire::Series {
        metric: one.metric.clone(),
        unit: one.unit.clone(),
        original_unit: one.original_unit.clone(),
        measured_at_delta_ticks: rest(&mut one.measured_at_delta_ticks, at),
        numbers: rest(&mut one.numbers, at),
        codes: rest(&mut one.codes, at),
        waveforms: rest(&mut one.waveforms, at),
        original_numbers: rest(&mut one.original_numbers, at),
        flags: rest(&mut one.flags, at),
        lasting_ns: rest(&mut one.lasting_ns, at),
        comparators: rest(&mut one.comparators, at),
        bounds: rest(&mut one.bounds, at),
        absent_reasons: rest(&mut one.absent_reasons, at),
        tick_ns: one.tick_ns,
    }
}

/// Turns times into differences, in the largest tick in which they are whole, and gives its length: devices measure in
/// whole seconds more often than not, and small differences are few bytes.
fn to_deltas(times: &mut [i64]) -> i64 {
    // constants, because a division by a variable costs more than all the rest
    if deltas_in::<1_000_000_000>(times) {
        1_000_000_000
    } else if deltas_in::<1_000_000>(times) {
        1_000_000
    } else if deltas_in::<1_000>(times) {
        1_000
    } else {
        deltas_in::<1>(times);
        1
    }
}

/// Turns times into differences of ticks, when all are whole ticks; says whether they were.
fn deltas_in<const TICK_NS: i64>(times: &mut [i64]) -> bool {
    if times.iter().any(|at| at % TICK_NS != 0) {
        return false;
    }
    let mut last = 0;
    for at in times {
        let ticks = *at / TICK_NS;
        // the first is the difference to 0, and no other is too great
        (last, *at) = (ticks, ticks - last);
    }
    true
}

fn sort(one: &mut wire::Series) {
    let mut order: Vec<usize> = (0..one.measured_at_delta_ticks.len()).collect();
    order.sort_by_key(|&i| one.measured_at_delta_ticks[i]);
    permute(&mut one.measured_at_delta_ticks, &order);
    permute(&mut one.numbers, &order);
    permute(&mut one.original_numbers, &order);
    permute(&mut one.codes, &order);
    permute(&mut one.waveforms, &order);
    permute(&mut one.flags, &order);
    permute(&mut one.lasting_ns, &order);
    permute(&mut one.comparators, &order);
    permute(&mut one.bounds, &order);
    permute(&mut one.absent_reasons, &order);
}

fn permute<T: Clone>(items: &mut Vec<T>, order: &[usize]) {
    if !items.is_empty() {
        *items = order.iter().map(|&i| items[i].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[i64]) -> wire::Series {
        wire::Series {
            measured_at_delta_ticks: times.to_vec(),
            numbers: times.iter().map(|at| *at as f64).collect(),
            flags: times.iter().map(|at| *at as u8).collect(),
            ..Default::default()
        }
    }

    /// The times that a reader of the manual gets, and what stands beside each.
    fn read(parts: &[wire::Series]) -> Vec<(i64, f64, u8)> {
        let mut found = Vec::new();
        for part in parts {
            let mut ticks = 0_i64;
            for (at, delta) in part.measured_at_delta_ticks.iter().enumerate() {
                ticks = ticks.checked_add(*delta).expect("a sum of differences is in range");
                found.push((ticks.checked_mul(part.tick_ns).unwrap(), part.numbers[at], part.flags[at]));
            }
        }
        found
    }

    #[test]
    fn times_at_both_ends_of_what_there_is_make_two_series_and_no_false_difference() {
        let times = [i64::MIN, i64::MIN + 1, 5, i64::MAX - 1, i64::MAX];
        let parts = finish(of(&times));
        assert_eq!(parts.iter().map(|part| part.numbers.len()).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(read(&parts), times.map(|at| (at, at as f64, at as u8)));
        assert_eq!(finish(of(&[i64::MIN, i64::MAX])).len(), 2);
        assert_eq!(finish(of(&[])).len(), 1);
        assert_eq!(finish(of(&[1, 2_000_000_000])).len(), 1);
    }

    #[test]
    fn whatever_the_times_they_are_read_back() {
        // Marsaglia's xorshift: the same cases each time
        let mut state = 0x5eed_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..2_000 {
            let n = next() % 20;
            let mut time = || [next() as i64, next() as i64 >> 58, i64::MIN, i64::MAX][next() as usize % 4];
            let mut times: Vec<i64> = (0..n).map(|_| time()).collect();
            let parts = finish(of(&times));
            times.sort_unstable();
            assert_eq!(read(&parts), times.iter().map(|at| (*at, *at as f64, *at as u8)).collect::<Vec<_>>());
        }
    }
}
