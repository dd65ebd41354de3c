//! What a caller can make a node do and hold: nothing of a body before access is permitted, answers of a bounded size, streams that
//! are read from.

use crate::http_api;
use anyhow::Context;
use auth::demo_person;
use futures::StreamExt;
use model::access::{Permission, Principal, Subject};
use prost::Message;
use proto::operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient};
use serde_json::json;
use std::{collections::BTreeSet, io, sync::Arc, time::Duration};
use tests::{
    Bed, Sandbox,
    builders::{batch, open, pulse, reading},
    fakes::{Full, HeldLog, ingest},
    line::{Line, Problem},
    raw::{call_unfinished, frame},
    wait::until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
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
    let document: serde_json::Value = serde_json::from_str(&Sandbox::document()?)?;
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
    let id = uuid::Uuid::new_v4();
    for (method, path) in [
        ("POST", format!("/v1/relations/{id}:end")),
        ("POST", format!("/v1/break-glass/{id}:review")),
        ("POST", format!("/v1/devices/{id}:revoke")),
        ("POST", format!("/v1/devices/{id}:rotate")),
        ("PATCH", format!("/v1/devices/{id}")),
        ("PATCH", "/v1/roles/helper".to_owned()),
        // what can be the id of none may be anything
        ("PATCH", "/v1/roles/Ada%20Okafor".to_owned()),
    ] {
        let (status, answer) = head_only(&sandbox, method, &path, Some(&doctor)).await?;
        assert_eq!(status, 403, "{method} {path}: {answer}");
    }
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
    assert_eq!(of("relations.manage"), denied(&format!("EndRelation {id}"), String::new()));
    assert_eq!(of("emergency.review"), denied(&format!("ReviewBreakGlass {id}"), String::new()));
    let roles: Vec<_> = of("roles.manage").into_iter().map(|(_, detail, _)| detail).collect();
    assert_eq!(roles, ["UpdateRole", "UpdateRole role helper"], "newest first");
    let devices: BTreeSet<_> = of("devices.register").into_iter().map(|(_, detail, _)| detail).collect();
    let expected = ["RevokeDevice", "RotateDevice", "UpdateDevice"].map(|rpc| format!("{rpc} {id}"));
    assert_eq!(devices, BTreeSet::from(expected));
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
    let sandbox = Sandbox::with(2, &["ingest.max_streams_per_device=2"], &[node::services::INGEST]).await?;
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
    let (sender, answer) = unread(Arc::new(HeldLog::default()), ingest::Limits::default()).await?;
    // nothing is published, and nothing of the answer is read
    let bad = vec![reading("0000-0", "", 1.0, guard::clock::now()); 4_096];
    let mut n_taken = 0;
    let sending = async {
        while sender.send(frame(0, &batch(n_taken + 1, bad.clone()).encode_to_vec())).await.is_ok() {
            n_taken += 1;
            assert!(n_taken < 32, "batches are read, though no answer is");
        }
    };
    timeout(LET_GO, sending).await.context("it is kept")?;
    // one on its way, one that waits for room, and before it what 64 KiB of refusals have room for
    assert!((1..8).contains(&n_taken), "{n_taken}");
    drop(answer);
    Ok(())
}

#[tokio::test]
async fn a_device_that_reads_no_acknowledgements_is_let_go_of() -> anyhow::Result<()> {
    let log = Arc::new(HeldLog::default());
    let (sender, answer) =
        unread(Arc::clone(&log) as _, ingest::Limits { max_in_flight: 4, ..Default::default() }).await?;
    let mut n_taken = 0;
    let sending = async {
        let good = vec![pulse(60.0, guard::clock::now())];
        while sender.send(frame(0, &batch(n_taken + 1, good.clone()).encode_to_vec())).await.is_ok() {
            n_taken += 1;
            // one acknowledgement each
            sleep(Duration::from_millis(5)).await;
            log.release(usize::MAX);
        }
    };
    timeout(LET_GO, sending).await.context("it is kept")?;
    assert!(n_taken > ingest::ANSWERS_WAITING as u64, "{n_taken}");
    drop(answer);
    Ok(())
}

