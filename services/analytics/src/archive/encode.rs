//! Parquet that is small and that readers can skip: sorted, in groups of rows, with the least and the greatest of each page.

use super::columns::{COLUMNS, VERSION, VERSION_KEY};
use bytes::Bytes;
use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};
use std::{io::Write, sync::Arc};

/// Rows of a group: read or skipped together, but for their pages.
const GROUP_ROWS: usize = 1 << 20;
/// Rows of a page.
const PAGE_ROWS: usize = 1 << 14;
/// Columns whose values hardly differ from the one before: kept as differences.
const STEPS: [&str; 4] = ["measured_at", "measured_until", "sequence", "place"];
/// Bytes of different receipts in a group that are kept once.
const RECEIPTS: usize = 4 << 20;

/// Writes rows that are in order.
pub(crate) struct Encoder(ArrowWriter<Vec<u8>>);

impl Encoder {
    /// Of the archive's columns, with texts as they come.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
        Ok(Self(ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)?))
    }

    /// Adds rows, which follow those before in the archive's order.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.0.write(rows)
    }

    pub(crate) fn end(self) -> Result<Bytes, ParquetError> {
        Ok(self.0.into_inner()?.into())
    }
}

fn properties() -> WriterProperties {
    let order = (0..4).map(|column| SortingColumn { column_idx: column, descending: false, nulls_first: true });
    let version = KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_owned());
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_sorting_columns(Some(order.collect()))
        .set_key_value_metadata(Some(vec![version]))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_dictionary_page_size_limit(ColumnPath::from("received_at"), RECEIPTS);
    for column in STEPS.map(ColumnPath::from) {
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    // what rows are sought by
    for column in COLUMNS.iter().take(3) {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(column.name), EnabledStatistics::Page);
    }
    properties.build()
}

/// A writer of any rows, for any reader: zstd, and no schema of the engine beside the file's own.
pub(crate) fn plain_parquet<W: Write + Send>(to: W, schema: &SchemaRef) -> Result<ArrowWriter<W>, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(to, Arc::clone(schema), options)
}

/// A file of rows.
pub(crate) fn file(rows: &RecordBatch) -> Result<Bytes, ParquetError> {
    let mut encoder = Encoder::new(&rows.schema())?;
    encoder.add(rows)?;
    encoder.end()
}
