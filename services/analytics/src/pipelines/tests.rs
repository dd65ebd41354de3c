//! Pipelines on the embedded store, with kinds of jobs that do what a test says.

mod made;
mod runs;

use super::{Given, Pipeline, Plan, all, find, plan, plan::Planned, run_id};
use crate::{models, reports::Reports};
use made::kinds_of_daily;
use std::collections::BTreeSet;

fn given(sources: &[(&str, &str)], imported: &[&str], channels: &[&str]) -> Given {
    let words = [("date", "2027-03-14"), ("run_id", "R"), ("notify", "failure")];
    Given {
        sources: sources.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
        imported: imported.iter().map(|kind| (*kind).to_owned()).collect(),
        channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
        words: words.map(|(name, word)| (name.to_owned(), word.to_owned())).into(),
    }
}

fn daily(given: &Given, without: &[&str]) -> Plan {
    plan(find("daily").unwrap(), given, &kinds_of_daily(without)).unwrap()
}

fn job<'p>(plan: &'p Plan, step: &str) -> &'p Planned {
    plan.jobs.iter().find(|job| job.step == step).unwrap_or_else(|| panic!("no {step} in {plan:?}"))
}

fn before<'p>(plan: &'p Plan, step: &str) -> BTreeSet<&'p str> {
    job(plan, step).depends_on.iter().map(|place| plan.jobs[*place].step.as_str()).collect()
}

#[test]
fn every_pipeline_is_read_and_its_reports_are_there() {
    for pipeline in all() {
        assert!(!pipeline.title.is_empty() && !pipeline.about.is_empty(), "{}", pipeline.name);
        for step in &pipeline.steps {
            let Some(super::definition::Each::Words(names)) = &step.each else { continue };
            let is_there = |name: &String| match step.name.as_str() {
                "report" => Reports::find(name).is_ok(),
                _ => models::Pipeline::named(name).is_ok(),
            };
            assert!(names.iter().all(is_there), "{names:?}");
        }
    }
    assert!(find("daily").is_some() && find("nightly").is_none());
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let head = "title = \"t\"\nabout = \"a\"\n";
    let step = |name: &str, more: &str| format!("[[step]]\nname = \"{name}\"\nkind = \"task\"\n{more}\n");
    for (text, said) in [
        (step("a", "") + &step("a", ""), "two of this name"),
        (step("a", "depends_on = [\"b\"]") + &step("b", ""), "no step b before it"),
        (step("a", "data = [\"hospital\"]"), "hospital is no data set"),
        (step("a", "each = \"planet\""), "each"),
        (step("a", "depend_on = []"), "depend_on"),
    ] {
        let error = Pipeline::read("x", &(head.to_owned() + &text)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_step_is_a_job_for_each_source_and_data_set_and_waits_only_for_what_it_reads() {
    let sources = [("new", "hospitals"), ("old", "hospitals"), ("cms", "readmissions")];
    let plan = daily(&given(&sources, &["cities", "coverage", "poverty_income"], &["webhook", "smtp"]), &[]);
    let check = before(&plan, "check hospitals");
    assert_eq!(check, ["collect hospitals/new", "collect hospitals/old"].into());
    assert!(before(&plan, "check cities").is_empty(), "it was imported by hand");
    // what it refers to is imported by then, or could not be
    let check = job(&plan, "check readmissions");
    let after: Vec<_> = check.after.iter().map(|place| plan.jobs[*place].step.as_str()).collect();
    assert_eq!(after, ["collect hospitals/new", "collect hospitals/old"]);
    assert_eq!(before(&plan, "check readmissions"), ["collect readmissions/cms"].into());
    assert!(!check.is_last);
    let read = ["check coverage", "check hospitals", "check poverty_income", "check readmissions"];
    assert_eq!(before(&plan, "train hospital_rating"), read.into());
    assert_eq!(before(&plan, "load").len(), 5);
    assert_eq!(before(&plan, "report hospitals_by_state"), ["check hospitals"].into());
    let collect = job(&plan, "collect hospitals/new");
    assert_eq!((collect.kind.as_str(), collect.parameters["source"].as_str()), ("import", "new"));
    let notify = job(&plan, "notify smtp");
    assert!(notify.is_last && notify.depends_on.is_empty());
    assert_eq!((notify.parameters["by"].as_str(), notify.parameters["when"].as_str()), ("smtp", "failure"));
    let waited: BTreeSet<_> = notify.after.iter().map(|place| plan.jobs[*place].step.as_str()).collect();
    let others = plan.jobs.iter().map(|job| job.step.as_str()).filter(|step| !step.starts_with("notify"));
    assert_eq!(waited, others.collect());
    // what it reads nobody has
    let skipped: Vec<_> = plan.skipped.iter().map(|(step, _)| step.as_str()).collect();
    assert!(skipped.contains(&"train health_care_cost") && skipped.contains(&"report sites_per_100000"), "{skipped:?}");
}

#[test]
fn steps_for_which_there_is_nothing_are_skipped_and_a_kind_that_is_not_known_is_said() {
    let plan = daily(&given(&[], &[], &[]), &["copy_postgres"]);
    assert_eq!(plan.jobs.iter().map(|job| job.step.as_str()).collect::<Vec<_>>(), ["summarise"]);
    let reason = |step: &str| &plan.skipped.iter().find(|(name, _)| name == step).unwrap().1;
    assert!(reason("collect").contains("analytics.sources"));
    assert!(reason("load").contains("not set up"));
    assert!(reason("train city_segments").contains("nothing was imported of prescribers"));
    assert!(reason("notify").contains("analytics.notify"));
    let mut never = given(&[], &[], &["smtp"]);
    never.words.insert("notify".to_owned(), "never".to_owned());
    assert!(daily(&never, &[]).skipped.iter().any(|(step, why)| step == "notify" && why.contains("nobody")));
    let kinds = kinds_of_daily(&["check_quality"]);
    let error = super::plan(find("daily").unwrap(), &given(&[], &["cities"], &[]), &kinds).unwrap_err().to_string();
    assert!(error.starts_with("step check cities: kind: must be one of "), "{error}");
}

#[test]
fn a_run_is_that_of_the_pipeline_for_the_date() {
    assert_eq!(run_id("daily", "2027-03-14"), run_id("daily", "2027-03-14"));
    assert_ne!(run_id("daily", "2027-03-14"), run_id("daily", "2027-03-15"));
    assert_ne!(run_id("daily", "2027-03-14"), run_id("weekly", "2027-03-14"));
}
