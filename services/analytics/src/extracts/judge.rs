//! What a timeline says of readings is said of an extract's by the same code: rows of an hour become its sheet, in which repeats,
//! corrections and what was taken back are marked.

use super::rows::Rows;
use crate::archive::clock_named;
use datafusion::arrow::array::{Array, AsArray};
use model::{
    Batch, BatchId, ClockTolerance, Column, DeviceId, Factor, Hour, Metric, Nanos, Quality, Retraction, Sheet,
    SheetColumn, StreamId, Values,
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
pub(super) struct TakenBack {
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
    let mut laid = lay(hour, rows);
    tolerance.mark(&mut laid.sheet);
    let mut away = vec![Vec::new(); rows.len()];
    for (row, quality) in laid.quality(rows.len()).into_iter().enumerate() {
        if quality.has(Quality::ENTERED_IN_ERROR) {
            away[row].push((taken_back_at(rows, row), Nanos::MAX));
        }
    }
    for one in taken_back.iter().filter(|one| one.what.concerns(hour, &[])) {
        for row in laid.about(&one.what, rows.len()) {
            away[row].push((one.what.received_until, one.ended_at));
        }
        if one.ended_at == Nanos::MAX {
            one.what.mark(&mut laid.sheet);
        }
    }
    let quality = laid.quality(rows.len());
    for (row, away) in away.iter_mut().enumerate() {
        away.extend(corrected_at(rows, row, &quality).map(|at| (at, Nanos::MAX)));
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

impl Laid {
    /// The quality of each row.
    fn quality(&self, n_rows: usize) -> Vec<Quality> {
        let mut all = vec![Quality::GOOD; n_rows];
        for (column, rows) in self.sheet.columns.iter().zip(&self.rows) {
            column.lines.quality.iter().zip(rows).for_each(|(quality, row)| all[*row] = *quality);
        }
        all
    }

    /// The rows that a retraction is about.
    fn about(&self, what: &Retraction, n_rows: usize) -> Vec<usize> {
        let mut bare = Self { sheet: self.sheet.clone(), rows: self.rows.clone() };
        for column in &mut bare.sheet.columns {
            column.lines.quality.fill(Quality::GOOD);
        }
        what.mark(&mut bare.sheet);
        let quality = bare.quality(n_rows);
        (0..n_rows).filter(|row| quality[*row].has(Quality::ENTERED_IN_ERROR)).collect()
    }
}

/// When its device took a reading back: when the first one came after it that says so of that metric and instant; at once, if it
/// says so itself.
fn taken_back_at(rows: &Rows, row: usize) -> Nanos {
    let says_so = |at: usize| sent(rows, at).has(Quality::ENTERED_IN_ERROR);
    if says_so(row) {
        return Nanos::MIN;
    }
    said_after(rows, row).find(|at| says_so(*at)).map_or(Nanos::MIN, |at| received_at(rows, at))
}

/// When another value came in the place of a reading, if one did: the next one of another batch that is no repeat and not in error
/// itself. Two events of one instant in one batch both stand, and a batch that says a value again does not correct it.
fn corrected_at(rows: &Rows, row: usize, quality: &[Quality]) -> Option<Nanos> {
    let batch_of = |at: usize| (rows.stream_id.value(at), rows.sequence.value(at));
    let says_again = |at: usize| {
        let of_batch = |other: &usize| batch_of(*other) == batch_of(at);
        said_after(rows, row).filter(of_batch).any(|other| is_same(rows, row, other))
    };
    let corrects = |at: &usize| {
        let counts = !quality[*at].has(Quality::REPEAT) && !sent(rows, *at).has(Quality::ENTERED_IN_ERROR);
        counts && batch_of(*at) != batch_of(row) && !says_again(*at)
    };
    said_after(rows, row).find(corrects).map(|at| received_at(rows, at))
}

/// What the same device said later of the metric and instant of a row: rows of an instant and metric are in the order of receipt.
fn said_after(rows: &Rows, row: usize) -> impl Iterator<Item = usize> {
    let is_of_instant = move |at: &usize| rows.at(*at) == rows.at(row);
    let is_of_device = move |at: &usize| {
        rows.metric.value(*at) == rows.metric.value(row) && rows.device_id.value(*at) == rows.device_id.value(row)
    };
    (row + 1..rows.len()).take_while(is_of_instant).filter(is_of_device)
}

fn is_same(rows: &Rows, a: usize, b: usize) -> bool {
    match (plain_number(rows, a), plain_number(rows, b)) {
        (Some(one), Some(other)) => one == other && rows.until(a) == rows.until(b),
        (None, None) => other_value(rows, a) == other_value(rows, b) && rows.until(a) == rows.until(b),
        _ => false,
    }
}

pub(super) fn received_at(rows: &Rows, row: usize) -> Nanos {
    Nanos(rows.received_at.value(row).saturating_mul(1_000))
}

/// The flags with which a row came.
fn sent(rows: &Rows, row: usize) -> Quality {
    Quality::from_bits(u8::try_from(rows.quality.value(row)).unwrap_or(u8::MAX))
}

/// Puts rows of metrics that the catalogue has into a sheet.
fn lay(hour: Hour, rows: &Rows) -> Laid {
    let batches: BTreeMap<BatchId, Batch> =
        (0..rows.len()).map(|row| batch(rows, row)).map(|one| (one.identity, one)).collect();
    let numbers: HashMap<BatchId, u32> = (0..).zip(batches.keys()).map(|(number, id)| (*id, number)).collect();
    let mut laid =
        Laid { sheet: Sheet { hour, batches: batches.into_values().collect(), columns: Vec::new() }, rows: Vec::new() };
    let mut places: HashMap<(&str, &str, bool), usize> = HashMap::new();
    for row in 0..rows.len() {
        let Some(metric) = model::by_code(rows.metric.value(row)) else { continue };
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
        of.push(numbers[&batch(rows, row).identity]);
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
