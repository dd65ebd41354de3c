//! The examples of the SDK, as they are printed in its manual, against a node.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tests::{Bed, Sandbox};

#[allow(dead_code, reason = "its `main` is for the command line")]
#[path = "../../../shared/client/examples/device.rs"]
mod device;
#[allow(dead_code, reason = "its `main` is for the command line")]
#[path = "../../../shared/client/examples/reader.rs"]
mod reader;

#[tokio::test]
async fn the_examples_send_and_read() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let [device_token, doctor_token] = ["device", "doctor"].map(|name| sandbox.dir.path().join(name));
    fs::write(&device_token, sandbox.device_token(bed.device)?)?;
    let doctor = auth::demo_person("doctor").expect("one of the demo's people");
    fs::write(&doctor_token, sandbox.issuer()?.user_token(doctor)?)?;
    let (endpoint, queue) = (sandbox.endpoint(), sandbox.dir.path().join("queue"));
    let shown = |path: &Path| path.display().to_string();
    // the second time the device goes on in the same stream
    for _ in 0..2 {
        let arguments = [endpoint.clone(), bed.device.uuid().to_string(), shown(&device_token), shown(&queue)];
        let sent = device::run(&arguments, Duration::ZERO).await;
        let progress = sent.map_err(|error| anyhow::anyhow!("{error}"))?;
        assert_eq!((progress.accepted, progress.refused.len()), (10, 0));
    }
    sandbox.readable(&bed, 20).await?;
    let read = reader::run(&[endpoint, bed.patient.uuid().to_string(), shown(&doctor_token)]).await;
    let lines = read.map_err(|error| anyhow::anyhow!("{error}"))?;
    assert!(lines[0].starts_with("8867-4 79 /min, "), "{lines:?}");
    assert_eq!(lines[1], "20 heart rates in the last hour, on average 74.5 /min");
    Ok(())
}

#[tokio::test]
async fn who_is_sent_to_the_port_of_the_json_api_hears_so_at_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let api = format!("http://{}", sandbox.api()?);
    let connection = client::Remote::from(&api).connection()?.with_tokens(client::token("t"));
    let reader = client::Reader::new(connection).with_patience(Duration::from_secs(60));
    let began = Instant::now();
    let error = reader.latest(Bed::numbered(0).patient.uuid(), &[]).await.err().expect("an error");
    assert!(matches!(&error, client::Error::NotGrpc { uri, status: Some(415) } if *uri == api), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn the_manual_prints_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/client");
    let manual = fs::read_to_string(folder.join("README.md")).unwrap();
    for example in ["device", "reader"] {
        let text = fs::read_to_string(folder.join(format!("examples/{example}.rs"))).unwrap();
        assert!(text.lines().count() <= 40, "{example}.rs is longer than one screen");
        // from its first function on: what comes before are imports and the command line
        let (_, shown) = text.split_once("    Ok(())\n}\n\n").unwrap();
        assert!(manual.contains(shown.trim_end()), "README.md does not show examples/{example}.rs as it is");
    }
}
