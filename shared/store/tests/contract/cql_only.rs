//! What only the CQL store promises: its schema, and reads across pages that servers cut as they like.

use crate::fixture::{expect, patient, row};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use store::{
    Append, Error,
    cql::{Settings, Store, migrate},
};

/// A keyspace of its own.
struct Fresh {
    settings: Settings,
    session: Session,
}

impl Fresh {
    async fn new() -> Self {
        let node = std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".into());
        let keyspace = format!("wardline_test_{:x}", rand::random::<u64>());
        let session = SessionBuilder::new().known_node(&node).build().await.expect("a CQL server at WARDLINE_CQL");
        let settings = Settings { nodes: vec![node], keyspace, buckets: 1, page_rows: 10, ..Settings::default() };
        Self { settings, session }
    }

    /// Runs a statement in which `KS` stands for the keyspace.
    async fn run(&self, statement: &str) {
        self.session.query_unpaged(statement.replace("KS", &self.settings.keyspace), ()).await.unwrap();
    }

    async fn done(self) {
        self.run("DROP KEYSPACE KS").await;
    }
}

fn complaint<T>(result: Result<T, Error>) -> String {
    match result.err().expect("a refusal") {
        Error::Config(text) => text,
        other => panic!("not about settings: {other:?}"),
    }
}

#[tokio::test]
async fn migrators_at_once_apply_each_migration_once() {
    let fresh = Fresh::new().await;
    let results = futures::future::join_all((0..3).map(|_| migrate(&fresh.settings))).await;
    let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    let n = results[0].len();
    assert!(n >= 2);
    for applied in &results {
        assert_eq!(applied.iter().map(|a| a.version).collect::<Vec<_>>(), (1..=n as i32).collect::<Vec<_>>());
    }
    assert_eq!(results.iter().flatten().filter(|a| a.now).count(), n);
    assert!(migrate(&fresh.settings).await.unwrap().iter().all(|a| !a.now));
    Store::connect(&fresh.settings).await.unwrap();
    fresh.done().await;
}

#[tokio::test]
async fn a_schema_that_is_missing_old_changed_or_laid_out_otherwise_is_refused() {
    let fresh = Fresh::new().await;
    assert!(complaint(Store::connect(&fresh.settings).await).contains("run `wardline migrate`"));
    fresh.run("CREATE KEYSPACE KS WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}").await;
    assert!(complaint(Store::connect(&fresh.settings).await).contains("run `wardline migrate`"));
    migrate(&fresh.settings).await.unwrap();
    Store::connect(&fresh.settings).await.unwrap();

    let other = Settings { buckets: 2, ..fresh.settings.clone() };
    assert!(complaint(Store::connect(&other).await).contains("has 1 buckets, the settings say 2"));
    assert!(complaint(migrate(&other).await).contains("has 1 buckets, the settings say 2"));

    fresh.run("DELETE FROM KS.schema_migrations WHERE version = 2").await;
    assert!(complaint(Store::connect(&fresh.settings).await).contains("older than this version"));
    let again = migrate(&fresh.settings).await.unwrap();
    assert_eq!(again.iter().map(|a| a.now).collect::<Vec<_>>(), [false, true]);

    fresh.run("UPDATE KS.schema_migrations SET checksum = 'x' WHERE version = 1").await;
    assert!(complaint(Store::connect(&fresh.settings).await).contains("another text"));
    assert!(complaint(migrate(&fresh.settings).await).contains("another text"));
    fresh.done().await;
}

#[tokio::test]
async fn a_dead_migrators_lock_runs_out() {
    let fresh = Fresh::new().await;
    migrate(&fresh.settings).await.unwrap();
    fresh.run("INSERT INTO KS.schema_lock (name, holder) VALUES ('migrate', uuid()) IF NOT EXISTS USING TTL 1").await;
    migrate(&fresh.settings).await.unwrap();
    fresh.done().await;
}

#[tokio::test]
async fn deleted_ranges_and_full_last_pages_do_not_end_a_read() {
    let fresh = Fresh::new().await;
    migrate(&fresh.settings).await.unwrap();
    let store = Store::connect(&fresh.settings).await.unwrap();
    let patient = patient();
    let rows: Vec<_> = (0..2_400).map(|n| row(patient, n as i32 / 100, n)).collect();
    store.append(&rows).await.unwrap();
    expect(&store, patient, &rows).await;
    // the middle goes: thousands of dead rows between the first page and the last
    for hour in 1..23 {
        let id = patient.uuid();
        fresh
            .run(&format!("DELETE FROM KS.blocks WHERE bucket = 0 AND day = 0 AND patient = {id} AND hour = {hour}"))
            .await;
    }
    let left: Vec<_> = rows.into_iter().filter(|row| [0, 23].contains(&row.hour.0)).collect();
    expect(&store, patient, &left).await;
    fresh.done().await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unavailable() {
    // bound and never answering, so that nobody else gets the port
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        nodes: vec![taken.local_addr().unwrap().to_string()],
        connect_timeout: std::time::Duration::from_millis(200),
        ..Settings::default()
    };
    assert!(matches!(Store::connect(&settings).await.err(), Some(Error::Unavailable(_))));
}
