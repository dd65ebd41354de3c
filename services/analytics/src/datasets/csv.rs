//! CSV in a fixed dialect: one line a row, so that a lone quote spoils its own line only. Nothing is sniffed.

use super::{
    error::{Error, Reason},
    limits::Limits,
    open::failed,
    rows::{Fetched, Row, Rows, found, long},
    text::{Encoding, Line, Lines},
};

/// The header's quirks that were mended.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct HeaderRepairs {
    /// It began with the mark of UTF-8.
    pub(super) marked: bool,
    /// It ended with an empty heading, which rows do not have.
    pub(super) empty_last: bool,
}

/// Rows of a CSV file: one line each, cells never span lines, so that a lone quote spoils its own line only.
pub(super) struct CsvRows {
    file: String,
    lines: Lines,
    delimiter: u8,
    cells: usize,
    headings: Vec<String>,
    /// What was mended in the header.
    pub(super) repairs: HeaderRepairs,
}

impl CsvRows {
    /// Reads the header.
    ///
    /// # Errors
    /// A file that is empty, or whose first line cannot be read.
    pub(super) fn open(file: &str, mut lines: Lines, delimiter: u8, limits: &Limits) -> Result<Self, Error> {
        let refused = |reason, what: String| Err(Error::refused(file, 1, reason, what));
        match lines.next().map_err(|error| failed(file, 0, error))? {
            Line::End => return refused(Reason::Empty, "there is nothing in it".into()),
            Line::TooLong(n) => return refused(Reason::LongLine, long(n, limits.line)),
            Line::Whole => {}
        }
        let mut row = Row::default();
        let split = match lines.text() {
            Ok(text) => split(&text, delimiter, limits.cells, &mut row),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = split {
            return refused(reason, format!("the headings: {}", found(reason, limits.cells)));
        }
        let mut repairs = HeaderRepairs { marked: lines.marked, empty_last: false };
        if row.len() > 1 && row.cell(row.len() - 1).is_empty() {
            row.pop_cell();
            repairs.empty_last = true;
        }
        let headings = row.cells().iter().map(str::to_owned).collect();
        Ok(Self { file: file.to_owned(), lines, delimiter, cells: limits.cells, headings, repairs })
    }

    fn fill(&mut self, row: &mut Row) -> Result<(), (Reason, String)> {
        let before = self.lines.encoding;
        let number = self.lines.number;
        let text = self.lines.text().map_err(|reason| (reason, encoding(reason, before)))?;
        row.clear(number);
        row.decoded = matches!(text, std::borrow::Cow::Owned(_));
        split(&text, self.delimiter, self.cells, row).map_err(|reason| (reason, found(reason, self.cells)))?;
        // The header's empty last heading may have its empty cell, too.
        if self.repairs.empty_last && row.len() == self.headings.len() + 1 && row.cell(row.len() - 1).is_empty() {
            row.pop_cell();
        }
        if row.len() == self.headings.len() {
            return Ok(());
        }
        Err((Reason::CellCount, format!("{} cells where {} headings are", row.len(), self.headings.len())))
    }
}

impl Rows for CsvRows {
    fn headings(&self) -> &[String] {
        &self.headings
    }

    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error> {
        loop {
            let read = self.lines.next().map_err(|error| failed(&self.file, self.lines.number + 1, error))?;
            let line = self.lines.number;
            match read {
                Line::End => return Ok(Fetched::End { open_line: self.lines.open_line() }),
                Line::TooLong(n) => {
                    return Ok(Fetched::Bad { line, reason: Reason::LongLine, what: long(n, self.lines.longest()) });
                }
                Line::Whole if self.lines.is_empty() && self.headings.len() > 1 => {}
                Line::Whole => {
                    return Ok(match self.fill(row) {
                        Ok(()) => Fetched::Row,
                        Err((reason, what)) => Fetched::Bad { line, reason, what },
                    });
                }
            }
        }
    }

    fn encoding(&self) -> Encoding {
        self.lines.encoding
    }

    fn bytes(&self) -> usize {
        self.lines.bytes()
    }
}

fn encoding(reason: Reason, before: Encoding) -> String {
    match (reason, before) {
        (Reason::Encoding, Encoding::Utf8) => "bytes that are no UTF-8, after lines that are".into(),
        (Reason::Encoding, Encoding::Cp1252) => "UTF-8 after lines in cp1252".into(),
        (Reason::Encoding, Encoding::Ascii) => "bytes that are neither UTF-8 nor cp1252".into(),
        _ => "a NUL byte".into(),
    }
}

/// Splits a line into cells. Stricter than CSV libraries are: what they repair silently is refused.
fn split(line: &str, delimiter: u8, most: usize, row: &mut Row) -> Result<(), Reason> {
    let bytes = line.as_bytes();
    let mut at = 0;
    loop {
        if row.len() == most {
            return Err(Reason::TooManyCells);
        }
        if bytes.get(at) == Some(&b'"') {
            at = unquote(line, at + 1, row)?;
        } else {
            // by bytes, of which an import reads billions: both are ASCII, and so no part of another character
            let end = bytes[at..].iter().position(|byte| *byte == delimiter || *byte == b'"');
            let end = end.map_or(bytes.len(), |length| at + length);
            row.push_str(&line[at..end]);
            at = end;
        }
        row.end_cell();
        match bytes.get(at) {
            None => return Ok(()),
            Some(byte) if *byte == delimiter => at += 1,
            Some(_) => return Err(Reason::StrayQuote),
        }
    }
}

/// Writes a quoted cell that begins here; says where what follows its closing quote begins.
fn unquote(line: &str, begin: usize, row: &mut Row) -> Result<usize, Reason> {
    let mut at = begin;
    loop {
        let (text, after) = line[at..].split_once('"').ok_or(Reason::OpenQuote)?;
        row.push_str(text);
        at += text.len() + 1;
        if !after.starts_with('"') {
            return Ok(at);
        }
        row.push_str("\"");
        at += 1;
    }
}
