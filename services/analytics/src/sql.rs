//! SQL for people who think in tables: SELECTs over data sets, reports, and the readings that the caller may read.
//!
//! What a caller sees, by what their roles grant and as it is now: each data set and each report (a table, and a function of its
//! parameters), `readings` of the patients to whom they have a relation, and `"STUDY".readings` of the subjects of a study, under its names
//! and at its times. Any other table is not there. A statement is one SELECT, in memory, time and rows that are bounded; it is
//! in the audit log, with why it was refused, before anything is answered, and each patient before a row of theirs leaves.

pub mod flight;
mod functions;
mod readings;
mod statement;
mod tables;
#[cfg(test)]
mod tests;
mod texts;
mod turns;

pub use turns::Turns;

use crate::{
    hexadecimal::hexadecimal,
    reporting::{RunError, Runner},
    reports::{self, Limits, context},
};
use auth::Pseudonyms;
use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    error::DataFusionError,
    execution::TaskContext,
    physical_plan::{ExecutionPlan, execute_stream},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use guard::decisions::Decisions;
use model::{
    ClockTolerance,
    access::{Action, Principal, decide_any},
};
use proto::problem;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Code, Status};
use turns::Turn;

/// Actions of which each permits to read some table.
const ACTIONS: [Action; 3] = [Action::ReadAnalytics, Action::ReadTimeline, Action::ReadDeidentified];
/// Bytes of a statement that are written down.
const WRITTEN: usize = 300;
/// Bytes of stack of who plans a statement: it goes as deep as the statement.
const PLANNING_STACK: usize = 256 << 20;

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
    /// How long a statement may run, and wait for its turn before.
    pub time: Duration,
    /// How many run at once.
    pub turns: Turns,
}

/// A statement that may be run.
pub struct Planned {
    physical: Arc<dyn ExecutionPlan>,
    tasks: Arc<TaskContext>,
    schema: SchemaRef,
    limits: Limits,
    time: Duration,
    /// Nobody else has it until this is dropped.
    turn: Option<Turn>,
}

impl Statements {
    /// What a statement would give. One that is refused is written down; of others the rows will be.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn described(&self, caller: &Principal, sql: &str) -> Result<SchemaRef, Status> {
        self.permitted(caller, sql).await?;
        match self.planned_in_time(caller, sql).await {
            Ok(planned) => Ok(planned.schema),
            Err(refusal) => {
                self.written(caller, sql, Some(&refusal)).await?;
                Err(refusal)
            }
        }
    }

    /// Plans a statement for a caller. That it was asked is written down before anything is given.
    ///
    /// # Errors
    /// The caller may read nothing; no SELECT, or of something that is not there for the caller; UNAVAILABLE.
    pub async fn plan(&self, caller: &Principal, sql: &str) -> Result<Planned, Status> {
        self.permitted(caller, sql).await?;
        let planned = self.planned_in_time(caller, sql).await;
        self.written(caller, sql, planned.as_ref().err()).await?;
        planned
    }

    /// Refuses who may read no table at all, before anything is read of the statement.
    async fn permitted(&self, caller: &Principal, sql: &str) -> Result<(), Status> {
        match self.action(caller) {
            Some(_) => Ok(()),
            None => self.decisions.anywhere(caller, ACTIONS[0]).recorded(&told(sql, None)).await,
        }
    }

    /// The first action that the caller may do somewhere.
    fn action(&self, caller: &Principal) -> Option<Action> {
        ACTIONS.into_iter().find(|action| self.may(caller, *action))
    }

    fn may(&self, caller: &Principal, action: Action) -> bool {
        decide_any(caller, action, self.decisions.now()).is_ok()
    }

    /// Writes down who asked what, and why it was refused.
    async fn written(&self, caller: &Principal, sql: &str, refusal: Option<&Status>) -> Result<(), Status> {
        let action = self.action(caller).unwrap_or(ACTIONS[0]);
        self.decisions.anywhere(caller, action).recorded(&told(sql, refusal)).await
    }

    /// Plans away from where calls are answered: what is planned is not interrupted, and goes deep.
    async fn planned_in_time(&self, caller: &Principal, sql: &str) -> Result<Planned, Status> {
        let turn = timeout(self.time, self.turns.next(caller.subject)).await.map_err(|_| busy(self.time))?;
        let (own, caller, sql) = (self.clone(), caller.clone(), sql.to_owned());
        let (done, planned) = oneshot::channel();
        let runtime = Handle::current();
        let planning = move || {
            let planned = runtime.block_on(own.planned(&caller, &sql, turn));
            // whoever asked may be gone
            let _ = done.send(planned);
        };
        let begun = std::thread::Builder::new().name("sql-plan".to_owned()).stack_size(PLANNING_STACK).spawn(planning);
        begun.map_err(|error| unreadable(&DataFusionError::IoError(error)))?;
        match timeout(self.time, planned).await {
            Ok(Ok(planned)) => planned,
            Ok(Err(_)) => Err(unreadable(&DataFusionError::Internal("a statement's planning panicked".to_owned()))),
            Err(_) => Err(late(self.time)),
        }
    }

    async fn planned(&self, caller: &Principal, sql: &str, turn: Option<Turn>) -> Result<Planned, Status> {
        let select = statement::one_select(sql)?;
        let context = context(&self.limits).map_err(|error| refused(&error))?;
        texts::bound(&context);
        let wanted = context.state().resolve_table_references(&select).map_err(|error| refused(&error))?;
        for table in wanted {
            tables::add(self, caller, &context, &table).await?;
        }
        let plan = context.state().statement_to_plan(select).await.map_err(|error| refused(&error))?;
        reports::only_reading().verify_plan(&plan).map_err(|error| refused(&error))?;
        let schema = without_views(plan.schema().as_arrow());
        let physical =
            context.state().create_physical_plan(&plan).await.map_err(|error| failed(error, &self.limits))?;
        Ok(Planned { physical, tasks: context.task_ctx(), schema, limits: self.limits.clone(), time: self.time, turn })
    }
}

