//! What a timeline says of readings is said of an extract's by the same code: rows of an hour become its sheet, in which repeats,
//! corrections and what was taken back are marked.

use super::rows::Rows;
use crate::archive::clock_named;
use datafusion::arrow::array::{Array, AsArray};
use model::{
    Batch, BatchId, ClockTolerance, Column, DeviceId, Factor, Hour, Metric, Nanos, Quality, Retraction, Sheet,
    SheetColumn, StreamId, Values, superseded,
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};
use uuid::Uuid;

/// What is known of each row of an hour.
pub(super) struct Judgement {
    /// As a timeline marks it.
    pub quality: Vec<Quality>,
    /// From when until when, by our clock, a row did not stand: it was taken back, or corrected.
    away: Vec<Vec<(Nanos, Nanos)>>,
}

/// What people took back, and when that was ended; [`Nanos::MAX`] of what is in force.
#[derive(Debug, Clone)]
pub(crate) struct TakenBack {
    pub what: Retraction,
    pub ended_at: Nanos,
}

/// A sheet, and which row each line of each of its columns is.
struct Laid {
    sheet: Sheet,
    rows: Vec<Vec<usize>>,
}

/// Judges the rows of one patient's hour, which are in the order of time and receipt.
pub(super) fn judge(hour: Hour, rows: &Rows, tolerance: ClockTolerance, taken_back: &[TakenBack]) -> Judgement {
    let batches: Vec<_> = (0..rows.len()).map(|row| batch(rows, row)).collect();
    let metrics: Vec<_> = rows.metric.iter().map(|key| model::by_code(key.unwrap_or_default())).collect();
    let mut laid = lay(hour, rows, &batches, &metrics);
    let mut away = vec![Vec::new(); rows.len()];
    for (column, line, since) in superseded(&laid.sheet) {
        away[laid.rows[column][line]].push((since, Nanos::MAX));
    }
    tolerance.mark(&mut laid.sheet);
    let mut quality: Vec<_> = (0..rows.len()).map(|row| sent(rows, row)).collect();
    for (column, rows) in laid.sheet.columns.iter().zip(&laid.rows) {
        column.lines.quality.iter().zip(rows).for_each(|(marked, row)| quality[*row] = *marked);
    }
    for row in (0..rows.len()).filter(|row| quality[*row].has(Quality::ENTERED_IN_ERROR)) {
        away[row].push((taken_back_at(rows, row), Nanos::MAX));
    }
    for TakenBack { what, ended_at } in taken_back.iter().filter(|one| one.what.concerns(hour, &[])) {
        let is_about = |row: &usize| {
            metrics[*row].is_some_and(|metric| what.is_about_one(metric.id, &batches[*row], rows.at(*row)))
        };
        for row in (0..rows.len()).filter(is_about) {
            away[row].push((what.received_until, *ended_at));
            if *ended_at == Nanos::MAX {
                quality[row] = quality[row].with(Quality::ENTERED_IN_ERROR);
            }
        }
    }
    Judgement { quality, away }
}

