//! The JSON API: the same answers as gRPC's, the same policy, the same audit log.

use anyhow::Context;
use auth::demo_person;
use proto::operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient};
use proto::rpc;
use proto::telemetry::v1::LatestReadingsRequest;
use serde_json::json;
use std::collections::BTreeSet;
use tests::{
    Bed, Sandbox,
    builders::pulse,
    http::{self, Answer},
};
use uuid::Uuid;

const JSON: (&str, &str) = ("content-type", "application/json");

/// `authorization` of one of the demo's people.
fn bearer(sandbox: &Sandbox, role: &str) -> anyhow::Result<String> {
    let user = demo_person(role).context("no such role")?;
    Ok(format!("Bearer {}", sandbox.issuer()?.user_token(user)?))
}

async fn get(sandbox: &Sandbox, role: &str, path: &str) -> anyhow::Result<Answer> {
    http::ask(sandbox.api()?, "GET", path, &[("authorization", &bearer(sandbox, role)?)], "").await
}

pub(crate) async fn post(sandbox: &Sandbox, token: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
    http::ask(sandbox.api()?, "POST", path, &[("authorization", token), JSON], body).await
}

fn latest(bed: &Bed) -> String {
    format!("/v1/patients/{}/latest", bed.patient.uuid())
}

fn at_fault(answer: &Answer) -> anyhow::Result<Vec<String>> {
    let problem = answer.json()?;
    let violations = problem["violations"].as_array().context("no violations")?;
    Ok(violations.iter().filter_map(|wrong| Some(wrong["field"].as_str()?.to_owned())).collect())
}

#[tokio::test]
async fn what_a_device_writes_as_json_a_doctor_reads_as_json_and_as_grpc() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let token = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let path = format!("/v1/devices/{}/readings", bed.device.uuid());
    let now = jiff::Timestamp::now().to_string();
    let reading = |unit: &str| json!({"metric": "8867-4", "unit": unit, "number": 72, "measured_at": now});
    let body = json!({"stream_id": Uuid::new_v4(), "sequence": "1", "readings": [reading("bpm"), reading("kg")]});
    let written = post(&sandbox, &token, &path, &body.to_string()).await?;
    assert_eq!(written.status, 200, "{}", written.body);
    let answer = written.json()?;
    assert_eq!(
        (&answer["accepted_readings"], &answer["refused"][0]["reason"]),
        (&json!("1"), &json!("WRONG_DIMENSION"))
    );
    // once more: nothing new
    let again = post(&sandbox, &token, &path, &body.to_string()).await?.json()?;
    assert_eq!((&again["accepted_readings"], &again["duplicate_readings"]), (&json!("1"), &json!("1")));
    sandbox.readable(&bed, 1).await?;

    let read = get(&sandbox, "doctor", &format!("{}?metrics=8867-4", latest(&bed))).await?;
    assert_eq!((read.status, read.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        (read.header("cache-control"), read.header("x-content-type-options")),
        (Some("no-store"), Some("nosniff"))
    );
    let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
    let grpc = sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", request)?).await?.into_inner();
    let (json, grpc) = (&read.json()?["readings"][0]["reading"], grpc.readings[0].reading.as_ref().context("none")?);
    assert_eq!((&json["number"], &json["sequence"]), (&json!(72.0), &json!("1")));
    assert_eq!((json["device_id"].as_str(), json["unit"].as_str()), (Some(&*grpc.device_id), Some(&*grpc.unit)));

    // a page after another, as long as there is one
    let timeline = format!("/v1/patients/{}/timeline", bed.patient.uuid());
    let page = get(&sandbox, "doctor", &format!("{timeline}?page_size=5")).await?.json()?;
    assert_eq!((page["readings"].as_array().map(Vec::len), &page["next_page_token"]), (Some(1), &json!("")));
    Ok(())
}

