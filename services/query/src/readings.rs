//! Sheets become readings: cut to what was asked for, in the one order that pages follow.

use crate::named;
use guard::convert;
use model::{
    Batch, BatchId, ClockQuality, ClockTolerance, Column, DeviceId, Hour, Malformed, MetricId, Nanos, Quality, Range,
    Recency, Retraction, Sheet, SheetColumn, StreamId, Values, counts_from,
};
use proto::telemetry::v1::{self as wire, ReadingFlag, StoredReading, stored_reading::Value};
use store::HourData;

/// The order of readings: time first, then receipt, then what makes a reading itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub at: Nanos,
    pub received_at: Nanos,
    pub identity: BatchId,
    pub index: u32,
}

impl Key {
    /// A place after all readings of an hour.
    pub(crate) fn end_of(hour: Hour) -> Self {
        let (device, stream) = (DeviceId::from_bytes([u8::MAX; 16]), StreamId::from_bytes([u8::MAX; 16]));
        let identity = BatchId { device, stream, sequence: u64::MAX, digest: u64::MAX };
        Self { at: hour.end().plus(-1), received_at: Nanos::MAX, identity, index: u32::MAX }
    }
}

/// Readings of one hour: a run of lines of each column of its sheet.
pub(crate) struct Readings {
    sheet: Sheet,
    runs: Vec<std::ops::Range<usize>>,
    /// How many of the range were left out because their device had sent the same before.
    pub(crate) n_repeats: u64,
}

/// Where a reading is, after what it is ordered by.
type SortKey = (Nanos, Nanos, u32, u32, usize, usize);

/// The readings of an hour that are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    /// Those that were measured in it, or have begun before and reach into it.
    pub range: Range,
    /// Those that come after this one.
    pub after: Option<Key>,
    /// Those of these metrics, ascending; empty: of all.
    pub metrics: &'a [MetricId],
    /// What was taken back of the patient's readings: it is marked.
    pub retractions: &'a [Retraction],
    /// What is left out beside repeats: the present is without what was measured ahead of its receipt.
    pub left_out: Quality,
    /// What lasts until then or longer is left out, too; `None`: nothing is for that.
    pub ended_before: Option<Nanos>,
}

/// A reading that counts when the newest is looked for.
pub(crate) struct NewestReading {
    pub recency: Recency,
    pub measured_at: Nanos,
    pub clock: ClockQuality,
    pub reading: StoredReading,
}

impl Readings {
    /// Decodes an hour, marks in it what only the whole hour shows, and keeps what was selected.
    pub(crate) fn new(data: &HourData, selection: Selection<'_>, tolerance: ClockTolerance) -> Result<Self, Malformed> {
        let Selection { range, after, metrics, retractions, left_out, ended_before } = selection;
        let mut sheet = data.sheet(metrics)?;
        tolerance.mark(&mut sheet);
        retractions.iter().for_each(|retraction| retraction.mark(&mut sheet));
        if let Some(instant) = ended_before {
            sheet.keep_ended(instant);
        }
        // a page that goes on in an hour has told of its repeats
        let n_repeats =
            if after.is_none_or(|after| after.at.hour() != sheet.hour) { repeats(&sheet, range, left_out) } else { 0 };
        sheet.leave_out(Quality::REPEAT.with(left_out));
        sheet.keep_overlapping(range);
        let run = |column: &SheetColumn| {
            let times = &column.lines.measured_at;
            // of what lasts there is only what has a part in the range, perhaps begun before it
            let first = if column.lasts() { 0 } else { times.partition_point(|&at| at < range.from()) };
            let end = times.partition_point(|&at| at < range.to());
            let first = match after {
                Some(after) => {
                    let same_time = times.partition_point(|&at| at < after.at);
                    let next = (same_time..times.len()).find(|&line| key(&sheet, column, line) > after);
                    first.max(next.unwrap_or(times.len()))
                }
                None => first,
            };
            first.min(end)..end
        };
        let runs = sheet.columns.iter().map(run).collect();
        Ok(Self { sheet, runs, n_repeats })
    }

    /// How much of a page's room they take: a waveform takes more than a number.
    pub(crate) fn weight(&self) -> usize {
        self.columns().map(|(column, run)| weight(&column.lines, run)).sum()
    }

    /// Keeps the first readings, as far as there is room; where `some`, at least one.
    pub(crate) fn keep(&mut self, room: usize, some: bool) {
        let mut ends: Vec<usize> = self.runs.iter().map(|run| run.start).collect();
        let mut taken = 0;
        for (.., column, line) in self.places() {
            taken += weight(&self.sheet.columns[column].lines, line..line + 1);
            if taken > room && !(some && ends.iter().zip(&self.runs).all(|(end, run)| *end == run.start)) {
                break;
            }
            // a column's lines come in their order
            ends[column] = line + 1;
        }
        for (run, end) in self.runs.iter_mut().zip(ends) {
            run.end = end;
        }
    }

    /// The last of the readings.
    pub(crate) fn last(&self) -> Option<Key> {
        let last = |(column, run): (&SheetColumn, std::ops::Range<usize>)| {
            run.last().map(|line| key(&self.sheet, column, line))
        };
        self.columns().filter_map(last).max()
    }

