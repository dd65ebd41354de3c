//! Judges a batch reading by reading: what is good becomes blocks, what is not is refused with field and reason.

use crate::{
    Part,
    refused::Refused,
    units::{UnitError, Units, stated},
};
use directory::Assignment;
use model::{
    Block, ClockTolerance, Column, Factor, Hour, Kind, Metric, Nanos, PatientId, Quality, Slice, Values, Waveform,
};
use proto::{
    in_place::{ReadingView, ValueView},
    telemetry::v1 as wire,
};
use std::cell::Cell;

/// Samples of one waveform reading: a minute at 500 Hz, twice over.
const MAX_SAMPLES: usize = 65_536;
/// Longest code of a coded value, in bytes; the catalogue's are shorter.
const MAX_SHOWN_BYTES: usize = 64;

/// Columns kept per thread from batch to batch (a batch has about five), if they had at most so many readings.
const SPARE_COLUMNS: usize = 32;
const SPARE_READINGS: usize = 1_024;

thread_local! {
    /// Empty columns with their memory: a batch would otherwise ask for four vectors a metric.
    static SPARE: Cell<Vec<Column>> = const { Cell::new(Vec::new()) };
}

/// Judges batches against the catalogue.
pub(crate) struct Judge {
    units: Units,
    max_readings: u32,
    tolerance: ClockTolerance,
}

/// A batch after each reading was judged.
pub(crate) struct Judged {
    /// When it was judged: the time of acceptance.
    pub received_at: Nanos,
    /// Good readings, by patient and hour.
    pub parts: Vec<Part>,
    /// Number of good readings.
    pub accepted: u64,
    /// Bad readings (without a sequence: the caller knows it).
    pub refused: Refused,
    /// Whether the same batch would be judged so at any time: not when a patient was missing.
    pub settled: bool,
}

/// The patients of one device. Consecutive readings have the same one, so the last answer is tried first.
pub(crate) struct Assigned {
    held: Vec<Assignment>,
    last: usize,
}

impl Assigned {
    pub(crate) fn new(held: Vec<Assignment>) -> Self {
        Self { held, last: 0 }
    }

    fn at(&mut self, at: Nanos) -> Option<PatientId> {
        let holds = |a: &Assignment| a.from <= at && at < a.to;
        if let Some(assignment) = self.held.get(self.last)
            && holds(assignment)
        {
            return Some(assignment.patient);
        }
        self.last = self.held.iter().position(holds)?;
        Some(self.held[self.last].patient)
    }
}

/// Field, reason, description.
struct Fault(&'static str, &'static str, String);

impl Judge {
    pub(crate) fn new(max_readings: u32, tolerance: ClockTolerance) -> Self {
        Self { units: Units::default(), max_readings, tolerance }
    }

    /// Why a batch as a whole cannot be taken.
    pub(crate) fn refuse_whole(&self, n_readings: usize) -> Option<(&'static str, wire::Refusal)> {
        let max = self.max_readings;
        let (reason, description) = match n_readings {
            0 => {
                ("EMPTY_BATCH", format!("a batch has 1 to {max} readings; send nothing when there is nothing to send"))
            }
            n if n > max as usize => {
                ("TOO_MANY_READINGS", format!("{n} readings; a batch has 1 to {max}; send them as several batches"))
            }
            _ => return None,
        };
        Some((reason, wire::Refusal { field: "readings".into(), description, ..Default::default() }))
    }

