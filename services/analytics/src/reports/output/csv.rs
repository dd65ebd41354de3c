//! CSV as RFC 4180 has it: headings, commas, lines that end with CR LF, quotes where they are needed. A null is an empty cell, an
//! empty text is `""`.
//!
//! Text that a spreadsheet would take for a formula ([`is_formula`]) gets an apostrophe before it; numbers, which cannot be
//! formulas, stay numbers.

use datafusion::arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use model::is_formula;

use super::Encode;
use crate::reports::{Cell, Error};

/// Writes an answer as CSV.
pub(super) struct Csv {
    names: Vec<String>,
}

impl Csv {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { names: schema.fields().iter().map(|field| field.name().clone()).collect() }
    }
}

impl Encode for Csv {
    fn begin(&mut self) -> Result<Vec<u8>, Error> {
        Ok((self.names.join(",") + "\r\n").into_bytes())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for column in 0..batch.num_columns() {
                if column > 0 {
                    text.push(',');
                }
                match Cell::of(batch, row, column) {
                    Cell::Text(cell) => put(&mut text, cell),
                    cell => text.push_str(&cell.to_string()),
                }
            }
            text.push_str("\r\n");
        }
        Ok(text.into_bytes())
    }

    fn end(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }
}

fn put(text: &mut String, cell: &str) {
    let formula = is_formula(cell);
    let quoted = cell.is_empty() || cell.contains([',', '"', '\r', '\n']) || cell.trim() != cell;
    if quoted {
        text.push('"');
    }
    if formula {
        text.push('\'');
    }
    if quoted {
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_in_full_width_is_text_too() {
        let mut text = String::new();
        put(&mut text, "＝1+1");
        assert_eq!(text, "'＝1+1");
    }
}
