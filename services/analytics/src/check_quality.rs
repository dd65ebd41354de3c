//! The kind `check_quality`: fails where a data set is not there or failed a check of its import, so that what depends on it stops.

use crate::{
    catalogue::Catalogue,
    datasets,
    jobs::{
        kinds::{Done, Failure, Kind, Parameter, Parameters, Range},
        work::Work,
    },
};
use async_trait::async_trait;
use model::access::Action;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// Name of the kind.
pub const NAME: &str = "check_quality";
/// The parameter that says what is checked, and its value for everything.
const KIND: &str = "kind";
const ALL: &str = "all";

/// Asks the reports of the imports that made the current versions.
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
}

/// What was found of some data sets.
#[derive(Default)]
struct Found {
    faults: Vec<String>,
    n_checks: u64,
    n_not_checked: u64,
    data_versions: BTreeMap<String, String>,
}

#[async_trait]
impl Kind for CheckQuality {
    fn name(&self) -> &str {
        NAME
    }

    fn about(&self) -> &str {
        "fails where a data set is not imported, or where its current version failed a check of quality"
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
        let (total, mut found) = (kinds.len() as u64, Found::default());
        for (done, kind) in (1..).zip(kinds) {
            self.check(&kind.name, &mut found).await?;
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
        Ok(Done { result, data_versions: found.data_versions, ..Done::default() })
    }
}

impl CheckQuality {
    async fn check(&self, kind: &str, found: &mut Found) -> Result<(), Failure> {
        let data_set = self.catalogue.get(kind).await.map_err(Failure::again)?;
        let Some(version) = data_set.current() else {
            found.faults.push(format!("{kind}: nothing is imported"));
            return Ok(());
        };
        let report = self.catalogue.report(version).await.map_err(Failure::again)?;
        let unreadable = |error| Failure::Final(format!("{kind}: the report of its import cannot be read: {error}"));
        let Report { quality } = serde_json::from_value(report).map_err(unreadable)?;
        found.data_versions.insert(kind.to_owned(), version.id.to_string());
        found.n_checks += quality.checks.len() as u64;
        for check in &quality.checks {
            match check.outcome.as_str() {
                "passed" => {}
                "not_checked" => found.n_not_checked += 1,
                // `failed`, and what a later version may call otherwise
                _ => found.faults.push(format!("{kind}: {}", fault(check))),
            }
        }
        Ok(())
    }
}

/// A check that failed, in a few words.
fn fault(check: &Check) -> String {
    let of = if check.columns.is_empty() { String::new() } else { format!(" of {}", check.columns.join(", ")) };
    let name = check.check.replace('_', " ");
    // a millionth of a percent: 1.0 - 0.9 has more digits than anybody wrote
    let percent = (check.most * 1e8).round() / 1e6;
    format!("{name}{of}: {} of {} are wrong, at most {percent} % may be", check.n_bad, check.n)
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
        assert_eq!(read.outcome, "failed");
        let said = "cross references of state, city_key: 107 of 431 are wrong, at most 20 % may be";
        assert_eq!(fault(&read), said);
        for (most, percent) in [(1.0 - 0.9, "10"), (1.0 - 0.95, "5"), (0.07, "7"), (0.001, "0.1"), (0.0, "0")] {
            let said = fault(&Check { most, ..read_of(&written) });
            assert!(said.ends_with(&format!(", at most {percent} % may be")), "{said}");
        }
        let names = [Outcome::Passed, Outcome::NotChecked].map(|outcome| json!(outcome));
        assert_eq!(names, [json!("passed"), json!("not_checked")]);
    }
}