/// Within this a device of [`unread`] is let go of.
const LET_GO: Duration = Duration::from_secs(20);

/// A stream that is open and of whose answer nothing is read; what is sent goes into the first.
async fn unread(
    log: Arc<dyn bus::Publish>,
    limits: ingest::Limits,
) -> anyhow::Result<(mpsc::Sender<Vec<u8>>, http::Response<tonic::body::Body>)> {
    let (dir, bed) = (tempfile::tempdir()?, Bed::numbered(0));
    std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
    let limits = ingest::Limits { stall: Duration::from_secs(1), ..limits };
    let stop = tokio_util::sync::CancellationToken::new();
    let mut service = ingest(log, dir.path(), limits, stop)?.service();
    let (sender, frames) = mpsc::channel::<Vec<u8>>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(frames).map(Ok::<_, io::Error>);
    let mut request = http::Request::post("/wardline.telemetry.v1.IngestService/StreamReadings")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(axum::body::Body::from_stream(frames)))?;
    let device = Subject::Device(bed.device);
    request.extensions_mut().insert(Principal::everywhere(device, &[Permission::WriteReadings], model::Nanos::MAX));
    let answer = service.call(request).await?;
    sender.send(frame(0, &open(&bed, 0).encode_to_vec())).await?;
    Ok((sender, answer))
}

#[tokio::test]
async fn a_device_is_told_that_the_disk_is_full() -> anyhow::Result<()> {
    let (dir, bed) = (tempfile::tempdir()?, Bed::numbered(0));
    std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
    let front = tests::fakes::Front::serve(Arc::new(Full), dir.path(), ingest::Limits::default()).await?;
    let token = bed.device.uuid().to_string();
    let readings = || vec![pulse(60.0, guard::clock::now())];
    let written = tests::with_token(tests::builders::write(&bed, 1, readings()), &token)?;
    let written = front.client().await?.write_readings(written).await.err().context("taken")?;
    // its sequences are others
    let bed = Bed { stream: model::StreamId::from_bytes([9; 16]), ..bed };
    let (line, _) = Line::open(front.client().await?, &token, &bed, 0).await?;
    line.batch(1, readings()).await;
    let streamed = line.until_end().await?.2.context("taken")?;
    for status in [written, streamed] {
        let problem = Problem::of(&status);
        assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "NO_SPACE"));
        assert!(problem.retry_after.is_some());
    }
    Ok(())
}

/// Status and reason of a whole request of the JSON port, with a body of so many bytes, from an address.
async fn whole(sandbox: &Sandbox, from: &str, bed: &Bed, n_bytes: usize) -> anyhow::Result<(u16, String)> {
    let (mut stream, answer) = (begun(sandbox, from, bed, n_bytes, n_bytes).await?, &mut String::new());
    stream.read_to_string(answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let problem: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("no body")?.1)?;
    Ok((status, problem["reason"].as_str().unwrap_or_default().to_owned()))
}

/// A request of the JSON port of which so much of the body has been sent.
async fn begun(sandbox: &Sandbox, from: &str, bed: &Bed, n_bytes: usize, n_sent: usize) -> anyhow::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse()?)?;
    let mut stream = socket.connect(sandbox.api()?).await?;
    let (device, token) = (bed.device.uuid(), sandbox.device_token(bed.device)?);
    let head = format!("POST /v1/devices/{device}/readings HTTP/1.1\r\nhost: w\r\nconnection: close\r\n");
    let body = format!("{{}}{}", " ".repeat(n_sent - 2));
    let fields = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    // who is refused early may not take all of it
    let _ = stream.write_all(format!("{head}{fields}content-length: {n_bytes}\r\n\r\n{body}").as_bytes()).await;
    Ok(stream)
}

