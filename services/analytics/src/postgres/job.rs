//! The kind `copy_postgres`: reports and data sets in, rows of the database out.

use super::{
    Postgres,
    connect::failed,
    copy::{self, Counts, Rows},
    table::Table,
};
use crate::{
    datasets,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, given},
        work::Work,
    },
    reporting::{self, Runner, Snapshot},
    reports::{Report, Reports},
    tables,
};
use async_trait::async_trait;
use model::access::Action;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Name of the kind.
pub const NAME: &str = "copy_postgres";
/// Most tables of a run.
const TABLES_MAX: usize = 32;
/// Batches that wait to be sent.
const WAITING: usize = 2;

/// Copies reports and data sets into a database.
pub struct CopyPostgres {
    runner: Runner,
    to: Postgres,
}

/// What is copied.
enum What {
    Report(&'static Report),
    Kind(&'static datasets::Kind),
}

#[async_trait]
impl Kind for CopyPostgres {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "copies reports and data sets into the PostgreSQL database of the settings, by key, in one transaction"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let text = |name, most, about| Parameter::new(name, Range::Text(most), Some("-"), about);
        vec![
            text("report", 64, "name of a report, which is run with its defaults; - for none"),
            text("kind", 64, "name of a kind of data set, whose current version is copied; - for none"),
            text(
                "tables",
                TABLES_MAX * 40,
                "names of several reports and kinds, with commas; - for none: if none is named \
                                             at all, those of the settings that are imported",
            ),
        ]
    }

    fn needs(&self) -> Action {
        Action::ManageData
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let (wanted, left_out) = self.wanted(work, parameters).await?;
        let mut connected = self.to.connect().await?;
        let transaction = connected.client.transaction().await.map_err(failed)?;
        copy::bound(&transaction).await?;
        // all tables of a run are of one moment, whatever is imported meanwhile
        let kinds: BTreeSet<String> = wanted.iter().flat_map(What::kinds).cloned().collect();
        let snapshot = self.runner.snapshot(&kinds).await.map_err(reporting::failed)?;
        let (mut shown, mut rows) = (Vec::new(), (0, 0));
        for what in &wanted {
            let table = what.table(&self.to.schema);
            let source = what.rows(&self.runner, &snapshot).await?;
            let stage = table.shown();
            let progress = |n| work.progress(&stage, n, 0, "rows");
            let counts = copy::copy(&transaction, &table, source, self.to.gone, &progress).await?;
            let Counts { copied, inserted, updated, gone } = counts;
            work.say(format!("{stage}: {copied} rows, {inserted} inserted, {updated} updated, {gone} gone"));
            shown.push(json!({
                "table": stage, "copied": copied, "inserted": inserted, "updated": updated, "gone": gone,
            }));
            rows = (rows.0 + copied, rows.1 + inserted + updated + gone);
        }
        // what others see from now on: not by a worker who has lost the job
        work.confirm().await?;
        transaction.commit().await.map_err(failed)?;
        let (result, data_versions) = (json!({ "tables": shown, "left_out": left_out }), snapshot.versions().clone());
        Ok(Done { result, rows, data_versions, seed: 0 })
    }
}

impl CopyPostgres {
    /// Copies what `runner` reads to a database.
    ///
    /// # Errors
    /// One of the database's tables can never be copied.
    pub fn new(runner: Runner, to: Postgres) -> Result<Self, Failure> {
        named(to.tables.iter().map(String::as_str))?;
        Ok(Self { runner, to })
    }

    /// What a job copies, and the names of what it leaves out: of the settings' tables those of which nothing is imported.
    async fn wanted(&self, work: &Work, parameters: &Parameters) -> Result<(Vec<What>, Vec<String>), Failure> {
        let asked = asked(parameters)?;
        if !asked.is_empty() {
            return Ok((asked, Vec::new()));
        }
        let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
        for what in named(self.to.tables.iter().map(String::as_str))? {
            match what.is_imported(&self.runner).await? {
                true => wanted.push(what),
                false => left_out.push(what.name().to_owned()),
            }
        }
        if !left_out.is_empty() {
            work.say(format!("left out, since not all that they read is imported: {}", left_out.join(", ")));
        }
        Ok((wanted, left_out))
    }
}

impl What {
    fn name(&self) -> &str {
        match self {
            Self::Report(report) => &report.name,
            Self::Kind(kind) => &kind.name,
        }
    }

    fn table(&self, schema: &str) -> Table {
        match self {
            Self::Report(report) => Table::of_report(schema, report),
            Self::Kind(kind) => Table::of_kind(schema, kind),
        }
    }

    /// The data sets that it reads.
    fn kinds(&self) -> Vec<&String> {
        match self {
            Self::Report(report) => report.tables.iter().collect(),
            Self::Kind(kind) => vec![&kind.name],
        }
    }

