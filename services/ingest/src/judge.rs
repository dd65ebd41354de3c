//! Judges a batch reading by reading: what is good becomes blocks, what is not is refused with field and reason.

use crate::{
    Part,
    fault::Fault,
    other_unit::OtherUnits,
    refused::Refused,
    units::{UnitError, Units, stated},
    value::{One, accept, is_kind, samples_ns, wrong_kind},
};
use directory::Assignment;
use guard::convert;
use model::{
    Block, ClockQuality, ClockTolerance, Column, Factor, Hour, Kind, Metric, Nanos, PatientId, Quality, Reach, Slice,
    Values, quoted,
};
use proto::{
    in_place::{ReadingView, ValueView},
    prost_types::Timestamp,
    telemetry::v1 as wire,
};
use std::cell::Cell;

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
    others: OtherUnits,
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

/// Why a reading is of no patient.
enum NotOnes {
    /// The device had none when it began.
    Nobody,
    /// The device was its patient's until then only, and it lasts longer.
    OnlyUntil(Nanos),
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

    /// Whose a reading is that begins and is over then: all of it must be one patient's.
    fn during(&mut self, at: Nanos, end: Nanos) -> Result<PatientId, NotOnes> {
        let patient = self.at(at).ok_or(NotOnes::Nobody)?;
        let mut until = self.held[self.last].to;
        if end > until {
            for next in &self.held[self.last + 1..] {
                if next.from != until || next.patient != patient {
                    break;
                }
                until = next.to;
            }
        }
        if end <= until { Ok(patient) } else { Err(NotOnes::OnlyUntil(until)) }
    }
}

