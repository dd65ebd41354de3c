//! The engine: plans a report with DataFusion over its tables, in bounded memory, and starts it.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, sync::Arc};

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        compute::cast,
        datatypes::DataType,
    },
    dataframe::DataFrame,
    error::DataFusionError,
    execution::{
        context::{SQLOptions, SessionContext},
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::TrackConsumersPool,
        runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::execute_stream,
    prelude::SessionConfig,
};
use futures::{Stream, StreamExt, TryStreamExt};

use super::{Answer, Domain, Error, Parameters, Report, TableFiles, Type, great_circle, memory::SharedMemory, nearest};
use crate::archive::reading::TABLE as READINGS;

/// What reports read of the archive where a reading is to count once, and as what.
const COUNTED_READINGS: (&str, &str) = ("counted_readings", include_str!("counted_readings.sql"));

/// The catalogue and the schema of all tables.
pub(crate) const CATALOG: (&str, &str) = ("wardline", "public");

/// What a report may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Memory of sorts, groups and joins together, bytes. The process uses more: batches on their way are not counted.
    pub memory_bytes: usize,
    /// Folder for what does not fit into it; none for the system's.
    pub spill_folder: Option<PathBuf>,
    /// Bytes that may stand there at once.
    pub spill_bytes: u64,
    /// Rows of the result.
    pub n_rows: usize,
    /// Threads that work on it at once.
    pub n_partitions: usize,
}

impl Default for Limits {
    /// 512 MiB of memory, 8 GiB of disk, a million rows, as many threads as there are cores.
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            spill_folder: None,
            spill_bytes: 8 << 30,
            n_rows: 1_000_000,
            n_partitions: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// Plans the report and starts it.
pub(super) async fn run(
    report: &'static Report,
    tables: &BTreeMap<String, TableFiles>,
    parameters: Parameters,
    limits: &Limits,
) -> Result<Answer, Error> {
    let of_engine = |error| Error::of_engine(error, limits.memory_bytes);
    let context = over(&report.name, &report.tables, tables, limits).await?;
    let frame = plan(&context, report, &parameters).await?;
    check_listed(&context, report, &parameters, limits.memory_bytes).await?;
    let plan = frame.create_physical_plan().await.map_err(of_engine)?;
    let stream = execute_stream(Arc::clone(&plan), context.task_ctx()).map_err(of_engine)?;
    Ok(Answer::new(report, parameters, (plan, stream), limits).with_made(report.made(tables).cloned().collect()))
}

/// Tables that are open for SELECTs that are no report's.
pub struct Session {
    who: String,
    context: SessionContext,
    limits: Limits,
}

impl Session {
    /// Opens tables; `who` asks, for errors.
    ///
    /// # Errors
    ///
    /// [`Error::MissingTable`] where one has no files.
    pub async fn open(who: &str, tables: &BTreeMap<String, TableFiles>, limits: &Limits) -> Result<Self, Error> {
        let context = over(who, tables.keys(), tables, limits).await?;
        Ok(Self { who: who.to_owned(), context, limits: limits.clone() })
    }

    /// Runs one SELECT without parameters within the limits, and gives its batches as they come. Whoever drops it cancels it.
    ///
    /// # Errors
    ///
    /// As [`Report::run`]; of each batch as [`Answer::next`].
    pub async fn rows(
        &self,
        sql: &str,
    ) -> Result<impl Stream<Item = Result<RecordBatch, Error>> + Send + use<>, Error> {
        let Limits { memory_bytes, n_rows: limit, .. } = self.limits;
        let of_engine = move |error| Error::of_engine(error, memory_bytes);
        let planned = self.context.sql_with_options(sql, only_reading()).await;
        let frame = planned.map_err(|error| unplanned(&self.who, error))?;
        let (rows, mut n_rows) = (frame.execute_stream().await.map_err(of_engine)?, 0);
        Ok(rows.map(move |batch| {
            let batch = batch.map_err(of_engine)?;
            n_rows += batch.num_rows();
            if n_rows > limit { Err(Error::TooManyRows { limit }) } else { Ok(batch) }
        }))
    }

