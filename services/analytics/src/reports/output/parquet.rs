//! Parquet, compressed with zstd.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::Encode;
use crate::reports::Error;

/// Bytes that are held until they are written as a group of rows.
const GROUP_BYTES: usize = 16 << 20;

/// Writes an answer as Parquet.
pub(super) struct Parquet {
    schema: SchemaRef,
    writer: Option<ArrowWriter<Ready>>,
    ready: Ready,
}

impl Parquet {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { schema: Arc::clone(schema), writer: None, ready: Ready::default() }
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<Ready>, ParquetError> {
        if self.writer.is_none() {
            let compression = Compression::ZSTD(ZstdLevel::default());
            let properties = WriterProperties::builder().set_compression(compression).build();
            let writer = ArrowWriter::try_new(self.ready.clone(), Arc::clone(&self.schema), Some(properties))?;
            self.writer = Some(writer);
        }
        self.writer.as_mut().ok_or_else(|| ParquetError::General("no writer".into()))
    }
}

impl Encode for Parquet {
    fn begin(&mut self) -> Result<Vec<u8>, Error> {
        self.writer().map_err(of_parquet)?;
        Ok(self.ready.take())
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let writer = self.writer().map_err(of_parquet)?;
        writer.write(batch).map_err(of_parquet)?;
        if writer.in_progress_size() > GROUP_BYTES {
            writer.flush().map_err(of_parquet)?;
        }
        Ok(self.ready.take())
    }

    fn end(&mut self) -> Result<Vec<u8>, Error> {
        self.writer().map_err(of_parquet)?;
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(of_parquet)?;
        }
        Ok(self.ready.take())
    }
}

fn of_parquet(error: ParquetError) -> Error {
    Error::Write(Box::new(error))
}

/// Bytes that the writer is done with.
#[derive(Debug, Clone, Default)]
struct Ready(Arc<Mutex<Vec<u8>>>);

impl Ready {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Ready {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
