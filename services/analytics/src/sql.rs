//! SQL for people who think in tables: SELECTs over data sets, reports, and the readings that the caller may read.
//!
//! What a caller sees, by what their roles grant and as it is now: each data set and each report (a table, and a function of its
//! parameters), `readings` of the patients to whom they have a relation, and `"STUDY".readings` of the subjects of a study, under its names
//! and at its times. Any other table is not there. A statement is one SELECT, in memory, time and rows that are bounded; it is
//! in the audit log before it is planned, and each patient before a row of theirs leaves.

pub mod flight;
mod functions;
mod readings;
mod statement;
mod tables;
#[cfg(test)]
mod tests;

use crate::{
    reporting::{RunError, Runner},
    reports::{self, Limits, context},
};
use auth::Pseudonyms;
use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::cast,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    dataframe::DataFrame,
    error::DataFusionError,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use guard::decisions::Decisions;
use model::{
    ClockTolerance,
    access::{Action, Principal, decide_any},
};
use proto::problem;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

/// Actions of which each permits to read some table.
const ACTIONS: [Action; 3] = [Action::ReadAnalytics, Action::ReadTimeline, Action::ReadDeidentified];
/// Bytes of a statement that are written down.
const WRITTEN: usize = 400;

/// Plans and runs statements. Clones are the same.
#[derive(Clone)]
pub struct Statements {
    /// Knows the data sets' current versions, and the archive.
    pub runner: Runner,
    /// Decides who reads what, and writes it down.
    pub decisions: Decisions,
    /// Names and moves subjects, as `StudyService` does; none: no studies are offered.
    pub names: Option<Arc<Pseudonyms>>,
    /// How far a device's clock may be ahead.
    pub tolerance: ClockTolerance,
    /// Memory and rows of a statement.
    pub limits: Limits,
    /// How long a statement may run.
    pub time: Duration,
}

/// A statement that may be run.
pub struct Planned {
    frame: DataFrame,
    schema: SchemaRef,
    limits: Limits,
    ends_at: Instant,
    time: Duration,
}

impl Statements {
    /// What a statement would give. One that is refused is written down; of others the rows will be.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn described(&self, caller: &Principal, sql: &str) -> Result<SchemaRef, Status> {
        match self.planned_in_time(caller, sql).await {
            Ok(planned) => Ok(planned.schema),
            Err(refusal) => {
                self.written(caller, sql).await?;
                Err(refusal)
            }
        }
    }

    /// Plans a statement for a caller, once it is written down that it was asked.
    ///
    /// # Errors
    /// The caller may read nothing; no SELECT, or of something that is not there for the caller; UNAVAILABLE.
    pub async fn plan(&self, caller: &Principal, sql: &str) -> Result<Planned, Status> {
        self.written(caller, sql).await?;
        self.planned_in_time(caller, sql).await
    }

    async fn planned_in_time(&self, caller: &Principal, sql: &str) -> Result<Planned, Status> {
        let ends_at = Instant::now() + self.time;
        let late = |_| Err(late(self.time));
        timeout_at(ends_at, self.planned(caller, sql, ends_at)).await.unwrap_or_else(late)
    }

    /// Writes down who asked what. A statement that is refused later is there, too.
    async fn written(&self, caller: &Principal, sql: &str) -> Result<(), Status> {
        let now = self.decisions.now();
        let first = ACTIONS.into_iter().find(|action| decide_any(caller, *action, now).is_ok());
        let detail = format!("sql {}", &sql[..sql.floor_char_boundary(WRITTEN)]);
        self.decisions.anywhere(caller, first.unwrap_or(ACTIONS[0])).recorded(&detail).await
    }

    async fn planned(&self, caller: &Principal, sql: &str, ends_at: Instant) -> Result<Planned, Status> {
        let select = statement::one_select(sql)?;
        let context = context(&self.limits).map_err(|error| refused(&error))?;
        let wanted = context.state().resolve_table_references(&select).map_err(|error| refused(&error))?;
        for table in wanted {
            tables::add(self, caller, &context, &table).await?;
        }
        let plan = context.state().statement_to_plan(select).await.map_err(|error| refused(&error))?;
        reports::only_reading().verify_plan(&plan).map_err(|error| refused(&error))?;
        let frame = DataFrame::new(context.state(), plan);
        let schema = plain(frame.schema().as_arrow());
        Ok(Planned { frame, schema, limits: self.limits.clone(), ends_at, time: self.time })
    }
}

impl Planned {
    /// Names and types of its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Runs it, and gives its rows as they come. Whoever drops them cancels it.
    ///
    /// # Errors
    /// A limit; what fails. Also of each batch.
    pub async fn run(self) -> Result<impl Stream<Item = Result<RecordBatch, Status>> + Send + use<>, Status> {
        let Self { frame, schema, limits, ends_at, time } = self;
        let begun = timeout_at(ends_at, frame.execute_stream()).await;
        let rows = begun.map_err(|_| late(time))?.map_err(|error| failed(error, &limits))?;
        let state = (rows, 0_usize);
        Ok(stream::try_unfold(state, move |(mut rows, before)| {
            let (schema, limits) = (Arc::clone(&schema), limits.clone());
            async move {
                let next = timeout_at(ends_at, rows.try_next()).await.map_err(|_| late(time))?;
                let Some(batch) = next.map_err(|error| failed(error, &limits))? else { return Ok(None) };
                let n_rows = before + batch.num_rows();
                if n_rows > limits.n_rows {
                    let text = format!("it has more than {} rows: add a LIMIT, a WHERE or a GROUP BY", limits.n_rows);
                    return Err(problem::status(Code::ResourceExhausted, "SQL_LIMIT", text));
                }
                let columns = batch.columns().iter().zip(schema.fields());
                let columns = columns.map(|(array, field)| cast(array, field.data_type())).collect::<Result<_, _>>();
                let batch = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&schema), columns));
                let batch = batch.map_err(|error| failed(error.into(), &limits))?;
                Ok(Some((batch, (rows, n_rows))))
            }
        })
        .boxed())
    }
}

/// The same columns, without the engine's own views of texts.
fn plain(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => field.as_ref().clone().with_data_type(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary => field.as_ref().clone().with_data_type(DataType::Binary),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn late(time: Duration) -> Status {
    let text = format!("it takes more than {} s: ask for less, or submit a report as a job", time.as_secs());
    problem::status(Code::DeadlineExceeded, "SQL_LIMIT", text)
}

/// What is wrong with a statement.
fn refused(error: &DataFusionError) -> Status {
    problem::invalid("INVALID_SQL", "query", error.strip_backtrace())
}

/// What a statement's failure is to its caller.
fn failed(error: DataFusionError, limits: &Limits) -> Status {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            let text = format!("it needs more than {} MiB of memory: ask for less", limits.memory_bytes >> 20);
            problem::status(Code::ResourceExhausted, "SQL_LIMIT", text)
        }
        // a cast, a division: the statement's own
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) | DataFusionError::Plan(_) => refused(&error),
        DataFusionError::External(cause) => match cause.downcast_ref::<Status>() {
            Some(status) => status.clone(),
            None => unreadable(&error),
        },
        _ => unreadable(&error),
    }
}

fn unreadable(error: &DataFusionError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "a statement cannot be run");
    problem::status(Code::Internal, "SQL_FAILED", "the statement cannot be run; tell the operators")
}

/// What keeps a table from being read.
fn unopened(error: RunError) -> Status {
    crate::answers::failed(error)
}
