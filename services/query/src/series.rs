//! Readings as packed columns: one series for each metric and unit.

use crate::{
    named,
    readings::{Readings, waveform},
};
use model::{Column, Factor, MetricId, Quality, Values};
use proto::telemetry::v1 as wire;
use std::ops::Range;

/// A series on its way.
struct Packing {
    metric: MetricId,
    factor_is_identity: bool,
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
    let mut series: Vec<_> = all.into_iter().map(|packing| finish(packing.series)).collect();
    series.sort_by(|a, b| (&a.metric, &a.original_unit).cmp(&(&b.metric, &b.original_unit)));
    series
}

/// The series to which a column's readings belong.
fn find<'a>(all: &'a mut Vec<Packing>, column: &Column) -> &'a mut Packing {
    let factor_is_identity = column.factor == Factor::IDENTITY;
    let same = |one: &Packing| {
        one.metric == column.metric
            && *one.series.original_unit == *column.unit
            && one.factor_is_identity == factor_is_identity
    };
    let at = all.iter().position(same).unwrap_or_else(|| {
        let (key, unit) = named(column.metric);
        let series = wire::Series {
            metric: key.to_owned(),
            unit: unit.to_owned(),
            original_unit: column.unit.to_string(),
            ..Default::default()
        };
        all.push(Packing { metric: column.metric, factor_is_identity, series, n_readings: 0 });
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
        series.flags.extend(quality.iter().map(|quality| quality.0));
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
    }
}

/// Puts a series in order (several devices may have measured one metric), and times as differences.
fn finish(mut series: wire::Series) -> wire::Series {
    if !series.flags.is_empty() {
        series.flags.resize(series.measured_at_delta_ticks.len(), 0);
    }
    if !series.measured_at_delta_ticks.is_sorted() {
        sort(&mut series);
    }
    series.tick_ns = to_deltas(&mut series.measured_at_delta_ticks);
    series
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
        (last, *at) = (ticks, ticks.wrapping_sub(last));
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
}

fn permute<T: Clone>(items: &mut Vec<T>, order: &[usize]) {
    if !items.is_empty() {
        *items = order.iter().map(|&i| items[i].clone()).collect();
    }
}
