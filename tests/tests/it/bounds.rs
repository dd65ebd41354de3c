//! What a caller can make a node do and hold: nothing of a body before leave is given, answers of a bounded size, streams that
//! are read from.

use crate::http_api;
use anyhow::Context;
use auth::demo_person;
use futures::StreamExt;
use model::access::{Permission, Principal, Subject};
use prost::Message;
use proto::operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tests::{
    Bed, Sandbox,
    builders::{batch, open, pulse, reading},
    fakes::{HeldLog, ingest},
    line::{Line, Problem},
    raw::frame,
    wait::until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tonic::{
    Code,
    codegen::{Service, http},
};

fn person(sandbox: &Sandbox, role: &str) -> anyhow::Result<String> {
    Ok(sandbox.issuer()?.user_token(demo_person(role).context("no such role")?)?)
}

/// The status and the body of what is answered to the head of a request whose body does not come.
async fn head_only(sandbox: &Sandbox, method: &str, path: &str, token: Option<&str>) -> anyhow::Result<(u16, String)> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: w\r\ncontent-type: application/json\r\n");
    head += "content-length: 1000000\r\n";
    if let Some(token) = token {
        head += &format!("authorization: Bearer {token}\r\n");
    }
    let mut stream = TcpStream::connect(sandbox.api()?).await?;
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    // head and body may come apart
    while !answer.ends_with(b"}") && stream.read_buf(&mut answer).await? > 0 {}
    let answer = String::from_utf8(answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, answer))
}

#[tokio::test]
async fn without_a_token_or_a_permission_no_byte_of_a_body_is_waited_for() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (mine, other) = (Bed::numbered(0), Bed::numbered(1));
    let document: serde_json::Value = serde_json::from_str(&gateway::openapi::document()?)?;
    let (doctor, device) = (person(&sandbox, "doctor")?, sandbox.device_token(mine.device)?);
    let mut n_asked = 0;
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in operations.as_object().context("no operations")? {
            if operation["security"] == json!([]) || !operation["requestBody"].is_object() {
                continue;
            }
            let (method, path) = (method.to_uppercase(), path.replace(['{', '}'], ""));
            let (status, answer) = head_only(&sandbox, &method, &path, None).await?;
            assert_eq!((status, answer.contains("NO_TOKEN")), (401, true), "{method} {path}: {answer}");
            // what a device may do is little, and for itself
            if !["/v1/devices:renew", "/v1/devices:report"].contains(&&*path) {
                let (status, answer) = head_only(&sandbox, &method, &path, Some(&device)).await?;
                let expected = if path.ends_with("/readings") { 400 } else { 403 };
                assert_eq!(status, expected, "{method} {path}: {answer}");
            }
            n_asked += 1;
        }
    }
    assert!(n_asked >= 20, "{n_asked}");
    let readings = |bed: &Bed| format!("/v1/devices/{}/readings", bed.device.uuid());
    for (path, token, reason) in [
        (readings(&other), &device, "WRONG_DEVICE"),
        (readings(&mine), &doctor, "NOT_PERMITTED"),
        ("/v1/users:import".to_owned(), &doctor, "NOT_PERMITTED"),
    ] {
        let (status, answer) = head_only(&sandbox, "POST", &path, Some(token)).await?;
        assert_eq!((status, answer.contains(reason)), (403, true), "{path}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_before_the_body_is_written_down_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (doctor, bed) = (person(&sandbox, "doctor")?, Bed::numbered(0));
    head_only(&sandbox, "POST", "/v1/users", Some(&doctor)).await?;
    let consents = format!("/v1/patients/{}/consents", bed.patient.uuid());
    head_only(&sandbox, "POST", &consents, Some(&doctor)).await?;
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let request = sandbox.as_person("auditor", SearchAuditLogRequest::default())?;
    let records = client.search_audit_log(request).await?.into_inner().records;
    let of = |action: &str| {
        let found = records.iter().filter(|record| record.action == action);
        found
            .map(|record| (record.denied.clone(), record.detail.clone(), record.patient_id.clone()))
            .collect::<Vec<_>>()
    };
    let denied = |rpc: &str, patient: String| vec![("PERMISSION".to_owned(), rpc.to_owned(), patient)];
    assert_eq!(of("users.manage"), denied("CreateUser", String::new()));
    assert_eq!(of("consents.manage"), denied("CreateConsent", bed.patient.uuid().to_string()));
    Ok(())
}

#[tokio::test]
async fn a_body_full_of_faults_is_answered_in_a_few_lines() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let (path, token) = (format!("/v1/devices/{}/readings", bed.device.uuid()), sandbox.device_token(bed.device)?);
    let token = format!("Bearer {token}");
    let post = async |body: &str| http_api::post(&sandbox, &token, &path, body).await;
    let faults = |n: usize| format!(r#"{{"readings": [{}]}}"#, vec!["0"; n].join(","));
    let answer = post(&faults(10_000)).await?;
    let problem = answer.json()?;
    assert_eq!((answer.status, &problem["more_violations"]), (400, &json!(9_980)));
    assert_eq!(problem["violations"].as_array().context("none")?.len(), 20);
    // more values than there is memory for: not even parsed
    let answer = post(&faults(500_000)).await?;
    assert_eq!((answer.status, answer.json()?["reason"].clone()), (413, json!("BODY_TOO_LARGE")));
    let name = "n".repeat(900_000);
    let answer = post(&format!(r#"{{"{name}": 1}}"#)).await?;
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 2_000, "{}", answer.body.len());
    Ok(())
}

#[tokio::test]
async fn of_many_refused_readings_a_hundred_are_named_and_all_are_counted() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let mut readings = vec![reading("0000-0", "", 1.0, now); 300];
    readings.push(pulse(60.0, now));
    let written = sandbox.write(&bed, 1, readings.clone()).await?;
    assert_eq!((written.refused.len(), written.refused_more, written.accepted_readings), (100, 200, 1));
    let (mut line, _) = sandbox.line(&Bed { stream: model::StreamId::from_bytes([9; 16]), ..bed }, 0).await?;
    line.batch(1, readings).await;
    let ack = line.ack().await?;
    assert_eq!((ack.refused.len(), ack.refused_more, ack.accepted_readings, ack.through), (100, 200, 1, 1));
    Ok(())
}

#[tokio::test]
async fn a_device_has_a_few_streams_and_is_told_when_it_opens_one_more() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(2, &["ingest.max_streams_per_device=2"], &[node::run::Service::Ingest]).await?;
    let beds: Vec<_> =
        (1..=3).map(|n| Bed { stream: model::StreamId::from_bytes([n; 16]), ..Bed::numbered(0) }).collect();
    let (_first, second) = (sandbox.line(&beds[0], 0).await?, sandbox.line(&beds[1], 0).await?);
    let token = sandbox.device_token(beds[2].device)?;
    let refused = Line::start(sandbox.ingest().await?, Some(&token)).await.err().context("a third")?;
    let status = refused.downcast::<tonic::Status>()?;
    assert_eq!(Problem::of(&status).reason, "STREAMS_OF_DEVICE");
    assert_eq!(status.code(), Code::ResourceExhausted);
    sandbox.line(&Bed::numbered(1), 0).await?;
    drop(second);
    // the server sees the end a moment later
    until("a place for a stream", async || Ok(sandbox.line(&beds[2], 0).await.is_ok()), |opened| *opened).await?;
    Ok(())
}

