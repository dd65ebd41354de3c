//! The import itself: files in, batches of the kind's schema out, and a report of all that was read.

use std::{collections::HashSet, panic, sync::mpsc, thread};

use datafusion::arrow::array::RecordBatch;
use xxhash_rust::xxh3::Xxh3;

use super::{
    batch::Batch,
    cell::{Plan, Repairs},
    csv::CsvRows,
    error::{Error, Reason},
    kind::Kind,
    layout,
    limits::Limits,
    ndjson::JsonRows,
    open::{Format, Input, Opened},
    parquet_rows::ParquetRows,
    quality::{Checks, Quality, References},
    report::{Completeness, FileReport, ImportReport, Refusal, Repair},
    reshape::reshape,
    rows::{Fetched, Row, Rows},
    text::Lines,
    value::Value,
};

/// How an import is done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The layout, where the headings and the file's name do not tell.
    pub layout: Option<String>,
    /// Bounds.
    pub limits: Limits,
}

/// The accepted rows of some files, as batches.
///
/// A file that cannot be opened, or whose headings are not known, is refused by name and the next one is read; so is the rest of
/// one that breaks off. An import of one file fails with it.
pub struct Records<'k> {
    kind: &'k Kind,
    options: Options,
    inputs: std::vec::IntoIter<Input>,
    single: bool,
    file: Option<FileRows<'k>>,
    row: Row,
    repairs: Repairs<'k>,
    batch: Batch,
    keys: Keys,
    report: ImportReport,
}

/// The file that is being read.
struct FileRows<'k> {
    rows: Box<dyn Rows>,
    plan: Plan<'k>,
    name: String,
}

impl<'k> Records<'k> {
    /// The rows of these files, in order. Nothing is read yet.
    #[must_use]
    pub fn new(kind: &'k Kind, inputs: Vec<Input>, options: Options) -> Self {
        Self {
            kind,
            single: inputs.len() == 1,
            inputs: inputs.into_iter(),
            file: None,
            row: Row::default(),
            repairs: Repairs::new(),
            batch: Batch::new(kind),
            keys: Keys::new(kind, &options.limits),
            report: ImportReport::new(&kind.name),
            options,
        }
    }

    /// The next batch, of the kind's schema; none at the end.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Read`] for the only file; [`Error::Refused`] where there are too many keys;
    /// [`Error::Unknown`] where there is no such layout.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            let Limits { batch_rows, batch, .. } = self.options.limits;
            if self.batch.rows() >= batch_rows || self.batch.bytes() >= batch {
                return self.finish_batch().map(Some);
            }
            let read = match &mut self.file {
                Some(_) => self.read_row(),
                None => match self.inputs.next() {
                    Some(input) => self.open(input),
                    None if self.batch.rows() > 0 => return self.finish_batch().map(Some),
                    None => return Ok(None),
                },
            };
            match read {
                Ok(()) => {}
                Err(error) if self.single || stops_all(&error) => return Err(error),
                Err(error) => self.refuse_file(&error),
            }
        }
    }

    /// What was done so far; complete once [`Self::next_batch`] has given none.
    #[must_use]
    pub fn report(&self) -> ImportReport {
        let column = |(column, n): (&super::kind::Column, &u64)| Completeness { column: column.name.clone(), n: *n };
        let completeness = self.kind.columns.iter().zip(&self.batch.n_values).map(column).collect();
        ImportReport { completeness, ..self.report.clone() }
    }

    fn finish_batch(&mut self) -> Result<RecordBatch, Error> {
        self.account();
        self.batch.finish().map_err(|error| Error::Sink(Box::new(error)))
    }

    /// Notes what buffers take.
    fn account(&mut self) {
        let rows = self.file.as_ref().map_or(0, |file| file.rows.bytes());
        let bytes = rows + self.row.bytes() + self.batch.bytes() + self.keys.bytes();
        self.report.peak_bytes = self.report.peak_bytes.max(bytes);
    }

    fn open(&mut self, input: Input) -> Result<(), Error> {
        let name = input.name.clone();
        self.report.files.push(FileReport {
            name: name.clone(),
            layout: None,
            encoding: None,
            n_read: 0,
            refused: None,
        });
        let limits = self.options.limits.clone();
        let rows: Box<dyn Rows> = match input.open(&limits)? {
            Opened::Parquet(name, file) => Box::new(ParquetRows::open(&name, file, &limits)?),
            Opened::Text(name, Format::Ndjson, reader) => {
                Box::new(JsonRows::open(&name, Lines::new(reader, limits.line), &limits)?)
            }
            Opened::Text(name, _, reader) => {
                let delimiter = self.kind.layouts.first().map_or(',', |layout| layout.delimiter);
                let rows = CsvRows::open(&name, Lines::new(reader, limits.line), delimiter, &limits)?;
                let repairs =
                    [(rows.repairs.marked, Repair::Mark), (rows.repairs.empty_last, Repair::EmptyLastHeading)];
                for (_, repair) in repairs.into_iter().filter(|(done, _)| *done) {
                    self.report.repair(repair, None, &name, 1, limits.examples);
                }
                Box::new(rows)
            }
        };
        let layout = layout::recognise(self.kind, &name, rows.headings(), self.options.layout.as_deref())?;
        if let Some(file) = self.report.files.last_mut() {
            file.layout = Some(layout.name.clone());
        }
        let rows = reshape(rows, layout);
        let plan = Plan::new(self.kind, layout, rows.headings());
        self.file = Some(FileRows { rows, plan, name });
        Ok(())
    }

    fn read_row(&mut self) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        match file.rows.next(&mut self.row)? {
            Fetched::Row => self.accept()?,
            Fetched::Bad { line, reason, what } => {
                let refusal = Refusal { reason, column: None, what: &what, cell: None };
                self.report.refuse(refusal, &file.name, line, self.options.limits.examples);
                self.count_row();
                self.account();
            }
            Fetched::End => self.close()?,
        }
        Ok(())
    }

    /// Takes the row, or refuses it.
    fn accept(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let (most, line) = (self.options.limits.examples, self.row.line);
        self.repairs.clear();
        match file.plan.values(&self.row, &mut self.repairs) {
            Err(fault) => {
                let (reason, what) = (fault.fault.reason, format!("allowed is {}", fault.fault.allowed));
                let refusal =
                    Refusal { reason, column: Some(&fault.column.name), what: &what, cell: fault.cell.as_deref() };
                self.report.refuse(refusal, &file.name, line, most);
            }
            Ok(values) => match self.keys.take(&values) {
                Taken::Again => {
                    let what = format!("a row with the same {} came before", self.kind.key.join(", "));
                    let refusal = Refusal { reason: Reason::Duplicate, column: None, what: &what, cell: None };
                    self.report.refuse(refusal, &file.name, line, most);
                }
                Taken::Full => {
                    let what = format!("more than {} rows with a key", self.keys.most);
                    return Err(Error::refused(&file.name, line, Reason::TooManyKeys, what));
                }
                Taken::New => {
                    self.batch.push(values);
                    self.report.n_read += 1;
                    self.report.n_accepted += 1;
                    if self.row.decoded {
                        self.report.repair(Repair::Cp1252, None, &file.name, line, most);
                    }
                    for (repair, column) in &self.repairs {
                        self.report.repair(*repair, Some(column), &file.name, line, most);
                    }
                    self.report.n_repaired += u64::from(self.row.decoded || !self.repairs.is_empty());
                }
            },
        }
        self.count_row();
        Ok(())
    }

    fn count_row(&mut self) {
        if let Some(file) = self.report.files.last_mut() {
            file.n_read += 1;
        }
    }

    /// Ends the file. One without rows is refused.
    fn close(&mut self) -> Result<(), Error> {
        self.account();
        let Some(file) = self.file.take() else { return Ok(()) };
        let Some(report) = self.report.files.last_mut() else { return Ok(()) };
        report.encoding = Some(file.rows.encoding());
        if report.n_read == 0 {
            return Err(Error::refused(&file.name, 1, Reason::NoRows, "there are headings and no rows"));
        }
        Ok(())
    }

    /// Goes on without the file.
    fn refuse_file(&mut self, error: &Error) {
        self.file = None;
        if let Some(file) = self.report.files.last_mut() {
            file.refused = Some(error.to_string());
        }
    }
}

