//! Files opened one after another, and their rows in chunks: what an import does on a thread of its own.

use std::vec;

use super::{
    cell::Plan,
    csv::CsvRows,
    error::{Error, Reason},
    kind::Kind,
    layout,
    limits::Limits,
    ndjson::JsonRows,
    open::{Format, Input, Opened},
    parquet_rows::ParquetRows,
    report::Repair,
    reshape::reshape,
    rows::{Cells, Fetched, Row, Rows},
    text::{Encoding, Lines},
};

/// Rows of a chunk: enough that handing it on costs nothing, few enough that a chunk is small.
const CHUNK_ROWS: usize = 1_024;
/// Text of a chunk; its last row may go beyond it.
const CHUNK_BYTES: usize = 256 << 10;

/// Rows of one file that follow each other.
#[derive(Default)]
pub(super) struct Chunk<'k> {
    /// The file, where these are its first rows.
    pub(super) begins: Option<Begun<'k>>,
    /// How reading it ended, where these are its last rows.
    pub(super) ended: Option<Result<Ended, Error>>,
    text: String,
    ends: Vec<usize>,
    lines: Vec<Read>,
    /// Bytes that the reader's buffers take.
    reader_bytes: usize,
}

/// A file that was read to its end.
pub(super) struct Ended {
    pub(super) encoding: Encoding,
    /// Number of its last line, if that has no line end.
    pub(super) open_line: Option<u64>,
}

/// A file that was begun.
pub(super) struct Begun<'k> {
    pub(super) name: String,
    /// None where it could not be opened.
    pub(super) form: Option<Form<'k>>,
}

/// How a file's rows are read.
pub(super) struct Form<'k> {
    /// Name of the layout.
    pub(super) layout: String,
    pub(super) plan: Plan<'k>,
    /// What was mended in its header.
    pub(super) repairs: Vec<Repair>,
}

/// A line, or what came in its place.
struct Read {
    line: u64,
    decoded: bool,
    text_end: usize,
    cells_end: usize,
    bad: Option<(Reason, String)>,
}

/// A line that was read.
pub(super) struct Fields<'c> {
    /// Its number, from 1.
    pub(super) line: u64,
    /// Whether it was cp1252 and not ASCII.
    pub(super) decoded: bool,
    /// Its cells, or why it has none.
    pub(super) cells: Result<Cells<'c>, &'c (Reason, String)>,
}

impl Chunk<'_> {
    fn push(&mut self, row: &Row) {
        let cells = row.cells();
        self.text.push_str(cells.text);
        self.ends.extend_from_slice(cells.ends);
        self.end_line(row.line, row.decoded, None);
    }

    fn end_line(&mut self, line: u64, decoded: bool, bad: Option<(Reason, String)>) {
        self.lines.push(Read { line, decoded, text_end: self.text.len(), cells_end: self.ends.len(), bad });
    }

    fn is_full(&self) -> bool {
        self.lines.len() >= CHUNK_ROWS || self.text.len() >= CHUNK_BYTES
    }

    /// The line at this position.
    pub(super) fn get(&self, position: usize) -> Option<Fields<'_>> {
        let Read { line, decoded, text_end, cells_end, bad } = self.lines.get(position)?;
        let (text, ends) = match position.checked_sub(1).map(|before| &self.lines[before]) {
            Some(before) => (before.text_end, before.cells_end),
            None => (0, 0),
        };
        let cells = match bad {
            Some(bad) => Err(bad),
            None => Ok(Cells { text: &self.text[text..*text_end], ends: &self.ends[ends..*cells_end] }),
        };
        Some(Fields { line: *line, decoded: *decoded, cells })
    }

    /// Bytes that it takes, and the buffers that it was read with.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let own = self.text.capacity() + self.ends.capacity() * size_of::<usize>();
        (own + self.lines.capacity() * size_of::<Read>(), self.reader_bytes)
    }
}

/// The files' rows, in order. Nothing is read before the first chunk is asked for.
pub(super) struct Reader<'k> {
    kind: &'k Kind,
    layout: Option<String>,
    limits: Limits,
    inputs: vec::IntoIter<Input>,
    rows: Option<Box<dyn Rows>>,
    row: Row,
}

impl<'k> Reader<'k> {
    /// Of these files, by the layout where headings and names do not tell.
    pub(super) fn new(kind: &'k Kind, inputs: Vec<Input>, layout: Option<String>, limits: Limits) -> Self {
        Self { kind, layout, limits, inputs: inputs.into_iter(), rows: None, row: Row::default() }
    }

    fn open(&self, input: Input) -> Result<(Box<dyn Rows>, Form<'k>), Error> {
        let (name, limits, mut repairs) = (input.name.clone(), &self.limits, Vec::new());
        let rows: Box<dyn Rows> = match input.open(limits)? {
            Opened::Parquet(name, file) => Box::new(ParquetRows::open(&name, file, limits)?),
            Opened::Text(name, Format::Ndjson, reader) => {
                Box::new(JsonRows::open(&name, Lines::new(reader, limits.line), limits)?)
            }
            Opened::Text(name, _, reader) => {
                let delimiter = self.kind.layouts.first().map_or(b',', |layout| layout.delimiter);
                let rows = CsvRows::open(&name, Lines::new(reader, limits.line), delimiter, limits)?;
                let done = [(rows.repairs.marked, Repair::Mark), (rows.repairs.empty_last, Repair::EmptyLastHeading)];
                repairs.extend(done.into_iter().filter(|(done, _)| *done).map(|(_, repair)| repair));
                Box::new(rows)
            }
        };
        let layout = layout::recognise(self.kind, &name, rows.headings(), self.layout.as_deref())?;
        let rows = reshape(rows, layout);
        let plan = Plan::new(self.kind, layout, rows.headings());
        Ok((rows, Form { layout: layout.name.clone(), plan, repairs }))
    }

    /// Reads into the chunk until it is full or the file ends.
    fn fill(&mut self, chunk: &mut Chunk<'k>) -> Result<(), Error> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        while !chunk.is_full() {
            match rows.next(&mut self.row)? {
                Fetched::Row => chunk.push(&self.row),
                Fetched::Bad { line, reason, what } => chunk.end_line(line, false, Some((reason, what))),
                Fetched::End { open_line } => {
                    chunk.ended = Some(Ok(Ended { encoding: rows.encoding(), open_line }));
                    break;
                }
            }
        }
        chunk.reader_bytes = rows.bytes() + self.row.bytes();
        Ok(())
    }
}

impl<'k> Iterator for Reader<'k> {
    type Item = Chunk<'k>;

    fn next(&mut self) -> Option<Chunk<'k>> {
        let mut chunk = Chunk::default();
        if self.rows.is_none() {
            let input = self.inputs.next()?;
            let name = input.name.clone();
            let form = match self.open(input) {
                Ok((rows, form)) => {
                    self.rows = Some(rows);
                    Some(form)
                }
                Err(error) => {
                    chunk.ended = Some(Err(error));
                    None
                }
            };
            chunk.begins = Some(Begun { name, form });
        }
        if let Err(error) = self.fill(&mut chunk) {
            chunk.ended = Some(Err(error));
        }
        if chunk.ended.is_some() {
            self.rows = None;
        }
        Some(chunk)
    }
}
