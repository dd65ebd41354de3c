//! The five checks after an import: files, completeness, types, ranges, cross-references. Each says how much it looked at, how much
//! was not right, examples, and whether the threshold holds. A failed check stops what depends on the data set.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use datafusion::arrow::{
    array::{Array, AsArray, Float64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::DataType,
};
use serde::Serialize;

use super::{
    error::Error,
    kind::{Column, Kind, Reference, kinds},
    report::{ImportReport, Unmatched, short},
};

/// Different keys that are told apart for one reference; more are added up, but not counted or named.
const MOST_KEYS: usize = 200_000;
/// Keys without a partner that are named for one reference, the heaviest first.
const MOST_UNMATCHED: usize = 1_000;

/// Which of the five.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// How many files were refused, broke off, or end in a line that is refused and has no line end.
    Files,
    /// How many rows have a value.
    Completeness,
    /// How many rows were refused for a cell's type or form.
    Types,
    /// How many values are outside of what is to be expected.
    Ranges,
    /// How many keys another table does not have.
    CrossReferences,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The threshold holds.
    Passed,
    /// The threshold does not hold.
    Failed,
    /// The other table is not there.
    NotChecked,
}

/// One check of one column or of the whole import.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Which of the five.
    pub check: CheckKind,
    /// Column or columns; empty for the whole import.
    pub columns: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was looked at: files, rows, or the sum of the reference's weight.
    pub n: f64,
    /// What of it was not right.
    pub n_bad: f64,
    /// Greatest share that may be wrong, 0 to 1.
    pub most: f64,
    /// The first or heaviest that were not right; none in private columns.
    pub examples: Vec<String>,
}

/// What the checks found.
#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    /// Name of the kind.
    pub kind: String,
    /// Checks of files, completeness, types, ranges and cross-references, in this order.
    pub checks: Vec<Check>,
}

impl Quality {
    /// Whether no check failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }
}

impl Outcome {
    fn of(holds: bool) -> Self {
        if holds { Self::Passed } else { Self::Failed }
    }
}

impl Check {
    fn new(check: CheckKind, columns: &[String], n: f64, n_bad: f64, most: f64, examples: Vec<String>) -> Self {
        // a quotient is the double next to the true share, as `most` is; the product is not: 0.29 * 100.0 is less than 29
        let outcome = Outcome::of(n_bad <= 0.0 || n_bad / n <= most);
        Self { check, columns: columns.to_vec(), outcome, n, n_bad, most, examples }
    }
}

/// The keys of tables that others refer to.
#[derive(Debug, Default)]
pub struct References {
    sets: HashMap<(String, Vec<String>), HashSet<String>>,
}

impl References {
    /// Takes rows of a kind's table in, as far as other kinds refer to them.
    ///
    /// # Errors
    /// [`Error::Sink`] where the batch is none of the kind's table.
    pub fn add(&mut self, kind: &str, batch: &RecordBatch) -> Result<(), Error> {
        let all = kinds().iter().flat_map(|kind| &kind.references);
        let columns: HashSet<&Vec<String>> =
            all.filter(|reference| reference.kind == kind).map(|reference| &reference.to).collect();
        for columns in columns {
            let set = self.sets.entry((kind.to_owned(), columns.clone())).or_default();
            let (keys, mut key) = (RowKeys::new(batch, columns)?, String::new());
            for row in 0..batch.num_rows() {
                if keys.write(row, &mut key) && !set.contains(&key) {
                    set.insert(key.clone());
                }
            }
        }
        Ok(())
    }

    fn of(&self, reference: &Reference) -> Option<&HashSet<String>> {
        self.sets.get(&(reference.kind.clone(), reference.to.clone()))
    }
}

/// Each row's key over some text columns.
struct RowKeys<'b> {
    columns: Vec<&'b StringArray>,
}

impl<'b> RowKeys<'b> {
    fn new(batch: &'b RecordBatch, columns: &[String]) -> Result<Self, Error> {
        let missing = |name: &String| Error::Sink(format!("the batch has no text column {name}").into());
        let column = |name: &String| {
            batch.column_by_name(name).and_then(|column| column.as_string_opt()).ok_or_else(|| missing(name))
        };
        Ok(Self { columns: columns.iter().map(column).collect::<Result<_, _>>()? })
    }

    /// Writes a row's key; false where one of its columns is null.
    fn write(&self, row: usize, key: &mut String) -> bool {
        key.clear();
        for (n, column) in self.columns.iter().enumerate() {
            if column.is_null(row) {
                return false;
            }
            if n > 0 {
                key.push(' ');
            }
            key.push_str(column.value(row));
        }
        true
    }
}

