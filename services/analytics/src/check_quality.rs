//! The kind `check_quality`: fails where a data set is not there or fails a check, so that what depends on it stops.
//!
//! Cross-references are checked again, over the tables that are in use now; what else is checked follows from the version alone,
//! and stands in the report of its import.

use crate::{
    catalogue::{Catalogue, Version},
    cross_references,
    datasets::{self, Kind as DataKind},
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range},
        work::Work,
    },
};
use async_trait::async_trait;
use model::access::Action;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Name of the kind.
pub const NAME: &str = "check_quality";
/// The parameter that says what is checked, and its value for everything.
const KIND: &str = "kind";
const ALL: &str = "all";
/// The check that another table's version may make come out otherwise.
const CROSS_REFERENCES: &str = "cross_references";
/// The check whose first example is named: which file it was.
const FILES: &str = "files";

/// Asks the reports of the imports that made the current versions, and the tables that these refer to.
pub struct CheckQuality {
    /// Where current versions and the reports of their imports are read.
    pub catalogue: Catalogue,
}

/// What is read of an import's report.
#[derive(Deserialize)]
struct Report {
    quality: Quality,
}

#[derive(Deserialize)]
struct Quality {
    checks: Vec<Check>,
}

/// As `datasets::quality` writes it.
#[derive(Deserialize)]
struct Check {
    check: String,
    columns: Vec<String>,
    outcome: String,
    n: f64,
    n_bad: f64,
    most: f64,
    #[serde(default)]
    examples: Vec<String>,
}

/// What was found of some data sets.
#[derive(Default)]
struct QualityFaults {
    faults: Vec<String>,
    n_checks: u64,
    n_not_checked: u64,
    n_rows: u64,
    data_versions: BTreeMap<String, String>,
}

#[async_trait]
impl Kind for CheckQuality {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "fails where a data set is not imported, or fails a check of quality over what is in use now"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let kinds = datasets::kinds().iter().map(|kind| &*kind.name);
        vec![Parameter::new(KIND, Range::words(kinds.chain([ALL])), Some(ALL), "kind of data set, or all of them")]
    }

    fn needs(&self) -> Action {
        Action::ReadAnalytics
    }

    async fn run(&self, work: &Work, parameters: &Parameters) -> Result<Done, Failure> {
        let asked = parameters[KIND].as_str();
        let kinds: Vec<_> = datasets::kinds().iter().filter(|kind| asked == ALL || kind.name == asked).collect();
        let (total, mut found) = (kinds.len() as u64, QualityFaults::default());
        for (done, kind) in (1..).zip(kinds) {
            self.check(kind, &mut found).await?;
            work.progress("checking", done, total, "data sets");
        }
        for fault in &found.faults {
            work.say(fault.clone());
        }
        if !found.faults.is_empty() {
            return Err(Failure::Final(found.faults.join("; ")));
        }
        let result = json!({
            "data_sets": total, "checks": found.n_checks, "not_checked": found.n_not_checked,
        });
        Ok(Done { result, rows: (found.n_rows, 0), data_versions: found.data_versions, seed: 0 })
    }
}

impl CheckQuality {
    async fn check(&self, kind: &'static DataKind, found: &mut QualityFaults) -> Result<(), Failure> {
        let (data_set, kind_name) = (self.catalogue.get(&kind.name).await.map_err(Failure::again)?, &kind.name);
        let Some(current) = data_set.current() else {
            found.faults.push(format!("{kind_name}: nothing is imported"));
            return Ok(());
        };
        let of_current = checks(&self.catalogue, kind, current).await?;
        found.data_versions.insert(kind_name.clone(), current.id.to_string());
        found.n_rows += current.rows;
        found.n_checks += of_current.len() as u64;
        found.n_not_checked += of_current.iter().filter(|check| check.outcome == "not_checked").count() as u64;
        found.faults.extend(faults(&of_current).into_iter().map(|fault| format!("{kind_name}: {fault}")));
        // it was not put into use because of its checks: whoever waits for it must not go on without it as if all were well
        let newest = data_set.versions.last().filter(|newest| newest.id != current.id && !newest.passed);
        let Some(newest) = newest else { return Ok(()) };
        if let Some(fault) = faults_now(&self.catalogue, kind, newest).await?.first() {
            found.faults.push(format!(
                "{kind_name}: the newest version {} is not in use: {fault}; import a file without the fault, use that version \
                 (`wardline datasets use`), or delete it",
                newest.id
            ));
        }
        Ok(())
    }
}

