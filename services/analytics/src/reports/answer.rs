//! A report's answer: its rows in batches, as they come.

use std::{collections::HashMap, fmt, sync::Arc};

use datafusion::{
    arrow::{
        compute::cast,
        datatypes::{Field, Schema, SchemaRef},
        record_batch::RecordBatch,
    },
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, object_store::ObjectStoreUrl},
    physical_plan::ExecutionPlan,
};
use futures::TryStreamExt;

use super::{Error, Limits, Parameters, Report, files::store_url};

/// A report that runs. Its memory is bounded as long as the batches are taken one by one; dropping it cancels it.
pub struct Answer {
    report: &'static Report,
    parameters: Parameters,
    schema: SchemaRef,
    plan: Arc<dyn ExecutionPlan>,
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
        (plan, stream): (Arc<dyn ExecutionPlan>, SendableRecordBatchStream),
        limits: &Limits,
    ) -> Self {
        let schema = declared(report);
        Self {
            report,
            parameters,
            schema,
            plan,
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

    /// What it reads of its tables' files.
    pub(crate) fn scans(&self) -> Scans {
        Scans(Arc::clone(&self.plan))
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

/// The scans of files below an answer.
pub(crate) struct Scans(Arc<dyn ExecutionPlan>);

impl Scans {
    /// Rows that were read so far of the files of some tables; of one that is read several times, those of the longest scan.
    pub fn n_rows(&self, tables: &[&str]) -> u64 {
        tables.iter().filter_map(|table| self.n_rows_of(&store_url(table).ok()?)).sum()
    }

    fn n_rows_of(&self, store: &ObjectStoreUrl) -> Option<u64> {
        let (mut plans, mut longest) = (vec![&self.0], None);
        while let Some(plan) = plans.pop() {
            plans.extend(plan.children());
            let scan = plan.downcast_ref::<DataSourceExec>().and_then(|scan| scan.data_source().downcast_ref());
            if scan.is_some_and(|scan: &FileScanConfig| scan.object_store_url == *store) {
                let n_rows = plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or_default();
                longest = longest.max(Some(n_rows as u64));
            }
        }
        longest
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
