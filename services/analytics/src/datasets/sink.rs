//! Where accepted rows go: a Parquet file.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::{error::Error, kind::Kind};

/// Rows in a row group: what the writer keeps in memory until it is full.
const GROUP_ROWS: usize = 131_072;
/// Bytes in a row group, before compression, for rows with long texts.
const GROUP_BYTES: usize = 64 << 20;

/// A Parquet file of a kind's table, with zstd. Whoever gives the writer makes it durable.
pub struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// [`Error::Sink`].
    pub fn create(kind: &Kind, writer: W) -> Result<Self, Error> {
        let level = ZstdLevel::try_new(3).map_err(sink)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("wardline analytics".into())
            .build();
        Ok(Self { writer: ArrowWriter::try_new(writer, kind.schema(), Some(properties)).map_err(sink)? })
    }

    /// Writes a batch; a row group ends at `GROUP_ROWS`, or above `GROUP_BYTES`.
    ///
    /// # Errors
    /// [`Error::Sink`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.writer.write(batch).map_err(sink)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush().map_err(sink)?;
        }
        Ok(())
    }

    /// Ends the file and gives the writer back.
    ///
    /// # Errors
    /// [`Error::Sink`].
    pub fn finish(self) -> Result<W, Error> {
        self.writer.into_inner().map_err(sink)
    }
}

fn sink(error: ParquetError) -> Error {
    Error::Sink(Box::new(error))
}
