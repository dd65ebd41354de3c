//! Readings of some patients as a table. They are judged as a timeline judges them, an hour at a time and in the order of time, by whoever
//! runs the statement: whose they are is written down before the first row, of those alone whom the statement's conditions leave.

use super::{Statements, unopened};
use crate::{
    archive::reading::TABLE,
    extracts::{READINGS_MAX, Reader, SUBJECT, TakenBack, reading_columns, shown_rows, taken_back},
    reports::{Limits, Session},
};
use async_trait::async_trait;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::{Session as EngineSession, TableProvider},
    common::ScalarValue,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType},
    physical_plan::{
        ExecutionPlan,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use guard::decisions::Decisions;
use model::{
    ClockTolerance, Metric, Nanos, Permit,
    access::{Action, Principal},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use tonic::Status;

/// Readings of some people, in the columns of an extract.
pub(super) struct Readings {
    of: Arc<Of>,
    asked: Asked,
}

/// Whose readings, and for whom.
struct Of {
    schema: SchemaRef,
    people: BTreeMap<String, Person>,
    session: Session,
    decisions: Decisions,
    caller: Principal,
    action: Action,
    tolerance: ClockTolerance,
    /// Of what is not over before it nothing is shown yet, of the times shown.
    shown_until: Nanos,
}

/// One of them.
struct Person {
    permit: Permit,
    /// Nanoseconds by which the times shown are earlier.
    moved_by: i64,
    taken_back: Arc<[TakenBack]>,
}

/// What a statement's conditions leave.
#[derive(Debug, Clone)]
struct Asked {
    names: Option<BTreeSet<String>>,
    metrics: Option<BTreeSet<&'static str>>,
    /// From this instant on, and before that one, of the times shown.
    range: (Nanos, Nanos),
}

impl Readings {
    /// Of these people, by the names under which they are shown: of a study's subjects, at the study's times.
    pub(super) async fn open(
        statements: &Statements,
        caller: &Principal,
        study: Option<&str>,
        people: BTreeMap<String, Permit>,
    ) -> Result<Self, Status> {
        let Statements { runner, decisions, names, tolerance, .. } = statements;
        let table = TABLE.to_owned();
        let snapshot = runner.snapshot(std::slice::from_ref(&table)).await.map_err(unopened)?;
        let limits = Limits { n_rows: READINGS_MAX, ..statements.limits.clone() };
        let session = Session::open(TABLE, snapshot.tables(), &limits).await.map_err(|error| unopened(error.into()))?;
        let mut gone = taken_back(&decisions.directory());
        let person = |(name, permit): (String, Permit)| {
            let moved = study.zip(names.as_ref()).map(|(study, names)| names.moved_by(study, permit.patient()));
            let taken_back = gone.remove(&permit.patient()).unwrap_or_default().into();
            (name, Person { permit, moved_by: moved.unwrap_or(0), taken_back })
        };
        let people = people.into_iter().map(person).collect();
        let longest = study.and(names.as_ref()).map(|names| names.longest());
        let shown_until = longest.map_or(Nanos::MAX, |longest| crate::days::start(decisions.now().plus(-longest)));
        let (action, whose) = match study {
            None => (Action::ReadTimeline, ("patient_id", "whose reading it is: the patient")),
            Some(_) => (Action::ReadDeidentified, SUBJECT),
        };
        let of = Of {
            schema: reading_columns(whose),
            people,
            session,
            decisions: decisions.clone(),
            caller: caller.clone(),
            action,
            tolerance: *tolerance,
            shown_until,
        };
        let asked = Asked { names: None, metrics: None, range: (Nanos::YEAR_1900, shown_until) };
        Ok(Self { of: Arc::new(of), asked })
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "readings of {} people", self.of.people.len())
    }
}

#[async_trait]
impl TableProvider for Readings {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.of.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        // each is looked at again by the engine
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn EngineSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let whose = self.of.schema.field(0).name();
        let asked = filters.iter().fold(self.asked.clone(), |asked, filter| asked.and(Asked::of(whose, filter)));
        let part = Part { of: Arc::clone(&self.of), asked };
        let schema = Arc::clone(&self.of.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(part)], projection, [], false, limit)?))
    }
}

impl Asked {
    /// A statement without conditions.
    const ALL: Self = Self { names: None, metrics: None, range: (Nanos::MIN, Nanos::MAX) };

    /// What both leave.
    fn and(self, other: Self) -> Self {
        let range = (self.range.0.max(other.range.0), self.range.1.min(other.range.1));
        Self { names: both(self.names, other.names), metrics: both(self.metrics, other.metrics), range }
    }

    /// What either leaves.
    fn or(self, other: Self) -> Self {
        let range = (self.range.0.min(other.range.0), self.range.1.max(other.range.1));
        Self { names: either(self.names, other.names), metrics: either(self.metrics, other.metrics), range }
    }

    /// What a condition leaves at most; `whose`: the column that says whose a reading is.
    fn of(whose: &str, condition: &Expr) -> Self {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Self::of(whose, left).and(Self::of(whose, right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Self::of(whose, left).or(Self::of(whose, right))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref(), op.swap()) {
                (Expr::Column(column), Expr::Literal(value, _), _) => Self::compared(whose, &column.name, *op, value),
                (Expr::Literal(value, _), Expr::Column(column), Some(op)) => {
                    Self::compared(whose, &column.name, op, value)
                }
                _ => Self::ALL,
            },
            Expr::InList(list) if !list.negated => {
                let Expr::Column(column) = list.expr.as_ref() else { return Self::ALL };
                let texts = list.list.iter().map(|one| match one {
                    Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
                    _ => None,
                });
                texts.collect::<Option<_>>().map_or(Self::ALL, |texts| Self::among(whose, &column.name, texts))
            }
            _ => Self::ALL,
        }
    }