impl Judge {
    pub(crate) fn new(max_readings: u32, tolerance: ClockTolerance) -> Self {
        let units = Units::default();
        let others = OtherUnits::new(&units);
        Self { units, others, max_readings, tolerance }
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

    /// Judges every reading. `assigned` says whose it is at its own time, `clock` what the device says of that which shows it.
    pub(crate) fn judge(
        &self,
        readings: &[ReadingView<'_>],
        assigned: &mut Assigned,
        (clock, now): (ClockQuality, Nanos),
    ) -> Judged {
        let mut hours: Vec<(PatientId, Hour, Builder<'_>)> = Vec::with_capacity(1);
        let mut judged =
            Judged { received_at: now, parts: Vec::new(), accepted: 0, refused: Refused::default(), settled: true };
        let mut spare = SPARE.take();
        for (index, reading) in readings.iter().enumerate() {
            // a batch has at most a few thousand readings
            let index = index as u32;
            let outcome = when(reading, self.tolerance, now).and_then(|(at, lasting, end, quality)| {
                let patient = assigned.during(at, end).map_err(|why| {
                    judged.settled = false;
                    match why {
                        NotOnes::Nobody => {
                            let text = not_assigned(self.tolerance.doubts_by(clock, at, now));
                            Fault::new("measured_at", "NOT_ASSIGNED", text)
                        }
                        NotOnes::OnlyUntil(until) => not_one_patients(reading, (at, end), until),
                    }
                })?;
                let hour = at.hour();
                let place = hours.iter().position(|(p, h, _)| *p == patient && *h == hour).unwrap_or_else(|| {
                    hours.push((patient, hour, Builder::default()));
                    hours.len() - 1
                });
                hours[place].2.push(self, &mut spare, reading, index, (at, lasting), quality)
            });
            match outcome {
                Ok(()) => judged.accepted += 1,
                Err(Fault(field, reason, description)) => judged.refused.push(reason, || wire::Refusal {
                    index: Some(index),
                    field: named(index, field),
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

/// A field of a reading, or, without one, the reading.
fn named(index: u32, field: &str) -> String {
    if field.is_empty() { format!("readings[{index}]") } else { format!("readings[{index}].{field}") }
}

/// When a reading was measured, how long it says that it lasted, when it was over, and whether that can be true.
fn when(
    reading: &ReadingView<'_>,
    tolerance: ClockTolerance,
    now: Nanos,
) -> Result<(Nanos, i64, Nanos, Quality), Fault> {
    if let Some(unreadable) = reading.unreadable {
        let text = format!("{}; send it as reading.proto says", unreadable.fault);
        return Err(Fault::new(unreadable.field, "UNREADABLE", text));
    }
    let Some(stamp) = &reading.measured_at else {
        return Err(Fault::new("measured_at", "TIME_MISSING", "missing; give the device's time of measurement"));
    };
    let at = convert::nanos(stamp)
        .ok_or_else(|| Fault::new("measured_at", "TIME_OUT_OF_RANGE", convert::out_of_range(stamp)))?;
    let if_so = |is_so: bool, mark: Quality| if is_so { mark } else { Quality::GOOD };
    let quality = if_so(reading.questionable, Quality::QUESTIONABLE)
        .with(if_so(reading.entered_in_error, Quality::ENTERED_IN_ERROR));
    let lasting = match &reading.measured_until {
        None => 0,
        Some(until) => lasting(at, until, &reading.value)?,
    };
    let end = match &reading.value {
        // one that is longer than any may be is refused for that
        Some(ValueView::Waveform(wave)) => {
            at.plus(Some(samples_ns(wave)).filter(|lasting| *lasting <= Reach::LONGEST).unwrap_or_default())
        }
        _ => at.plus(lasting),
    };
    // what is not over yet cannot have been measured
    let ahead = if_so(tolerance.is_ahead(end, now), Quality::FUTURE);
    Ok((at, lasting, end, quality.with(tolerance.doubts(at, now)).with(ahead)))
}

/// Nanoseconds from the beginning of a reading to its end.
fn lasting(at: Nanos, until: &Timestamp, value: &Option<ValueView<'_>>) -> Result<i64, Fault> {
    let bad = |text: &str| Err(Fault::new("measured_until", "BAD_INTERVAL", text));
    if matches!(value, Some(ValueView::Waveform(_))) {
        return bad("not for a waveform, whose samples say how long it lasts; leave it out");
    }
    let Some(end) = convert::nanos(until) else { return bad(&convert::out_of_range(until)) };
    match end.0.saturating_sub(at.0) {
        lasting @ 1..=Reach::LONGEST => Ok(lasting),
        0 => bad("is measured_at; leave it out for what is of an instant"),
        ..0 => bad("lies before measured_at"),
        _ => bad("must be a time at most a week after measured_at; send what lasts longer in parts"),
    }
}

/// What to do about a reading of a time at which the device had no patient: a wrong clock is the likelier cause, where the
/// time itself is doubtful.
fn not_assigned(doubts: Quality) -> &'static str {
    if doubts.has_any(Quality::UNSET_CLOCK.with(Quality::ANCIENT)) {
        "no patient was assigned to the device at that time, which looks like that of a clock that was never set; set the \
         device's clock, and measure again"
    } else if doubts.has(Quality::FUTURE) {
        "no patient is assigned to the device at that time, which has not come yet; set the device's clock, and measure again"
    } else {
        "no patient was assigned to the device at that time; assign one, then send again"
    }
}

/// What to do about a reading that lasts longer than the device was its patient's.
fn not_one_patients(reading: &ReadingView<'_>, (at, end): (Nanos, Nanos), until: Nanos) -> Fault {
    let field = if matches!(reading.value, Some(ValueView::Waveform(_))) { "waveform" } else { "measured_until" };
    let [at, end, until] = [at, end, until].map(convert::timestamp);
    let text = format!(
        "not one patient's for all of it: it lasts from {at} to {end}, and the device was the patient's of its beginning \
         until {until} only; send it in two, what was measured until then and what came after"
    );
    Fault::new(field, "NOT_ASSIGNED", text)
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
        judge: &Judge,
        spare: &mut Vec<Column>,
        reading: &ReadingView<'a>,
        index: u32,
        (at, lasting): (Nanos, i64),
        mut quality: Quality,
    ) -> Result<(), Fault> {
        let is_of = |(_, column, key, unit): &(_, Column, &str, &str)| {
            *key == reading.metric && *unit == reading.unit && is_kind(&column.values, &reading.value)
        };
        // a device sends its metrics in turn: most often it is the column after the last one
        let next = if self.last + 1 < self.columns.len() { self.last + 1 } else { 0 };
        let known = match self.columns.get(next).is_some_and(is_of) {
            true => Some(next),
            false => self.columns.iter().position(is_of),
        };
        let (metric, factor) = match known {
            Some(place) => (self.columns[place].0, self.columns[place].1.factor),
            None => resolve(&judge.units, reading)?,
        };
        let value = accept(metric, factor, &judge.others, reading, &mut quality)?;
        let place = known.unwrap_or_else(|| self.open(metric, factor, reading, &value, spare));
        self.last = place;
        let column = &mut self.columns[place].1;
        match (&mut column.values, value) {
            (Values::Number(values), One::Number(number)) => values.push(number),
            (Values::Coded(values), One::Code(code)) => values.push(code.into()),
            (Values::Waveform(values), One::Waveform(wave)) => values.push(wave),
            (Values::Bounded(values), One::Bound(bound)) => values.push(bound),
            (Values::Absent(values), One::Absent(reason)) => values.push(reason),
            // accept() gives the one kind that the metric has
            _ => return Err(wrong_kind(metric)),
        }
        column.note(index, at, lasting, quality);
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
                lasting: vec![],
                values: match value {
                    One::Number(_) => Values::Number(Vec::new()),
                    One::Code(_) => Values::Coded(Vec::new()),
                    One::Waveform(_) => Values::Waveform(Vec::new()),
                    One::Bound(_) => Values::Bounded(Vec::new()),
                    One::Absent(_) => Values::Absent(Vec::new()),
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

fn resolve(units: &Units, reading: &ReadingView<'_>) -> Result<(&'static Metric, Factor), Fault> {
    let metric = model::by_code(reading.metric).ok_or_else(|| {
        let text = format!("{} is not in the catalogue; use a LOINC code or mdc: and a code", quoted(reading.metric));
        Fault::new("metric", "UNKNOWN_METRIC", text)
    })?;
    let factor = match metric.kind {
        Kind::Number | Kind::Waveform => {
            units.factor(metric, stated(reading.metric, reading.unit)).map_err(|error| {
                let reason = match error {
                    UnitError::WrongDimension { .. } => "WRONG_DIMENSION",
                    _ => "UNKNOWN_UNIT",
                };
                Fault::new("unit", reason, error.to_string())
            })?
        }
        Kind::Coded(_) | Kind::Panel => Factor::IDENTITY,
    };
    Ok((metric, factor))
}

#[cfg(test)]
mod tests;
