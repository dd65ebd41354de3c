//! Rows become readings: decoded, filtered, put in the one order that pages follow.

use model::{Block, Column, Identity, MetricId, Nanos, Quality, Range, Values};
use proto::{
    convert,
    telemetry::v1::{self as wire, ReadingFlag, StoredReading, stored_reading::Value},
};
use store::StoredRow;

/// The order of readings: time first, then what makes a reading itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub at: Nanos,
    pub identity: Identity,
    pub index: u32,
}

/// Some hours of a patient, decoded.
pub(crate) struct Readings {
    rows: Vec<(StoredRow, Block)>,
    /// The readings that were asked for; see [`Readings::sort`] for their order.
    pub places: Vec<Place>,
}

/// Where one reading is: row, column, line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    at: Nanos,
    row: u32,
    column: u32,
    line: u32,
}

impl Readings {
    /// Decodes rows and keeps what lies in `range`, after `after`, and is of `metrics` (empty: all).
    pub(crate) fn new(
        rows: Vec<StoredRow>,
        range: Range,
        after: Option<Key>,
        metrics: &[MetricId],
    ) -> Result<Self, model::Malformed> {
        let decode = |row: StoredRow| Block::decode(row.hour, &row.block).map(|block| (row, block));
        let rows: Vec<_> = rows.into_iter().map(decode).collect::<Result<_, _>>()?;
        let mut places = Vec::new();
        for (r, (row, block)) in rows.iter().enumerate() {
            for (c, column) in block.columns.iter().enumerate() {
                if !metrics.is_empty() && metrics.binary_search(&column.metric).is_err() {
                    continue;
                }
                for (line, &at) in column.measured_at.iter().enumerate() {
                    let key = || Key { at, identity: row.identity, index: column.index[line] };
                    if range.contains(at) && after.is_none_or(|after| after < key()) {
                        places.push(Place { at, row: r as u32, column: c as u32, line: line as u32 });
                    }
                }
            }
        }
        Ok(Self { rows, places })
    }

    /// Puts the readings in order.
    pub(crate) fn sort(&mut self) {
        // rows of one hour come in the order of their identity; hours are told apart by time
        let rows = &self.rows;
        self.places.sort_by_key(|place| {
            (place.at, place.row, rows[place.row as usize].1.columns[place.column as usize].index[place.line as usize])
        });
    }

    pub(crate) fn key(&self, place: Place) -> Key {
        let (row, column) = self.at(place);
        Key { at: place.at, identity: row.identity, index: column.index[place.line as usize] }
    }

    pub(crate) fn at(&self, place: Place) -> (&StoredRow, &Column) {
        let (row, block) = &self.rows[place.row as usize];
        (row, &block.columns[place.column as usize])
    }

    pub(crate) fn quality(&self, place: Place) -> Quality {
        self.at(place).1.quality[place.line as usize]
    }

    /// One reading with all there is to know of it.
    pub(crate) fn stored(&self, place: Place) -> StoredReading {
        let (row, column) = self.at(place);
        let line = place.line as usize;
        let (key, unit) = named(column.metric);
        let mut original = None;
        let sent_in = |number| Some(wire::Original { number, unit: column.unit.to_string() });
        let value = match &column.values {
            Values::Number(values) => {
                if !column.unit.is_empty() {
                    original = sent_in(values[line]);
                }
                Value::Number(column.factor.apply(values[line]))
            }
            Values::Coded(values) => Value::Code(values[line].to_string()),
            Values::Waveform(values) => {
                if !column.unit.is_empty() {
                    original = sent_in(0.0);
                }
                Value::Waveform(waveform(column, &values[line]))
            }
        };
        StoredReading {
            metric: key.to_owned(),
            measured_at: Some(convert::timestamp(place.at)),
            unit: unit.to_owned(),
            value: Some(value),
            original,
            flags: flags(column.quality[line]),
            device_id: row.identity.device.uuid().to_string(),
            stream_id: row.identity.stream.uuid().to_string(),
            sequence: row.identity.sequence,
            index: column.index[line],
            received_at: Some(convert::timestamp(row.received_at)),
            clock_quality: i32::from(row.clock.code()),
        }
    }