#[tokio::test]
async fn a_device_that_reads_no_answers_is_soon_not_read_and_then_let_go_of() -> anyhow::Result<()> {
    let (dir, bed) = (tempfile::tempdir()?, Bed::numbered(0));
    std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
    let limits = ingest::Limits { stall: Duration::from_secs(1), ..Default::default() };
    let stop = tokio_util::sync::CancellationToken::new();
    let mut service = ingest(Arc::new(HeldLog::default()), dir.path(), limits, stop)?.service();
    let (sender, frames) = mpsc::channel::<Vec<u8>>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(frames).map(Ok::<_, std::io::Error>);
    let mut request = http::Request::post("/wardline.telemetry.v1.IngestService/StreamReadings")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(axum::body::Body::from_stream(frames)))?;
    let device = Subject::Device(bed.device);
    request.extensions_mut().insert(Principal::everywhere(device, &[Permission::WriteReadings], model::Nanos::MAX));
    let answer = service.call(request).await?;
    sender.send(frame(0, &open(&bed, 0).encode_to_vec())).await?;
    // nothing is published, and nothing of the answer is read
    let bad = vec![reading("0000-0", "", 1.0, guard::clock::now()); 4_096];
    let mut n_taken = 0;
    while sender.send(frame(0, &batch(n_taken + 1, bad.clone()).encode_to_vec())).await.is_ok() {
        n_taken += 1;
        assert!(n_taken < 32, "batches are read, though no answer is");
    }
    // one on its way, one that waits for room, and before it what 64 KiB of refusals have room for
    assert!((1..8).contains(&n_taken), "{n_taken}");
    drop(answer);
    Ok(())
}
