//! The public recordings in full, where they are at hand: every value is accounted for.

use super::support::{ReplayFolders, Server, options, recordings};
use wardline::replay::Report;

async fn planned(format: &str, path: &str) -> Option<Report> {
    let path = recordings()?.join(path);
    let place = ReplayFolders::new();
    let report = place.run(options(format, &path, &["--dry-run"]), &Server::default()).await.unwrap();
    assert!(report.balances(), "{report}");
    print!("{path:?}\n{report}");
    Some(report)
}

#[tokio::test]
async fn mimic_complete_table() {
    let Some(report) = planned("mimic", "mimic3_demo/CHARTEVENTS.csv.zst").await else { return };
    assert_eq!((report.read, report.patients), (758_355, 98));
    assert!(report.remaining > 140_000);
}

#[tokio::test]
async fn mimic_vitals() {
    let Some(report) = planned("mimic", "mimic3_demo/chartevents_vitals_subset.csv.zst").await else { return };
    assert_eq!((report.read, report.patients, report.recording_duplicates), (124_755, 98, 1));
}

#[tokio::test]
async fn mimic_folder_knows_that_one_file_is_part_of_the_other() {
    let Some(whole) = planned("mimic", "mimic3_demo/CHARTEVENTS.csv.zst").await else { return };
    let folder = planned("mimic", "mimic3_demo").await.unwrap();
    assert_eq!((folder.read, folder.remaining, folder.batches), (758_355 + 124_755, whole.remaining, whole.batches));
}

#[tokio::test]
async fn eicu() {
    let Some(hourly) = planned("eicu", "eicu_demo/hourly_vitals_yaib.csv.zst").await else { return };
    assert_eq!((hourly.patients, hourly.unmapped.len(), hourly.skipped.len()), (2_267, 0, 0));
    let respiratory = planned("eicu", "eicu_demo/respiratoryCharting.csv.zst").await.unwrap();
    assert_eq!(respiratory.read, 176_089);
    let folder = planned("eicu", "eicu_demo").await.unwrap();
    assert_eq!(folder.read, hourly.read + respiratory.read);
}

#[tokio::test]
async fn cgm() {
    let Some(report) = planned("cgm", "cgm_hall2018").await else { return };
    assert_eq!((report.read, report.patients), (34_890, 19));
}

#[tokio::test]
async fn physionet2012() {
    let Some(report) = planned("physionet2012", "physionet2012").await else { return };
    assert_eq!((report.read, report.files), (1_757_980, 4_000));
    // who the patient is, and that a ventilator is there
    let left: Vec<_> = report.unmapped.keys().map(String::as_str).collect();
    assert_eq!(left, ["Age", "Gender", "ICUType", "MechVent", "RecordID"]);
}

#[tokio::test]
async fn the_sample_in_the_repository_is_played_to_its_end() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/demo/mimic3-sample.csv.zst");
    let (place, server) = (ReplayFolders::new(), Server::default());
    let report = place.run(options("mimic", &path, &[]), &server).await.unwrap();
    print!("{report}");
    assert!(report.balances());
    assert_eq!(report.sent, report.acknowledged);
    assert!(report.patients >= 8 && report.sent > 10_000 && report.remaining == 0);
}