/// What is written down of a statement, and of its refusal.
fn told(sql: &str, refusal: Option<&Status>) -> String {
    use tonic_types::StatusExt;
    let shown = &sql[..sql.floor_char_boundary(WRITTEN)];
    let more = if shown.len() < sql.len() {
        format!(" ... of {} bytes, SHA-256 {}", sql.len(), hexadecimal(Sha256::digest(sql)))
    } else {
        String::new()
    };
    let refused = refusal.map_or_else(String::new, |status| {
        let reason = status.get_details_error_info().map_or_else(|| format!("{:?}", status.code()), |info| info.reason);
        format!(" refused {reason}:")
    });
    format!("sql{refused} {shown}{more}")
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
    pub fn run(self) -> Result<impl Stream<Item = Result<RecordBatch, Status>> + Send + use<>, Status> {
        let Self { physical, tasks, schema, limits, time, turn } = self;
        let ends_at = Instant::now() + time;
        let rows = execute_stream(physical, tasks).map_err(|error| failed(error, &limits))?;
        let state = (rows, 0_usize, turn);
        Ok(stream::try_unfold(state, move |(mut rows, before, turn)| {
            let (schema, limits) = (Arc::clone(&schema), limits.clone());
            async move {
                let next = timeout_at(ends_at, rows.try_next()).await.map_err(|_| late(time))?;
                let Some(batch) = next.map_err(|error| failed(error, &limits))? else { return Ok(None) };
                let n_rows = before + batch.num_rows();
                if n_rows > limits.n_rows {
                    let text = format!("it has more than {} rows: add a LIMIT, a WHERE or a GROUP BY", limits.n_rows);
                    return Err(problem::status(Code::ResourceExhausted, "SQL_LIMIT", text));
                }
                let batch = reports::plain(&batch, &schema).map_err(|error| failed(error, &limits))?;
                Ok(Some((batch, (rows, n_rows, turn))))
            }
        })
        .boxed())
    }
}

/// The same columns, without the engine's own views of texts.
fn without_views(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => field.as_ref().clone().with_data_type(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary => field.as_ref().clone().with_data_type(DataType::Binary),
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn busy(time: Duration) -> Status {
    let text = format!("too many statements run, and none ended within {} s: try again later", time.as_secs());
    problem::status(Code::ResourceExhausted, "SQL_LIMIT", text)
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