    /// Judges every reading. `assigned` says whose it is at its own time.
    pub(crate) fn judge(&self, readings: &[ReadingView<'_>], assigned: &mut Assigned, now: Nanos) -> Judged {
        let mut hours: Vec<(PatientId, Hour, Builder<'_>)> = Vec::with_capacity(1);
        let mut judged =
            Judged { received_at: now, parts: Vec::new(), accepted: 0, refused: Refused::default(), settled: true };
        let mut spare = SPARE.take();
        for (index, reading) in readings.iter().enumerate() {
            // a batch has at most a few thousand readings
            let index = index as u32;
            let outcome = when(reading, self.tolerance, now).and_then(|(at, quality)| {
                let patient = assigned.at(at).ok_or_else(|| {
                    judged.settled = false;
                    let text = "no patient was assigned to the device at that time; assign one, then send again";
                    Fault("measured_at", "NOT_ASSIGNED", text.to_owned())
                })?;
                let hour = at.hour();
                let place = hours.iter().position(|(p, h, _)| *p == patient && *h == hour).unwrap_or_else(|| {
                    hours.push((patient, hour, Builder::default()));
                    hours.len() - 1
                });
                hours[place].2.push(&self.units, &mut spare, reading, index, at, quality)
            });
            match outcome {
                Ok(()) => judged.accepted += 1,
                Err(Fault(field, reason, description)) => judged.refused.push(reason, || wire::Refusal {
                    index: Some(index),
                    field: format!("readings[{index}].{field}"),
                    description,
                    ..Default::default()
                }),
            }
        }
        hours.sort_by_key(|(patient, hour, _)| (*patient, *hour));
        for (patient, hour, builder) in hours {
            let Some(slice) = builder.slice(hour, &mut spare) else { continue };
            match judged.parts.last_mut() {
                Some((last, slices)) if *last == patient => slices.push(slice),
                _ => judged.parts.push((patient, vec![slice])),
            }
        }
        SPARE.set(spare);
        judged
    }
}

/// When a reading was measured, and whether that can be true.
fn when(reading: &ReadingView<'_>, tolerance: ClockTolerance, now: Nanos) -> Result<(Nanos, Quality), Fault> {
    let Some(stamp) = &reading.measured_at else {
        let text = "missing; give the device's time of measurement";
        return Err(Fault("measured_at", "TIME_MISSING", text.to_owned()));
    };
    let at = guard::convert::nanos(stamp).ok_or_else(|| {
        let text = "must lie between 1678 and 2261, with nanoseconds from 0 to 999,999,999";
        Fault("measured_at", "TIME_OUT_OF_RANGE", text.to_owned())
    })?;
    let mut quality = if reading.questionable { Quality::QUESTIONABLE } else { Quality::GOOD };
    if at < Nanos::YEAR_1900 {
        quality = quality.with(Quality::ANCIENT);
    } else if tolerance.is_ahead(at, now) {
        quality = quality.with(Quality::FUTURE);
    }
    Ok((at, quality))
}

/// Collects the readings of one patient and hour by metric and unit.
#[derive(Default)]
struct Builder<'a> {
    /// With metric and unit as the device writes them.
    columns: Vec<(&'static Metric, Column, &'a str, &'a str)>,
    /// Where the last reading went.
    last: usize,
}

impl<'a> Builder<'a> {
    fn push(
        &mut self,
        units: &Units,
        spare: &mut Vec<Column>,
        reading: &ReadingView<'a>,
        index: u32,
        at: Nanos,
        mut quality: Quality,
    ) -> Result<(), Fault> {
        let is_of = |&(_, _, key, unit): &(_, _, &str, &str)| key == reading.metric && unit == reading.unit;
        // a device sends its metrics in turn: most often it is the column after the last one
        let next = if self.last + 1 < self.columns.len() { self.last + 1 } else { 0 };
        let known = match self.columns.get(next).is_some_and(is_of) {
            true => Some(next),
            false => self.columns.iter().position(is_of),
        };
        let (metric, factor) = match known {
            Some(place) => (self.columns[place].0, self.columns[place].1.factor),
            None => resolve(units, reading)?,
        };
        let value = accept(metric, factor, reading, &mut quality)?;
        let place = known.unwrap_or_else(|| self.open(metric, factor, reading, &value, spare));
        self.last = place;
        let column = &mut self.columns[place].1;
        match (&mut column.values, value) {
            (Values::Number(values), One::Number(number)) => values.push(number),
            (Values::Coded(values), One::Code(code)) => values.push(code.into()),
            (Values::Waveform(values), One::Waveform(wave)) => values.push(wave),
            // accept() gives the one kind that the metric has
            _ => return Err(wrong_kind(metric)),
        }
        column.note(index, at, quality);
        Ok(())
    }

    fn open(
        &mut self,
        metric: &'static Metric,
        factor: Factor,
        reading: &ReadingView<'a>,
        value: &One<'_>,
        spare: &mut Vec<Column>,
    ) -> usize {
        let unit = stated(reading.metric, reading.unit);
        let unit = if unit == metric.unit { "" } else { unit }.into();
        let column = match (value, spare.pop()) {
            (One::Number(_), Some(column)) => Column { metric: metric.id, unit, factor, ..column },
            _ => Column {
                metric: metric.id,
                unit,
                factor,
                index: Vec::new(),
                measured_at: Vec::new(),
                quality: Vec::new(),
                values: match value {
                    One::Number(_) => Values::Number(Vec::new()),
                    One::Code(_) => Values::Coded(Vec::new()),
                    One::Waveform(_) => Values::Waveform(Vec::new()),
                },
            },
        };
        self.columns.push((metric, column, reading.metric, reading.unit));
        self.columns.len() - 1
    }

    fn slice(self, hour: Hour, spare: &mut Vec<Column>) -> Option<Slice> {
        let block = Block { columns: self.columns.into_iter().map(|(_, column, ..)| column).collect() };
        let slice = (!block.is_empty()).then(|| {
            let mut bytes = Vec::with_capacity(64 + block.len() * 8);
            block.encode(hour, &mut bytes);
            Slice { hour, block: bytes.into() }
        });
        block.columns.into_iter().for_each(|column| keep(column, spare));
        slice
    }
}

/// Keeps a column's memory for the next batch.
fn keep(mut column: Column, spare: &mut Vec<Column>) {
    if spare.len() < SPARE_COLUMNS && column.len() <= SPARE_READINGS && matches!(column.values, Values::Number(_)) {
        column.clear();
        spare.push(column);
    }
}

/// One value that was found good.
enum One<'a> {
    Number(f64),
    Code(&'a str),
    Waveform(Waveform),
}

/// Checks a value against its metric, and marks it when it is not plausible.
fn accept<'a>(
    metric: &'static Metric,
    factor: Factor,
    reading: &'a ReadingView<'_>,
    quality: &mut Quality,
) -> Result<One<'a>, Fault> {
    let (low, high) = metric.plausible.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    // whether the value survives its conversion; marks it when it is not plausible
    let mut check = |value: f64| {
        let canonical = factor.apply(value);
        if canonical < low || canonical > high {
            *quality = quality.with(Quality::IMPLAUSIBLE);
        }
        canonical.is_finite()
    };
    match (metric.kind, &reading.value) {
        (_, None) => Err(Fault("value", "VALUE_MISSING", "missing; give number, code or waveform".to_owned())),
        (Kind::Number, Some(ValueView::Number(number))) => {
            if !number.is_finite() || !check(*number) {
                let text = "must be a finite number, also in the canonical unit; leave it out when there is no value";
                return Err(Fault("number", "NOT_FINITE", text.to_owned()));
            }
            Ok(One::Number(*number))
        }
        (Kind::Coded(codes), Some(ValueView::Code(code))) => {
            if !codes.contains(code) {
                let text = format!("{:?} is none of {}", clipped(code), codes.join(", "));
                return Err(Fault("code", "UNKNOWN_CODE", text));
            }
            Ok(One::Code(code))
        }
        (Kind::Waveform, Some(ValueView::Waveform(wave))) => {
            let wave = waveform(wave)?;
            let ends = [wave.samples.iter().copied().min(), wave.samples.iter().copied().max()];
            let finite = ends.into_iter().flatten().all(|s| check(wave.origin + f64::from(s) * wave.scale));
            if !finite || !factor.apply(wave.origin).is_finite() || !(wave.scale * factor.scale).is_finite() {
                let text = "every sample must be finite, also in the canonical unit";
                return Err(Fault("waveform.scale", "BAD_WAVEFORM", text.to_owned()));
            }
            Ok(One::Waveform(wave))
        }
        _ => Err(wrong_kind(metric)),
    }
}

