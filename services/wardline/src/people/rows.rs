//! Lists as a table, JSON or CSV.

use super::cli::Format;
use crate::operator::on_one_line;
use model::is_formula;
use serde_json::{Map, Value};
use std::{borrow::Cow, io::Write};

/// A list with named columns.
pub(super) struct Rows {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn push<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(str::to_owned).to_vec());
    }

    /// Prints all of it.
    pub(super) fn print(&self, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
        match format {
            Format::Table => self.table(out)?,
            Format::Json => {
                let object = |row: &Vec<String>| {
                    let cells = self.columns.iter().zip(row);
                    Value::Object(
                        cells.map(|(column, cell)| ((*column).to_owned(), cell.as_str().into())).collect::<Map<_, _>>(),
                    )
                };
                writeln!(out, "{}", serde_json::to_string_pretty(&self.rows.iter().map(object).collect::<Vec<_>>())?)?;
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(self.columns)?;
                for row in &self.rows {
                    writer.write_record(row.iter().map(|cell| plain(cell).into_owned()))?;
                }
                writer.flush()?;
            }
        }
        Ok(())
    }

    fn table(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let heading: Vec<_> = self.columns.iter().map(|column| column.to_uppercase()).collect();
        let rows: Vec<Vec<_>> =
            self.rows.iter().map(|row| row.iter().map(|cell| on_one_line(cell).into_owned()).collect()).collect();
        let lines = || std::iter::once(&heading).chain(&rows);
        let widths: Vec<_> = (0..heading.len())
            .map(|column| {
                let longest = lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
                // what formatting can fill up to
                longest.unwrap_or(0).min(usize::from(u16::MAX))
            })
            .collect();
        for line in lines() {
            let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A cell that no spreadsheet takes for a formula: with an apostrophe before it, which an import leaves out again.
fn plain(cell: &str) -> Cow<'_, str> {
    if is_formula(cell.trim_start_matches('\'')) { format!("'{cell}").into() } else { cell.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: Format) -> String {
        let mut rows = Rows::new(&["id", "name"]);
        rows.push(["1", "Ada, \"the first\""]);
        rows.push(["22", "Bob"]);
        let mut out = Vec::new();
        rows.print(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Nobody reads what is written here.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_known_as_one() {
        let long = "x".repeat(100_000);
        let mut rows = Rows::new(&["id"]);
        rows.push([&long]);
        for format in [Format::Table, Format::Json, Format::Csv] {
            let error = rows.print(format, &mut Closed).unwrap_err();
            assert!(crate::ending::is_closed_pipe(&error), "{format:?}: {error:#}");
        }
        let error = serde_json::to_writer_pretty(Closed, &[1]).unwrap_err();
        assert!(crate::ending::is_closed_pipe(&error.into()), "as audit and quarantine print");
        assert!(!crate::ending::is_closed_pipe(&anyhow::anyhow!("another")));
    }

    #[test]
    fn no_cell_of_a_table_makes_a_row() {
        let mut rows = Rows::new(&["id", "reason"]);
        rows.push(["1", "the probe\r\n22  forged\u{1b}[2K"]);
        let printed = |format| {
            let mut out = Vec::new();
            rows.print(format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(printed(Format::Table), "ID  REASON\n1   the probe\\r\\n22  forged\\u{1b}[2K\n");
        assert_eq!(printed(Format::Csv), "id,reason\n1,\"the probe\r\n22  forged\u{1b}[2K\"\n");
        let json: Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(json[0]["reason"], "the probe\r\n22  forged\u{1b}[2K");
    }

    #[test]
    fn no_cell_of_csv_is_a_formula() {
        let mut rows = Rows::new(&["name"]);
        for name in ["=1+1", "'=1", "'tis", "+49 30 1", "-", "@x", "\t=1", "＝1", "A=1"] {
            rows.push([name]);
        }
        let mut out = Vec::new();
        rows.print(Format::Csv, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "name\n'=1+1\n''=1\n'tis\n'+49 30 1\n'-\n'@x\n'\t=1\n'＝1\nA=1\n");
    }

    #[test]
    fn the_same_list_in_three_forms() {
        assert_eq!(printed(Format::Table), "ID  NAME\n1   Ada, \"the first\"\n22  Bob\n");
        assert_eq!(printed(Format::Csv), "id,name\n1,\"Ada, \"\"the first\"\"\"\n22,Bob\n");
        let json: Value = serde_json::from_str(&printed(Format::Json)).unwrap();
        assert_eq!(json[0]["name"], "Ada, \"the first\"");
    }
}
