//! Conditions, by themselves and as probes set them.

use super::*;
use crate::{probes, services};
use async_trait::async_trait;
use bus::{Error, Outgoing, Publish, Receipt};
use directory::LiveDirectory;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use store::Revision;
use tonic_health::pb::{HealthCheckRequest, health_server::Health};

/// An engine that is there, or is silent.
#[derive(Default)]
struct Engine {
    away: AtomicBool,
    fatal: Mutex<Option<String>>,
}

impl Engine {
    async fn answers(&self) -> Result<(), &'static str> {
        if self.away.load(Ordering::SeqCst) {
            // as long as whoever asks has patience
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[async_trait]
impl Publish for Engine {
    async fn publish(&self, _: Outgoing) -> Result<Receipt, Error> {
        Err(Error::Unavailable("nobody publishes here".into()))
    }

    fn has_room(&self) -> bool {
        true
    }

    async fn flush(&self, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap().clone()
    }

    async fn probe(&self, limit: Duration) -> Result<(), Error> {
        let answered = tokio::time::timeout(limit, self.answers()).await;
        answered.map(|_| ()).map_err(|late| Error::Unavailable(Box::new(late)))
    }
}

#[async_trait]
impl store::Profiles for Engine {
    async fn profile(&self, _: model::UserId, _: Revision) -> Result<Option<bytes::Bytes>, store::Error> {
        Ok(None)
    }
}

#[async_trait]
impl store::Registry for Engine {
    async fn put_change(&self, _: u64, _: &[u8]) -> Result<bool, store::Error> {
        Ok(false)
    }

    async fn changes(&self, _: u64, _: usize) -> Result<Vec<(u64, bytes::Bytes)>, store::Error> {
        self.answers().await.map_err(|why| store::Error::Unavailable(why.into()))?;
        Ok(vec![])
    }

    async fn put_profile(&self, _: model::UserId, _: Revision, _: &[u8]) -> Result<(), store::Error> {
        Ok(())
    }
}

#[test]
fn a_node_is_ready_when_all_that_its_services_need_holds() {
    let ready = Ready::new(&[services::INGEST]);
    let running = ready.condition("running", Needed::ByAll);
    let store = ready.condition("store", Needed::For(Need::Store));
    assert!(!ready.is_ready(), "nothing is known yet");
    running.hold();
    assert!(ready.is_ready());
    // the same condition, made by somebody else
    ready.condition("store", Needed::For(Need::Store)).fail("it does not answer");
    assert!(ready.is_ready() && !ready.serves(services::QUERY));
    assert_eq!(ready.text(), "ready\nstore: it does not answer\n");
    store.hold();
    running.fail("draining");
    assert_eq!(ready.text(), "not ready\nrunning: draining\n");
}

/// Waits until a condition is so, and says how long that took.
async fn until(ready: &Ready, holds: bool) -> Duration {
    let (mut changes, began) = (ready.0.conditions.subscribe(), tokio::time::Instant::now());
    while ready.is_ready() != holds {
        changes.changed().await.unwrap();
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_silent_is_known_within_ten_seconds_and_so_is_its_answer() {
    let (dir, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let ready = Ready::new(&services::ALL);
    let engines = [Arc::new(Engine::default()), Arc::new(Engine::default())];
    let steady = |name, need| Steady::new(ready.condition(name, Needed::For(need)));
    let log = tokio::spawn(probes::log(engines[0].clone(), steady("log", Need::Log), stop.clone()));
    // whoever only writes follows no directory
    let followed = (steady("directory", Need::Directory), steady("store", Need::Store));
    let directory = LiveDirectory::open(dir.path()).unwrap();
    tokio::spawn(probes::directory(directory, engines[1].clone(), followed, stop.clone()));
    let reporter = HealthReporter::new();
    let names = vec![
        ("", None),
        ("ingest", Some(services::INGEST)),
        ("query", Some(services::QUERY)),
        ("writer", Some(services::WRITER)),
    ];
    let service = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
    tokio::spawn(ready.clone().keep_reporting(reporter, names, stop.clone()));
    let told = async |name: &str| {
        tokio::task::yield_now().await;
        let request = tonic::Request::new(HealthCheckRequest { service: name.into() });
        service.check(request).await.unwrap().into_inner().status == ServingStatus::Serving as i32
    };
    until(&ready, true).await;
    for (engine, [ingests, reads]) in engines.iter().zip([[false, true], [true, false]]) {
        engine.away.store(true, Ordering::SeqCst);
        let known = until(&ready, false).await;
        assert!(known <= Duration::from_secs(10), "{known:?}");
        // both conditions of the store come together
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!([told("").await, told("ingest").await, told("query").await], [false, ingests, reads]);
        assert!(!told("writer").await, "it stands on both");
        engine.away.store(false, Ordering::SeqCst);
        let known = until(&ready, true).await;
        assert!(known <= Duration::from_secs(10), "{known:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(told("").await && told("ingest").await && told("query").await);
    }
    *engines[0].fatal.lock().unwrap() = Some("fenced".into());
    assert!(log.await.unwrap().is_err(), "a log that has failed for good ends the node");
    stop.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!told("").await && !told("ingest").await);
}

#[test]
fn one_failure_is_chance() {
    let ready = Ready::new(&[services::INGEST]);
    let mut steady = Steady::new(ready.condition("log", Needed::For(Need::Log)));
    steady.found(Ok(()));
    for _ in 0..3 {
        steady.found(Err("silence".into()));
        assert!(ready.is_ready(), "not at the first");
        steady.found(Ok(()));
    }
    steady.found(Err("silence".into()));
    steady.found(Err("silence".into()));
    assert_eq!(ready.text(), "not ready\nlog: silence\n");
}
