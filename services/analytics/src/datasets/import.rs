//! The import itself: files in, batches of the kind's schema out, and a report of all that was read.

use std::{collections::HashSet, panic, sync::mpsc, thread};

use datafusion::arrow::array::RecordBatch;
use xxhash_rust::xxh3::Xxh3;

use super::{
    batch::Batch,
    cell::{Plan, Repairs},
    error::{Error, Reason},
    kind::Kind,
    limits::Limits,
    open::Input,
    quality::{Checks, Quality, References},
    reading::{Begun, Chunk, Ended, Form, Reader},
    report::{Completeness, FileReport, ImportReport, Refusal},
    value::Value,
};

/// How an import is done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The layout, where the headings and the file's name do not tell.
    pub layout: Option<String>,
    /// Bounds on lines, files, batches and keys.
    pub limits: Limits,
}

/// The accepted rows of some files, as batches.
///
/// A file that cannot be opened, or whose headings are not known, is refused by name and the next one is read; so is the rest of
/// one that breaks off. An import of one file fails with it.
pub(super) struct Records<'k, C> {
    kind: &'k Kind,
    limits: Limits,
    single: bool,
    chunks: C,
    /// What is being taken, and how much of it was.
    chunk: Chunk<'k>,
    taken: usize,
    /// The file that it is of: name, and how its rows become values.
    file: Option<(String, Plan<'k>)>,
    /// The last line of the file that was refused for what it is, and not because one with its key came before.
    refused_line: Option<u64>,
    repairs: Repairs<'k>,
    batch: Batch,
    keys: Keys,
    report: ImportReport,
}