/// What fails of a version as its checks come out now: each check in a few words.
///
/// # Errors
/// The store, a file or the report of its import cannot be read.
pub(crate) async fn faults_now(
    catalogue: &Catalogue,
    kind: &'static DataKind,
    version: &Version,
) -> Result<Vec<String>, Failure> {
    Ok(faults(&checks(catalogue, kind, version).await?))
}

/// What failed at an import, by its report: each check in a few words.
pub(crate) fn faults_of(report: &Value) -> Vec<String> {
    Report::deserialize(report).map(|report| faults(&report.quality.checks)).unwrap_or_default()
}

/// A version's checks as they come out now.
async fn checks(catalogue: &Catalogue, kind: &'static DataKind, version: &Version) -> Result<Vec<Check>, Failure> {
    let report = catalogue.report(version).await.map_err(Failure::again)?;
    let unreadable = |error| Failure::Final(format!("{}: the report of its import cannot be read: {error}", kind.name));
    let Report { quality: Quality { mut checks } } = serde_json::from_value(report).map_err(unreadable)?;
    checks.retain(|check| check.check != CROSS_REFERENCES);
    for check in cross_references::checks(catalogue, kind, version).await? {
        checks.push(serde_json::from_value(json!(check)).map_err(unreadable)?);
    }
    Ok(checks)
}

/// Those that failed, each in a few words.
fn faults(checks: &[Check]) -> Vec<String> {
    // `failed`, and what a later version may call otherwise
    let failed = checks.iter().filter(|check| !["passed", "not_checked"].contains(&check.outcome.as_str()));
    failed.map(fault).collect()
}

/// A check that failed, in a few words.
fn fault(check: &Check) -> String {
    let of = if check.columns.is_empty() { String::new() } else { format!(" of {}", check.columns.join(", ")) };
    let name = check.check.replace('_', " ");
    // a millionth of a percent: 1.0 - 0.9 has more digits than anybody wrote
    let percent = (check.most * 1e8).round() / 1e6;
    let first = check.examples.first().filter(|_| check.check == FILES);
    let first = first.map(|first| format!(": {first}")).unwrap_or_default();
    format!("{name}{of}: {} of {} are wrong, at most {percent} % may be{first}", check.n_bad, check.n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::quality::{self, CheckKind, Outcome};

    #[test]
    fn a_failed_check_is_named_as_the_import_wrote_it() {
        let written = quality::Check {
            check: CheckKind::CrossReferences,
            columns: vec!["state".to_owned(), "city_key".to_owned()],
            outcome: Outcome::Failed,
            n: 431.0,
            n_bad: 107.0,
            most: 0.2,
            examples: vec!["TX WACO".to_owned()],
        };
        let read_of = |written: &quality::Check| serde_json::from_value::<Check>(json!(written)).unwrap();
        let read = read_of(&written);
        assert_eq!((read.outcome.as_str(), read.check.as_str()), ("failed", CROSS_REFERENCES));
        let said = "cross references of state, city_key: 107 of 431 are wrong, at most 20 % may be";
        assert_eq!(fault(&read), said);
        for (most, percent) in [(1.0 - 0.9, "10"), (1.0 - 0.95, "5"), (0.07, "7"), (0.001, "0.1"), (0.0, "0")] {
            let said = fault(&Check { most, ..read_of(&written) });
            assert!(said.ends_with(&format!(", at most {percent} % may be")), "{said}");
        }
        let files = quality::Check {
            check: CheckKind::Files,
            columns: Vec::new(),
            n: 2.0,
            n_bad: 1.0,
            most: 0.0,
            examples: vec!["b.csv: cut".to_owned(), "never named".to_owned()],
            ..written
        };
        assert_eq!(fault(&read_of(&files)), "files: 1 of 2 are wrong, at most 0 % may be: b.csv: cut");
        let names = [Outcome::Passed, Outcome::NotChecked].map(|outcome| json!(outcome));
        assert_eq!(names, [json!("passed"), json!("not_checked")]);
    }
}
