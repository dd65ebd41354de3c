//! The demo: people for each role, a replay of a real recording, and what to try next.

use crate::{cli::Files, demo_data, demo_ward, replay};
use anyhow::Context;
use auth::{DEMO_PEOPLE, DemoIssuer, demo_person};
use client::Remote;
use directory::Directory;
use model::PatientId;
use node::{config::Config, run::Node, wiring::Service};
use std::{
    fmt::Write as _,
    fs,
    io::{Write, stderr, stdout},
    path::Path,
};
use tokio_util::sync::CancellationToken;
use uuid::uuid;

/// Where the tools look for a node if nobody says otherwise: `server.grpc_listen` of node.default.toml.
const USUAL_PORT: u16 = 50_051;
/// A few patients of the MIMIC-III demo; see deploy/demo/NOTICE.
const RECORDING: &[u8] = include_bytes!("../../../deploy/demo/mimic3-sample.csv.zst");

/// Those whose tokens are printed; `wardline token` prints the others'.
const SHOWN: [&str; 4] = ["doctor", "nurse", "patient", "administrator"];

/// The service that has data sets and reports.
const ANALYTICS: &str = "analytics";

/// Who the demo's patient is: the first one of the recording.
const PATIENT: PatientId = PatientId::new(uuid!("9fc9151b-a5c2-5138-abc7-db04232ac801"));

/// Writes the first administrator into the directory folder, as an installation's operator does.
pub fn administrator(directory: &Path) -> anyhow::Result<()> {
    write(directory, "demo", "# The demo's first administrator, who enters the others.\n", |role| {
        role == "administrator"
    })
}

/// Writes all of the demo's people into the directory folder: for trials and benchmarks, which have everybody in
/// place before the node starts.
pub fn people(directory: &Path) -> anyhow::Result<()> {
    write(directory, "everybody", "# The demo's people.\n", |_| true)
}

/// A whole file at once: a running node reads the folder.
fn write(directory: &Path, name: &str, heading: &str, is_in: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let mut text = heading.to_owned();
    for (role, name, id) in DEMO_PEOPLE.iter().filter(|(role, ..)| is_in(role)) {
        let id = id.uuid();
        writeln!(text, "\n[[user]]\nid = \"{id}\"\nname = \"{name}\"\nroles = [\"{role}\"]")?;
        if demo_ward::STAFF.contains(role) {
            writeln!(text, "\n[[care_team]]\nuser = \"{id}\"\nward = \"{}\"", demo_ward::NAME)?;
        }
    }
    replay::replace(&directory.join(name).with_extension("toml"), text.as_bytes())
}

/// Enters the others through the registry of a node.
pub async fn staff(config: &Config, remote: &Remote) -> anyhow::Result<()> {
    let files = Directory::read(&config.directory_dir())?;
    demo_ward::staff(remote, &config.demo_dir(), &files, PATIENT)
        .await
        .context("the demo's people could not be entered")
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
pub async fn run(config: &Config, files: &Files, services: &[Service], stop: CancellationToken) -> anyhow::Result<()> {
    administrator(&config.directory_dir())?;
    let node = Node::start(config, services, stop.clone()).await?;
    let remote = files.remote(&config.uri(node.grpc))?;
    staff(config, &remote).await?;
    let banner = banner(config, &node)?;
    let recording = config.data.dir.join("demo/mimic3-sample.csv.zst");
    fs::write(&recording, RECORDING).with_context(|| format!("recording {}", recording.display()))?;
    let target = replay::Target::of(config, remote.clone());
    let replaying = async {
        let notice =
            "Replaying vital signs of real intensive-care patients (MIMIC-III demo, see deploy/demo/NOTICE) ...";
        tell(stderr(), notice);
        let report = replay::run(replay::Options::of(replay::Format::Mimic, recording.clone()), target).await?;
        tell(stderr(), &report.to_string());
        if services.iter().any(|service| service.name == ANALYTICS) {
            tell(stderr(), "Importing samples of reference data (see services/analytics/samples/README.md) ...");
            let administrator = demo_person("administrator").context("the demo has no administrator")?;
            let token = DemoIssuer::open(&config.demo_dir())?.user_token(administrator)?;
            demo_data::run(&config.data.dir.join("demo/samples"), &remote, &token, &mut stdout()).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        replayed = replaying => replayed?,
        () = stop.cancelled() => return node.wait().await,
    }
    let has_reports = services.iter().any(|service| service.name == ANALYTICS);
    tell(stdout(), &format!("{banner}{}", next_steps(config, &node, has_reports)));
    node.wait().await
}

/// Says something beside what the node does: it goes on when nobody reads it.
fn tell(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

/// Lines to paste.
fn next_steps(config: &Config, node: &Node, has_reports: bool) -> String {
    let (grpc, patient) = (node.grpc, PATIENT.uuid());
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
    let endpoint = if config.tls.is_on() {
        format!(" --endpoint https://{grpc} --ca ca.pem")
    } else if grpc.port() != USUAL_PORT {
        format!(" --endpoint http://{grpc}")
    } else {
        String::new()
    };
    let wardline = format!("cargo run --release -- --set data.dir={}{endpoint}", config.data.dir.display());
    text += "\n# the last day as a plot\n";
    text += &format!("{wardline} timeline {patient} --metric 8867-4 --metric 59408-5\n");
    if has_reports {
        text += &report_steps(&wardline);
    }
    text += "\n# more devices\n";
    text += &format!("{wardline} simulate --devices 20 --rate 5 --batch 5 --seconds 30\n");
    text += "\n# who there is, and which devices\n";
    text += &format!("{wardline} users list\n{wardline} devices list\n");
    text += "\n# who may do what, and the tokens of the demo's other people\n";
    text += "cargo run --release -- access matrix\n";
    text += &format!("{wardline} token ml-scientist\n");
    text += "\nCtrl-C stops everything.\n";
    text
}

/// Lines to paste that ask for what comes of the data sets.
fn report_steps(wardline: &str) -> String {
    let mut text = "\n# which reports there are, one of them, and sentences over them with their numbers\n".to_owned();
    text += &format!("{wardline} report\n{wardline} report quality\n{wardline} insights --numbers\n");
    text += "\n# what each step of the daily pipeline did\n";
    text += &format!("{wardline} pipeline show\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn the_lines_to_paste_ask_for_reports_insights_and_the_pipeline() {
        let text = report_steps("wardline --set data.dir=data");
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        for line in &lines {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok_and(|cli| cli.command.is_some()), "{line}");
        }
        for what in ["report", "report quality", "insights --numbers", "pipeline show"] {
            assert!(lines.iter().any(|line| line.ends_with(&format!("=data {what}"))), "{what}: {text}");
        }
    }
}
