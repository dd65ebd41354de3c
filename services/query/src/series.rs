//! Readings as packed columns: one series for each metric and unit.

use crate::{
    named,
    readings::{Readings, waveform},
};
use model::{Column, Factor, MetricId, Quality, Values};
use proto::telemetry::v1 as wire;

/// Series that grow hour by hour. Until [`Packed::finish`] times are nanoseconds since 1970, and flags may end early.
#[derive(Default)]
pub(crate) struct Packed(Vec<(MetricId, wire::Series)>);

impl Packed {
    /// Adds readings. Hours must come in ascending order, the lines of a column are in order.
    pub(crate) fn add(&mut self, readings: &Readings) {
        for (column, run) in readings.columns().filter(|(_, run)| !run.is_empty()) {
            let column = &column.lines;
            let at = self.find(column);
            let series = &mut self.0[at].1;
            let doubtful = column.quality[run.clone()].iter().any(|&quality| quality != Quality::GOOD);
            if doubtful || !series.flags.is_empty() {
                series.flags.resize(series.measured_at_delta_ticks.len(), 0);
                series.flags.extend(column.quality[run.clone()].iter().map(|quality| quality.0));
            }
            series.measured_at_delta_ticks.extend(column.measured_at[run.clone()].iter().map(|at| at.0));
            match &column.values {
                Values::Number(values) if column.factor == Factor::IDENTITY => {
                    series.numbers.extend_from_slice(&values[run]);
                }
                Values::Number(values) => {
                    series.numbers.extend(values[run.clone()].iter().map(|&value| column.factor.apply(value)));
                    series.original_numbers.extend_from_slice(&values[run]);
                }
                Values::Coded(codes) => series.codes.extend(codes[run].iter().map(ToString::to_string)),
                Values::Waveform(waves) => {
                    series.waveforms.extend(waves[run].iter().map(|wave| waveform(column, wave)))
                }
            }
        }
    }

    /// Puts each series in order (several devices may have measured one metric), and times as differences.
    pub(crate) fn finish(self) -> Vec<wire::Series> {
        let mut series: Vec<_> = self.0.into_iter().map(|(_, series)| series).collect();
        for one in &mut series {
            if !one.flags.is_empty() {
                one.flags.resize(one.measured_at_delta_ticks.len(), 0);
            }
            if !one.measured_at_delta_ticks.is_sorted() {
                sort(one);
            }
            one.tick_ns = to_deltas(&mut one.measured_at_delta_ticks);
        }
        series.sort_by(|a, b| (&a.metric, &a.original_unit).cmp(&(&b.metric, &b.original_unit)));
        series
    }

    fn find(&mut self, column: &Column) -> usize {
        let same = |(metric, one): &(MetricId, wire::Series)| {
            *metric == column.metric
                && *one.original_unit == *column.unit
                && one.original_numbers.is_empty() == (column.factor == Factor::IDENTITY)
        };
        self.0.iter().position(same).unwrap_or_else(|| {
            let (key, unit) = named(column.metric);
            let one = wire::Series {
                metric: key.to_owned(),
                unit: unit.to_owned(),
                original_unit: column.unit.to_string(),
                ..Default::default()
            };
            self.0.push((column.metric, one));
            self.0.len() - 1
        })
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
