//! What an import says of what it made, or why it made nothing.

use crate::{
    catalogue::{DataSet, Version},
    datasets::{ImportReport, Kind, quality::CheckKind},
    jobs::{kinds::Done, work::Work},
};
use serde_json::{Value, json};

/// Most lines of a report, and most failed checks, in a job's log: a step of a job holds fifty lines.
const REPORT_LINES: usize = 30;
const FAULTS: usize = 10;

/// The source has what a version was made of.
pub(super) fn nothing_new(work: &Work, kind: &Kind, (data_set, same): (&DataSet, &Version), faults: &[String]) -> Done {
    let id = same.id.to_string();
    work.say(format!("nothing new: version {id} is made of it"));
    let result = json!({ "kind": kind.name, "version_id": id, "passed": same.passed, "nothing_new": true });
    let result = tell(work, (data_set, same), faults, result);
    Done { result, data_versions: [(kind.name.clone(), id)].into(), ..Done::default() }
}

/// Says in the job's log and in its result whether a version is in use, and why not. `faults`: its checks that failed.
pub(super) fn tell(
    work: &Work,
    (data_set, version): (&DataSet, &Version),
    faults: &[String],
    mut result: Value,
) -> Value {
    for fault in faults.iter().take(FAULTS) {
        work.say(format!("failed check: {fault}"));
    }
    let is_in_use = data_set.current().is_some_and(|current| current.id == version.id);
    result["in_use"] = is_in_use.into();
    if is_in_use && !version.passed {
        work.say("the version is in use although it failed checks");
    }
    if !is_in_use {
        let why = match version.passed {
            true => "another version was put into use after it",
            false => "it failed checks, and another version is in use",
        };
        work.say(format!("version {} is not in use: {why}", version.id));
        let first = faults.first().map(|fault| format!(": {fault}")).unwrap_or_default();
        let remedy = "; import a file without the fault, or put it into use (`wardline datasets use`)";
        let remedy = if version.passed { "" } else { remedy };
        result["why"] = format!("{why}{first}{remedy}").into();
    }
    result
}

/// Says of each file that was refused, broke off or may be cut off what is wrong with it; the same for the job's result. `report`:
/// what is kept with the version.
pub(super) fn tell_files(work: &Work, report: &Value) -> Value {
    let mut checks = report["quality"]["checks"].as_array().into_iter().flatten();
    let of_files = checks.find(|check| check["check"] == json!(CheckKind::Files));
    let faults = of_files.map_or_else(|| json!([]), |check| check["examples"].clone());
    for fault in faults.as_array().into_iter().flatten().filter_map(Value::as_str) {
        work.say(format!("not whole: {fault}"));
    }
    faults
}

/// Why nothing was made: no row is accepted. What is known of each file and each reason goes to the job's log; cells do not.
pub(super) fn nothing_accepted(work: &Work, report: &ImportReport) -> String {
    let files = report.files.iter().map(|file| {
        let refused = file.refused.as_ref().map(|why| format!(", refused: {why}")).unwrap_or_default();
        format!("{}: {} rows read{refused}", model::on_one_line(&file.name), file.n_read)
    });
    let reasons = report.refused.iter().map(|refused| {
        let column = refused.column.as_ref().map(|column| format!("{column}: ")).unwrap_or_default();
        let at = refused
            .first
            .first()
            .map(|at| format!(" ({} line {})", model::on_one_line(&at.file), at.line))
            .unwrap_or_default();
        (refused.n, format!("{column}{}{at}; {}", refused.what, refused.remedy))
    });
    let reasons: Vec<_> = reasons.collect();
    let lines = reasons.iter().map(|(n, reason)| format!("{n} rows refused: {reason}"));
    lines.chain(files).take(REPORT_LINES).for_each(|line| work.say(line));
    let of_file = || report.files.iter().find_map(|file| file.refused.clone());
    let first = reasons.first().map(|(_, reason)| reason.clone()).or_else(of_file);
    let first = first.unwrap_or_else(|| "the files have no rows; send them with their rows".to_owned());
    format!("no row is accepted of {} that were read, and no version is made; the first reason: {first}", report.n_read)
}