impl<'k, C: Iterator<Item = Chunk<'k>>> Records<'k, C> {
    /// The rows of these chunks, in order; `single` where they are of one file. Nothing is taken yet.
    pub(super) fn new(kind: &'k Kind, chunks: C, single: bool, limits: Limits) -> Self {
        Self {
            kind,
            single,
            chunks,
            chunk: Chunk::default(),
            taken: 0,
            file: None,
            refused_line: None,
            repairs: Repairs::new(),
            batch: Batch::new(kind),
            keys: Keys::new(kind, &limits),
            report: ImportReport::new(&kind.name),
            limits,
        }
    }

    /// The next batch, of the kind's schema; none at the end.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Read`] for the only file; [`Error::Refused`] where there are too many keys;
    /// [`Error::Unknown`] where there is no such layout.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if self.batch.rows() >= self.limits.batch_rows || self.batch.bytes() >= self.limits.batch {
                return self.finish_batch().map(Some);
            }
            if self.take_line()? {
                continue;
            }
            if let Some(ended) = self.chunk.ended.take() {
                self.close(ended)?;
            }
            match self.chunks.next() {
                Some(chunk) => self.begin(chunk),
                None if self.batch.rows() > 0 => return self.finish_batch().map(Some),
                None => return Ok(None),
            }
        }
    }

    /// What was done so far; complete once [`Self::next_batch`] has given none.
    pub(super) fn report(&self) -> ImportReport {
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
        let (chunk, reader) = self.chunk.bytes();
        // one is being read, one taken, the others wait
        let bytes = chunk * (AHEAD + 2) + reader + self.batch.bytes() + self.keys.bytes();
        self.report.peak_bytes = self.report.peak_bytes.max(bytes);
    }

    fn begin(&mut self, mut chunk: Chunk<'k>) {
        if let Some(Begun { name, form }) = chunk.begins.take() {
            let mut file = FileReport::new(&name);
            if let Some(Form { layout, plan, repairs }) = form {
                file.layout = Some(layout);
                for repair in repairs {
                    self.report.repair(repair, None, &name, 1, self.limits.examples);
                }
                self.file = Some((name, plan));
            }
            self.report.files.push(file);
        }
        (self.chunk, self.taken) = (chunk, 0);
        self.account();
    }

    /// Takes the chunk's next line, or refuses it; false if there is none.
    fn take_line(&mut self) -> Result<bool, Error> {
        let (Some((name, plan)), Some(fields)) = (&self.file, self.chunk.get(self.taken)) else { return Ok(false) };
        self.taken += 1;
        let most = self.limits.examples;
        if let Some(file) = self.report.files.last_mut() {
            file.n_read += 1;
        }
        self.repairs.clear();
        let values = match fields.cells {
            Ok(cells) => plan.values(cells, &mut self.repairs),
            Err((reason, what)) => {
                self.refused_line = Some(fields.line);
                let refusal = Refusal { reason: *reason, column: None, what, cell: None };
                self.report.refuse(refusal, name, fields.line, most);
                return Ok(true);
            }
        };
        match values {
            Err(fault) => {
                self.refused_line = Some(fields.line);
                let (reason, what) = (fault.fault.reason, format!("allowed is {}", fault.fault.allowed));
                let refusal =
                    Refusal { reason, column: Some(&fault.column.name), what: &what, cell: fault.cell.as_deref() };
                self.report.refuse(refusal, name, fields.line, most);
            }
            Ok(values) => match self.keys.take(&values) {
                Taken::Again => {
                    let what = format!("a row with the same {} came before", self.kind.key.join(", "));
                    let refusal = Refusal { reason: Reason::Duplicate, column: None, what: &what, cell: None };
                    self.report.refuse(refusal, name, fields.line, most);
                }
                Taken::Full => {
                    let what = format!("more than {} rows with a key", self.keys.most);
                    return Err(Error::refused(name, fields.line, Reason::TooManyKeys, what));
                }
                Taken::New => {
                    self.batch.push(values);
                    self.report.accept(name, &fields, &self.repairs, most);
                }
            },
        }
        Ok(true)
    }

    /// Ends the file. One without rows is refused.
    fn close(&mut self, ended: Result<Ended, Error>) -> Result<(), Error> {
        let name = self.file.take().map(|(name, _)| name).unwrap_or_default();
        let refused_line = self.refused_line.take();
        let Some(report) = self.report.files.last_mut() else { return Ok(()) };
        let ended = ended.and_then(|Ended { encoding, open_line }| {
            report.encoding = Some(encoding);
            report.cut_line = open_line.filter(|line| refused_line == Some(*line));
            match report.n_read {
                0 => Err(Error::refused(&name, 1, Reason::NoRows, "there are headings and no rows")),
                _ => Ok(()),
            }
        });
        match ended {
            Err(error) if self.single || stops_all(&error) => Err(error),
            Err(error) => {
                report.refused = Some(error.to_string());
                Ok(())
            }
            Ok(()) => Ok(()),
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

/// What has been read, or made into batches, while what came before it is on its way through the next thread.
const AHEAD: usize = 2;

/// Imports files, gives each batch to `sink`, and checks what came in. One thread reads lines, this one makes values of them,
/// a third checks and writes.
///
/// # Errors
/// [`Error::Refused`] and [`Error::Read`] for the only file; [`Error::Refused`] where there are too many keys;
/// [`Error::Unknown`] where there is no such layout; what `sink` says. Where it fails, what the sink has is not the data set.
pub fn import(
    kind: &Kind,
    inputs: Vec<Input>,
    options: Options,
    references: &References,
    mut sink: impl FnMut(&RecordBatch) -> Result<(), Error> + Send,
) -> Result<(ImportReport, Quality), Error> {
    let Options { layout, limits } = options;
    let single = inputs.len() == 1;
    let reader = Reader::new(kind, inputs, layout, limits.clone());
    let mut checks = Checks::new(kind, references);
    let (read, chunks) = mpsc::sync_channel(AHEAD);
    let (made, batches) = mpsc::sync_channel::<RecordBatch>(AHEAD);
    let (mut report, checks) = thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in reader {
                if read.send(chunk).is_err() {
                    break;
                }
            }
        });
        let writing = scope.spawn(move || {
            for batch in batches {
                checks.see(&batch)?;
                sink(&batch)?;
            }
            Ok(checks)
        });
        let mut records = Records::new(kind, chunks.into_iter(), single, limits);
        let making = make_all(&mut records, made);
        let report = records.report();
        drop(records); // nobody reads for it any more
        let written = writing.join().unwrap_or_else(|payload| panic::resume_unwind(payload));
        making.and(written).map(|checks| (report, checks))
    })?;
    let quality = checks.finish(&mut report);
    Ok((report, quality))
}

/// Makes all batches, or until nobody takes them any more.
fn make_all<'k>(
    records: &mut Records<'k, impl Iterator<Item = Chunk<'k>>>,
    to: mpsc::SyncSender<RecordBatch>,
) -> Result<(), Error> {
    while let Some(batch) = records.next_batch()? {
        if to.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}
