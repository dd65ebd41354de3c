//! From records of the log to rows in the archive's order. The same records give the same rows.

use super::columns::{SAMPLE, WAVEFORM, WRITTEN};
use bytes::Bytes;
use datafusion::arrow::{
    array::{
        ArrayRef, BooleanArray, DictionaryArray, Float64Builder, Int32Array, Int32Builder, Int64Array, Int64Builder,
        ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::Int32Type,
    error::ArrowError,
};
use model::{
    BatchId, Block, ClockQuality, Column, Factor, Hour, Malformed, MetricId, Nanos, PatientId, Quality, Record, Values,
    Waveform, by_id,
};
use std::{borrow::Cow, collections::HashMap, hash::Hash, sync::Arc};

/// A batch of a device, as far as its readings have it in common.
struct Batch {
    identity: BatchId,
    received_at: Nanos,
    clock: ClockQuality,
}

/// Readings of one metric in one unit, of one batch.
struct Run {
    patient: PatientId,
    metric: MetricId,
    batch: usize,
    column: Column,
}

/// One reading: which run, and which line of it.
#[derive(Clone, Copy)]
struct Line {
    run: u32,
    line: u32,
}

/// The readings of some records, in order.
pub(crate) struct Rows {
    batches: Vec<Batch>,
    runs: Vec<Run>,
    lines: Vec<Line>,
}

/// The key that readers know a metric by; `wardline:` and its number for one of a newer catalogue than this program's.
fn key(metric: MetricId) -> Cow<'static, str> {
    by_id(metric).map_or_else(|| format!("wardline:{}", metric.0).into(), |metric| metric.key.into())
}

