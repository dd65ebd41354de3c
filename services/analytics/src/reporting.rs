//! Each report as a kind of job, and what a report reads: the current versions of its tables.

use crate::{
    archive::{
        self,
        reading::{Readings, TABLES},
    },
    catalogue::Catalogue,
    datasets,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range, Route},
        work::Work,
    },
    objects::Objects,
    reports::{
        self, Answer, Domain, Error, Limits, Report, Reports, TableFiles,
        insights::{Insights, insights},
        output,
    },
    residences::{self, Residences},
    results,
};
use async_trait::async_trait;
use model::access::Action;
use object_store::path::Path as Key;
use serde_json::json;
use std::{collections::BTreeMap, fs::File, io::BufWriter, path::PathBuf, sync::Arc};

/// The parameter that says how rows are written.
const FORMAT: &str = "format";

/// Ids of versions, by the kind of data set.
pub type DataVersions = BTreeMap<String, String>;

/// Runs reports over the current versions of data sets. Clones are the same.
#[derive(Clone)]
pub struct Runner {
    catalogue: Catalogue,
    limits: Limits,
    readings: Option<Readings>,
    residences: Option<Residences>,
}

impl Runner {
    /// Of the data sets in a catalogue, within these limits.
    pub fn new(catalogue: Catalogue, limits: Limits) -> Self {
        Self { catalogue, limits, readings: None, residences: None }
    }

    /// The same, which reads an archive's readings, too.
    pub fn with_readings(mut self, readings: Readings) -> Self {
        self.readings = Some(readings);
        self
    }

    /// The same, which knows where patients live, too.
    pub fn with_residences(mut self, residences: Residences) -> Self {
        self.residences = Some(residences);
        self
    }

    /// Starts a report; also the versions that it reads. `rows`: the most that it may have.
    ///
    /// # Errors
    /// What is wrong with the parameters, a data set of which nothing was imported, and what the engine says.
    pub async fn run(
        &self,
        report: &'static Report,
        given: &BTreeMap<String, String>,
        rows: Option<usize>,
    ) -> Result<(Answer, Snapshot), RunError> {
        let parameters = report.check(given)?;
        let snapshot = self.snapshot(&report.tables).await?;
        Ok((self.run_on(&snapshot, report, parameters, rows).await?, snapshot))
    }

    /// Whether there is a table of this name.
    ///
    /// # Errors
    /// Which versions there are cannot be read.
    pub async fn has(&self, table: &str) -> Result<bool, store::Error> {
        Ok(match table {
            table if TABLES.contains(&table) => self.readings.is_some(),
            residences::TABLE => self.residences.is_some(),
            kind => self.catalogue.get(kind).await?.current().is_some(),
        })
    }

    /// The current versions of some kinds of data sets: what is read of them together is of one moment.
    ///
    /// # Errors
    /// Which versions there are, or where their files are, cannot be read.
    pub async fn snapshot(&self, kinds: impl IntoIterator<Item = &String>) -> Result<Snapshot, RunError> {
        let mut snapshot = Snapshot::default();
        for kind in kinds {
            if TABLES.contains(&kind.as_str()) {
                if let Some(readings) = &self.readings {
                    let (files, version) = readings.table(kind).await?;
                    snapshot.tables.insert(kind.clone(), files);
                    snapshot.versions.insert(kind.clone(), version);
                }
                continue;
            }
            if kind == residences::TABLE {
                if let Some(residences) = &self.residences {
                    let (rows, version) = residences.table().await?;
                    snapshot.n_rows += rows.n_held().unwrap_or_default() as u64;
                    snapshot.tables.insert(kind.clone(), rows);
                    snapshot.versions.insert(kind.clone(), version);
                }
                continue;
            }
            let data_set = self.catalogue.get(kind).await?;
            if let Some(version) = data_set.current() {
                let files = TableFiles::local(self.catalogue.files(version))?.made(version.made);
                snapshot.tables.insert(kind.clone(), files);
                snapshot.versions.insert(kind.clone(), version.id.to_string());
                snapshot.n_rows += version.rows;
            }
        }
        Ok(snapshot)
    }