/// The checks, while batches pass.
pub struct Checks<'k> {
    kind: &'k Kind,
    references: &'k References,
    rows: u64,
    ranges: Vec<RangeCount<'k>>,
    matches: Vec<Matches<'k>>,
}

struct RangeCount<'k> {
    column: &'k Column,
    low: f64,
    high: f64,
    n: u64,
    n_outside: u64,
    examples: Vec<String>,
}

struct Matches<'k> {
    reference: &'k Reference,
    total: f64,
    unmatched: f64,
    seen: HashSet<String>,
    without: HashMap<String, f64>,
}

impl<'k> Checks<'k> {
    /// Checks of a kind's batches against tables that are there.
    #[must_use]
    pub fn new(kind: &'k Kind, references: &'k References) -> Self {
        let range = |column: &'k Column| {
            let (low, high) = column.plausible.or(column.range)?;
            Some(RangeCount { column, low, high, n: 0, n_outside: 0, examples: Vec::new() })
        };
        let matches = |reference: &'k Reference| Matches {
            reference,
            total: 0.0,
            unmatched: 0.0,
            seen: HashSet::new(),
            without: HashMap::new(),
        };
        let ranges = kind.columns.iter().filter_map(range).collect();
        Self { kind, references, rows: 0, ranges, matches: kind.references.iter().map(matches).collect() }
    }

    /// Checks of cross-references alone: batches need no columns but theirs.
    #[must_use]
    pub fn of_references(kind: &'k Kind, references: &'k References) -> Self {
        Self { ranges: Vec::new(), ..Self::new(kind, references) }
    }

    /// Looks at a batch.
    ///
    /// # Errors
    /// [`Error::Sink`] where the batch is none of the kind's table.
    pub fn see(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.rows += batch.num_rows() as u64;
        for range in &mut self.ranges {
            for number in numbers(batch, &range.column.name)?.iter().flatten() {
                range.n += 1;
                if !(range.low..=range.high).contains(&number) {
                    range.n_outside += 1;
                    if range.examples.len() < 5 && !range.column.private {
                        range.examples.push(number.to_string());
                    }
                }
            }
        }
        for matches in &mut self.matches {
            if let Some(set) = self.references.of(matches.reference) {
                matches.see(batch, set)?;
            }
        }
        Ok(())
    }

    /// What was found. Keys without a partner also go into the report.
    #[must_use]
    pub fn finish(mut self, report: &mut ImportReport) -> Quality {
        let kind = self.kind;
        let mut checks = vec![files(report)];
        checks.extend(completeness(kind, report));
        checks.push(types(kind, report));
        let range = |range: RangeCount<'_>| {
            let (columns, most) = ([range.column.name.clone()], kind.most_refused);
            let (n, outside) = (as_f64(range.n), as_f64(range.n_outside));
            Check::new(CheckKind::Ranges, &columns, n, outside, most, range.examples)
        };
        checks.extend(std::mem::take(&mut self.ranges).into_iter().map(range));
        let (matched, unmatched) = self.cross_references();
        checks.extend(matched);
        report.unmatched.extend(unmatched);
        Quality { kind: kind.name.clone(), checks }
    }

    /// What was found of cross-references, and the keys without a partner.
    #[must_use]
    pub fn cross_references(self) -> (Vec<Check>, Vec<Unmatched>) {
        let (mut checks, mut without) = (Vec::new(), Vec::new());
        for matches in self.matches {
            let Reference { columns, most, .. } = matches.reference;
            if self.references.of(matches.reference).is_none() {
                let empty = Check::new(CheckKind::CrossReferences, columns, 0.0, 0.0, *most, Vec::new());
                checks.push(Check { outcome: Outcome::NotChecked, ..empty });
                continue;
            }
            let unmatched = matches.finish();
            let examples = unmatched.examples.iter().take(5).map(|(key, _)| key.clone()).collect();
            checks.push(Check::new(
                CheckKind::CrossReferences,
                columns,
                unmatched.total,
                unmatched.unmatched,
                *most,
                examples,
            ));
            without.push(unmatched);
        }
        (checks, without)
    }
}

