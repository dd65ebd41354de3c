//! Tables as they rest: Parquet files of a version.

use crate::datasets::Error;
use datafusion::arrow::array::RecordBatch;
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use std::{fs::File, path::PathBuf};

/// Gives some columns of all rows, in the order of the files, a batch at a time.
///
/// # Errors
/// A file that cannot be read, and what `each` says.
pub fn each_batch(
    files: &[PathBuf],
    columns: &[String],
    mut each: impl FnMut(&RecordBatch) -> Result<(), Error>,
) -> Result<(), Error> {
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::open(path).map_err(|source| Error::Read { file: name.clone(), source })?;
        let unreadable = |error: String| Error::Read { file: name.clone(), source: std::io::Error::other(error) };
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(error.to_string()))?;
        let wanted = ProjectionMask::columns(reader.parquet_schema(), columns.iter().map(String::as_str));
        let batches = reader.with_projection(wanted).build().map_err(|error| unreadable(error.to_string()))?;
        for batch in batches {
            each(&batch.map_err(|error| unreadable(error.to_string()))?)?;
        }
    }
    Ok(())
}
