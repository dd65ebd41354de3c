//! Which tables there are for a caller.

use super::{
    Statements,
    functions::{ReportFunction, WithoutParameters},
    readings::Readings,
    unopened,
};
use crate::{
    archive::reading::TABLE as READINGS,
    datasets,
    reports::{self, CATALOG, Report, Reports},
};
use datafusion::{common::TableReference, execution::context::SessionContext};
use model::{
    Permit,
    access::{Action, Principal, Subject, decide},
};
use proto::problem;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tonic::{Code, Status};

/// The schema of data sets, reports and the patients to whom the caller has a relation.
pub(super) const PUBLIC: &str = CATALOG.1;

/// A table that a caller may read: its schema, its name, and what it is.
pub(super) struct Listed {
    pub schema: String,
    pub name: String,
    pub kind: &'static str,
}

/// Makes a table that a statement names one of the context's, if it is there for the caller.
pub(super) async fn add(
    statements: &Statements,
    caller: &Principal,
    context: &SessionContext,
    table: &TableReference,
) -> Result<(), Status> {
    let is_here = table.catalog().is_none_or(|catalog| catalog == CATALOG.0);
    let (schema, name) = (table.schema().unwrap_or(PUBLIC), table.table());
    if is_here && schema == PUBLIC {
        if name == READINGS && statements.may(caller, Action::ReadTimeline) {
            return add_readings(statements, caller, context, None).await;
        }
        if statements.may(caller, Action::ReadAnalytics) {
            if let Ok(report) = Reports::find(name) {
                return add_report(statements, context, (report, name)).await;
            }
            if datasets::kind(name).is_ok() && statements.runner.has(name).await.map_err(guard::errors::store)? {
                return add_data_set(statements, context, name).await;
            }
        }
        if is_engines(name) {
            return Ok(());
        }
    } else if is_here && name == READINGS && statements.may(caller, Action::ReadDeidentified) {
        return add_readings(statements, caller, context, Some(schema)).await;
    }
    Err(none(table))
}

/// Functions of the engine that give rows.
fn is_engines(name: &str) -> bool {
    matches!(name, "generate_series" | "range" | "unnest")
}

/// Whether there is any such table is nobody's business.
fn none(table: &TableReference) -> Status {
    let text = format!(
        "there is no table {} that you may read: ask for the list of tables",
        model::quoted(&table.to_string())
    );
    problem::field(Code::NotFound, "NO_SUCH_TABLE", "query", &text)
}

async fn add_data_set(statements: &Statements, context: &SessionContext, name: &str) -> Result<(), Status> {
    let snapshot = statements.runner.snapshot(&[name.to_owned()]).await.map_err(unopened)?;
    let files = snapshot.tables().get(name).ok_or_else(|| none(&TableReference::bare(name.to_owned())))?;
    files.register(context, name).await.map(drop).map_err(|error| super::refused(&error))
}

/// A report as a function of its parameters, and as a table where it needs none.
async fn add_report(
    statements: &Statements,
    context: &SessionContext,
    (report, name): (&'static Report, &str),
) -> Result<(), Status> {
    let inner = reports::beside(context);
    let snapshot = statements.runner.snapshot(&report.tables).await.map_err(unopened)?;
    for table in &report.tables {
        let missing = || reports::Error::MissingTable { report: report.name.clone(), table: table.clone() };
        let files = snapshot.tables().get(table).ok_or_else(|| unopened(missing().into()))?;
        files.register(&inner, table).await.map_err(|error| super::refused(&error))?;
    }
    let function = ReportFunction { report, inner };
    let table = match report.check(&BTreeMap::new()) {
        Ok(_) => function.of(&BTreeMap::new()).map_err(|error| super::refused(&error))?,
        Err(_) => Arc::new(WithoutParameters(report)),
    };
    context.register_table(TableReference::bare(name), table).map_err(|error| super::refused(&error))?;
    context.register_udtf(name, Arc::new(function));
    Ok(())
}

/// Readings of the caller's patients, or of a study's subjects.
async fn add_readings(
    statements: &Statements,
    caller: &Principal,
    context: &SessionContext,
    study: Option<&str>,
) -> Result<(), Status> {
    let people = match study {
        None => patients(statements, caller),
        Some(study) => {
            let names = statements.names.as_ref().filter(|_| statements.decisions.directory().has_study(study));
            let people = names.map(|names| {
                guard::subjects(&statements.decisions.directory(), names, caller, study, statements.decisions.now())
            });
            people.filter(|people| !people.is_empty()).ok_or_else(|| none(&TableReference::partial(study, READINGS)))?
        }
    };
    let table = Readings::open(statements, caller, study, people).await?;
    let reference = match study {
        None => TableReference::bare(READINGS),
        Some(study) => {
            let catalog = context.catalog(CATALOG.0).ok_or_else(|| none(&TableReference::bare(READINGS)))?;
            if catalog.schema(study).is_none() {
                let schema = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
                catalog.register_schema(study, schema).map_err(|error| super::refused(&error))?;
            }
            TableReference::partial(study, READINGS)
        }
    };
    context.register_table(reference, Arc::new(table)).map(drop).map_err(|error| super::refused(&error))
}

/// Those whom the caller may read now, by their ids.
fn patients(statements: &Statements, caller: &Principal) -> BTreeMap<String, Permit> {
    let (directory, now) = (statements.decisions.directory(), statements.decisions.now());
    let related = directory.related(caller.subject, None).into_iter();
    let readable = related.filter_map(|patient| {
        let facts = directory.facts(caller, patient);
        let permit = decide(caller, Action::ReadTimeline, patient, &facts, now).ok()?;
        Some((patient.uuid().to_string(), permit))
    });
    readable.collect()
}

/// All tables of a caller.
pub(super) async fn all(statements: &Statements, caller: &Principal) -> Result<Vec<Listed>, Status> {
    let mut all = Vec::new();
    let mut public = |name: &str, kind| all.push(Listed { schema: PUBLIC.to_owned(), name: name.to_owned(), kind });
    if statements.may(caller, Action::ReadAnalytics) {
        let kinds: BTreeSet<&String> = datasets::kinds().iter().map(|kind| &kind.name).collect();
        let mut there: BTreeSet<&String> = BTreeSet::new();
        let read = Reports::all().flat_map(|report| &report.tables);
        for table in kinds.iter().copied().chain(read).collect::<BTreeSet<_>>() {
            if statements.runner.has(table).await.map_err(guard::errors::store)? {
                there.insert(table);
            }
        }
        kinds.intersection(&there).for_each(|kind| public(kind, "TABLE"));
        let needs_none = |report: &&Report| report.check(&BTreeMap::new()).is_ok();
        for report in Reports::all().filter(needs_none) {
            if report.tables.iter().all(|table| there.contains(table)) {
                public(&report.name, "VIEW");
            }
        }
    }
    if statements.may(caller, Action::ReadTimeline) {
        public(READINGS, "TABLE");
    }
    let mut studies = Vec::new();
    if let (Subject::User(user), Some(_), true) =
        (caller.subject, &statements.names, statements.may(caller, Action::ReadDeidentified))
    {
        studies = statements.decisions.directory().studies_of(user);
    }
    all.extend(studies.into_iter().map(|schema| Listed { schema, name: READINGS.to_owned(), kind: "TABLE" }));
    Ok(all)
}
