//! JSON: one object. Decimals are strings, so that no reader rounds money.

use std::fmt::Write;

use datafusion::arrow::record_batch::RecordBatch;
use serde_json::{Map, Value as JsonValue, json};

use super::Encode;
use crate::reports::{Cell, Error, Parameters, Report, Value};

/// Writes an answer as JSON.
pub(super) struct Json {
    head: String,
    /// `"name":` of each column.
    names: Vec<String>,
    n_rows: usize,
}

impl Json {
    pub(super) fn new(report: &Report, parameters: &Parameters, made: &[String]) -> Self {
        let parameters: Map<String, JsonValue> =
            parameters.iter().map(|(name, value)| (name.into(), of(value))).collect();
        let columns: Vec<JsonValue> = report
            .columns
            .iter()
            .map(|column| {
                json!({
                    "name": column.name, "type": column.kind.name(), "unit": column.unit, "description": column.about,
                })
            })
            .collect();
        let head = json!({
            "report": report.name, "title": report.title, "about": report.about, "sources": report.sources,
            "made_sample_data": made, "parameters": parameters, "columns": columns,
        });
        let names = report.columns.iter().map(|column| format!("{}:", json!(column.name))).collect();
        Self { head: head.to_string(), names, n_rows: 0 }
    }

    fn put_row(&mut self, batch: &RecordBatch, row: usize, text: &mut String) {
        text.push_str(if self.n_rows == 0 { "\n{" } else { ",\n{" });
        self.n_rows += 1;
        for (column, name) in self.names.iter().enumerate() {
            if column > 0 {
                text.push(',');
            }
            text.push_str(name);
            text.push_str(&written(&Cell::of(batch, row, column)));
        }
        text.push('}');
    }
}

impl Encode for Json {
    fn begin(&mut self) -> Result<Vec<u8>, Error> {
        let open = self.head.strip_suffix('}').unwrap_or(&self.head);
        Ok(format!("{open},\"rows\":[").into_bytes())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            self.put_row(batch, row, &mut text);
        }
        Ok(text.into_bytes())
    }

    fn end(&mut self) -> Result<Vec<u8>, Error> {
        let mut text = String::from("\n]");
        write!(text, ",\"n_rows\":{}}}", self.n_rows).map_err(|error| Error::Write(Box::new(error)))?;
        text.push('\n');
        Ok(text.into_bytes())
    }
}

fn of(value: &Value) -> JsonValue {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
    }
}

fn written(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Text(text) => json!(text).to_string(),
        Cell::Integer(number) => number.to_string(),
        Cell::Double(number) => json!(number).to_string(),
        Cell::Decimal(text) | Cell::Date(text) => json!(text).to_string(),
        Cell::Boolean(value) => value.to_string(),
    }
}
