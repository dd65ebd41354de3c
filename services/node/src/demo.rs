//! The demo: people for each role, a replay of a real recording, and what to try next.

use crate::{
    config::Config,
    replay,
    run::{Node, Service},
};
use anyhow::Context;
use auth::{DEMO_PEOPLE, DemoIssuer};
use std::{fmt::Write as _, fs, path::Path};
use tokio_util::sync::CancellationToken;

/// A few patients of the MIMIC-III demo; see deploy/demo/NOTICE.
const RECORDING: &[u8] = include_bytes!("../../../deploy/demo/mimic3-sample.csv.zst");
/// The ward in which the demo's people work and recordings are replayed.
const WARD: &str = "icu";

/// Writes the demo's people, once: roles, who has them, and the ward they work in.
pub fn people(directory: &Path) -> anyhow::Result<()> {
    let mut text = String::from("# Demo people. The tokens for them are printed at the start.\n");
    for (role, permissions) in [
        ("doctor", r#"["readings.read"]"#),
        ("nurse", r#"["readings.read"]"#),
        ("administrator", r#"["quarantine.manage"]"#),
    ] {
        writeln!(text, "\n[[role]]\nname = \"{role}\"\npermissions = {permissions}")?;
    }
    for (role, name, id) in DEMO_PEOPLE {
        let id = id.uuid();
        writeln!(text, "\n[[user]]\nid = \"{id}\"\nname = \"{name}\"\nroles = [\"{role}\"]")?;
        if role != "administrator" {
            writeln!(text, "\n[[care_team]]\nuser = \"{id}\"\nward = \"{WARD}\"")?;
        }
    }
    fs::create_dir_all(directory).with_context(|| format!("directory {}", directory.display()))?;
    let path = directory.join("demo.toml");
    let unfinished = directory.join("demo.tmp");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, &path))
        .with_context(|| format!("demo people in {}", path.display()))
}

/// A banner and the demo people's tokens.
pub fn banner(config: &Config, node: &Node) -> anyhow::Result<String> {
    let issuer = DemoIssuer::open(&config.demo_dir())?;
    let mut text = String::new();
    writeln!(
        text,
        "\n  WARDLINE DEMO - loopback only, anyone with these tokens may read. Not a primary alarm system.\n"
    )?;
    writeln!(text, "  gRPC  {}     metrics, live, ready  http://{}\n", node.grpc, node.http)?;
    for (role, name, user) in DEMO_PEOPLE {
        let variable = role.to_uppercase();
        writeln!(text, "# {name}, {role}\nexport {variable}={}\n", issuer.user_token(user)?)?;
    }
    Ok(text)
}

/// What `cargo run --release` does: everything on embedded engines, the recording replayed, then what to try.
pub async fn run(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    people(&config.directory_dir())?;
    let node = Node::start(config, &Service::ALL, stop.clone()).await?;
    let banner = banner(config, &node)?;
    let recording = config.data.dir.join("demo/mimic3-sample.csv.zst");
    fs::write(&recording, RECORDING).with_context(|| format!("recording {}", recording.display()))?;
    let endpoint = format!("http://{}", node.grpc);
    let target = config.target(endpoint);
    let replaying = async {
        eprintln!("Replaying vital signs of real intensive-care patients (MIMIC-III demo, see deploy/demo/NOTICE) ...");
        let report = replay::run(replay::Options::of(replay::Format::Mimic, recording.clone()), target).await?;
        eprintln!("{report}");
        anyhow::Ok(())
    };
    tokio::select! {
        replayed = replaying => replayed?,
        () = stop.cancelled() => return node.wait().await,
    }
    println!("{banner}{}", next_steps(config, &node)?);
    node.wait().await
}

/// Lines to paste.
fn next_steps(config: &Config, node: &Node) -> anyhow::Result<String> {
    let patient = first_patient(&config.directory_dir())?;
    let grpc = node.grpc;
    let service = "wardline.telemetry.v1.TimelineService";
    let mut text = String::from("# Paste the `export` lines above into another terminal, then:\n");
    let call = |rpc: &str, body: &str| {
        format!("grpcurl -plaintext -H \"authorization: Bearer $DOCTOR\" -d '{body}' {grpc} {service}/{rpc}\n")
    };
    text += "\n# the latest value of each of one patient's vital signs\n";
    text += &call("LatestReadings", &format!(r#"{{"patient_id": "{patient}"}}"#));
    text += "\n# the last day of the patient's heart rate, a page of five\n";
    let body = format!(r#"{{"patient_id": "{patient}", "metrics": ["8867-4"], "page_size": 5}}"#);
    text += &call("ReadTimeline", &body);
    text += "\n# what each hour of the last month came to\n";
    text += &call("ReadTrend", &format!(r#"{{"patient_id": "{patient}", "metrics": ["8867-4"]}}"#));
    text += "\n# the last day as a plot\n";
    let data = config.data.dir.display();
    text +=
        &format!("cargo run --release -- --set data.dir={data} timeline {patient} --metric 8867-4 --metric 59408-5\n");
    text += "\n# more devices\n";
    text += &format!(
        "cargo run --release -- --set data.dir={data} simulate --devices 20 --rate 5 --batch 5 --seconds 30\n"
    );
    text += "\nCtrl-C stops everything.\n";
    Ok(text)
}

fn first_patient(directory: &Path) -> anyhow::Result<String> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let replayed = entries.iter().find(|entry| entry.file_name().to_string_lossy().starts_with("replay-"));
    let text = fs::read_to_string(replayed.context("the replay left no directory file")?.path())?;
    let table: toml::Table = text.parse()?;
    let patient = table.get("patient").and_then(|patients| patients.get(0)).and_then(|patient| patient.get("id"));
    Ok(patient.and_then(toml::Value::as_str).context("the replay's directory file names no patient")?.to_owned())
}
