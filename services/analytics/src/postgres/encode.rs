//! Rows as COPY reads them, in its text format: exact for each type, and small to write.

use crate::reports::Cell;
use datafusion::arrow::record_batch::RecordBatch;
use std::fmt::Write;

/// Adds a row. False: a text has a NUL in it, which PostgreSQL does not keep.
#[must_use]
pub(super) fn row(batch: &RecordBatch, row: usize, out: &mut String) -> bool {
    for column in 0..batch.num_columns() {
        if column > 0 {
            out.push('\t');
        }
        match Cell::of(batch, row, column) {
            Cell::Null => out.push_str("\\N"),
            Cell::Text(text) if text.contains('\0') => return false,
            Cell::Text(text) => escaped(text, out),
            // writing to a string does not fail
            cell => drop(write!(out, "{cell}")),
        }
    }
    out.push('\n');
    true
}

fn escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let decimals = Decimal128Array::from(vec![123_450, -5]).with_precision_and_scale(18, 2).unwrap();
        let batch = RecordBatch::try_from_iter([
            ("text", Arc::new(StringArray::from(vec![Some("a\tb\nc\\N\r"), None])) as ArrayRef),
            ("empty", Arc::new(StringArray::from(vec![Some(""), Some("\\.")]))),
            ("integer", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("decimal", Arc::new(decimals)),
            ("double", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
            ("boolean", Arc::new(BooleanArray::from(vec![true, false]))),
        ]);
        let (batch, mut out) = (batch.unwrap(), String::new());
        assert!(row(&batch, 0, &mut out) && row(&batch, 1, &mut out));
        let expected =
            "a\\tb\\nc\\\\N\\r\t\t-9223372036854775808\t1234.50\t0.1\ttrue\n\\N\t\\\\.\t\\N\t-0.05\t\\N\tfalse\n";
        assert_eq!(out, expected);
        let batch = RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(vec!["a\0b"])) as ArrayRef)]).unwrap();
        assert!(!row(&batch, 0, &mut out));
    }
}
