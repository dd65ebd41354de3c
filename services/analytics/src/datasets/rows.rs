//! Rows of cells, as texts, from any format: what comes out of CSV, NDJSON and Parquet before it is given a meaning.

use super::{
    error::{Error, Reason},
    text::Encoding,
};

/// A row of cells. The same one is filled again and again.
#[derive(Debug, Default, Clone)]
pub(super) struct Row {
    /// Line, or row of a Parquet file, from 1.
    pub(super) line: u64,
    text: String,
    ends: Vec<usize>,
    /// Whether the line was cp1252 and not ASCII.
    pub(super) decoded: bool,
}

impl Row {
    /// Takes all cells away, and begins the row of this line.
    pub(super) fn clear(&mut self, line: u64) {
        self.line = line;
        self.text.clear();
        self.ends.clear();
        self.decoded = false;
    }

    /// Adds text to the cell that is being written.
    pub(super) fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Ends the cell that is being written.
    pub(super) fn end_cell(&mut self) {
        self.ends.push(self.text.len());
    }

    /// Adds a cell.
    pub(super) fn push_cell(&mut self, text: &str) {
        self.push_str(text);
        self.end_cell();
    }

    /// Takes the last cell away.
    pub(super) fn pop_cell(&mut self) {
        self.ends.pop();
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A cell, without blanks around it.
    pub(super) fn cell(&self, position: usize) -> &str {
        self.cells().get(position)
    }

    /// The cells in the order of the headings.
    pub(super) fn cells(&self) -> Cells<'_> {
        Cells { text: &self.text, ends: &self.ends }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// The cells of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'r> {
    pub(super) text: &'r str,
    /// Where each cell ends in the text.
    pub(super) ends: &'r [usize],
}

impl<'r> Cells<'r> {
    /// A cell, without blanks around it.
    pub(super) fn get(self, position: usize) -> &'r str {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        self.text[start..self.ends[position]].trim()
    }

    /// One after another.
    pub(super) fn iter(self) -> impl Iterator<Item = &'r str> {
        (0..self.ends.len()).map(move |position| self.get(position))
    }
}

/// What came next.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The row was filled.
    Row,
    /// The line could not be made a row.
    Bad {
        /// Number of the line, from 1.
        line: u64,
        /// Which rule the line broke.
        reason: Reason,
        /// What stands there instead.
        what: String,
    },
    /// There is no row any more.
    End {
        /// Number of the last line, if it has no line end.
        open_line: Option<u64>,
    },
}

/// Rows with headings.
pub(super) trait Rows: Send {
    /// Names of the cells.
    fn headings(&self) -> &[String];
    /// Fills the row with the next one.
    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error>;
    /// What the text is written in.
    fn encoding(&self) -> Encoding;
    /// Bytes that buffers take.
    fn bytes(&self) -> usize;
}

/// What a line too long was found to be.
pub(super) fn long(n: u64, most: usize) -> String {
    format!("a line of {n} bytes; at most {most}")
}

/// What a line was found to be.
pub(super) fn found(reason: Reason, most_cells: usize) -> String {
    match reason {
        Reason::TooManyCells => format!("more than {} cells", most_cells),
        Reason::OpenQuote => "a quote that is not closed on its line".into(),
        Reason::StrayQuote => "a quote inside a cell, or text after a closing quote".into(),
        Reason::Json => "not one flat JSON object".into(),
        Reason::Nul => "a NUL byte".into(),
        _ => "bytes that are no text".into(),
    }
}