/// Whether an error is not one file's alone.
fn stops_all(error: &Error) -> bool {
    !matches!(error, Error::Read { .. } | Error::Refused { .. }) || error.reason() == Some(Reason::TooManyKeys)
}

/// Keys seen so far, as 128-bit digests: a false duplicate among four million has a chance of 1 in 10^25.
struct Keys {
    columns: Vec<usize>,
    seen: HashSet<u128>,
    most: usize,
}

enum Taken {
    New,
    Again,
    Full,
}

impl Keys {
    fn new(kind: &Kind, limits: &Limits) -> Self {
        let columns = kind.key.iter().filter_map(|name| kind.position(name)).collect();
        Self { columns, seen: HashSet::new(), most: limits.keys }
    }

    fn take(&mut self, values: &[Value<'_>]) -> Taken {
        let mut digest = Xxh3::new();
        for column in &self.columns {
            match &values[*column] {
                Value::Text(text) => {
                    digest.update(&text.len().to_le_bytes());
                    digest.update(text.as_bytes());
                }
                Value::Integer(number) => digest.update(&number.to_le_bytes()),
                Value::Date(day) => digest.update(&day.to_le_bytes()),
                _ => return Taken::New,
            }
        }
        if self.columns.is_empty() {
            return Taken::New;
        }
        if self.seen.len() == self.most {
            return Taken::Full;
        }
        if self.seen.insert(digest.digest128()) { Taken::New } else { Taken::Again }
    }

    fn bytes(&self) -> usize {
        self.seen.capacity() * 32
    }
}

/// Batches that have been read, while the one before them is checked and written.
const AHEAD: usize = 2;

/// Imports files, gives each batch to `sink`, and checks what came in: reading on this thread, the rest on another.
///
/// # Errors
/// As [`Records::next_batch`], and what `sink` says. Where it fails, what the sink has is not the data set.
pub fn import(
    kind: &Kind,
    inputs: Vec<Input>,
    options: Options,
    references: &References,
    mut sink: impl FnMut(&RecordBatch) -> Result<(), Error> + Send,
) -> Result<(ImportReport, Quality), Error> {
    let mut records = Records::new(kind, inputs, options);
    let mut checks = Checks::new(kind, references);
    let (read, to_write) = mpsc::sync_channel::<RecordBatch>(AHEAD);
    let checks = thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for batch in to_write {
                checks.see(&batch)?;
                sink(&batch)?;
            }
            Ok(checks)
        });
        let reading = read_all(&mut records, read);
        let written = writing.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
        reading.and(written)
    })?;
    let mut report = records.report();
    let quality = checks.finish(&mut report);
    Ok((report, quality))
}

/// Reads all batches, or until nobody takes them any more.
fn read_all(records: &mut Records<'_>, to: mpsc::SyncSender<RecordBatch>) -> Result<(), Error> {
    while let Some(batch) = records.next_batch()? {
        if to.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}