    /// The same, each batch handed over.
    ///
    /// # Errors
    ///
    /// As [`Self::rows`]; and what `each` says.
    pub async fn select<E: From<Error>>(
        &self,
        sql: &str,
        mut each: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = self.rows(sql).await?;
        while let Some(batch) = rows.try_next().await? {
            each(&batch)?;
        }
        Ok(())
    }
}

/// A context with these of the tables, each of which is there.
async fn over(
    who: &str,
    names: impl IntoIterator<Item = &String>,
    tables: &BTreeMap<String, TableFiles>,
    limits: &Limits,
) -> Result<SessionContext, Error> {
    let of_engine = |error| Error::of_engine(error, limits.memory_bytes);
    let context = context(limits).map_err(of_engine)?;
    for table in names {
        let missing = || Error::MissingTable { report: who.to_owned(), table: table.clone() };
        let files = tables.get(table).ok_or_else(missing)?;
        if !files.register(&context, table).await.map_err(of_engine)? {
            return Err(missing());
        }
    }
    Ok(context)
}

/// What a query may do: read.
pub(crate) fn only_reading() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// A context with no table, in which a report may use so much.
pub(crate) fn context(limits: &Limits) -> Result<SessionContext, DataFusionError> {
    let spill = match &limits.spill_folder {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default().with_mode(spill).with_max_temp_directory_size(limits.spill_bytes);
    // The pool names the greatest users of memory in its error.
    let pool = TrackConsumersPool::new(SharedMemory::new(limits.memory_bytes), NonZeroUsize::MIN);
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(disk).build_arc()?;
    let n_partitions = limits.n_partitions.max(1);
    // What each sort keeps free for merging what it spilt: by default 10 MiB, which little memory does not have.
    let for_merging = (limits.memory_bytes / (8 * n_partitions)).min(10 << 20);
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG.0, CATALOG.1)
        .with_target_partitions(n_partitions)
        .with_sort_spill_reservation_bytes(for_merging);
    Ok(with_functions(SessionContext::new_with_config_rt(config, runtime)))
}

/// Another one without a table, which uses the same memory and reads the same files.
pub(crate) fn beside(context: &SessionContext) -> SessionContext {
    with_functions(SessionContext::new_with_config_rt(context.copied_config(), context.runtime_env()))
}

fn with_functions(context: SessionContext) -> SessionContext {
    context.register_udf(great_circle::function());
    context.register_udwf(nearest::function());
    context
}

/// Plans the report over the context's tables, and those that it uses before it. Its schema is the declared one.
pub(crate) async fn plan(
    context: &SessionContext,
    report: &Report,
    parameters: &Parameters,
) -> Result<DataFrame, Error> {
    if report.tables.contains(READINGS) {
        let (name, sql) = COUNTED_READINGS;
        let counted = context.sql_with_options(sql, only_reading()).await;
        let view = counted.map_err(|error| unplanned(&report.name, error))?.into_view();
        context.register_table(name, view).map_err(|error| Error::Engine(Box::new(error)))?;
    }
    for used in report.used() {
        let defaults = used.check(&BTreeMap::new())?;
        let view = plan_alone(context, used, &defaults).await?.into_view();
        context.register_table(&used.name, view).map_err(|error| Error::Engine(Box::new(error)))?;
    }
    plan_alone(context, report, parameters).await
}

async fn plan_alone(context: &SessionContext, report: &Report, parameters: &Parameters) -> Result<DataFrame, Error> {
    let planned = context.sql_with_options(report.sql, only_reading()).await;
    let frame = planned.and_then(|frame| frame.with_param_values(parameters.scalars()));
    let frame = frame.map_err(|error| unplanned(&report.name, error))?;
    check_schema(report, &frame)?;
    Ok(frame)
}

/// Refuses a text that names rows of a report that is used, such as a release, where that has no such one: no rows at all would
/// look like an answer.
async fn check_listed(
    context: &SessionContext,
    report: &Report,
    parameters: &Parameters,
    memory_bytes: usize,
) -> Result<(), Error> {
    let mut mistakes = Vec::new();
    for parameter in &report.parameters {
        let name = &parameter.name;
        let used = report.used().into_iter().find(|used| used.columns.iter().any(|column| column.name == *name));
        let (Some(used), Some(default), Domain::Text { .. }) = (used, &parameter.default, &parameter.domain) else {
            continue;
        };
        let given = parameters.iter().find(|(known, _)| *known == name.as_str()).map(|(_, value)| value.to_string());
        let Some(given) = given.filter(|given| given != default) else { continue };
        let listed = listed(context, used, name).await.map_err(|error| Error::of_engine(error, memory_bytes))?;
        if !listed.contains(&given) {
            let all: Vec<_> = listed.iter().chain([default]).map(String::as_str).collect();
            mistakes.push(format!("`{name}` is `{}`: give one of {}", model::escaped(&given), all.join(", ")));
        }
    }
    match mistakes.is_empty() {
        true => Ok(()),
        false => Err(Error::Parameters { report: report.name.clone(), mistakes }),
    }
}

/// What a report has in a column of texts, in order.
async fn listed(context: &SessionContext, used: &Report, column: &str) -> Result<Vec<String>, DataFusionError> {
    // reports and columns are called by words that need no quotes
    let sql = format!("SELECT DISTINCT {column} FROM {} WHERE {column} IS NOT NULL ORDER BY {column}", used.name);
    let mut all = Vec::new();
    for batch in context.sql_with_options(&sql, only_reading()).await?.collect().await? {
        let texts = cast(batch.column(0), &DataType::Utf8)?;
        all.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(all)
}

/// A table without a column is the data's fault, not the query's: the tests plan each query over the declared tables.
fn unplanned(who: &str, error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SchemaError(..) => {
            Error::Schema { report: who.to_owned(), what: error.find_root().to_string() }
        }
        _ => Error::Engine(Box::new(error)),
    }
}

fn check_schema(report: &Report, frame: &DataFrame) -> Result<(), Error> {
    let planned: Vec<_> = frame.schema().fields().iter().map(|field| (field.name(), field.data_type())).collect();
    let fits = |(declared, (name, kind)): (&super::Column, &(&String, &DataType))| {
        declared.name == **name && fits(declared.kind, kind)
    };
    if planned.len() == report.columns.len() && report.columns.iter().zip(&planned).all(fits) {
        return Ok(());
    }
    let planned: Vec<String> = planned.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let what = format!("the query gives {}, which is not what its header declares", planned.join(", "));
    Err(Error::Schema { report: report.name.clone(), what })
}

/// Texts are views of others in the engine, and become plain in the answer.
fn fits(declared: Type, planned: &DataType) -> bool {
    match declared {
        Type::Text => matches!(planned, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8),
        other => other.arrow() == *planned,
    }
}