    /// The newest reading of each column, and its metric, of those that count.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (MetricId, NewestReading)> {
        self.columns().filter_map(move |(column, run)| {
            let (recency, line) = run.filter_map(|line| Some((self.recency(column, line)?, line))).max()?;
            let batch = &self.sheet.batches[column.batch[line] as usize];
            let measured_at = column.lines.measured_at[line];
            let reading = self.stored(column, line);
            Some((column.lines.metric, NewestReading { recency, measured_at, clock: batch.clock, reading }))
        })
    }

    fn recency(&self, column: &SheetColumn, line: usize) -> Option<Recency> {
        let batch = &self.sheet.batches[column.batch[line] as usize];
        let (quality, measured_at) = (column.lines.quality[line], column.lines.measured_at[line]);
        let at = counts_from(quality, batch.clock, measured_at, batch.received_at)?;
        let (received_at, identity, index) = (batch.received_at, batch.identity, column.lines.index[line]);
        Some(Recency { at, received_at, identity, index })
    }

    /// All readings in order, with all there is to know of them.
    pub(crate) fn each(&self) -> impl Iterator<Item = StoredReading> {
        self.places().into_iter().map(|(.., column, line)| self.stored(&self.sheet.columns[column], line))
    }

    /// Each column and which of its lines count.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&SheetColumn, std::ops::Range<usize>)> {
        self.sheet.columns.iter().zip(self.runs.iter().cloned())
    }

    fn places(&self) -> Vec<SortKey> {
        let mut places: Vec<SortKey> = Vec::new();
        for (number, (column, run)) in self.columns().enumerate() {
            let lines = &column.lines;
            places.extend(run.map(|l| {
                let batch = column.batch[l];
                let received_at = self.sheet.batches[batch as usize].received_at;
                (lines.measured_at[l], received_at, batch, lines.index[l], number, l)
            }));
        }
        // batches are numbered in the order of their identity
        places.sort_unstable();
        places
    }

    fn stored(&self, column: &SheetColumn, line: usize) -> StoredReading {
        let batch = &self.sheet.batches[column.batch[line] as usize];
        let column = &column.lines;
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
            Values::Bounded(values) => {
                let model::Bound { comparator, number } = values[line];
                if !column.unit.is_empty() {
                    original = sent_in(number);
                }
                let number = column.factor.apply(number);
                Value::Bound(wire::Bound { comparator: i32::from(comparator.code()), number: Some(number) })
            }
            Values::Absent(values) => Value::AbsentReason(i32::from(values[line].code())),
        };
        let until = column.lasting.get(line).filter(|lasting| **lasting != 0).map(|_| column.end(line));
        StoredReading {
            metric: key.to_owned(),
            measured_at: Some(convert::timestamp(column.measured_at[line])),
            unit: unit.to_owned(),
            value: Some(value),
            original,
            flags: flags(column.quality[line]),
            device_id: batch.identity.device.uuid().to_string(),
            stream_id: batch.identity.stream.uuid().to_string(),
            sequence: batch.identity.sequence,
            index: column.index[line],
            received_at: Some(convert::timestamp(batch.received_at)),
            clock_quality: i32::from(batch.clock.code()),
            measured_until: until.map(convert::timestamp),
        }
    }
}

/// How many readings of a range a device had sent before; not of those that are left out for another reason, for their number
/// says when they were.
fn repeats(sheet: &Sheet, range: Range, left_out: Quality) -> u64 {
    let of = |lines: &Column| {
        let is_told = |quality: Quality| quality.has(Quality::REPEAT) && !quality.has_any(left_out);
        let is_counted = |line: &usize| is_told(lines.quality[*line]) && lines.overlaps(*line, range);
        (0..lines.len()).filter(is_counted).count() as u64
    };
    sheet.columns.iter().map(|column| of(&column.lines)).sum()
}

fn key(sheet: &Sheet, column: &SheetColumn, line: usize) -> Key {
    let Batch { identity, received_at, .. } = sheet.batches[column.batch[line] as usize];
    Key { at: column.lines.measured_at[line], received_at, identity, index: column.lines.index[line] }
}

/// Samples of a waveform that take about as many bytes as a reading of one number: time, value, flags.
const SAMPLES_A_READING: usize = 8;

/// What lines take of a page: each one, and one more for each eight samples.
fn weight(column: &Column, run: std::ops::Range<usize>) -> usize {
    match &column.values {
        Values::Waveform(waves) => waves[run].iter().map(|wave| 1 + wave.samples.len() / SAMPLES_A_READING).sum(),
        Values::Number(_) | Values::Coded(_) | Values::Bounded(_) | Values::Absent(_) => run.len(),
    }
}

pub(crate) fn waveform(column: &Column, wave: &model::Waveform) -> wire::Waveform {
    let narrow = wave.samples.iter().all(|&s| i16::try_from(s).is_ok());
    wire::Waveform {
        origin: column.factor.apply(wave.origin),
        period_ns: wave.period_ns,
        scale: wave.scale * column.factor.scale,
        width: if narrow { wire::SampleWidth::Int16 } else { wire::SampleWidth::Int32 } as i32,
        samples: wave.samples.clone(),
        missing: wave.missing.clone(),
    }
}

fn flags(quality: Quality) -> Vec<i32> {
    let all = [
        (Quality::IMPLAUSIBLE, ReadingFlag::Implausible),
        (Quality::FUTURE, ReadingFlag::Future),
        (Quality::ANCIENT, ReadingFlag::Ancient),
        (Quality::QUESTIONABLE, ReadingFlag::Questionable),
        (Quality::CORRECTION, ReadingFlag::Correction),
        (Quality::SUSPECT_UNIT, ReadingFlag::SuspectUnit),
        (Quality::UNSET_CLOCK, ReadingFlag::UnsetClock),
        (Quality::ENTERED_IN_ERROR, ReadingFlag::EnteredInError),
    ];
    all.iter().filter(|(mark, _)| quality.has(*mark)).map(|(_, flag)| *flag as i32).collect()
}