#[tokio::test]
async fn a_stranger_is_answered_as_if_the_patient_did_not_exist() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (mine, nobody) = (Bed::numbered(0), Bed::numbered(99));
    sandbox.write(&mine, 1, vec![pulse(60.0, guard::clock::now())]).await?;
    sandbox.readable(&mine, 1).await?;
    assert_eq!(get(&sandbox, "doctor", &latest(&mine)).await?.status, 200);
    for page in ["latest", "timeline", "trend", "accesses"] {
        let of = |bed: &Bed| format!("/v1/patients/{}/{page}", bed.patient.uuid());
        // the patient of the demo is another one
        let (hidden, missing) =
            (get(&sandbox, "patient", &of(&mine)).await?, get(&sandbox, "patient", &of(&nobody)).await?);
        assert_eq!(hidden, missing);
        assert_eq!(hidden.status, 404);
        assert_eq!(hidden.header("content-type"), Some("application/problem+json"));
    }
    // the purpose goes through, too: nursing is no research
    let headers = [("authorization", &*bearer(&sandbox, "nurse")?), ("purpose-of-use", "HRESCH")];
    assert_eq!(http::ask(sandbox.api()?, "GET", &latest(&mine), &headers, "").await?.status, 404);
    let headers = [headers[0], ("purpose-of-use", "FUN")];
    let unknown = http::ask(sandbox.api()?, "GET", &latest(&mine), &headers, "").await?;
    assert_eq!((unknown.status, at_fault(&unknown)?), (400, vec!["purpose-of-use".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn every_call_is_written_down_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    for _ in 0..3 {
        get(&sandbox, "doctor", &latest(&bed)).await?;
    }
    assert_eq!(get(&sandbox, "administrator", &latest(&bed)).await?.status, 403);
    // refused before anything was asked
    assert_eq!(get(&sandbox, "doctor", &format!("{}?metric=8867-4", latest(&bed))).await?.status, 400);
    let path = format!("/v1/audit/records?patient_id={}", bed.patient.uuid());
    let records = get(&sandbox, "auditor", &path).await?.json()?;
    // the auditor's own access is in the log, too, whether or not it is seen by itself
    let others =
        records["records"].as_array().context("none")?.iter().filter(|record| record["action"] != "audit.read");
    let denied: Vec<_> = others.map(|record| &record["denied"]).collect();
    assert_eq!(denied, [&json!("PERMISSION"), &json!(""), &json!(""), &json!("")]);
    let request = SearchAuditLogRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let grpc = client.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner();
    assert_eq!(grpc.records.iter().filter(|record| record.action != "audit.read").count(), 4);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_said() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (api, bed) = (sandbox.api()?, Bed::numbered(0));
    let path = latest(&bed);
    let nobody = http::ask(api, "GET", &path, &[], "").await?;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(nobody.json()?["reason"], "NO_TOKEN");
    for (query, field) in [("metrics=0000-0", "metrics[0]"), ("metric=1", "metric"), ("metrics=%zz", "query")] {
        let answer = get(&sandbox, "doctor", &format!("{path}?{query}")).await?;
        assert_eq!((answer.status, at_fault(&answer)?), (400, vec![field.to_owned()]), "{}", answer.body);
    }
    let token = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let write = format!("/v1/devices/{}/readings", bed.device.uuid());
    let unknown =
        post(&sandbox, &token, &write, r#"{"sequence": 1, "readings": [{"metrik": "x"}], "hurry": true}"#).await?;
    assert_eq!((unknown.status, at_fault(&unknown)?), (400, vec!["hurry".to_owned(), "readings[0].metrik".to_owned()]));
    let broken = post(&sandbox, &token, &write, "{\"sequence\": }").await?;
    assert_eq!((broken.status, &broken.json()?["reason"]), (400, &json!("MALFORMED_JSON")));
    let large = post(&sandbox, &token, &write, &" ".repeat((1 << 20) + 1)).await?;
    assert_eq!(large.status, 413);
    // chunked: its size is known only when it is there
    let head = format!("POST {write} HTTP/1.1\r\nhost: w\r\nconnection: close\r\ntransfer-encoding: chunked\r\n");
    let head = format!("{head}authorization: {token}\r\ncontent-type: application/json\r\n\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 19, " ".repeat(1 << 19));
    assert_eq!(http::raw(api, &format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n")).await?.status, 413);
    for kind in ["text/plain", "application/json; charset=latin1", ""] {
        let headers = [("authorization", &*token), ("content-type", kind)];
        assert_eq!(http::ask(api, "POST", &write, &headers, "{}").await?.status, 415, "{kind}");
    }
    for (method, path, allowed) in [
        ("DELETE", &*write, "OPTIONS, POST"),
        ("PUT", "/v1/users/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("POST", "/v1/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let answer = http::ask(api, method, path, &[], "").await?;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
    }
    for path in ["/", "/v1", "/v1/nobody", "/v1/patients/x/latest/", "/metrics", "/v1/patients//latest"] {
        assert_eq!(get(&sandbox, "doctor", path).await?.status, 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_service_that_does_not_run_here_is_not_implemented_here() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &[], &[node::services::INGEST]).await?;
    assert_eq!(get(&sandbox, "doctor", &latest(&Bed::numbered(0))).await?.status, 501);
    let off = Sandbox::with(1, &["server.api_listen="], &[node::services::QUERY]).await?;
    assert!(off.api().is_err());
    Ok(())
}

#[tokio::test]
async fn the_document_is_open_and_says_which_routes_there_are() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let answer = http::ask(sandbox.api()?, "GET", "/v1/openapi.json", &[], "").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, Sandbox::document()?.as_str()));
    // no route is open that should not be: each of the document is refused without a token, or says that it is open
    let document = answer.json()?;
    let mut asked = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in operations.as_object().context("no operations")? {
            let path = path.replace(['{', '}'], "");
            // open to all, and does not end
            if operation["responses"]["200"]["content"]["text/event-stream"].is_object() {
                assert_eq!((path.as_str(), &operation["security"]), ("/v1/health:watch", &json!([])));
                continue;
            }
            let body = if operation["requestBody"]["required"] == json!(true) { "{}" } else { "" };
            let answer = http::ask(sandbox.api()?, &method.to_uppercase(), &path, &[JSON], body).await?;
            let is_open = operation["security"] == json!([]);
            let id = operation["operationId"].as_str().unwrap_or_default();
            let runs = rpc::all().iter().any(|rpc| rpc.names().1 == id);
            if runs || is_open {
                assert_eq!(answer.status != 401, is_open, "{method} {path}: {}", answer.body);
            }
            asked.insert(operation["operationId"].as_str().map(str::to_owned));
        }
    }
    assert!(asked.len() > 10);
    let quarantine = get(&sandbox, "administrator", "/v1/quarantine").await?;
    assert_eq!((quarantine.status, quarantine.json()?), (200, json!({"records": []})));
    for log_position in ["readings.v1/0/7", "readings.v1%2F0%2F7"] {
        assert_eq!(
            get(&sandbox, "administrator", &format!("/v1/quarantine/{log_position}")).await?.status,
            404,
            "{log_position}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_is_kept_and_a_stop_ends_it() -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut sandbox = Sandbox::with(1, &["server.drain_seconds=8"], &node::services::ALL).await?;
    let mut stream = tokio::net::TcpStream::connect(sandbox.api()?).await?;
    let mut buffer = vec![0; 64 << 10];
    for _ in 0..2 {
        stream.write_all(b"GET /v1/nothing HTTP/1.1\r\nhost: w\r\n\r\n").await?;
        let n_bytes = stream.read(&mut buffer).await?;
        assert!(buffer[..n_bytes].starts_with(b"HTTP/1.1 404"));
    }
    // two more that never end their requests, one in its head, one in its body, of which the server says that it waits
    let mut headless = tokio::net::TcpStream::connect(sandbox.api()?).await?;
    headless.write_all(b"GET /v1/nothing HTTP/1.1\r\nhost").await?;
    let mut stuck = tokio::net::TcpStream::connect(sandbox.api()?).await?;
    let head = "POST /v1/users HTTP/1.1\r\nhost: w\r\nexpect: 100-continue\r\ncontent-length: 9\r\n";
    let token = bearer(&sandbox, "administrator")?;
    stuck.write_all(format!("{head}authorization: {token}\r\n\r\n").as_bytes()).await?;
    let n_bytes = stuck.read(&mut buffer).await?;
    assert!(buffer[..n_bytes].starts_with(b"HTTP/1.1 100"));
    sandbox.stop().await?;
    assert_eq!(stream.read(&mut buffer).await?, 0, "closed");
    Ok(())
}