    /// Starts a report over these versions.
    ///
    /// # Errors
    /// A data set of which there is no version, and what the engine says.
    pub async fn run_on(
        &self,
        snapshot: &Snapshot,
        report: &'static Report,
        parameters: reports::Parameters,
        rows: Option<usize>,
    ) -> Result<Answer, Error> {
        let limits = Limits { n_rows: rows.unwrap_or(self.limits.n_rows), ..self.limits.clone() };
        report.run(&snapshot.tables, parameters, &limits).await
    }

    /// Asks the questions of [`insights`] of these versions.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn insights(&self, snapshot: &Snapshot) -> Result<Insights, Error> {
        insights(&snapshot.tables, &self.limits).await
    }

    /// Whose versions it reads.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What a query may use.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where its results go.
    pub fn objects(&self) -> &Objects {
        self.catalogue.objects()
    }
}

/// Versions of data sets, as they were current at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    tables: BTreeMap<String, TableFiles>,
    versions: DataVersions,
    n_rows: u64,
}

impl Snapshot {
    /// Their ids, by kind.
    pub fn versions(&self) -> &DataVersions {
        &self.versions
    }

    /// Their tables, by kind.
    pub(crate) fn tables(&self) -> &BTreeMap<String, TableFiles> {
        &self.tables
    }

    /// Rows of them together; those of the archive are not counted, whose files would all have to be opened: an answer knows which
    /// ones it read.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Kinds that have numbers of made samples: whoever shows what was read says so.
    pub fn made(&self) -> Vec<String> {
        self.tables.iter().filter(|(_, files)| files.is_made()).map(|(kind, _)| kind.clone()).collect()
    }

    /// The same, in which these kinds are tables without rows where nothing is imported; and which ones of them are.
    ///
    /// # Errors
    /// There is no such kind.
    pub fn with_empty(
        mut self,
        kinds: impl IntoIterator<Item = &'static String>,
    ) -> Result<(Self, Vec<String>), Error> {
        let mut missing = Vec::new();
        for name in kinds {
            if !self.tables.contains_key(name) {
                let kind = datasets::kind(name).map_err(|error| Error::Files(error.to_string()))?;
                self.tables.insert(name.clone(), TableFiles::none(kind.schema()));
                missing.push(name.clone());
            }
        }
        Ok((self, missing))
    }
}

/// Why a report gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The report refuses its parameters or tables, or could not be run.
    #[error(transparent)]
    Report(#[from] Error),
    /// Which versions there are cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The archive of readings cannot be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
}

/// A report as a kind of job: its rows go to an object.
pub struct ReportKind {
    report: &'static Report,
    runner: Runner,
}

impl ReportKind {
    /// A kind of job for each report.
    pub fn all(runner: &Runner) -> impl Iterator<Item = Arc<dyn Kind>> {
        Reports::all().map(|report| Arc::new(Self { report, runner: runner.clone() }) as Arc<dyn Kind>)
    }
}

#[async_trait]
impl Kind for ReportKind {
    fn name(&self) -> &str {
        &self.report.name
    }

    fn about(&self) -> &str {
        self.report.title.as_str()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let takes = Range::words(["json", "csv", "parquet", "table"]);
        let format = Parameter::new(FORMAT, takes, Some("json"), "how rows are written");
        parameters(self.report).chain([format]).collect()
    }

    fn routes(&self) -> Vec<Route> {
        let positional: Vec<_> = self.report.parameters.iter().map(|parameter| parameter.name.clone()).collect();
        let route =
            |word: &String| Route { word: word.clone(), fixed: Parameters::new(), positional: positional.clone() };
        self.report.aliases.iter().map(route).collect()
    }

