//! A benchmark's result: a table for people, an object for programs.

use super::machine::Machine;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt;

/// Figures of a benchmark, as a table.
pub(super) struct Report {
    name: &'static str,
    machine: Machine,
    begun: Timestamp,
    /// Names of the columns, with their unit.
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
    notes: Vec<String>,
    details: Map<String, Value>,
}

impl Report {
    /// An empty table; the machine is described now, before it is busy.
    pub(super) fn new(name: &'static str, columns: &[&'static str]) -> Self {
        let (machine, begun) = (Machine::read(), Timestamp::now());
        let columns = columns.to_vec();
        Self { name, machine, begun, columns, rows: Vec::new(), notes: Vec::new(), details: Map::new() }
    }

    /// Adds a line of the table, one value a column.
    pub(super) fn row(&mut self, values: impl IntoIterator<Item = Value>) {
        self.rows.push(values.into_iter().collect());
    }

    /// Adds a sentence on how a figure came about, or what it should be.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Adds what is for programs only.
    pub(super) fn detail(&mut self, name: &str, value: impl Into<Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    /// Everything, as one object; each line of the table as an object too.
    pub(super) fn json(&self) -> Value {
        let line = |row: &Vec<Value>| {
            let named = self.columns.iter().zip(row).map(|(name, value)| ((*name).to_owned(), value.clone()));
            Value::Object(named.collect())
        };
        json!({
            "benchmark": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "debug_build": cfg!(debug_assertions),
            "begun": self.begun.to_string(),
            "machine": self.machine,
            "results": self.rows.iter().map(line).collect::<Vec<_>>(),
            "notes": self.notes,
            "details": self.details,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bench {}: {}", self.name, self.machine)?;
        if cfg!(debug_assertions) {
            writeln!(f, "a debug build: these figures mean nothing")?;
        }
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let width = |column: usize| {
            let cells = shown.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let header: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        for row in [&header].into_iter().chain(&shown) {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "{cell:<width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))
    }
}

/// Large numbers in groups of three digits, small ones with as many digits as say something.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), figure),
        other => other.to_string(),
    }
}

/// A figure as people read it.
pub(super) fn figure(value: f64) -> String {
    if value.abs() < 1_000.0 {
        let digits = match value.abs() {
            v if v.fract() == 0.0 => 0,
            v if v < 10.0 => 2,
            v if v < 100.0 => 1,
            _ => 0,
        };
        return format!("{value:.digits$}");
    }
    let whole = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let figures = [0.0, 0.813, 12.34, 256.0, 999.6, 1_000.0, 1_234_567.8, -1_234.0].map(figure);
        assert_eq!(figures, ["0", "0.81", "12.3", "256", "1000", "1,000", "1,234,568", "-1,234"]);
    }

    #[test]
    fn a_line_is_an_object_with_the_columns_names() {
        let mut report = Report::new("test", &["engines", "readings/s"]);
        report.row([json!("embedded"), json!(1_234.5)]);
        report.note("a note");
        assert_eq!(report.json()["results"][0]["readings/s"], json!(1_234.5));
        let text = report.to_string();
        assert!(text.contains("embedded       1,23") && text.contains("- a note"), "{text}");
    }
}
