//! `/ready` and `grpc.health` tell the truth, and a node waits for what is not there: against ports where nobody listens.

use anyhow::Context;
use node::{
    config::{Config, Sources},
    run::Node,
    services,
};
use proto::telemetry::v1::{Reading, SampleWidth, Waveform, reading::Value};
use std::time::Duration;
use tests::{
    Bed, Sandbox,
    builders::{pulse, reading, write},
    http,
    torture::child::free_address,
    wait::until,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

/// Nobody listens there.
const KAFKA: [&str; 2] = ["log.kind=kafka", "log.kafka.brokers=127.0.0.1:1"];
const CQL: [&str; 2] = ["store.kind=cql", "store.cql.nodes=[\"127.0.0.1:1\"]"];
/// "Within a few seconds", where nothing else was said for a minute.
const SOON: Duration = Duration::from_secs(20);

async fn serves(sandbox: &Sandbox, service: &str) -> anyhow::Result<bool> {
    let mut health = HealthClient::new(sandbox.channel().await?);
    Ok(health.check(HealthCheckRequest { service: service.into() }).await?.into_inner().status == 1)
}

#[tokio::test]
async fn a_node_on_embedded_engines_is_ready_when_it_has_started() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let (status, text) = http::get(sandbox.http(), "/ready").await?;
    assert!(status == 200 && text.ends_with("\r\n\r\nready\n"), "{text}");
    for service in ["", "wardline.telemetry.v1.IngestService", "wardline.registry.v1.RegistryService"] {
        assert!(serves(&sandbox, service).await?, "{service}");
    }
    Ok(())
}

#[tokio::test]
async fn ingest_without_its_log_is_not_ready_and_refuses_at_once() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::with(1, &KAFKA, &[services::INGEST]).await?;
    let (status, text) = http::get(sandbox.http(), "/ready").await?;
    assert!(status == 503 && text.contains("\r\n\r\nnot ready\nlog: "), "{text}");
    assert_eq!(http::get(sandbox.http(), "/live").await?.0, 200);
    for service in ["", "wardline.telemetry.v1.IngestService"] {
        assert!(!serves(&sandbox, service).await?, "{service:?}");
    }
    let bed = Bed::numbered(0);
    for sequence in [1, 2] {
        let batch = write(&bed, sequence, vec![pulse(60.0, guard::clock::now())]);
        let (request, began) = (sandbox.as_device(bed.device, batch)?, Instant::now());
        let refused = sandbox.ingest().await?.write_readings(request).await.err().context("taken without a log")?;
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(refused.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    sandbox.stop().await
}

pub(crate) fn config(dir: &std::path::Path, http: std::net::SocketAddr, more: &[&str]) -> anyhow::Result<Config> {
    let mut flags = vec![
        "server.grpc_listen=127.0.0.1:0".to_owned(),
        "server.api_listen=".to_owned(),
        format!("server.http_listen={http}"),
        format!("data.dir={}", dir.display()),
        "telemetry.level=warn".to_owned(),
    ];
    flags.extend(more.iter().map(|&flag| flag.to_owned()));
    Config::load(&Sources { file: None, environment: Vec::new(), flags })
}

#[tokio::test]
async fn query_waits_for_its_store_is_alive_and_not_ready() -> anyhow::Result<()> {
    let (dir, http, stop) = (tempfile::tempdir()?, free_address()?, CancellationToken::new());
    let waiting = config(dir.path(), http, &CQL)?;
    let starting = tokio::spawn({
        let stop = stop.clone();
        async move { Node::start(&waiting, &[services::QUERY], stop).await.map(drop) }
    });
    let said = async || http::get(http, "/ready").await;
    let holds = |(status, text): &(u16, String)| *status == 503 && text.contains("store: it did not answer yet");
    until("the store to be missed", said, holds).await?;
    assert_eq!(http::get(http, "/live").await?.0, 200);
    assert!(!starting.is_finished(), "the node ended for want of its store");
    stop.cancel();
    assert!(timeout(SOON, starting).await??.is_err(), "it has never started");
    // what no waiting mends ends it
    let wrong = config(dir.path(), free_address()?, &[&CQL[..], &["store.cql.keyspace=No-Keyspace"]].concat())?;
    let started = timeout(SOON, Node::start(&wrong, &[services::QUERY], CancellationToken::new())).await?;
    assert!(started.is_err());
    Ok(())
}

#[tokio::test]
async fn a_node_whose_audit_log_cannot_be_signed_is_not_ready_and_says_so() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(0).await?;
    let (checkpoints, away) = (sandbox.config()?.audit_dir().join("checkpoints"), sandbox.dir.path().join("away"));
    // as good as a full disk, and nobody need be asked for one
    std::fs::rename(&checkpoints, &away)?;
    let said = async || http::get(sandbox.http(), "/ready").await;
    until("trouble", said, |(status, text)| *status == 503 && text.contains("not ready\naudit: ")).await?;
    assert!(!serves(&sandbox, "wardline.telemetry.v1.TimelineService").await?);
    assert!(serves(&sandbox, "wardline.telemetry.v1.IngestService").await?, "who only takes readings shows nothing");
    std::fs::rename(&away, &checkpoints)?;
    until("no trouble", said, |(status, _)| *status == 200).await?;
    sandbox.stop().await
}

#[tokio::test]
async fn a_store_that_failed_for_good_ends_the_node() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let (bed, http, at) = (Bed::numbered(0), sandbox.http(), guard::clock::now());
    // its tables cannot be written any more: noticed when what is in memory goes there
    std::fs::remove_dir_all(sandbox.dir.path().join("store/keyspaces"))?;
    let samples: Vec<_> = (0..60_000).map(|n: i32| n.wrapping_mul(1_103_515_245)).collect();
    let wave = Waveform {
        origin: 0.0,
        period_ns: 1_000_000,
        scale: 0.001,
        width: SampleWidth::Int32 as i32,
        samples,
        missing: vec![],
    };
    let ended = async || {
        for sequence in 1..=200 {
            let at = at.plus(-(sequence as i64) * 60 * 1_000_000_000);
            let reading = Reading { value: Some(Value::Waveform(wave.clone())), ..reading("11524-6", "mV", 0.0, at) };
            // taken by the log, until the node has gone
            if sandbox.write(&bed, sequence, vec![reading]).await.is_err() {
                break;
            }
        }
        Ok(http::get(&http, "/live").await.is_err())
    };
    until("its end", ended, |ended| *ended).await?;
    let said = format!("{:#}", sandbox.stop().await.err().context("it ended well")?);
    assert!(said.contains("the store failed for good"), "{said}");
    Ok(())
}
