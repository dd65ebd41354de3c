//! The kinds of jobs `insights` and `check_quality`, done by a worker.

use super::fixture::Node;
use crate::{
    check_quality::CheckQuality,
    insights::InsightsKind,
    jobs::{
        board::Board,
        job::{Job, State},
        kinds::{Kind, Kinds},
        step::{Priority, Submission},
        worker::{Settings, Worker},
    },
    reporting::ReportKind,
};
use object_store::path::Path as Key;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Submits a job, has it done, and gives it as it ended.
async fn done(node: &Node, kind: &str, parameters: &[(&str, &str)]) -> Job {
    let others: [Arc<dyn Kind>; 2] = [
        Arc::new(CheckQuality { catalogue: node.catalogue.clone() }),
        Arc::new(InsightsKind { runner: node.runner() }),
    ];
    let kinds = ReportKind::all(&node.runner()).chain(others).collect::<Vec<_>>();
    let board = Board::new(Arc::clone(&node.store), guard::clock::now);
    let settings = Settings { at_once: 1, lease: Duration::from_secs(5), follow_every: Duration::from_millis(50) };
    let stop = CancellationToken::new();
    let working = tokio::spawn(Worker::new(board.clone(), Kinds::new(kinds), settings).run(stop.clone()));
    let submission = Submission {
        kind: kind.to_owned(),
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        submitter: "user:a".to_owned(),
        at: guard::clock::now().0,
        priority: Priority::Normal,
        deadline: None,
        max_attempts: 1,
        pause_seconds: 0,
        ..Submission::default()
    };
    let id = board.submit(submission, None).await.unwrap().id;
    let mut changes = board.changes();
    let ended = async {
        loop {
            let job = board.get(id).await.unwrap().unwrap();
            if job.state.has_ended() {
                return job;
            }
            let _ = timeout(Duration::from_millis(50), changes.changed()).await;
        }
    };
    let job = timeout(PATIENCE, ended).await.expect("it does not end");
    stop.cancel();
    working.await.unwrap();
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentences_are_an_object_that_the_result_names() {
    let node = Node::of(&["hospitals", "premiums"]).await;
    let job = done(&node, "insights", &[]).await;
    assert_eq!(job.state, State::Succeeded, "{:?}", job.error);
    let result = job.result.unwrap();
    assert_eq!((&result["insights"], &result["left_out"]), (&Value::from(2), &Value::from(9)));
    let key = Key::from(result["object"].as_str().unwrap());
    let bytes = node.catalogue.objects().get(&key).await.unwrap();
    assert_eq!(Value::from(bytes.len()), result["bytes"]);
    let found: Value = serde_json::from_slice(&bytes).unwrap();
    let insights = found["insights"].as_array().unwrap();
    assert_eq!((insights.len(), found["left_out"].as_array().unwrap().len()), (2, 9));
    let sentence = &insights[1];
    assert!(sentence["sentence"].as_str().unwrap().contains("from 462.00 USD a month in 2020"), "{sentence}");
    assert!(sentence["sentence"].as_str().unwrap().ends_with(" (made sample data: premiums)"), "{sentence}");
    assert!(!insights[0]["sentence"].as_str().unwrap().contains("made sample data"), "{}", insights[0]);
    assert_eq!(sentence["numbers"][0]["value"], "462.00");
    let run = job.run.unwrap();
    assert_eq!(run.data_versions.keys().collect::<Vec<_>>(), ["hospitals", "premiums"]);
    assert_eq!((run.rows_in, run.rows_out), (node.rows("hospitals").await + node.rows("premiums").await, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_check_stops_the_job_with_its_name() {
    let node = Node::of(&["premiums"]).await;
    let job = done(&node, "check_quality", &[("kind", "premiums")]).await;
    assert_eq!(job.state, State::Succeeded, "{:?}", job.error);
    let version = node.catalogue.get("premiums").await.unwrap().current().unwrap().id;
    let run = job.run.unwrap();
    assert_eq!(run.data_versions["premiums"], version.to_string());
    assert_eq!((run.rows_in, run.rows_out), (node.rows("premiums").await, 0));

    let report = done(&node, "premium_trends", &[("format", "csv")]).await;
    let run = report.run.unwrap();
    assert!(run.rows_in == node.rows("premiums").await && run.rows_in > 0 && run.rows_out > 0, "{run:?}");
    assert!(job.result.unwrap()["checks"].as_u64() > Some(0));

    let missing = done(&node, "check_quality", &[("kind", "readmissions")]).await;
    assert_eq!((missing.state, missing.error.as_str()), (State::Failed, "readmissions: nothing is imported"));
    let header = "Facility Name,Facility ID,State,Measure Name,Number of Discharges,Footnote,Excess Readmission Ratio,\
                  Predicted Readmission Rate,Expected Readmission Rate,Number of Readmissions,Start Date,End Date";
    let row = |n: u32, ratio: &str| {
        format!("A,01000{n},AL,READM-30-AMI-HRRP,N/A,1,{ratio},N/A,N/A,N/A,07/01/2020,06/30/2023")
    };
    let rows = [row(1, "1.0"), row(2, "N/A"), row(3, "N/A"), row(4, "N/A")].join("\n");
    node.add_text("readmissions", "readmissions.csv", format!("{header}\n{rows}\n")).await;
    let failed = done(&node, "check_quality", &[("kind", "readmissions")]).await;
    assert_eq!(failed.state, State::Failed);
    let said = "readmissions: completeness of excess_ratio: 3 of 4 are wrong, at most 50 % may be";
    assert_eq!(failed.error, said);
    let all = done(&node, "check_quality", &[("kind", "all")]).await;
    assert!(all.state == State::Failed && all.error.contains(said), "{}", all.error);
    assert!(all.error.contains("hospitals: nothing is imported") && !all.error.contains("premiums"), "{}", all.error);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_is_over_what_is_in_use_now_and_stops_for_a_newer_version_that_failed() {
    let node = Node::empty();
    let head = "LAUS Code,State FIPS Code,County FIPS Code,County Name/State Abbreviation,Year,Labor Force,Employed,\
                Unemployed,Unemployment Rate (%)\nCN,01,001,A,2024,10,9,1,10";
    let good = node.add_text("unemployment", "u.csv", format!("{head}\n")).await;
    let check = async || done(&node, "check_quality", &[("kind", "unemployment")]).await;
    let job = check().await;
    assert_eq!((job.state, &job.result.unwrap()["not_checked"]), (State::Succeeded, &Value::from(1)));
    let whole = node.add_samples("county_rurality").await;
    let job = check().await;
    assert_eq!((job.state, &job.result.unwrap()["not_checked"]), (State::Succeeded, &Value::from(0)));
    let rows = ["Population_2020,1", "RUCC_2023,2", "Description,Metro"].map(|row| format!("1003,AL,B County,{row}\n"));
    let other = format!("FIPS,State,County_Name,Attribute,Value\n{}", rows.concat());
    node.add_text("county_rurality", "r.csv", other).await;
    let (job, said) = (check().await, "cross references of county_fips: 1 of 1 are wrong, at most 1 % may be");
    assert_eq!((job.state, job.error), (State::Failed, format!("unemployment: {said}")));
    node.catalogue.set_current("county_rurality", whole, "user:a").await.unwrap();
    assert_eq!(check().await.state, State::Succeeded, "the data is as it was");

    let damaged = node.add_text("unemployment", "u.csv", format!("{head}\nCN,01,003,B,2024,ten,9,1,10\n")).await;
    node.catalogue.set_current("unemployment", good, "user:a").await.unwrap();
    let (job, said) = (check().await, format!("version {damaged} is not in use: types: 1 of 2 are wrong"));
    assert!(job.state == State::Failed && job.error.contains(&said), "{}", job.error);
    node.catalogue.delete("unemployment", damaged, "user:a", false).await.unwrap();
    assert_eq!(check().await.state, State::Succeeded);
}