    fn compared(whose: &str, column: &str, op: Operator, value: &ScalarValue) -> Self {
        if op == Operator::Eq
            && let Some(Some(text)) = value.try_as_str()
        {
            return Self::among(whose, column, BTreeSet::from([text.to_owned()]));
        }
        let Some(at) = micros(value).filter(|_| column == "measured_at") else { return Self::ALL };
        let at = Nanos(at.saturating_mul(1_000));
        // of a microsecond there may be several nanoseconds
        let (from, to) = (at, at.plus(1_000));
        let range = match op {
            Operator::Gt | Operator::GtEq => (from, Nanos::MAX),
            Operator::Lt | Operator::LtEq => (Nanos::MIN, to),
            Operator::Eq => (from, to),
            _ => return Self::ALL,
        };
        Self { range, ..Self::ALL }
    }

    fn among(whose: &str, column: &str, texts: BTreeSet<String>) -> Self {
        if column == whose {
            return Self { names: Some(texts), ..Self::ALL };
        }
        if column == "metric" {
            let keys = texts.iter().filter_map(|text| model::by_code(text).map(|metric| metric.key));
            return Self { metrics: Some(keys.filter(|key| texts.contains(*key)).collect()), ..Self::ALL };
        }
        Self::ALL
    }
}

/// What is in both; none stands for everything.
fn both<T: Ord + Clone>(one: Option<BTreeSet<T>>, other: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.intersection(&other).cloned().collect()),
        (one, other) => one.or(other),
    }
}

/// What is in either; none stands for everything.
fn either<T: Ord>(one: Option<BTreeSet<T>>, other: Option<BTreeSet<T>>) -> Option<BTreeSet<T>> {
    one.zip(other).map(|(one, other)| one.into_iter().chain(other).collect())
}

/// Microseconds since 1970 of a time.
fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(at, _) => at.map(|at| at.saturating_mul(1_000_000)),
        ScalarValue::TimestampMillisecond(at, _) => at.map(|at| at.saturating_mul(1_000)),
        ScalarValue::TimestampMicrosecond(at, _) => *at,
        ScalarValue::TimestampNanosecond(at, _) => at.map(|at| at.div_euclid(1_000)),
        _ => None,
    }
}

/// The rows that a statement reads, in one piece: of one person after the other.
struct Part {
    of: Arc<Of>,
    asked: Asked,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked.fmt(f)
    }
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.of.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = rows(Arc::clone(&self.of), self.asked.clone());
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.of.schema), stream::once(rows).try_flatten()))
    }
}

/// Rows, once it is written down whose they are.
async fn rows(
    of: Arc<Of>,
    asked: Asked,
) -> Result<impl Stream<Item = Result<RecordBatch, DataFusionError>>, DataFusionError> {
    let is_asked = |name: &String| asked.names.as_ref().is_none_or(|names| names.contains(name));
    let names: Vec<String> = of.people.keys().filter(|name| is_asked(name)).cloned().collect();
    let nothing = asked.metrics.as_ref().is_some_and(BTreeSet::is_empty) || asked.range.0 >= asked.range.1;
    let names = if nothing { Vec::new() } else { names };
    let permits = names.iter().filter_map(|name| of.people.get(name)).map(|person| person.permit);
    let purpose = of.people.values().next().map(|person| person.permit.purpose());
    let patients: Vec<_> = permits.map(|permit| permit.patient()).collect();
    let written = of.decisions.shows(&of.caller, (of.action, purpose), patients, "sql").await;
    written.map_err(|status| DataFusionError::External(Box::new(status)))?;
    let metrics: Vec<&'static Metric> = asked.metrics.iter().flatten().filter_map(|key| model::by_code(key)).collect();
    Ok(stream::iter(names).then(move |name| hours(Arc::clone(&of), name, metrics.clone(), asked.range)).try_flatten())
}

/// Rows of one person, an hour at a time.
async fn hours(
    of: Arc<Of>,
    name: String,
    metrics: Vec<&'static Metric>,
    range: (Nanos, Nanos),
) -> Result<impl Stream<Item = Result<RecordBatch, DataFusionError>>, DataFusionError> {
    let gone = || DataFusionError::Internal("a person is gone".to_owned());
    let Person { permit, moved_by, taken_back } = of.people.get(&name).ok_or_else(gone)?;
    let (moved_by, until) = (*moved_by, of.shown_until);
    let reader = Reader {
        patient: permit.patient(),
        moved_by,
        ended_before: if until == Nanos::MAX { until } else { until.plus(moved_by) },
        metrics,
        taken_back: Arc::clone(taken_back),
        tolerance: of.tolerance,
    };
    let range = (range.0.plus(moved_by), range.1.plus(moved_by));
    let of_engine = |error: crate::reports::Error| match error {
        crate::reports::Error::Engine(error) => *error,
        error => DataFusionError::External(Box::new(error)),
    };
    let hours = reader.hours(&of.session, range).await.map_err(of_engine)?;
    let schema = Arc::clone(&of.schema);
    let rows = hours
        .map_err(of_engine)
        .and_then(move |hour| std::future::ready(shown_rows(&schema, &name, &hour).map_err(DataFusionError::from)));
    Ok(rows)
}
