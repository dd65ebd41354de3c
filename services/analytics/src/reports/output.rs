//! A report's answer as JSON, CSV, Parquet, or a table for people. Each is written as the batches come: memory stays bounded.

mod csv;
mod json;
mod parquet;
mod text;

use std::{io::Write, str::FromStr};

use datafusion::arrow::record_batch::RecordBatch;

use super::{Answer, Error};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object: report, title, parameters, columns with type, unit and description, rows as objects. Decimals are strings.
    Json,
    /// RFC 4180, with headings. A text that a spreadsheet would take for a formula has an apostrophe before it.
    Csv,
    /// Parquet, compressed with zstd; units and descriptions are the columns' metadata.
    Parquet,
    /// Columns that stand under each other, numbers on the right, units in the headings.
    Text,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            "table" => Ok(Self::Text),
            _ => Err("the format is json, csv, parquet or table".into()),
        }
    }
}

/// An answer's bytes in one format: what stands before the rows, the rows, what stands after them. Each call gives the bytes that
/// are ready, which may be none.
pub trait Encode: Send {
    /// What stands before the rows.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] where the format cannot hold the columns; so for the other two.
    fn begin(&mut self) -> Result<Vec<u8>, Error>;

    /// Rows with the answer's schema.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error>;

    /// What stands after them.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    fn end(&mut self) -> Result<Vec<u8>, Error>;
}

/// Writes answers like this one in a format, for those who send the bytes themselves.
#[must_use]
pub fn encoder(format: Format, answer: &Answer) -> Box<dyn Encode> {
    match format {
        Format::Json => Box::new(json::Json::new(answer.report(), answer.parameters(), answer.made())),
        Format::Csv => Box::new(csv::Csv::new(answer.schema())),
        Format::Parquet => Box::new(parquet::Parquet::new(answer.schema())),
        Format::Text => Box::new(text::Text::new(answer.report(), answer.made())),
    }
}

/// Writes the whole answer, and says how many rows it had. After an error what was written is of no use.
///
/// # Errors
///
/// As [`Answer::next`], and [`Error::Write`].
pub async fn write(mut answer: Answer, format: Format, out: &mut (dyn Write + Send)) -> Result<usize, Error> {
    let mut encoder = encoder(format, &answer);
    let mut put = |bytes: Vec<u8>| out.write_all(&bytes).map_err(|error| Error::Write(Box::new(error)));
    put(encoder.begin()?)?;
    while let Some(batch) = answer.next().await? {
        put(encoder.rows(&batch)?)?;
    }
    put(encoder.end()?)?;
    out.flush().map_err(|error| Error::Write(Box::new(error)))?;
    Ok(answer.n_rows())
}
