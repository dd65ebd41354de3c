//! Kafka and the store are killed, and come back: what each service says of itself, and how soon.

use crate::{PATIENCE, Services, now};
use anyhow::Context;
use model::DeviceId;
use proto::telemetry::v1::ingest_service_client::IngestServiceClient;
use std::time::Duration;
use tests::{
    builders::{pulse, write},
    line::Problem,
    torture::{child::Child, engines::Engine},
    wait::until,
    with_token,
};
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

/// How soon a node knows.
const KNOWN: Duration = Duration::from_secs(10);

/// Waits until a service says so; how long that took, and the words.
async fn says(child: &Child, status: u16) -> anyhow::Result<(Duration, String)> {
    let began = Instant::now();
    let asked = async || child.get("/ready").await;
    let (_, text) = until("a verdict", asked, |(found, _)| *found == status).await?;
    Ok((began.elapsed(), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Kafka and a CQL server"]
async fn each_service_says_which_engine_is_away_and_when_it_is_back() -> anyhow::Result<()> {
    let mut services = Services::start(1).await?;
    let engines = services.ward.engines.clone();
    let bed = services.ward.beds[0];
    let token = services.ward.token(bed.device)?;
    let client = IngestServiceClient::new(client::channel(services.ingest.endpoint())?);
    let measured_at = now();
    let send = async |sequence| {
        // the same readings each time that it is sent
        let request = with_token(write(&bed, sequence, vec![pulse(60.0 + sequence as f64, measured_at)]), &token)?;
        anyhow::Ok(client.clone().write_readings(request).await)
    };
    send(1).await??;

    engines.kill(Engine::Kafka).await?;
    let began = Instant::now();
    let refused = timeout(PATIENCE, send(2)).await??.err().context("taken without a log")?;
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.get_details_retry_info().is_some());
    assert!(began.elapsed() < KNOWN, "refused after {:?}", began.elapsed());
    let (known, text) = says(&services.ingest, 503).await?;
    assert!(known < KNOWN && text.contains("log: "), "{known:?} {text}");
    assert!(says(&services.query, 200).await?.1.ends_with("\r\n\r\nready\n"));
    engines.start(Engine::Kafka).await?;
    says(&services.ingest, 200).await?;
    // what was refused is sent again, and lands on itself if it had arrived
    let again = async || Ok(send(2).await?.is_ok());
    until("the batch to be taken", again, |taken| *taken).await?;
    services.all(&bed, 2).await?;

    engines.kill(Engine::Cassandra).await?;
    let (known, text) = says(&services.query, 503).await?;
    assert!(known < KNOWN && text.contains("store: "), "{known:?} {text}");
    assert!(says(&services.ingest, 200).await?.1.contains("\r\n\r\nready\n"), "readings wait in the log");
    send(3).await??;
    // who is not known here may have been let in elsewhere since
    let stranger = services.ward.token(DeviceId::new(Uuid::new_v4()))?;
    let knocks = async || {
        let request = with_token(write(&bed, 1, vec![]), &stranger)?;
        let answer = client.clone().write_readings(request).await;
        anyhow::Ok(Problem::of(&answer.err().context("a stranger was let in")?))
    };
    let problem = timeout(PATIENCE, knocks()).await??;
    assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "REGISTRY_BEHIND"));
    assert!(problem.retry_after.is_some());
    // one that starts now waits, and is alive
    services.query.kill().await?;
    services.query.restart()?;
    let alive = async || services.query.get("/live").await;
    until("the process", alive, |(status, _)| *status == 200).await?;
    assert!(says(&services.query, 503).await?.1.contains("\r\n\r\nnot ready\n"));
    engines.start(Engine::Cassandra).await?;
    services.ready().await?;
    assert_eq!(services.query.n_own_ends(), 0, "it ended for want of its store");
    let final_now = async || Ok(knocks().await?.code);
    until("a stranger to be refused for good", final_now, |code| *code == Code::PermissionDenied).await?;
    services.all(&bed, 3).await?;
    services.stop().await
}