    /// Whether all that it reads is there.
    async fn is_imported(&self, runner: &Runner) -> Result<bool, Failure> {
        for kind in self.kinds() {
            if !runner.has(kind).await.map_err(Failure::again)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its rows, of these versions.
    async fn rows(&self, runner: &Runner, snapshot: &Snapshot) -> Result<Rows, Failure> {
        match self {
            Self::Report(report) => {
                let parameters = report.check(&BTreeMap::new()).map_err(Failure::for_good)?;
                let answer = runner.run_on(snapshot, report, parameters, None).await;
                Ok(Rows::Report(Box::new(answer.map_err(|error| reporting::failed(error.into()))?)))
            }
            Self::Kind(kind) => {
                let data_set = runner.catalogue().get(&kind.name).await.map_err(Failure::again)?;
                let none = || Failure::Final(format!("{}: nothing is imported of this kind", kind.name));
                let id = snapshot.versions().get(&kind.name).ok_or_else(none)?;
                let gone = || Failure::Again(format!("{}: version {id} was deleted meanwhile", kind.name));
                let version =
                    data_set.versions.iter().find(|version| version.id.to_string() == *id).ok_or_else(gone)?;
                let (files, names) = (runner.catalogue().files(version), kind.columns.iter().map(|c| c.name.clone()));
                let (names, (sender, receiver)) = (names.collect::<Vec<_>>(), mpsc::channel(WAITING));
                tokio::task::spawn_blocking(move || {
                    let gone = || datasets::Error::Sink("nobody wants the rows any more".into());
                    let sent = tables::each_batch(&files, &names, |batch| {
                        sender.blocking_send(Ok(batch.clone())).map_err(|_| gone())
                    });
                    // whoever does not listen any more needs no error either
                    let _ = sent.map_err(|error| sender.blocking_send(Err(error.to_string())));
                });
                Ok(Rows::Files(receiver))
            }
        }
    }
}

/// What the parameters name.
fn asked(parameters: &Parameters) -> Result<Vec<What>, Failure> {
    let given = |name: &str| given(parameters, name);
    // said by what they are: a name that is of the other is not taken
    if let Some(name) = given("report") {
        Reports::find(name).map_err(Failure::for_good)?;
    }
    if let Some(name) = given("kind") {
        datasets::kind(name).map_err(Failure::for_good)?;
    }
    let tables = given("tables").into_iter().flat_map(|names| names.split(','));
    named(given("report").into_iter().chain(given("kind")).chain(tables))
}

/// Reports and kinds of these names, each once and by name, so that two runs take their locks in one order.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> Result<Vec<What>, Failure> {
    let mut wanted = BTreeMap::new();
    for name in names.map(str::trim) {
        let found = Reports::find(name).map(What::Report).or_else(|_| datasets::kind(name).map(What::Kind));
        let unknown = |_| {
            let shown = model::escaped(name);
            Failure::Final(format!("tables: {shown} is neither a report nor a kind of data set"))
        };
        let what = found.map_err(unknown)?;
        fits(&what)?;
        wanted.insert(what.name().to_owned(), what);
    }
    match wanted.len() <= TABLES_MAX {
        true => Ok(wanted.into_values().collect()),
        false => Err(Failure::Final(format!("tables: at most {TABLES_MAX} in one run"))),
    }
}

/// Whether it can be copied by key, and as a whole.
fn fits(what: &What) -> Result<(), Failure> {
    match what {
        What::Report(report) => {
            let required = report.parameters.iter().find(|parameter| parameter.default.is_none());
            let text = |name: &str| format!("report {} has no default for {name}: it cannot be copied", report.name);
            required.map_or(Ok(()), |parameter| Err(Failure::Final(text(&parameter.name))))
        }
        What::Kind(kind) if kind.key.is_empty() => {
            Err(Failure::Final(format!("nothing makes a row of {} unique: copy a report of it", kind.name)))
        }
        What::Kind(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let wanted = asked(&parameters).map_err(|failure| failure.to_string())?;
        Ok(wanted.iter().map(|what| what.name().to_owned()).collect())
    }

    #[test]
    fn what_is_copied_is_named_once_each_and_can_be() {
        assert_eq!(names(&[("report", "quality"), ("kind", "-")]).unwrap(), ["quality"]);
        assert!(names(&[("report", "-")]).unwrap().is_empty());
        let several = names(&[("tables", "sites, quality,hospitals_by_type,quality"), ("kind", "cities")]).unwrap();
        assert_eq!(several, ["cities", "hospitals_by_type", "quality", "sites"]);
        for (pairs, said) in [
            (&[("report", "nothing")][..], "there is no report `nothing`"),
            (&[("report", "cities")], "there is no report `cities`"),
            (&[("report", "sites_by_state")], "no default for state"),
            (&[("kind", "prescribers")], "nothing makes a row of prescribers unique"),
            (&[("tables", "quality,x")], "x is neither a report nor a kind"),
        ] {
            let text = names(pairs).unwrap_err();
            assert!(text.contains(said), "{text}");
        }
    }
}
