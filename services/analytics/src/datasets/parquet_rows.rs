//! Rows of a Parquet file, as texts, so that they pass the same rules as those of a CSV file.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
};

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
};
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
};

use super::{
    error::{Error, Reason},
    limits::Limits,
    rows::{Fetched, Row, Rows},
    text::Encoding,
};

/// Rows of one file.
pub(super) struct ParquetRows {
    file: String,
    headings: Vec<String>,
    reader: ParquetRecordBatchReader,
    /// The batch that is being read, its columns as texts.
    columns: Vec<ArrayRef>,
    position: usize,
    batch_bytes: usize,
    row: u64,
}

impl ParquetRows {
    /// Opens a file and reads its headings; rows are unpacked a batch at a time.
    ///
    /// # Errors
    /// What is no Parquet file, is cut off or damaged, or holds too much or something nested.
    pub(super) fn open(name: &str, file: File, limits: &Limits) -> Result<Self, Error> {
        let size = file.metadata().map_err(|source| Error::Read { file: name.to_owned(), source })?.len();
        if size == 0 {
            return Err(Error::refused(name, 0, Reason::Empty, "there is nothing in it"));
        }
        let opened = survived(name, 0, || ParquetRecordBatchReaderBuilder::try_new(file))?;
        let builder = opened.map_err(|error| broken(name, 0, &error))?;
        let unpacked: i64 = builder.metadata().row_groups().iter().map(|group| group.total_byte_size()).sum();
        let most = size.saturating_mul(limits.ratio).max(limits.ratio_from).min(limits.unpacked);
        if u64::try_from(unpacked).is_ok_and(|unpacked| unpacked > most) {
            return Err(Error::refused(
                name,
                0,
                Reason::TooLarge,
                format!("{unpacked} bytes come out of {size}; at most {most}"),
            ));
        }
        let fields = builder.schema().fields().clone();
        if fields.len() > limits.cells {
            return Err(Error::refused(
                name,
                0,
                Reason::TooManyCells,
                format!("{} columns; at most {}", fields.len(), limits.cells),
            ));
        }
        if let Some(field) =
            fields.iter().find(|field| field.data_type().is_nested() || *field.data_type() == DataType::Null)
        {
            return Err(Error::refused(
                name,
                0,
                Reason::Nested,
                format!("column `{}` is no plain value", model::escaped(field.name())),
            ));
        }
        let headings = fields.iter().map(|field| field.name().clone()).collect();
        let reader =
            builder.with_batch_size(limits.batch_rows.min(1_024)).build().map_err(|error| broken(name, 0, &error))?;
        let file = name.to_owned();
        Ok(Self { file, headings, reader, columns: Vec::new(), position: 0, batch_bytes: 0, row: 0 })
    }

    /// The next batch with rows in it; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        while self.columns.first().is_none_or(|column| self.position == column.len()) {
            let as_text =
                |batch: RecordBatch| batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect();
            let read = || self.reader.next().map(|batch| batch.and_then(as_text));
            let Some(columns) = survived(&self.file, self.row + 1, read)? else { return Ok(false) };
            let columns: Result<Vec<ArrayRef>, _> = columns;
            self.columns = columns.map_err(|error| {
                Error::refused(&self.file, self.row + 1, Reason::Damaged, format!("a batch cannot be read ({error})"))
            })?;
            self.batch_bytes = self.columns.iter().map(|column| column.get_array_memory_size()).sum();
            self.position = 0;
        }
        Ok(true)
    }
}

impl Rows for ParquetRows {
    fn headings(&self) -> &[String] {
        &self.headings
    }

    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error> {
        if !self.advance()? {
            return Ok(Fetched::End { open_line: None });
        }
        self.row += 1;
        row.clear(self.row);
        for column in &self.columns {
            let texts = column.as_string::<i32>();
            row.push_cell(if texts.is_null(self.position) { "" } else { texts.value(self.position) });
        }
        self.position += 1;
        Ok(Fetched::Row)
    }

    fn encoding(&self) -> Encoding {
        Encoding::Utf8
    }

    fn bytes(&self) -> usize {
        self.batch_bytes
    }
}

/// What a reader of files gives that panics at some damaged ones: `PAR1` and `PAR1` with eight bytes between them is one.
///
/// # Errors
/// It panicked: the file is refused.
fn survived<T>(file: &str, line: u64, read: impl FnOnce() -> T) -> Result<T, Error> {
    // what it leaves behind is not used again
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| Error::refused(file, line, Reason::Damaged, "no whole Parquet file"))
}

/// What a Parquet file that cannot be opened is.
fn broken(file: &str, line: u64, error: &ParquetError) -> Error {
    let reason = match error {
        ParquetError::EOF(_) | ParquetError::NeedMoreData(_) | ParquetError::NeedMoreDataRange(_) => Reason::Truncated,
        _ => Reason::Damaged,
    };
    Error::refused(file, line, reason, format!("no whole Parquet file ({error})"))
}
