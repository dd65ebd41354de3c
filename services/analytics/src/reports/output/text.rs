//! A table for people. The first batch decides how wide the columns are, so that later ones need not be waited for: a longer cell
//! further down pushes its line to the right.

use std::fmt::Write;

use datafusion::arrow::record_batch::RecordBatch;

use super::Encode;
use crate::reports::{Cell, Column, Error, Report};

/// Characters beyond which a cell does not widen its column.
const WIDEST: usize = 60;

/// Writes an answer as a table of text.
pub(super) struct Text {
    title: String,
    made: Vec<String>,
    columns: Vec<Column>,
    /// For each column the one that says why its value is withheld.
    reasons: Vec<Option<usize>>,
    headings: Vec<String>,
    /// Characters of each column; none before the first batch.
    widths: Option<Vec<usize>>,
    n_rows: usize,
}

impl Text {
    pub(super) fn new(report: &Report, made: &[String]) -> Self {
        let place = |name: &str| report.columns.iter().position(|column| column.name == name);
        Self {
            title: report.title.clone(),
            made: made.to_vec(),
            columns: report.columns.clone(),
            reasons: report.columns.iter().map(|column| place(&format!("{}_reason", column.name))).collect(),
            headings: report.columns.iter().map(heading).collect(),
            widths: None,
            n_rows: 0,
        }
    }

    fn cell(&self, batch: &RecordBatch, row: usize, column: usize) -> String {
        let cell = Cell::of(batch, row, column);
        let reason = self.reasons[column].map(|reason| Cell::of(batch, row, reason));
        if cell == Cell::Null && reason.is_some_and(|reason| reason != Cell::Null) {
            return "suppressed".into();
        }
        // One row is one line, whatever a publisher wrote into a cell.
        cell.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The heading and the line under it, once widths are known.
    fn head(&mut self, lines: &[Vec<String>]) -> String {
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count().min(WIDEST));
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut text = String::new();
        self.widths = Some(widths);
        self.put_line(&mut text, &self.headings);
        self.put_line(&mut text, &rule);
        text
    }

    fn put_line(&self, text: &mut String, cells: &[String]) {
        let begin = text.len();
        for (column, cell) in cells.iter().enumerate() {
            let width = self.widths.as_ref().map_or(0, |widths| widths[column]);
            let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if self.columns[column].kind.is_number() { (fill.as_str(), "") } else { ("", fill.as_str()) };
            text.push_str(if column > 0 { "  " } else { "" });
            text.extend([before, cell, after]);
        }
        text.truncate(text.trim_end().len().max(begin));
        text.push('\n');
    }
}

impl Encode for Text {
    fn begin(&mut self) -> Result<Vec<u8>, Error> {
        let made = match self.made.as_slice() {
            [] => String::new(),
            made => format!("made sample data: {}\n", made.join(", ")),
        };
        Ok(format!("{}\n{made}\n", self.title).into_bytes())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let line = |row| (0..self.columns.len()).map(|column| self.cell(batch, row, column)).collect();
        let lines: Vec<Vec<String>> = (0..batch.num_rows()).map(line).collect();
        let mut text = if self.widths.is_none() { self.head(&lines) } else { String::new() };
        lines.iter().for_each(|line| self.put_line(&mut text, line));
        self.n_rows += lines.len();
        Ok(text.into_bytes())
    }

    fn end(&mut self) -> Result<Vec<u8>, Error> {
        let mut text = if self.widths.is_none() { self.head(&[]) } else { String::new() };
        let rows = if self.n_rows == 1 { "row" } else { "rows" };
        writeln!(text, "\n{} {rows}", self.n_rows).map_err(|error| Error::Write(Box::new(error)))?;
        Ok(text.into_bytes())
    }
}

/// Name and unit; counts and shares, whose unit is 1, have the name alone.
fn heading(column: &Column) -> String {
    match column.unit.as_str() {
        "" | "1" => column.name.clone(),
        unit => format!("{} [{unit}]", column.name),
    }
}
