//! One value of a report's rows, out of its column.

use std::fmt;

use datafusion::arrow::{
    array::AsArray,
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type},
    record_batch::RecordBatch,
};

/// A value of a report's rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Nothing is known.
    Null,
    /// A text or a code.
    Text(&'a str),
    /// Whole number of 64 bits, with a sign.
    Integer(i64),
    /// Floating point, always finite: what is not a number is null.
    Double(f64),
    /// Exact number, as it is written: `1234.50`.
    Decimal(String),
    /// True or false.
    Boolean(bool),
    /// Day, as ISO 8601 writes it: `2020-03-01`.
    Date(String),
}

impl<'a> Cell<'a> {
    /// The value in this row of this column.
    ///
    /// # Panics
    ///
    /// If there is no such row or column, or its type is none of a report's: an answer's batches have the declared types.
    #[must_use]
    pub fn of(batch: &'a RecordBatch, row: usize, column: usize) -> Self {
        let array = batch.column(column).as_ref();
        if array.is_null(row) {
            return Self::Null;
        }
        match array.data_type() {
            DataType::Utf8 => Self::Text(array.as_string::<i32>().value(row)),
            DataType::Int64 => Self::Integer(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => match array.as_primitive::<Float64Type>().value(row) {
                number if number.is_finite() => Self::Double(number),
                _ => Self::Null,
            },
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().value_as_string(row)),
            DataType::Boolean => Self::Boolean(array.as_boolean().value(row)),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().value_as_date(row).map_or_else(
                || "out of range".into(), // a day that no calendar has: files are checked before they become tables
                |day| day.to_string(),
            )),
            other => unreachable!("a report has no column of {other}"),
        }
    }

    /// The number; none where it is null or no number.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            Self::Integer(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Decimal(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Cell<'_> {
    /// Plain, without marks; nothing for a null.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Decimal(text) | Self::Date(text) => f.write_str(text),
            Self::Boolean(value) => value.fmt(f),
        }
    }
}
