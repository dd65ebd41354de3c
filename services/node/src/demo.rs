//! The demo: people for each role, a replay of a real recording, and what to try next.

use crate::{
    client::{Files, Remote},
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

/// Those whose tokens are printed; `wardline token` prints the others'.
const SHOWN: [&str; 4] = ["doctor", "nurse", "patient", "administrator"];

/// Writes the demo's people: one for each role, and the ward in which the clinicians work.
pub fn people(directory: &Path) -> anyhow::Result<()> {
    let mut text = String::from("# Demo people. The tokens for them are printed at the start.\n");
    for (role, name, id) in DEMO_PEOPLE {
        let id = id.uuid();
        writeln!(text, "\n[[user]]\nid = \"{id}\"\nname = \"{name}\"\nroles = [\"{role}\"]")?;
        if ["doctor", "nurse"].contains(&role) {
            writeln!(text, "\n[[care_team]]\nuser = \"{id}\"\nward = \"{WARD}\"")?;
        }
    }
    write(directory, "demo", &text)
}

/// Writes that the demo's patient is the first one of the replay, who takes part in the demo's study.
fn ties(directory: &Path, patient: &str) -> anyhow::Result<()> {
    let mut text = String::from("# Who the demo's patient is, and who takes part in the demo's study.\n");
    for (role, name, id) in DEMO_PEOPLE {
        let id = id.uuid();
        match role {
            "patient" => {
                writeln!(text, "\n[[user]]\nid = \"{id}\"\nname = \"{name}\"\nroles = []\npatient = \"{patient}\"")?;
            }
            "ml-scientist" => writeln!(text, "\n[[study]]\nuser = \"{id}\"\npatient = \"{patient}\"")?,
            _ => {}
        }
    }
    write(directory, "demo-ties", &text)
}

/// A whole file at once: a running node reads the folder.
fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("directory {}", directory.display()))?;
    let path = directory.join(name).with_extension("toml");
    let unfinished = path.with_extension("tmp");
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
    writeln!(text, "  gRPC  {}     metrics, live, ready  http://{}", node.grpc, node.http)?;
    if let Some(api) = node.api {
        let api = config.api_uri(api);
        writeln!(text, "  JSON  {api}/v1     described by  {api}/v1/openapi.json")?;
    }
    writeln!(text)?;
    for (role, name, user) in DEMO_PEOPLE.iter().copied().filter(|(role, ..)| SHOWN.contains(role)) {
        let variable = role.to_uppercase();
        writeln!(text, "# {name}, {role}\nexport {variable}={}\n", issuer.user_token(user)?)?;
    }
    Ok(text)
}

/// What `cargo run --release` does: everything on embedded engines, the recording replayed, then what to try.
///
/// The replay speaks TLS with `files` when the port does.
pub async fn run(config: &Config, files: &Files, stop: CancellationToken) -> anyhow::Result<()> {
    people(&config.directory_dir())?;
    let node = Node::start(config, &Service::ALL, stop.clone()).await?;
    let banner = banner(config, &node)?;
    let recording = config.data.dir.join("demo/mimic3-sample.csv.zst");
    fs::write(&recording, RECORDING).with_context(|| format!("recording {}", recording.display()))?;
    let target = config.target(Remote::new(&config.uri(node.grpc), files)?);
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
    let patient = first_patient(&config.directory_dir())?;
    ties(&config.directory_dir(), &patient)?;
    println!("{banner}{}", next_steps(config, &node, &patient));
    node.wait().await
}

/// Lines to paste.
fn next_steps(config: &Config, node: &Node, patient: &str) -> String {
    let grpc = node.grpc;
    let service = "wardline.telemetry.v1.TimelineService";
    let mut text = String::from("# Paste the `export` lines above into another terminal, then:\n");
    let tls = if config.tls.is_on() { "-cacert ca.pem" } else { "-plaintext" };
    let call = |rpc: &str, body: &str| {
        format!("grpcurl {tls} -H \"authorization: Bearer $DOCTOR\" -d '{body}' {grpc} {service}/{rpc}\n")
    };
    text += "\n# the latest value of each of one patient's vital signs\n";
    text += &call("LatestReadings", &format!(r#"{{"patient_id": "{patient}"}}"#));
    text += "\n# the last day of the patient's heart rate, a page of five\n";
    let body = format!(r#"{{"patient_id": "{patient}", "metrics": ["8867-4"], "page_size": 5}}"#);
    text += &call("ReadTimeline", &body);
    text += "\n# what each hour of the last month came to\n";
    text += &call("ReadTrend", &format!(r#"{{"patient_id": "{patient}", "metrics": ["8867-4"]}}"#));
    if let Some(api) = node.api {
        text += "\n# the latest values once more, as JSON over HTTP\n";
        let ca = if config.api_is_encrypted() { "--cacert ca.pem " } else { "" };
        let api = config.api_uri(api);
        text += &format!("curl {ca}-H \"authorization: Bearer $DOCTOR\" {api}/v1/patients/{patient}/latest\n");
    }
    text += "\n# the last day as a plot\n";
    let data = config.data.dir.display();
    text +=
        &format!("cargo run --release -- --set data.dir={data} timeline {patient} --metric 8867-4 --metric 59408-5\n");
    text += "\n# more devices\n";
    text += &format!(
        "cargo run --release -- --set data.dir={data} simulate --devices 20 --rate 5 --batch 5 --seconds 30\n"
    );
    text += "\n# who may do what, and the tokens of the demo's other people\n";
    text += "cargo run --release -- access matrix\n";
    text += &format!("cargo run --release -- --set data.dir={data} token ml-scientist\n");
    text += "\nCtrl-C stops everything.\n";
    text
}

fn first_patient(directory: &Path) -> anyhow::Result<String> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let replayed = entries.iter().find(|entry| entry.file_name().to_string_lossy().starts_with("replay-"));
    let text = fs::read_to_string(replayed.context("the replay left no directory file")?.path())?;
    let table: toml::Table = text.parse()?;
    let patient = table.get("patient").and_then(|patients| patients.get(0)).and_then(|patient| patient.get("id"));
    Ok(patient.and_then(toml::Value::as_str).context("the replay's directory file names no patient")?.to_owned())
}
