//! A row of a report, its values by the names of their columns.

use datafusion::arrow::record_batch::RecordBatch;

use super::{Cell, Report};

/// One of a report's rows.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub(super) report: &'static Report,
    batch: &'a RecordBatch,
    row: usize,
}

impl<'a> Row<'a> {
    /// The rows of a batch that the report gave, in order.
    pub fn all(report: &'static Report, batch: &'a RecordBatch) -> impl Iterator<Item = Self> {
        (0..batch.num_rows()).map(move |row| Self { report, batch, row })
    }

    /// The value in a column; null where the report has no such column.
    #[must_use]
    pub fn cell(&self, column: &str) -> Cell<'a> {
        let place = self.report.columns.iter().position(|declared| declared.name == column);
        place.map_or(Cell::Null, |place| Cell::of(self.batch, self.row, place))
    }

    /// The value as it is written; empty for a null.
    #[must_use]
    pub fn text(&self, column: &str) -> String {
        self.cell(column).to_string()
    }

    /// The value as it is written; none for a null.
    #[must_use]
    pub fn known(&self, column: &str) -> Option<String> {
        Some(self.cell(column)).filter(|cell| *cell != Cell::Null).map(|cell| cell.to_string())
    }

    /// The number; none where it is null or no number.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        self.cell(column).number()
    }

    /// The count; none where it is null or none from 0 to 2^32 - 1.
    #[must_use]
    pub fn count(&self, column: &str) -> Option<u32> {
        match self.cell(column) {
            Cell::Integer(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// Yes or no; none where it is null or neither.
    #[must_use]
    pub fn flag(&self, column: &str) -> Option<bool> {
        match self.cell(column) {
            Cell::Boolean(value) => Some(value),
            _ => None,
        }
    }
}