    fn needs(&self) -> Action {
        Action::ReadAnalytics
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let format = parameters[FORMAT].parse().map_err(Failure::Final)?;
        let given = parameters.iter().filter(|(name, _)| *name != FORMAT);
        let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        work.progress("running", 0, 0, "rows");
        let (answer, read) = self.runner.run(self.report, &given, None).await.map_err(failed)?;
        let scans = answer.scans();
        let scratch = self.runner.objects().scratch().map_err(Failure::again)?;
        let path = scratch.path().join("rows");
        let mut file = BufWriter::new(File::create(&path).map_err(Failure::again)?);
        let rows = output::write(answer, format, &mut file).await.map_err(|error| failed(error.into()))?;
        drop(file);
        let (key, bytes) = self.keep(work, format, path).await?;
        let what = json!({ "report": self.report.name, "rows": rows });
        let result = results::naming(what, &key, bytes, format);
        let rows = rows as u64;
        work.progress("running", rows, rows, "rows");
        let n_read = read.n_rows + scans.n_rows(&TABLES);
        Ok(Done { result, rows: (n_read, rows), data_versions: read.versions, seed: 0 })
    }
}

impl ReportKind {
    async fn keep(&self, work: &Work, format: output::Format, path: PathBuf) -> Result<(Key, u64), Failure> {
        let bytes = std::fs::metadata(&path).map_err(Failure::again)?.len();
        let key = results::key(work.job(), work.attempt_id(), format);
        self.runner.objects().adopt(&key, path).await.map_err(Failure::again)?;
        Ok((key, bytes))
    }
}

/// What a report takes, as jobs say it.
pub(crate) fn parameters(report: &Report) -> impl Iterator<Item = Parameter> {
    report.parameters.iter().map(|parameter| Parameter {
        name: parameter.name.clone(),
        takes: match &parameter.domain {
            Domain::Text { max } => Range::Text(*max),
            // the report knows which there are
            Domain::State { .. } => Range::Text(3),
            Domain::Integer { min, max } => Range::Integer(*min, *max),
            Domain::Choice(words) => Range::Choice(words.clone()),
        },
        default: parameter.default.clone(),
        about: parameter.about.clone(),
    })
}

/// What an error of a report means for a job.
pub(crate) fn failed(error: RunError) -> Failure {
    match error {
        RunError::Store(error) => Failure::again(error),
        RunError::Archive(error) => Failure::again(error),
        // a disk that was full, a file that was being replaced
        RunError::Report(error @ (Error::Engine(_) | Error::Write(_))) => Failure::again(error),
        RunError::Report(error) => Failure::for_good(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::kinds::Kinds;

    #[tokio::test]
    async fn a_report_is_submitted_by_its_name_or_a_route_with_values_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let catalogue = Catalogue::new(store, objects, guard::clock::now);
        let kinds = Kinds::new(ReportKind::all(&Runner::new(catalogue, Limits::default())));
        let given = |pairs: &[(&str, &str)]| -> Parameters {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let whole = given(&[("state", "TX"), ("vintage", "2020"), (FORMAT, "csv")]);
        for (route, report, values) in [
            ("get_sites_by_state-TX", "sites_by_state", given(&[("state", "TX")])),
            ("get_sites_by_state-TX-2020", "sites_by_state", given(&[("state", "TX"), ("vintage", "2020")])),
            ("sites_by_state-TX-2020-csv", "sites_by_state", whole),
            ("get_site_count_by_state", "site_count_by_state", given(&[])),
            ("get_sites_count_by_state", "site_count_by_state", given(&[])),
        ] {
            assert_eq!(kinds.routed(route), Ok((report.to_owned(), values)), "{route}");
        }
        for unknown in ["nothing", "nothing-TX", "-", ""] {
            let said = kinds.routed(unknown).unwrap_err().to_string();
            assert!(said.contains("get_sites_by_state") && said.contains("site_count_by_state"), "{unknown}: {said}");
        }
    }
}
