//! A replay from end to end against a server in memory: batches, resuming, repeating, refusals, pace.

use super::support::{ReplayFolders, Server, options};
use std::{collections::BTreeSet, fmt::Write};
use wardline::demo_ward::Bed;

/// `patients` with a heart rate a minute, stored out of order.
fn recording(patients: usize, minutes: usize) -> String {
    let mut text = "subject_id,itemid,charttime,storetime,value,valuenum,valueuom\n".to_owned();
    for patient in 0..patients {
        for minute in 0..minutes {
            let (hour, rest) = (minute / 60, minute % 60);
            let stored = if minute % 7 == 0 { hour + 1 } else { hour };
            for (item, unit) in [(211, "BPM"), (618, "BPM"), (807, "")] {
                let line = format!(
                    "{patient},{item},2150-01-01 {hour:02}:{rest:02}:00,2150-01-01 {stored:02}:{rest:02}:30,{},,{unit}",
                    60 + minute
                );
                writeln!(text, "{line}").unwrap();
            }
        }
    }
    text
}

#[tokio::test]
async fn batches_are_small_and_short_and_everything_arrives_once() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(3, 200));
    let report = place.run(options("mimic", &path, &["--order", "measured"]), &server).await.unwrap();
    assert!(report.balances());
    assert_eq!((report.read, report.sent, report.acknowledged), (1_800, 1_800, 1_800));
    assert_eq!((report.devices, report.patients, report.remaining, report.duplicate), (6, 3, 0, 0));
    let readings = server.readings();
    for batches in readings.values() {
        for batch in batches {
            let times = batch.iter().map(|reading| reading.1);
            assert!(batch.len() <= 60 && times.clone().max().unwrap() - times.min().unwrap() <= 300_000_000_000);
        }
        let times: Vec<_> = batches.iter().flatten().map(|reading| reading.1).collect();
        assert!(times.is_sorted());
    }
    let text = report.to_string();
    assert!(text.contains("complete") && text.contains("1,800"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    for field in
        ["read", "sent", "acknowledged", "duplicate", "refused", "quarantined", "seconds", "unmapped", "skipped"]
    {
        assert!(json.get(field).is_some(), "{field}");
    }
}

#[tokio::test]
async fn arrival_order_sends_late_readings_late() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(1, 100));
    place.run(options("mimic", &path, &[]), &server).await.unwrap();
    for batches in server.readings().values() {
        let times: Vec<_> = batches.iter().flatten().map(|reading| reading.1).collect();
        assert!(!times.is_sorted(), "minute 0 arrived after minute 1");
    }
}

#[tokio::test]
async fn all_devices_are_admitted_from_the_first_reading_of_their_patient_on() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(2, 30));
    place.run(options("mimic", &path, &["--anchor", "2026-01-02T00:00:00Z"]), &server).await.unwrap();
    let (beds, sent) = (server.beds(), server.readings());
    assert_eq!(beds.len(), sent.len());
    for bed in &beds {
        let times = sent[&bed.device].iter().flatten().map(|reading| reading.1);
        assert!(times.min().is_some_and(|first| bed.from.0 <= first), "{bed:?}");
    }
    let names = |name: fn(&Bed) -> &String| beds.iter().map(name).collect::<BTreeSet<_>>().len();
    assert_eq!((names(|bed| &bed.patient_name), names(|bed| &bed.device_name)), (2, beds.len()));
}

#[tokio::test]
async fn an_interrupted_replay_goes_on_where_it_was() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(3, 300));
    server.stop_after(10);
    let first = place.run(options("mimic", &path, &["--devices-in-flight", "2"]), &server).await.unwrap();
    assert!(first.remaining > 0 && first.sent > 0 && first.balances(), "{first}");
    assert!(first.to_string().contains("not complete"));
    server.go_on();
    let second = place.run(options("mimic", &path, &["--devices-in-flight", "2"]), &server).await.unwrap();
    assert!(second.balances());
    assert_eq!((second.remaining, second.sent, second.duplicate), (0, 2_700, 0));
    let mut log = server.log();
    let n_batches = log.len();
    log.sort();
    log.dedup();
    assert_eq!(log.len(), n_batches, "nothing was sent twice");
}