impl Rows {
    /// Of those records that can be read: the others the writer puts aside.
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut rows = Self { batches: Vec::new(), runs: Vec::new(), lines: Vec::new() };
        for record in records {
            let (batch, before) = (rows.batches.len(), rows.runs.len());
            let (identity, received_at, clock) = (record.identity, record.received_at, record.clock);
            rows.batches.push(Batch { identity, received_at, clock });
            let mut slices = record.slices.iter();
            if slices.any(|slice| rows.take(record.patient, batch, slice.hour, &slice.block).is_err()) {
                rows.runs.truncate(before);
            }
        }
        rows.sort();
        rows
    }

    /// How many readings there are.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    fn take(&mut self, patient: PatientId, batch: usize, hour: Hour, block: &Bytes) -> Result<(), Malformed> {
        let runs = Block::decode(hour, block)?.columns.into_iter().filter(|column| !column.is_empty());
        self.runs.extend(runs.map(|column| Run { patient, metric: column.metric, batch, column }));
        Ok(())
    }

    fn sort(&mut self) {
        let Self { batches, runs, lines } = self;
        let first = |run: &Run| run.column.measured_at.first().copied();
        runs.sort_by_cached_key(|run| (run.patient, key(run.metric), first(run), batches[run.batch].identity));
        let whole = |(number, run): (usize, &Run)| {
            let line = move |line| Line { run: number as u32, line: line as u32 };
            (0..run.column.len()).map(line).collect::<Vec<_>>()
        };
        *lines = runs.iter().enumerate().flat_map(whole).collect();
        let order = |line: &Line| {
            let run = &runs[line.run as usize];
            let at = line.line as usize;
            (run.column.measured_at[at], batches[run.batch].identity, run.column.index[at])
        };
        // batches of one device follow each other: most often there is nothing to do
        let of_one = |a: &Line, b: &Line| {
            let (a, b) = (&runs[a.run as usize], &runs[b.run as usize]);
            a.patient == b.patient && a.metric == b.metric
        };
        for part in lines.chunk_by_mut(of_one) {
            if !part.is_sorted_by_key(order) {
                part.sort_unstable_by_key(order);
            }
        }
    }

    /// All of them as one batch of the archive's columns.
    ///
    /// # Errors
    /// More than 2^31 of something.
    pub(crate) fn arrow(&self) -> Result<RecordBatch, ArrowError> {
        let mut columns = self.values()?;
        columns.splice(0..0, self.what_and_when()?);
        columns.extend(self.whence()?);
        RecordBatch::try_new(Arc::clone(&WRITTEN), columns)
    }

    /// Each line's run and its place in it.
    fn each(&self) -> impl Iterator<Item = (&Run, usize)> + Clone {
        self.lines.iter().map(|line| (&self.runs[line.run as usize], line.line as usize))
    }

    /// Patient, metric and times.
    fn what_and_when(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        let at = |(run, line): (&Run, usize)| run.column.measured_at[line];
        let until = |(run, line): (&Run, usize)| {
            let lasts = run.column.lasting.get(line).is_some_and(|lasting| *lasting != 0);
            lasts.then(|| micros(run.column.end(line)))
        };
        Ok(vec![
            texts(self.each().map(|(run, _)| Some(run.patient)), |patient| patient.uuid().to_string())?,
            texts(self.each().map(|(run, _)| Some(run.metric)), |metric| key(*metric).into_owned())?,
            times(self.each().map(|line| micros(at(line))))?,
            Arc::new(Int32Array::from_iter_values(self.each().map(|line| at(line).0.rem_euclid(1_000) as i32))),
            Arc::new(self.each().map(until).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ])
    }

    /// The value in each of its forms, and what is known against it.
    fn values(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        let unit = |run: &Run| by_id(run.metric).map(|metric| metric.unit).filter(|unit| !unit.is_empty());
        // as it was sent, where that is another unit; "" is the metric's own
        let sent = |run: &Run| unit(run).filter(|own| !run.column.unit.is_empty() && *run.column.unit != **own);
        let mut values = Float64Builder::with_capacity(self.len());
        let mut originals = Float64Builder::with_capacity(self.len());
        for (run, line) in self.each() {
            let number = number(&run.column.values, line);
            values.append_option(number.map(|number| run.column.factor.apply(number)));
            originals.append_option(number.filter(|_| sent(run).is_some()));
        }
        let comparator = |(run, line): (&Run, usize)| match &run.column.values {
            Values::Bounded(bounds) => Some(bounds[line].comparator),
            _ => None,
        };
        let absent = |(run, line): (&Run, usize)| match &run.column.values {
            Values::Absent(reasons) => Some(reasons[line]),
            _ => None,
        };
        let units = self.each().map(|(run, _)| sent(run).map(|_| run.metric_and_unit()));
        Ok(vec![
            Arc::new(values.finish()),
            texts(self.each().map(|(run, _)| unit(run)), |unit| (*unit).to_owned())?,
            texts(self.each().map(comparator), |comparator| comparator.sign().to_owned())?,
            texts(self.each().map(|(run, line)| code(&run.column.values, line)), |code| (*code).to_owned())?,
            texts(self.each().map(absent), |absent| absent.name().to_owned())?,
            Arc::new(originals.finish()),
            texts(units, |(_, unit)| (*unit).to_owned())?,
            self.waveforms()?,
        ])
    }

    /// Flags, clock, receipt and identity.
    fn whence(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        let batch = |run: &Run| &self.batches[run.batch];
        let quality = |(run, line): (&Run, usize)| run.column.quality[line];
        let good =
            |(run, line): (&Run, usize)| quality((run, line)).is_good() && batch(run).clock != ClockQuality::Unset;
        let sequence = |(run, _): (&Run, usize)| i64::try_from(batch(run).identity.sequence).unwrap_or(i64::MAX);
        let place = |(run, line): (&Run, usize)| i32::try_from(run.column.index[line]).unwrap_or(i32::MAX);
        let bits = |line| i32::from(Quality::bits(quality(line)));
        Ok(vec![
            Arc::new(Int32Array::from_iter_values(self.each().map(bits))),
            Arc::new(self.each().map(|line| Some(good(line))).collect::<BooleanArray>()),
            texts(self.each().map(|(run, _)| Some(batch(run).clock)), |clock| clock_name(*clock).to_owned())?,
            times(self.each().map(|(run, _)| micros(batch(run).received_at)))?,
            texts(self.each().map(|(run, _)| Some(batch(run).identity.device)), |device| device.uuid().to_string())?,
            texts(self.each().map(|(run, _)| Some(batch(run).identity.stream)), |stream| stream.uuid().to_string())?,
            Arc::new(Int64Array::from_iter_values(self.each().map(sequence))),
            Arc::new(Int32Array::from_iter_values(self.each().map(place))),
        ])
    }

    fn waveforms(&self) -> Result<ArrayRef, ArrowError> {
        let (mut origins, mut scales, mut periods) =
            (Float64Builder::new(), Float64Builder::new(), Int64Builder::new());
        let (mut samples, mut lengths, mut there) = (Int32Builder::new(), Vec::new(), Vec::new());
        for (run, line) in self.each() {
            let Values::Waveform(waves) = &run.column.values else {
                origins.append_value(0.0);
                scales.append_value(0.0);
                periods.append_value(0);
                lengths.push(0);
                there.push(false);
                continue;
            };
            let (wave, Factor { scale, .. }) = (&waves[line], run.column.factor);
            origins.append_value(run.column.factor.apply(wave.origin));
            scales.append_value(wave.scale * scale);
            periods.append_value(wave.period_ns);
            each_sample(wave).for_each(|sample| samples.append_option(sample));
            lengths.push(wave.samples.len());
            there.push(true);
        }
        let samples = Arc::new(samples.finish());
        let lists = ListArray::try_new(Arc::clone(&SAMPLE), OffsetBuffer::from_lengths(lengths), samples, None)?;
        let fields: Vec<ArrayRef> =
            vec![Arc::new(origins.finish()), Arc::new(scales.finish()), Arc::new(periods.finish()), Arc::new(lists)];
        Ok(Arc::new(StructArray::try_new(WAVEFORM.clone(), fields, Some(NullBuffer::from(there)))?))
    }
}

