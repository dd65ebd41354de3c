//! A sheet holds exactly the readings of its rows, in order, and damage to its bytes is noticed.

use model::{
    Absence, Batch, BatchId, Block, Bound, ClockQuality, ClockTolerance, Column, Comparator, DeviceId, Factor, Hour,
    MetricId, Nanos, Quality, Rollup, Sheet, StreamId, Values,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const HOUR: Hour = Hour(446_000);

/// One reading as plainly as it can be said: batch, metric, unit, time, index, quality, value.
type Plain = (BatchId, MetricId, String, Nanos, u32, u8, String);

fn plain_value(values: &Values, line: usize) -> String {
    match values {
        Values::Number(values) => format!("{:?}", values[line]),
        Values::Coded(values) => format!("code {}", values[line]),
        Values::Waveform(values) => format!("{:?}", values[line]),
        Values::Bounded(values) => format!("{:?}", values[line]),
        Values::Absent(values) => values[line].name().to_owned(),
    }
}

fn of_column(identity: impl Fn(usize) -> BatchId, column: &Column) -> Vec<Plain> {
    let plain = |line: usize| {
        let (at, index, quality) = (column.measured_at[line], column.index[line], column.quality[line].bits());
        let value = format!("{} to {:?}", plain_value(&column.values, line), column.end(line));
        (identity(line), column.metric, column.unit.to_string(), at, index, quality, value)
    };
    (0..column.len()).map(plain).collect()
}

fn of_sheet(sheet: &Sheet) -> Vec<Plain> {
    let column = |column: &model::SheetColumn| {
        of_column(|line| sheet.batches[column.batch[line] as usize].identity, &column.lines)
    };
    let mut all: Vec<_> = sheet.columns.iter().flat_map(column).collect();
    all.sort();
    all
}

fn of_rows(rows: &[(Batch, Block)], wanted: &[MetricId]) -> Vec<Plain> {
    let block = |(batch, block): &(Batch, Block)| {
        let columns = block.columns.iter().filter(|c| wanted.is_empty() || wanted.contains(&c.metric));
        columns.flat_map(|column| of_column(|_| batch.identity, column)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = rows.iter().flat_map(block).collect();
    all.sort();
    all
}

fn collect(rows: &[(Batch, Block)], wanted: &[MetricId]) -> Sheet {
    let encode = |(batch, block): &(Batch, Block)| {
        let mut bytes = Vec::new();
        block.encode(HOUR, &mut bytes);
        (*batch, bytes)
    };
    let encoded: Vec<_> = rows.iter().map(encode).collect();
    Sheet::collect(HOUR, encoded.iter().map(|(batch, bytes)| (*batch, &bytes[..])), wanted).unwrap()
}

/// No reading of these rows is ahead of its receipt.
const RULE: ClockTolerance = ClockTolerance::EVERYTHING;

/// What a line says, whatever its unit: its value, and when it ends.
fn said(column: &Column, line: usize) -> (String, Nanos) {
    let value = match &column.values {
        Values::Number(values) => format!("{:?}", column.factor.apply(values[line])),
        Values::Bounded(values) => {
            format!("{:?} {:?}", values[line].comparator, column.factor.apply(values[line].number))
        }
        other => plain_value(other, line),
    };
    (value, column.end(line))
}

/// Whether a batch of the same device that came later says something else of a line's metric and instant, or the same in another
/// unit.
fn is_superseded(rows: &[(Batch, Block)], batch: &Batch, column: &Column, line: usize) -> bool {
    let order = |batch: &Batch| (batch.received_at, batch.identity);
    let later =
        rows.iter().filter(|(other, _)| other.identity.device == batch.identity.device && order(other) > order(batch));
    let mut others = later.flat_map(|(_, block)| &block.columns).filter(|other| other.metric == column.metric);
    others.any(|other| {
        let mut places = (0..other.len()).filter(|&place| other.measured_at[place] == column.measured_at[line]);
        places.any(|place| other.unit != column.unit || said(other, place) != said(column, line))
    })
}

/// The columns of a metric, each with its batch.
fn of_metric(rows: &[(Batch, Block)], metric: MetricId) -> impl Iterator<Item = (&Batch, &Column)> {
    let columns = rows.iter().flat_map(|(batch, block)| block.columns.iter().map(move |column| (batch, column)));
    columns.filter(move |(_, column)| column.metric == metric)
}

/// A metric's numbers in its canonical unit that nothing is known against, and how many readings something is known against.
fn numbers(rows: &[(Batch, Block)], metric: MetricId) -> (Vec<f64>, u64) {
    let (mut good, mut n_doubtful) = (Vec::new(), 0);
    for (batch, column) in of_metric(rows, metric) {
        let values = match &column.values {
            Values::Number(values) => Some(values),
            Values::Bounded(_) | Values::Absent(_) => None,
            Values::Coded(_) | Values::Waveform(_) => continue,
        };
        for (line, quality) in column.quality.iter().enumerate() {
            match (*quality, values) {
                _ if is_superseded(rows, batch, column, line) => {}
                (Quality::GOOD, Some(values)) => good.push(column.factor.apply(values[line])),
                (Quality::GOOD, None) => {}
                _ => n_doubtful += 1,
            }
        }
    }
    (good, n_doubtful)
}

fn column() -> impl Strategy<Value = Column> {
    // some times again and again, and some values of them
    let at = prop_oneof![0..4i64, 0..3_600_000i64];
    let line = (at, 0..40u32, 0..3u8, prop_oneof![0..3i64, 0..500i64]);
    let factor = prop_oneof![Just(Factor::IDENTITY), Just(Factor { scale: 0.5, offset: -17.0 })];
    let shape = (0..4u16, prop_oneof![Just(""), Just("bpm")], factor, 0..4u8, any::<bool>());
    (shape, prop::collection::vec(line, 1..12)).prop_map(|((metric, unit, factor, kind, lasts), lines)| Column {
        metric: MetricId(metric),
        unit: unit.into(),
        factor,
        index: lines.iter().map(|l| l.1).collect(),
        measured_at: lines.iter().map(|l| HOUR.start().plus(l.0 * 1_000_000)).collect(),
        quality: lines.iter().map(|l| Quality::from_bits(l.2)).collect(),
        lasting: if lasts { lines.iter().map(|l| l.3 * Nanos::SECOND).collect() } else { Vec::new() },
        values: match kind {
            0 => Values::Coded(lines.iter().map(|l| format!("c{}", l.3).into()).collect()),
            1 => Values::Bounded(lines.iter().map(|l| bound(l.3)).collect()),
            2 => Values::Absent(lines.iter().filter_map(|l| Absence::from_code((l.3 % 15) as i32 + 1)).collect()),
            _ => Values::Number(lines.iter().map(|l| l.3 as f64 / 10.0).collect()),
        },
    })
}

fn bound(n: i64) -> Bound {
    let comparator = if n % 2 == 0 { Comparator::Less } else { Comparator::GreaterOrEqual };
    Bound { comparator, number: n as f64 }
}

/// Rows of two devices in any order, as no two have the same identity.
fn rows() -> impl Strategy<Value = Vec<(Batch, Block)>> {
    let row = (prop::collection::vec(column(), 1..4), 0..2u8, 1..1_000u64, any::<u64>(), any::<i32>());
    prop::collection::vec(row, 0..8).prop_map(|rows| {
        let row = |(columns, device, sequence, digest, received_at): (Vec<Column>, u8, u64, u64, i32)| {
            let (device, stream) = (DeviceId::from_bytes([device; 16]), StreamId::from_bytes([9; 16]));
            let identity = BatchId { device, stream, sequence, digest };
            let batch = Batch { identity, received_at: Nanos(received_at.into()), clock: ClockQuality::Free };
            (batch, Block { columns })
        };
        let mut rows: Vec<_> = rows.into_iter().map(row).collect();
        rows.sort_by_key(|(batch, _)| batch.identity);
        rows.dedup_by_key(|(batch, _)| batch.identity);
        rows.reverse();
        rows
    })
}

proptest! {
    #[test]
    fn a_sheet_has_the_readings_of_its_rows(rows in rows()) {
        for wanted in [&[][..], &[MetricId(1)], &[MetricId(0), MetricId(3)]] {
            let sheet = collect(&rows, wanted);
            prop_assert_eq!(of_sheet(&sheet), of_rows(&rows, wanted));
            for column in &sheet.columns {
                let keys: Vec<_> = (0..column.batch.len())
                    .map(|l| {
                        let batch = column.batch[l];
                        let received_at = sheet.batches[batch as usize].received_at;
                        (column.lines.measured_at[l], received_at, batch, column.lines.index[l])
                    })
                    .collect();
                prop_assert!(keys.is_sorted());
            }
            let bytes = sheet.encode().unwrap();
            prop_assert_eq!(&Sheet::decode(HOUR, &bytes, &[]).unwrap(), &sheet);
            // all of it encoded, some of it read
            let all = collect(&rows, &[]).encode().unwrap();
            prop_assert_eq!(of_sheet(&Sheet::decode(HOUR, &all, wanted).unwrap()), of_rows(&rows, wanted));
        }
    }

    #[test]
    fn rollups_are_of_the_good_numbers(rows in rows(), at in any::<prop::sample::Index>(), to: u8) {
        let sheet = collect(&rows, &[]);
        let rollups = Rollup::of(&sheet, RULE);
        prop_assert!(rollups.is_sorted_by(|a, b| a.metric < b.metric));
        let metrics = rows.iter().flat_map(|(_, block)| &block.columns);
        let metrics: BTreeSet<_> = metrics.filter(|c| !matches!(c.values, Values::Coded(_))).map(|c| c.metric).collect();
        // one may have been corrected by a code, and by nothing else
        prop_assert!(rollups.iter().all(|rollup| metrics.contains(&rollup.metric)));
        let missing = metrics.iter().filter(|metric| rollups.iter().all(|rollup| rollup.metric != **metric));
        for metric in missing {
            let columns = of_metric(&rows, *metric).filter(|(_, column)| !matches!(column.values, Values::Coded(_)));
            for (batch, column) in columns {
                prop_assert!((0..column.len()).all(|line| is_superseded(&rows, batch, column, line)));
            }
        }
        for rollup in &rollups {
            let (good, n_doubtful) = numbers(&rows, rollup.metric);
            let of_kind = |is: fn(&Values) -> bool| {
                let columns = of_metric(&rows, rollup.metric).filter(|(_, column)| is(&column.values));
                let n_good = |(batch, column): (&Batch, &Column)| {
                    let is_good = |line: &usize| {
                        column.quality[*line].is_good() && !is_superseded(&rows, batch, column, *line)
                    };
                    (0..column.len()).filter(is_good).count() as u64
                };
                columns.map(n_good).sum::<u64>()
            };
            prop_assert_eq!(rollup.n_doubtful, n_doubtful);
            prop_assert_eq!(rollup.n_bounded, of_kind(|values| matches!(values, Values::Bounded(_))));
            prop_assert_eq!(rollup.n_absent, of_kind(|values| matches!(values, Values::Absent(_))));
            let Some(found) = rollup.good else {
                prop_assert!(good.is_empty());
                continue;
            };
            let edges = (good.iter().copied().reduce(f64::min), good.iter().copied().reduce(f64::max));
            prop_assert_eq!((found.n, Some(found.min), Some(found.max)), (good.len() as u64, edges.0, edges.1));
            let mean = good.iter().sum::<f64>() / good.len() as f64;
            prop_assert!((found.mean() - mean).abs() < 1e-9);
        }

        let mut bytes = Rollup::encode(&rollups, RULE);
        prop_assert_eq!(Rollup::decode(&bytes, RULE).unwrap(), Some(rollups.clone()));
        // the sheet read back gives the same
        let read = Sheet::decode(HOUR, &sheet.encode().unwrap(), &[]).unwrap();
        prop_assert_eq!(&Rollup::encode(&Rollup::of(&read, RULE), RULE), &bytes);
        let cut = at.index(bytes.len());
        // under a rule of another length, or of none, they are not read on
        prop_assert!(!matches!(Rollup::decode(&bytes[..cut], RULE), Ok(Some(_))));
        bytes[cut] = to;
        if let Ok(Some(damaged)) = Rollup::decode(&bytes, RULE) {
            prop_assert!(damaged.iter().filter_map(|rollup| rollup.good).all(|good| !good.mean().is_nan()));
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_still_in_order(rows in rows(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = collect(&rows, &[]).encode().unwrap();
        let cut = at.index(bytes.len());
        prop_assert!(Sheet::decode(HOUR, &bytes[..cut], &[]).is_err());
        bytes[cut] = to;
        if let Ok(sheet) = Sheet::decode(HOUR, &bytes, &[]) {
            let known = sheet.columns.iter().all(|c| c.batch.iter().all(|&b| (b as usize) < sheet.batches.len()));
            prop_assert!(known);
        }
    }
}

#[test]
fn an_hour_at_one_hertz_takes_three_bytes_a_reading() {
    let row = |n: u64| {
        let seconds: Vec<i64> = (0..10).map(|s| (n as i64 * 10 + s) * Nanos::SECOND).collect();
        let column = |metric: u16| Column {
            metric: MetricId(metric),
            unit: "".into(),
            factor: Factor::IDENTITY,
            index: (0..10).map(|i| i * 5 + u32::from(metric)).collect(),
            measured_at: seconds.iter().map(|&s| HOUR.start().plus(s)).collect(),
            quality: vec![Quality::GOOD; 10],
            lasting: vec![],
            values: Values::Number((0..10).map(|i| 70.0 + f64::from((i * 7 + n as i32) % 5)).collect()),
        };
        let (device, stream) = (DeviceId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
        let identity = BatchId { device, stream, sequence: n + 1, digest: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        let received_at = HOUR.start().plus(n as i64 * 10 * Nanos::SECOND);
        (
            Batch { identity, received_at, clock: ClockQuality::Synchronized },
            Block { columns: (0..5).map(column).collect() },
        )
    };
    let rows: Vec<_> = (0..360).map(row).collect();
    let sheet = collect(&rows, &[]);
    assert_eq!((sheet.len(), sheet.columns.len()), (18_000, 5));
    let bytes = sheet.encode().unwrap().len();
    assert!(bytes <= 3 * 18_000, "{bytes} bytes");
}
