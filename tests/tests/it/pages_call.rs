//! What a page in a browser can call: the rpcs as grpc-web, and server-sent events.

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use node::services;
use prost::Message;
use proto::{
    operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    telemetry::v1::{LatestReadingsRequest, LatestReadingsResponse, StreamReadingsResponse, stream_readings_response},
};
use tests::{
    Bed, Sandbox,
    builders::{self, pulse},
    raw::frame,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const LATEST: &str = "/wardline.telemetry.v1.TimelineService/LatestReadings";
const BINARY: &str = "application/grpc-web+proto";

/// Head and body of the answer to a request of a page.
async fn call(
    sandbox: &Sandbox,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<(String, Vec<u8>)> {
    // an answer to HTTP/1.0 is not in chunks, and ends with the connection
    let mut head = format!("POST {path} HTTP/1.0\r\nhost: w\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut stream = TcpStream::connect(sandbox.api()?).await?;
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let at = answer.windows(4).position(|end| end == b"\r\n\r\n").context("no head")?;
    Ok((String::from_utf8(answer[..at].to_vec())?, answer[at + 4..].to_vec()))
}

/// The messages of an answer, and what its trailers say.
fn messages(mut body: &[u8]) -> anyhow::Result<(Vec<Vec<u8>>, String)> {
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    while let [flag, a, b, c, d, rest @ ..] = body {
        let n_bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (message, after) = rest.split_at_checked(n_bytes).context("a frame is cut")?;
        match flag {
            0 => messages.push(message.to_vec()),
            0x80 => trailers += &String::from_utf8(message.to_vec())?,
            flag => bail!("flag {flag}"),
        }
        body = after;
    }
    ensure!(body.is_empty(), "a frame is cut");
    Ok((messages, trailers))
}

#[tokio::test]
async fn a_page_reads_by_grpc_web_what_a_program_reads_and_each_call_is_written_down_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(1, &["server.api_origins=[\"https://console.example.org\"]"], &services::ALL).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, vec![pulse(61.0, guard::clock::now())]).await?;
    sandbox.readable(&bed, 1).await?;
    let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
    let message = frame(0, &request.encode_to_vec());
    let doctor = auth::demo_person("doctor").context("no such role")?;
    let token = format!("Bearer {}", sandbox.issuer()?.user_token(doctor)?);
    let page = [("authorization", &*token), ("origin", "https://console.example.org"), ("x-grpc-web", "1")];
    let read = |bytes: &[u8]| LatestReadingsResponse::decode(bytes).map(|answer| answer.readings.len());

    let (head, body) =
        call(&sandbox, LATEST, &[page.as_slice(), &[("content-type", BINARY)]].concat(), &message).await?;
    let (found, trailers) = messages(&body)?;
    assert!(head.starts_with("HTTP/1.0 200") && head.contains("content-type: application/grpc-web+proto"), "{head}");
    assert!(head.contains("access-control-allow-origin: https://console.example.org"), "{head}");
    assert_eq!((found.len(), read(&found[0])?), (1, 1));
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    // the same in base64
    let text = "application/grpc-web-text";
    let headers = [page.as_slice(), &[("content-type", text), ("accept", text)]].concat();
    let (_, body) = call(&sandbox, LATEST, &headers, BASE64_STANDARD.encode(&message).as_bytes()).await?;
    let pieces = String::from_utf8(body)?;
    let pieces = pieces.split_inclusive("==").flat_map(|part| part.split_inclusive('='));
    let mut body = Vec::new();
    let mut held = String::new();
    for piece in pieces {
        held += piece;
        if held.len().is_multiple_of(4) {
            body.extend(BASE64_STANDARD.decode(std::mem::take(&mut held))?);
        }
    }
    assert_eq!(read(&messages(&body)?.0[0])?, 1);

    // refused as on the other port: by whom, how much, how much at once
    let (head, _) = call(&sandbox, LATEST, &[("content-type", BINARY)], &message).await?;
    assert!(head.contains("grpc-status: 16"), "{head}");
    let large = frame(0, &vec![0; 65 << 10]);
    let (head, _) = call(&sandbox, LATEST, &[("authorization", &token), ("content-type", BINARY)], &large).await?;
    assert!(head.contains("grpc-status: 3"), "{head}");
    let (head, body) =
        call(&sandbox, LATEST, &[("authorization", &token), ("content-type", "application/json")], b"{}").await?;
    assert!(head.starts_with("HTTP/1.0 415") && String::from_utf8(body)?.contains("grpc-web"), "{head}");
    // what is no base64, and no message at all
    for (kind, bytes) in [(text, &b"!!!!"[..]), (BINARY, &b""[..])] {
        let (head, _) = call(&sandbox, LATEST, &[("authorization", &token), ("content-type", kind)], bytes).await?;
        assert!(head.contains("grpc-status: 3") && head.contains("grpc-status-details-bin"), "{kind}: {head}");
    }
    let (head, _) = call(&sandbox, "/wardline.no.Service/Rpc", &[("content-type", BINARY)], &message).await?;
    assert!(head.starts_with("HTTP/1.0 404"), "{head}");

    let request = SearchAuditLogRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let mut client = AuditServiceClient::new(sandbox.channel().await?);
    let records = client.search_audit_log(sandbox.as_person("auditor", request)?).await?.into_inner().records;
    let shown = records
        .iter()
        .filter(|record| record.action == "latest.read" && record.subject.ends_with(&doctor.uuid().to_string()));
    assert_eq!(shown.count(), 2, "{:?}", records.iter().map(|record| &record.action).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_stream_of_readings_is_acknowledged_to_a_page_that_has_sent_all_of_it() -> anyhow::Result<()> {
    use stream_readings_response::Message as Said;
    let sandbox = Sandbox::with(1, &[], &[services::INGEST]).await?;
    let bed = Bed::numbered(0);
    let token = format!("Bearer {}", sandbox.device_token(bed.device)?);
    let path = "/wardline.telemetry.v1.IngestService/StreamReadings";
    let sent = [builders::open(&bed, 0), builders::batch(1, vec![pulse(60.0, guard::clock::now())])];
    let body: Vec<_> = sent.iter().flat_map(|message| frame(0, &message.encode_to_vec())).collect();
    let (_, body) = call(&sandbox, path, &[("authorization", &token), ("content-type", BINARY)], &body).await?;
    let (found, trailers) = messages(&body)?;
    let said: Result<Vec<_>, _> = found.iter().map(|bytes| StreamReadingsResponse::decode(bytes.as_slice())).collect();
    let acked = said?.into_iter().filter_map(|said| match said.message {
        Some(Said::Ack(ack)) => Some(ack.through),
        _ => None,
    });
    assert_eq!((acked.max(), trailers.contains("grpc-status:0")), (Some(1), true), "{trailers}");
    Ok(())
}

#[tokio::test]
async fn whether_a_service_is_there_is_told_as_events_until_the_node_goes() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(0, &[], &[services::QUERY]).await?;
    let mut stream = TcpStream::connect(sandbox.api()?).await?;
    stream
        .write_all(b"GET /v1/health:watch?service=wardline.telemetry.v1.TimelineService HTTP/1.0\r\nhost: w\r\n\r\n")
        .await?;
    let mut lines = BufReader::new(stream).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if line == r#"data: {"status":"SERVING"}"# {
            sandbox.drain();
        }
        said.push(line);
    }
    let text = said.join("\n");
    assert!(text.starts_with("HTTP/1.0 200") && text.contains("content-type: text/event-stream"), "{text}");
    let at = |part: &str| text.find(part).with_context(|| format!("no {part} in {text}"));
    assert!(at("\"SERVING\"")? < at("NOT_SERVING")? && at("NOT_SERVING")? < at("event: error")?, "{text}");
    assert!(at("event: error")? < at("\"reason\":\"DRAINING\"")?, "{text}");
    // what fails at once is answered as any other
    let sandbox = Sandbox::with(0, &[], &[services::QUERY]).await?;
    let wrong = tests::http::ask(sandbox.api()?, "GET", "/v1/health:watch?servise=x", &[], "").await?;
    assert_eq!((wrong.status, wrong.header("content-type")), (400, Some("application/problem+json")));
    Ok(())
}