fn wrong_kind(metric: &Metric) -> Fault {
    let takes = match metric.kind {
        Kind::Number => "a number",
        Kind::Coded(_) => "a code",
        Kind::Waveform => "a waveform",
        Kind::Panel => "no value of its own: send its members",
    };
    Fault("value", "WRONG_VALUE_KIND", format!("{} takes {takes}", metric.key))
}

fn resolve(units: &Units, reading: &ReadingView<'_>) -> Result<(&'static Metric, Factor), Fault> {
    let metric = model::by_code(reading.metric).ok_or_else(|| {
        let text =
            format!("{:?} is not in the catalogue; use a LOINC code or mdc: and a code", clipped(reading.metric));
        Fault("metric", "UNKNOWN_METRIC", text)
    })?;
    let factor = match metric.kind {
        Kind::Number | Kind::Waveform => {
            units.factor(metric, stated(reading.metric, reading.unit)).map_err(|error| {
                let reason = match error {
                    UnitError::WrongDimension { .. } => "WRONG_DIMENSION",
                    _ => "UNKNOWN_UNIT",
                };
                Fault("unit", reason, error.to_string())
            })?
        }
        Kind::Coded(_) | Kind::Panel => Factor::IDENTITY,
    };
    Ok((metric, factor))
}

fn waveform(wave: &wire::Waveform) -> Result<Waveform, Fault> {
    let bad = |field, text: &str| Err(Fault(field, "BAD_WAVEFORM", text.to_owned()));
    if wave.samples.is_empty() || wave.samples.len() > MAX_SAMPLES {
        return bad("waveform.samples", "1 to 65,536 samples; send longer runs as several readings");
    }
    if wave.period_ns < 1 {
        return bad("waveform.period_ns", "at least 1 nanosecond");
    }
    if !wave.origin.is_finite() || !wave.scale.is_finite() || wave.scale == 0.0 {
        return bad("waveform.scale", "origin and scale must be finite, scale not 0");
    }
    let narrow = wave.width == wire::SampleWidth::Int16 as i32;
    if narrow && wave.samples.iter().any(|&s| i16::try_from(s).is_err()) {
        return bad("waveform.samples", "a sample does not fit into 16 bits; widen `width` or mend the device");
    }
    Ok(Waveform { origin: wave.origin, period_ns: wave.period_ns, scale: wave.scale, samples: wave.samples.clone() })
}

fn clipped(text: &str) -> &str {
    let end = (0..=MAX_SHOWN_BYTES.min(text.len())).rev().find(|&i| text.is_char_boundary(i));
    &text[..end.unwrap_or(0)]
}