#[tokio::test]
async fn a_killed_replay_sends_again_what_it_had_not_written_down() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(2, 300));
    server.refuse("9279-1");
    server.stop_after(6);
    place.run(options("mimic", &path, &[]), &server).await.unwrap();
    let early = std::fs::read(place.state()).unwrap();
    server.go_on();
    server.stop_after(40);
    place.run(options("mimic", &path, &[]), &server).await.unwrap();
    std::fs::write(place.state(), early).unwrap();
    server.go_on();
    let report = place.run(options("mimic", &path, &[]), &server).await.unwrap();
    assert!(report.balances(), "{report}");
    assert_eq!((report.sent, report.remaining), (1_800, 0));
    assert!(report.duplicate > 0 && server.repeated() > 0);
    assert_eq!(report.refused, [("UNKNOWN_METRIC".to_owned(), 600)].into());
}

#[tokio::test]
async fn a_complete_replay_does_nothing_unless_asked_again() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(2, 60));
    let first = place.run(options("mimic", &path, &[]), &server).await.unwrap();
    assert!(!first.already_complete);
    let opened = server.opened();
    let second = place.run(options("mimic", &path, &[]), &server).await.unwrap();
    assert!(second.already_complete && second.balances());
    assert_eq!((second.sent, server.opened()), (360, opened));
    let again = place.run(options("mimic", &path, &["--again"]), &server).await.unwrap();
    assert!(again.balances() && !again.already_complete);
    assert_eq!((again.sent, again.acknowledged, again.duplicate), (360, 360, 360));
}

#[tokio::test]
async fn a_device_that_cannot_go_on_ends_the_replay_and_loses_nothing() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(3, 300));
    server.fail_after(Some(12));
    let said = place.run(options("mimic", &path, &[]), &server).await.unwrap_err();
    assert!(format!("{said:#}").contains("the server says no"), "{said:#}");
    server.fail_after(None);
    server.go_on();
    let report = place.run(options("mimic", &path, &[]), &server).await.unwrap();
    assert!(report.balances());
    assert_eq!((report.sent, report.remaining), (2_700, 0));
}

#[tokio::test]
async fn a_dry_run_sends_and_writes_nothing() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(2, 60));
    let report = place.run(options("mimic", &path, &["--dry-run"]), &server).await.unwrap();
    assert!(report.balances());
    assert_eq!((report.remaining, report.sent, server.opened()), (360, 0, 0));
    assert!(!place.target.data_dir.exists() && server.beds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_a_finite_speed_batches_come_in_the_order_of_time() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(4, 240));
    let started = tokio::time::Instant::now();
    let speed = ["--speed", "60x", "--order", "measured", "--devices-in-flight", "8"];
    let report = place.run(options("mimic", &path, &speed), &server).await.unwrap();
    assert!(report.balances());
    let seconds = started.elapsed().as_secs();
    assert!((220..=245).contains(&seconds), "four hours at 60x took {seconds} s");
    let times: Vec<_> = server.log().into_iter().skip(1).map(|(_, _, at)| at).collect();
    assert!(times.is_sorted(), "all devices together, in the order of time");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_waits_gives_its_place_to_others() {
    let (place, server) = (ReplayFolders::new(), Server::default());
    let path = place.file("chartevents.csv", recording(4, 120));
    let started = tokio::time::Instant::now();
    let speed = ["--speed", "1x", "--order", "measured", "--devices-in-flight", "1"];
    place.run(options("mimic", &path, &speed), &server).await.unwrap();
    let seconds = started.elapsed().as_secs();
    assert!(seconds < 2 * 3_600 + 60, "eight devices share one place and took {seconds} s for two hours");
}