#[tokio::test]
async fn bytes_on_their_way_are_counted_for_each_caller_and_each_address_on_both_ports() -> anyhow::Result<()> {
    const HERE: &str = "127.0.0.1";
    const PART: usize = 600 << 10;
    let (first, second) = (Bed::numbered(0), Bed::numbered(1));
    for (share, reason, others_are_refused) in [
        (["memory.requests_mib_per_caller=1", "memory.requests_mib_per_address=0"], "REQUESTS_OF_CALLER", false),
        (["memory.requests_mib_per_caller=0", "memory.requests_mib_per_address=1"], "REQUESTS_OF_ADDRESS", true),
    ] {
        let flags = [&share[..], &["memory.wait_seconds=0"]].concat();
        let sandbox = Sandbox::with(2, &flags, &[node::services::INGEST]).await?;
        let held = begun(&sandbox, HERE, &first, 1_000_000, PART).await?;
        // until it has been read
        let same = async || whole(&sandbox, HERE, &first, PART).await;
        until(reason, same, |(status, found)| (*status, found.as_str()) == (429, reason)).await?;
        let other = whole(&sandbox, HERE, &second, PART).await?;
        assert_eq!(other.1 == reason, others_are_refused, "{other:?}");
        let elsewhere = whole(&sandbox, "127.0.0.2", &second, PART).await?;
        assert_eq!(elsewhere.0, 400, "its own fault: {elsewhere:?}");
        drop(held);

        let mut channel = sandbox.channel().await?;
        let authorization = format!("Bearer {}", sandbox.device_token(first.device)?);
        let unfinished = [&[0][..], &(200u32 << 10).to_be_bytes(), &[0; 100 << 10]].concat();
        let held = tokio::spawn(async move {
            let headers = [("authorization", authorization.as_str())];
            call_unfinished(&mut channel, "/wardline.telemetry.v1.IngestService/WriteReadings", &headers, unfinished)
                .await
        });
        let reasons = async |bed: &Bed| {
            let written = sandbox.write(bed, 1, vec![pulse(60.0, model::Nanos(1_700_000_000_000_000_000))]).await;
            let status = written.err().map(|error| error.downcast::<tonic::Status>()).transpose()?;
            anyhow::Ok(status.map(|status| Problem::of(&status).reason))
        };
        until(reason, async || reasons(&first).await, |found| found.as_deref() == Some(reason)).await?;
        assert_eq!(reasons(&second).await?.as_deref(), others_are_refused.then_some(reason));
        held.abort();
    }
    Ok(())
}

#[tokio::test]
async fn one_caller_has_a_few_calls_at_once_on_a_whole_node() -> anyhow::Result<()> {
    let flags = ["memory.wait_seconds=0", "memory.calls_mib_per_caller=16"];
    let sandbox = Sandbox::with(1, &flags, &node::services::ALL).await?;
    let authorization = format!("Bearer {}", person(&sandbox, "doctor")?);
    let mut channel = sandbox.channel().await?;
    // a page of a timeline may take all of it, also while its request is on its way
    let held = tokio::spawn(async move {
        let headers = [("authorization", authorization.as_str())];
        call_unfinished(&mut channel, "/wardline.telemetry.v1.TimelineService/ReadTimeline", &headers, vec![0]).await
    });
    let latest = async |role: &str| {
        let patient_id = Bed::numbered(0).patient.uuid().to_string();
        let request = proto::telemetry::v1::LatestReadingsRequest { patient_id, metrics: vec![] };
        let answer = sandbox.timeline().await?.latest_readings(sandbox.as_person(role, request)?).await;
        anyhow::Ok(answer.err().map(|status| Problem::of(&status).reason))
    };
    let refused = |found: &Option<String>| found.as_deref() == Some("CALLS_OF_CALLER");
    until("a refusal", async || latest("doctor").await, refused).await?;
    assert_eq!(latest("nurse").await?, None, "another caller has room");
    held.abort();
    Ok(())
}
