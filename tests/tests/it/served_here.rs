//! A process says what it serves, and of what it does not serve, which process does: by gRPC, as JSON, in its reflection and in
//! its document.

use anyhow::Context;
use node::services;
use proto::rpc;
use std::collections::{BTreeMap, BTreeSet};
use tests::{
    Sandbox, http,
    line::Problem,
    raw::{self, frame},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tonic::Code;

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The services that reflection lists: names in a ListServiceResponse, taken by their beginnings.
async fn listed(sandbox: &Sandbox) -> anyhow::Result<BTreeSet<String>> {
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let answer = raw::call(&mut sandbox.channel().await?, path, &[], frame(0, &[0x3a, 1, b'*'])).await?;
    let text = String::from_utf8_lossy(&answer.bytes).into_owned();
    let names = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.');
    Ok(names.filter(|name| name.starts_with("wardline.") || name.starts_with("grpc.")).map(str::to_owned).collect())
}

#[tokio::test]
async fn each_process_lists_what_it_serves_and_names_who_serves_the_rest() -> anyhow::Result<()> {
    for service in services::ALL {
        let sandbox = Sandbox::with(0, &["quotas.claims_a_second=0"], &[service]).await?;
        let mine = |rpc: &rpc::Rpc| rpc.process == service.name;
        let named = rpc::all().iter().filter(|rpc| mine(rpc)).map(|rpc| rpc.names().0.to_owned());
        let expected: BTreeSet<_> = named.collect();
        let listed = listed(&sandbox).await?;
        let ours: BTreeSet<_> = listed.iter().filter(|name| name.starts_with("wardline.")).cloned().collect();
        assert_eq!(ours, expected, "{}", service.name);
        assert!(listed.contains("grpc.health.v1.Health"));

        let mut channel = sandbox.channel().await?;
        for rpc in rpc::all().iter().filter(|rpc| !rpc.streams.0) {
            let problem = Problem::of(&raw::call(&mut channel, &rpc.path, &[], frame(0, b"")).await?.status);
            let is_elsewhere = (problem.code, &*problem.reason) == (Code::Unimplemented, "NOT_SERVED_HERE");
            assert_eq!(is_elsewhere, !mine(rpc), "{} of {}: {:?}", rpc.path, service.name, problem.parts());
        }
        let all: BTreeMap<_, _> = rpc::all().iter().map(|rpc| (rpc.names().0, rpc)).collect();
        for (name, rpc) in all {
            let asked = [&[0x0a, name.len() as u8][..], name.as_bytes()].concat();
            let problem = Problem::of(&raw::call(&mut channel, CHECK, &[], frame(0, &asked)).await?.status);
            // UNIMPLEMENTED would say that there are no health checks
            let expected = if mine(rpc) { (Code::Ok, "") } else { (Code::NotFound, "NOT_SERVED_HERE") };
            assert_eq!((problem.code, &*problem.reason), expected, "{name} of {}", service.name);
        }
        let document = http::ask(sandbox.api()?, "GET", "/v1/openapi.json", &[], "").await?.json()?;
        let paths = document["paths"].as_object().context("no paths")?;
        let found = paths.values().filter_map(|path| path.as_object()).flat_map(|path| path.values());
        let found: BTreeSet<_> = found.filter_map(|operation| operation["operationId"].as_str()).collect();
        for rpc in rpc::all().iter().filter(|rpc| !rpc.http.is_empty()) {
            assert_eq!(found.contains(rpc.names().1), mine(rpc), "{} of {}", rpc.path, service.name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_serves_it_is_said_as_json_too() -> anyhow::Result<()> {
    let sandbox = Sandbox::with(0, &[], &[services::INGEST]).await?;
    let answer = http::ask(sandbox.api()?, "GET", "/v1/patients/x/latest", &[], "").await?;
    let problem = answer.json()?;
    assert_eq!((answer.status, problem["reason"].as_str()), (501, Some("NOT_SERVED_HERE")));
    let detail =
        "wardline.telemetry.v1.TimelineService.LatestReadings is served by `query`, not by this process (ingest)";
    assert_eq!(problem["detail"].as_str(), Some(detail));
    // of its health, too; and of what nobody serves, that
    let check = async |name: &str| {
        let asked = [&[0x0a, name.len() as u8][..], name.as_bytes()].concat();
        let answer = raw::call(&mut sandbox.channel().await?, CHECK, &[], frame(0, &asked)).await?;
        anyhow::Ok(answer.status)
    };
    let elsewhere = check("wardline.telemetry.v1.TimelineService").await?;
    let detail = "wardline.telemetry.v1.TimelineService is served by `query`, not by this process (ingest)";
    assert_eq!((elsewhere.code(), elsewhere.message()), (Code::NotFound, detail));
    let none = Problem::of(&check("wardline.none").await?);
    assert_eq!((none.code, &*none.reason), (Code::NotFound, "NOT_FOUND"));
    // who watches is told so, and stays
    for name in ["wardline.telemetry.v1.TimelineService", "wardline.none"] {
        let mut stream = TcpStream::connect(sandbox.api()?).await?;
        let head = format!("GET /v1/health:watch?service={name} HTTP/1.0\r\nhost: w\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next_line().await?;
        assert!(first.as_deref().is_some_and(|line| line.starts_with("HTTP/1.0 200")), "{first:?}");
        loop {
            let line = lines.next_line().await?.context("it ended without a status")?;
            if let Some(data) = line.strip_prefix("data: ") {
                assert_eq!(data, r#"{"status":"SERVICE_UNKNOWN"}"#, "{name}");
                break;
            }
        }
    }
    Ok(())
}