impl Run {
    /// What tells units apart: most runs of a metric have the same one.
    fn metric_and_unit(&self) -> (MetricId, &str) {
        (self.metric, &self.column.unit)
    }
}

fn clock_name(clock: ClockQuality) -> &'static str {
    match clock {
        ClockQuality::Unknown => "unknown",
        ClockQuality::Synchronized => "synchronized",
        ClockQuality::Free => "free",
        ClockQuality::Unset => "unset",
    }
}

/// What a device says of its clock, by its name in the archive.
pub(crate) fn clock_named(name: &str) -> Option<ClockQuality> {
    (0..4).filter_map(ClockQuality::from_code).find(|clock| clock_name(*clock) == name)
}

/// The number of a value, or that beyond which it lies.
fn number(values: &Values, line: usize) -> Option<f64> {
    match values {
        Values::Number(numbers) => Some(numbers[line]),
        Values::Bounded(bounds) => Some(bounds[line].number),
        Values::Coded(_) | Values::Waveform(_) | Values::Absent(_) => None,
    }
}

fn code(values: &Values, line: usize) -> Option<&str> {
    match values {
        Values::Coded(codes) => Some(&codes[line]),
        _ => None,
    }
}

/// The samples; none where one is missing.
fn each_sample(wave: &Waveform) -> impl Iterator<Item = Option<i32>> {
    let mut missing = wave.missing.iter().copied().peekable();
    (0..).zip(&wave.samples).map(move |(place, sample)| missing.next_if_eq(&place).is_none().then_some(*sample))
}

fn micros(at: Nanos) -> i64 {
    at.0.div_euclid(1_000)
}

fn times(micros: impl Iterator<Item = i64>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC")))
}

/// Texts by number; each is written out once.
fn texts<T: Eq + Hash + Clone>(
    values: impl Iterator<Item = Option<T>>,
    text: impl Fn(&T) -> String,
) -> Result<ArrayRef, ArrowError> {
    let (mut numbers, mut all) = (HashMap::new(), Vec::new());
    let mut last: Option<(T, i32)> = None;
    let mut keys = Int32Builder::new();
    for value in values {
        let Some(value) = value else {
            keys.append_null();
            continue;
        };
        // neighbours are alike most often
        if last.as_ref().is_none_or(|(known, _)| *known != value) {
            let number = *numbers.entry(value.clone()).or_insert_with(|| {
                all.push(text(&value));
                all.len() as i32 - 1
            });
            last = Some((value, number));
        }
        keys.append_option(last.as_ref().map(|(_, number)| *number));
    }
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys.finish(), Arc::new(StringArray::from(all)))?))
}
