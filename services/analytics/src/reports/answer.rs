//! A report's answer: its rows in batches, as they come.

use std::{collections::HashMap, fmt, sync::Arc};

use datafusion::{
    arrow::{
        compute::cast,
        datatypes::{Field, Schema, SchemaRef},
        record_batch::RecordBatch,
    },
    error::DataFusionError,
    execution::SendableRecordBatchStream,
};
use futures::TryStreamExt;

use super::{Error, Limits, Parameters, Report};

/// A report that runs. Its memory is bounded as long as the batches are taken one by one; dropping it cancels it.
pub struct Answer {
    report: &'static Report,
    parameters: Parameters,
    schema: SchemaRef,
    stream: SendableRecordBatchStream,
    n_rows: usize,
    max_rows: usize,
    memory_bytes: usize,
    made: Vec<String>,
}

impl Answer {
    pub(super) fn new(
        report: &'static Report,
        parameters: Parameters,
        stream: SendableRecordBatchStream,
        limits: &Limits,
    ) -> Self {
        let schema = declared(report);
        Self {
            report,
            parameters,
            schema,
            stream,
            n_rows: 0,
            max_rows: limits.n_rows,
            memory_bytes: limits.memory_bytes,
            made: Vec::new(),
        }
    }

    /// The same, over these tables whose rows have numbers of made samples.
    pub(super) fn with_made(self, made: Vec<String>) -> Self {
        Self { made, ..self }
    }

    /// The tables that it reads in which numbers of made samples are: they say nothing of the world, and whoever shows the rows
    /// says so.
    #[must_use]
    pub fn made(&self) -> &[String] {
        &self.made
    }

    /// The report: title, sources, columns with units.
    #[must_use]
    pub fn report(&self) -> &'static Report {
        self.report
    }

    /// With what it was asked, defaults too.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The declared schema, which all batches have; `unit` and `description` are the fields' metadata.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that were taken so far.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The next rows, at least one; none after the last.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyRows`] past the limit, [`Error::Memory`] where it does not suffice, [`Error::Engine`] for anything else.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let of_engine = |error| Error::of_engine(error, self.memory_bytes);
        while let Some(batch) = self.stream.try_next().await.map_err(of_engine)? {
            if batch.num_rows() == 0 {
                continue;
            }
            self.n_rows += batch.num_rows();
            if self.n_rows > self.max_rows {
                return Err(Error::TooManyRows { limit: self.max_rows });
            }
            return plain(&batch, &self.schema).map(Some).map_err(of_engine);
        }
        Ok(None)
    }

    /// All rows at once, for results that are known to be small.
    ///
    /// # Errors
    ///
    /// As [`Answer::next`].
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("report", &self.report.name)
            .field("n_rows", &self.n_rows)
            .finish_non_exhaustive()
    }
}

/// The schema that the report declares.
pub(crate) fn declared(report: &Report) -> SchemaRef {
    let field = |column: &super::Column| {
        let metadata = [("unit", &column.unit), ("description", &column.about)];
        let metadata: HashMap<String, String> =
            metadata.into_iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.into(), v.clone())).collect();
        Field::new(&column.name, column.kind.arrow(), true).with_metadata(metadata)
    };
    Arc::new(Schema::new(report.columns.iter().map(field).collect::<Vec<_>>()))
}

/// The batch with a schema's types: views of texts become texts.
pub(crate) fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| cast(array, field.data_type()));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}
