//! An extract, from the device's readings to the scientist's file; and who does not get it.

use super::node::{Node, PATIENCE};
use anyhow::{Context, ensure};
use auth::demo_person;
use model::DeviceId;
use serde_json::json;
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use uuid::Uuid;

const DEVICE: &str = "00000001-0000-4000-8000-0000000000d1";
const PATIENT: &str = "00000001-0000-4000-8000-0000000000a1";
const DAY_SECONDS: i64 = 86_400;

/// Somebody who takes part in a study of the demo's scientist, with a device.
fn directory() -> anyhow::Result<String> {
    let scientist = demo_person("ml-scientist").context("nobody")?.uuid();
    Ok(format!(
        "[[patient]]\nid = \"{PATIENT}\"\nward = \"demo\"\n[[device]]\nid = \"{DEVICE}\"\nmodel = \"M-1\"\n\
         [[assignment]]\ndevice = \"{DEVICE}\"\npatient = \"{PATIENT}\"\n\
         [[study]]\nuser = \"{scientist}\"\npatient = \"{PATIENT}\"\nstudy = \"heart\"\n"
    ))
}

/// Sends two readings of days ago, as JSON.
fn send(node: &Node) -> anyhow::Result<()> {
    let now = guard::clock::now().0 / model::Nanos::SECOND;
    let reading = |days: i64, number: f64| {
        let at = jiff::Timestamp::from_second(now - days * DAY_SECONDS)?.to_string();
        anyhow::Ok(json!({"metric": "8867-4", "unit": "/min", "number": number, "measured_at": at}))
    };
    let readings = [reading(6, 61.5)?, reading(5, 62.5)?];
    let batch = json!({"stream_id": Uuid::new_v4().to_string(), "sequence": "1", "readings": readings});
    let token = node.device_token(DeviceId::new(DEVICE.parse()?))?;
    let header = format!("Authorization: Bearer {token}\r\n");
    let (status, answer) =
        node.ask_with(&header, "POST", &format!("/v1/devices/{DEVICE}/readings"), &batch.to_string())?;
    ensure!(status == 200 && answer["accepted_readings"] == json!("2"), "{status} {answer}");
    Ok(())
}

#[test]
fn a_scientist_gets_a_file_of_the_study_and_nobody_else_does() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    fs::create_dir_all(dir.path().join("directory"))?;
    fs::write(dir.path().join("directory/study.toml"), directory()?)?;
    let settings = ["--set", "archive.flush_seconds=1", "--set", "study.max_days=2"];
    let services = ["--service", "ingest", "--service", "archive"];
    let node = Node::start_with(dir.path(), &[&services[..], &settings[..]].concat())?;
    send(&node)?;
    // until the archive has them
    let began = Instant::now();
    let id = loop {
        let submitted = node.run("ml-scientist", &["jobs", "submit", "extract", "study=heart", "--watch"])?;
        let text = submitted.map_err(|code| anyhow::anyhow!("extract: {code}"))?;
        let id = text.lines().next().context("no id")?.to_owned();
        if text.contains("\"n_rows\":2") {
            break id;
        }
        ensure!(began.elapsed() < PATIENCE, "{text}");
        thread::sleep(Duration::from_millis(300));
    };
    let file = dir.path().join("heart.parquet");
    let out = file.display().to_string();
    let got = node.run("ml-scientist", &["jobs", "result", &id, "--out", &out])?;
    ensure!(got.is_ok(), "{got:?}");
    let bytes = fs::read(&file)?;
    ensure!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} bytes", bytes.len());
    let text = String::from_utf8_lossy(&bytes);
    ensure!(!text.contains(PATIENT) && !text.contains(DEVICE), "an id is in the file");
    // who sees all jobs reads no study by that; who reads none makes no extract
    let (status, refused) = node.ask("administrator", "GET", &format!("/v1/jobs/{id}/result"), "")?;
    ensure!(status == 403, "{status} {refused}");
    ensure!(node.ask("administrator", "GET", &format!("/v1/jobs/{id}"), "")?.0 == 200);
    let body = r#"{"kind": "extract", "parameters": {"study": "heart"}}"#;
    for (role, expected) in [("administrator", 403), ("application-developer", 403), ("ml-scientist", 201)] {
        let (status, answer) = node.ask(role, "POST", "/v1/jobs", body)?;
        ensure!(status == expected, "{role}: {status} {answer}");
    }
    let (status, answer) = node.ask("ml-scientist", "POST", "/v1/jobs", &body.replace("heart", "lungs"))?;
    ensure!(status == 404 && answer.to_string().contains("NO_SUCH_STUDY"), "{status} {answer}");
    // who does not take part any more is in no file that is handed out
    fs::write(
        dir.path().join("directory/study.toml"),
        directory()?.replace("[[study]]", "[[none]]").split("[[none]]").next().unwrap_or_default(),
    )?;
    let began = Instant::now();
    loop {
        let (status, answer) = node.ask("ml-scientist", "GET", &format!("/v1/jobs/{id}/result"), "")?;
        if status == 404 {
            return Ok(());
        }
        ensure!(status == 200 && began.elapsed() < PATIENCE, "{status} {answer}");
        thread::sleep(Duration::from_millis(100));
    }
}