impl Matches<'_> {
    fn see(&mut self, batch: &RecordBatch, set: &HashSet<String>) -> Result<(), Error> {
        let weights = self.reference.weight.as_ref().map(|column| numbers(batch, column)).transpose()?;
        let keys = RowKeys::new(batch, &self.reference.columns)?;
        // rows of one key often follow each other: it is looked up once
        let (mut key, mut last, mut matched) = (String::new(), String::new(), false);
        for row in 0..batch.num_rows() {
            if !keys.write(row, &mut key) {
                continue;
            }
            let weight =
                weights.as_ref().map_or(1.0, |weights| if weights.is_null(row) { 0.0 } else { weights.value(row) });
            self.total += weight;
            if row == 0 || key != last {
                matched = set.contains(&key);
                if self.seen.len() < MOST_KEYS && !self.seen.contains(&key) {
                    self.seen.insert(key.clone());
                }
                last.clone_from(&key);
            }
            if !matched {
                self.unmatched += weight;
                let has_room = self.without.len() < MOST_KEYS;
                if let Some(sum) = self.without.get_mut(&key) {
                    *sum += weight;
                } else if has_room {
                    self.without.insert(key.clone(), weight);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Unmatched {
        let n_unmatched = self.without.len() as u64;
        let mut examples: Vec<(String, f64)> = self.without.into_iter().collect();
        examples.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        examples.truncate(MOST_UNMATCHED);
        Unmatched {
            columns: self.reference.columns.clone(),
            kind: self.reference.kind.clone(),
            weight: self.reference.weight.clone(),
            total: self.total,
            unmatched: self.unmatched,
            n_keys: self.seen.len() as u64,
            n_unmatched,
            examples: examples.into_iter().map(|(key, weight)| (short(&key), weight)).collect(),
        }
    }
}

/// A column's numbers.
fn numbers(batch: &RecordBatch, name: &str) -> Result<Float64Array, Error> {
    let column =
        batch.column_by_name(name).ok_or_else(|| Error::Sink(format!("the batch has no column {name}").into()))?;
    let numbers = cast(column, &DataType::Float64).map_err(|error| Error::Sink(Box::new(error)))?;
    Ok(numbers.as_primitive().clone())
}

/// Files that are not whole: nobody knows how many rows they would have had, so there is no share that may be.
fn files(report: &ImportReport) -> Check {
    let mut faults = report.file_faults();
    let (n, n_bad) = (as_f64(report.files.len() as u64), as_f64(faults.len() as u64));
    faults.truncate(10);
    Check::new(CheckKind::Files, &[], n, n_bad, 0.0, faults)
}

/// Columns that must have a value, or a share of them.
fn completeness(kind: &Kind, report: &ImportReport) -> Vec<Check> {
    let share = |column: &Column| if column.required { 1.0 } else { column.complete };
    let counted = kind.columns.iter().zip(&report.completeness).filter(|(column, _)| share(column) > 0.0);
    let check = |(column, there): (&Column, &super::report::Completeness)| {
        let (n, bad, least) = (as_f64(report.n_accepted), as_f64(report.n_accepted - there.n), share(column));
        let columns = std::slice::from_ref(&column.name);
        let check = Check::new(CheckKind::Completeness, columns, n, bad, 1.0 - least, Vec::new());
        // what is there is compared, as the kind has it: 1.0 - 0.9 is less than 0.1
        Check { outcome: Outcome::of(bad <= 0.0 || as_f64(there.n) / n >= least), ..check }
    };
    counted.map(check).collect()
}

/// Refused rows among all that were read; duplicates are not counted, the first of them is there.
fn types(kind: &Kind, report: &ImportReport) -> Check {
    let wrong = report.refused.iter().filter(|refused| refused.reason != super::error::Reason::Duplicate);
    let n_bad = wrong.clone().map(|refused| refused.n).sum();
    let example = |refused: &super::report::Refused| match &refused.column {
        Some(column) => format!("{column}: {}", refused.what),
        None => refused.what.clone(),
    };
    let examples = wrong.take(5).map(example).collect();
    Check::new(CheckKind::Types, &[], as_f64(report.n_read), as_f64(n_bad), kind.most_refused, examples)
}

#[expect(clippy::cast_precision_loss, reason = "shares are no exact numbers")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
        writeln!(f, "{}: {} checks, {failed} failed", self.kind, self.checks.len())?;
        for check in self.checks.iter().filter(|check| check.outcome != Outcome::Passed) {
            let Check { check: kind, columns, outcome, n, n_bad, most, examples } = check;
            let columns = columns.join(", ");
            write!(f, "  {outcome:?} {kind:?} {columns}: {n_bad} of {n}, at most {:.1} %", most * 100.0)?;
            writeln!(f, "{}{}", if examples.is_empty() { "" } else { ", such as " }, examples.join(", "))?;
        }
        Ok(())
    }
}