impl Judgement {
    /// Whether a row stood at an instant, by our clock.
    pub(super) fn stands(away: &[(Nanos, Nanos)], at: Nanos) -> bool {
        !away.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// From when until when a row did not stand.
    pub(super) fn away(&self, row: usize) -> &[(Nanos, Nanos)] {
        &self.away[row]
    }
}

/// When its device took a reading back: when the first one came after it that says so of that metric and instant; at once, if it
/// says so itself.
fn taken_back_at(rows: &Rows, row: usize) -> Nanos {
    let says_so = |at: usize| sent(rows, at).has(Quality::ENTERED_IN_ERROR);
    if says_so(row) {
        return Nanos::MIN;
    }
    let is_of_instant = |at: &usize| rows.at(*at) == rows.at(row);
    let is_of_device = |at: &usize| {
        rows.metric.value(*at) == rows.metric.value(row) && rows.device_id.value(*at) == rows.device_id.value(row)
    };
    // rows of an instant and metric are in the order of receipt
    let mut after = (row + 1..rows.len()).take_while(is_of_instant).filter(is_of_device);
    after.find(|at| says_so(*at)).map_or(Nanos::MIN, |at| received_at(rows, at))
}

pub(super) fn received_at(rows: &Rows, row: usize) -> Nanos {
    Nanos(rows.received_at.value(row).saturating_mul(1_000))
}

/// The flags with which a row came.
fn sent(rows: &Rows, row: usize) -> Quality {
    Quality::from_bits(u8::try_from(rows.quality.value(row)).unwrap_or(u8::MAX))
}

/// Puts rows of metrics that the catalogue has into a sheet.
fn lay(hour: Hour, rows: &Rows, batches: &[Batch], metrics: &[Option<&Metric>]) -> Laid {
    let all: BTreeMap<BatchId, Batch> = batches.iter().map(|batch| (batch.identity, *batch)).collect();
    let numbers: HashMap<BatchId, u32> = (0..).zip(all.keys()).map(|(number, id)| (*id, number)).collect();
    let mut laid =
        Laid { sheet: Sheet { hour, batches: all.into_values().collect(), columns: Vec::new() }, rows: Vec::new() };
    let mut places: HashMap<(&str, &str, bool), usize> = HashMap::new();
    for row in 0..rows.len() {
        let Some(metric) = metrics[row] else { continue };
        let unit = Rows::text(&rows.original_unit, row).unwrap_or_default();
        let number = plain_number(rows, row);
        let place = *places.entry((metric.key, unit, number.is_some())).or_insert_with(|| {
            laid.sheet.columns.push(column(metric, unit, number.is_some()));
            laid.rows.push(Vec::new());
            laid.rows.len() - 1
        });
        let SheetColumn { lines, batch: of } = &mut laid.sheet.columns[place];
        let at = rows.at(row);
        let lasting = rows.until(row).map_or(0, |until| until.0.saturating_sub(at.0));
        lines.note(rows.place.value(row).unsigned_abs(), at, lasting, sent(rows, row));
        match (&mut lines.values, number) {
            (Values::Number(numbers), Some(number)) => numbers.push(number),
            (Values::Coded(texts), _) => texts.push(other_value(rows, row).into()),
            _ => {}
        }
        of.push(numbers[&batches[row].identity]);
        laid.rows[place].push(row);
    }
    laid
}

fn column(metric: &Metric, unit: &str, is_number: bool) -> SheetColumn {
    let values = if is_number { Values::Number(Vec::new()) } else { Values::Coded(Vec::new()) };
    let lines = Column {
        metric: metric.id,
        unit: unit.into(),
        factor: Factor::IDENTITY,
        index: Vec::new(),
        measured_at: Vec::new(),
        quality: Vec::new(),
        lasting: Vec::new(),
        values,
    };
    SheetColumn { lines, batch: Vec::new() }
}

fn batch(rows: &Rows, row: usize) -> Batch {
    // what the archive has was a UUID
    let id = |text: &str| Uuid::try_parse(text).unwrap_or_default();
    let identity = BatchId {
        device: DeviceId::new(id(rows.device_id.value(row))),
        stream: StreamId::new(id(rows.stream_id.value(row))),
        sequence: rows.sequence.value(row).unsigned_abs(),
        digest: 0,
    };
    let clock = clock_named(rows.clock.value(row)).unwrap_or_default();
    Batch { identity, received_at: received_at(rows, row), clock }
}

/// The number of a row, if it has that and nothing else.
pub(super) fn plain_number(rows: &Rows, row: usize) -> Option<f64> {
    (rows.value.is_valid(row) && rows.comparator.is_null(row)).then(|| rows.value.value(row))
}

/// Any other value as a text: two rows have the same value where the texts are the same.
fn other_value(rows: &Rows, row: usize) -> String {
    let mut said = String::new();
    for text in [&rows.comparator, &rows.code, &rows.absent_reason] {
        // writing to a string cannot fail
        let _ = write!(said, "{}\u{1f}", Rows::text(text, row).unwrap_or_default());
    }
    if rows.value.is_valid(row) {
        let _ = write!(said, "{:?}", rows.value.value(row));
    }
    if rows.waveform.is_valid(row) {
        for part in rows.waveform.columns() {
            let one = part.slice(row, 1);
            let samples = one.as_list_opt::<i32>().map(|list| list.value(0));
            let _ = write!(said, "\u{1f}{:?}", samples.as_deref().unwrap_or(&one));
        }
    }
    said
}