    /// The readings at `places` as packed columns by metric and unit, each ascending by time.
    pub(crate) fn series(&self, places: &[Place], series: &mut Vec<(MetricId, wire::Series)>) {
        let mut last: Option<(u32, u32, usize)> = None;
        for &place in places {
            let (_, column) = self.at(place);
            let at = match last {
                Some((row, col, at)) if row == place.row && col == place.column => at,
                _ => find(series, column),
            };
            last = Some((place.row, place.column, at));
            let target = &mut series[at].1;
            let line = place.line as usize;
            target.measured_at_delta_ns.push(place.at.0);
            match &column.values {
                Values::Number(values) => {
                    target.numbers.push(column.factor.apply(values[line]));
                    if column.factor != model::Factor::IDENTITY {
                        target.original_numbers.push(values[line]);
                    }
                }
                Values::Coded(values) => target.codes.push(values[line].to_string()),
                Values::Waveform(values) => target.waveforms.push(waveform(column, &values[line])),
            }
            target.flags.push(column.quality[line].0);
        }
    }
}

/// Puts each series in order (several devices may have measured one metric), and times as differences.
pub(crate) fn finish(series: Vec<(MetricId, wire::Series)>) -> Vec<wire::Series> {
    let mut series: Vec<_> = series.into_iter().map(|(_, series)| series).collect();
    for one in &mut series {
        if !one.measured_at_delta_ns.is_sorted() {
            let mut order: Vec<usize> = (0..one.measured_at_delta_ns.len()).collect();
            order.sort_by_key(|&i| one.measured_at_delta_ns[i]);
            permute(&mut one.measured_at_delta_ns, &order);
            permute(&mut one.numbers, &order);
            permute(&mut one.original_numbers, &order);
            permute(&mut one.codes, &order);
            permute(&mut one.waveforms, &order);
            permute(&mut one.flags, &order);
        }
        let mut last = 0;
        for at in &mut one.measured_at_delta_ns {
            (last, *at) = (*at, at.wrapping_sub(last));
        }
        if one.flags.iter().all(|&flags| flags == 0) {
            one.flags.clear();
        }
    }
    series.sort_by(|a, b| (&a.metric, &a.original_unit).cmp(&(&b.metric, &b.original_unit)));
    series
}

fn permute<T: Clone>(items: &mut Vec<T>, order: &[usize]) {
    if !items.is_empty() {
        *items = order.iter().map(|&i| items[i].clone()).collect();
    }
}

fn find(series: &mut Vec<(MetricId, wire::Series)>, column: &Column) -> usize {
    let same = |(metric, one): &(MetricId, wire::Series)| {
        *metric == column.metric
            && *one.original_unit == *column.unit
            && one.original_numbers.is_empty() == (column.factor == model::Factor::IDENTITY)
    };
    series.iter().position(same).unwrap_or_else(|| {
        let (key, unit) = named(column.metric);
        let one = wire::Series {
            metric: key.to_owned(),
            unit: unit.to_owned(),
            original_unit: column.unit.to_string(),
            ..Default::default()
        };
        series.push((column.metric, one));
        series.len() - 1
    })
}

fn waveform(column: &Column, wave: &model::Waveform) -> wire::Waveform {
    let narrow = wave.samples.iter().all(|&s| i16::try_from(s).is_ok());
    wire::Waveform {
        origin: column.factor.apply(wave.origin),
        period_ns: wave.period_ns,
        scale: wave.scale * column.factor.scale,
        width: if narrow { wire::SampleWidth::Int16 } else { wire::SampleWidth::Int32 } as i32,
        samples: wave.samples.clone(),
    }
}

/// Key and canonical unit; a number that left the catalogue is shown as such.
pub(crate) fn named(metric: MetricId) -> (&'static str, &'static str) {
    model::by_id(metric).map_or(("unknown", ""), |m| (m.key, m.unit))
}

fn flags(quality: Quality) -> Vec<i32> {
    let all = [
        (Quality::IMPLAUSIBLE, ReadingFlag::Implausible),
        (Quality::FUTURE, ReadingFlag::Future),
        (Quality::ANCIENT, ReadingFlag::Ancient),
        (Quality::QUESTIONABLE, ReadingFlag::Questionable),
    ];
    all.iter().filter(|(mark, _)| quality.has(*mark)).map(|(_, flag)| *flag as i32).collect()
}
