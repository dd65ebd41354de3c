//! What only the CQL store promises: its schema, reads across pages that servers cut as they like, TLS and sign-in (of
//! `deploy/engines`: certificates are in `tls` in the folder `WARDLINE_ENGINES_DATA`).

use crate::fixture::{expect, patient, row};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use std::{
    error::Error as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use store::{
    Append, Error,
    cql::{Credentials, Settings, Store, Tls, TlsIdentity, migrate},
};

/// A keyspace of its own.
pub struct Fresh {
    settings: Settings,
    session: Session,
}

impl Fresh {
    pub async fn new() -> Self {
        let node = node();
        let keyspace = format!("wardline_test_{:x}", rand::random::<u64>());
        let session = SessionBuilder::new().known_node(&node).build().await.expect("a CQL server at WARDLINE_CQL");
        let settings = Settings { nodes: vec![node], keyspace, buckets: 1, page_rows: 10, ..Settings::default() };
        Self { settings, session }
    }

    /// Runs a statement in which `KS` stands for the keyspace.
    pub async fn run(&self, statement: &str) {
        self.session.query_unpaged(statement.replace("KS", &self.settings.keyspace), ()).await.unwrap();
    }

    /// The first column of the first row of what a query finds.
    pub async fn value<T>(&self, query: &str) -> T
    where
        T: for<'a> scylla::deserialize::value::DeserializeValue<'a, 'a>,
    {
        let found = self.session.query_unpaged(query.replace("KS", &self.settings.keyspace), ()).await.unwrap();
        found.into_rows_result().unwrap().first_row::<(T,)>().unwrap().0
    }

    /// Two processes that write to the keyspace, and seal it.
    pub async fn writers(&self) -> (Store, Store) {
        migrate(&self.settings).await.unwrap();
        (Store::connect(&self.settings).await.unwrap(), Store::connect(&self.settings).await.unwrap())
    }

    pub async fn done(self) {
        self.run("DROP KEYSPACE KS").await;
    }
}

fn node() -> String {
    std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".into())
}

fn complaint<T>(result: Result<T, Error>) -> String {
    match result.err().expect("a refusal") {
        Error::Config(text) => text,
        other => panic!("not about settings: {other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs a CQL server"]
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
#[ignore = "needs a CQL server"]
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
    assert_eq!(again.iter().filter(|a| a.now).map(|a| a.version).collect::<Vec<_>>(), [2]);

    fresh.run("UPDATE KS.schema_migrations SET checksum = 'x' WHERE version = 1").await;
    assert!(complaint(Store::connect(&fresh.settings).await).contains("another text"));
    assert!(complaint(migrate(&fresh.settings).await).contains("another text"));
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn a_dead_migrators_lock_runs_out() {
    let fresh = Fresh::new().await;
    migrate(&fresh.settings).await.unwrap();
    fresh.run("INSERT INTO KS.schema_lock (name, holder) VALUES ('migrate', uuid()) IF NOT EXISTS USING TTL 1").await;
    migrate(&fresh.settings).await.unwrap();
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
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
#[ignore = "needs a CQL server"]
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

/// A file that the engines made.
fn file(name: &str) -> PathBuf {
    let standing = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/engines/target/data");
    let data = std::env::var_os("WARDLINE_ENGINES_DATA").unwrap_or_else(|| standing.into());
    let path = PathBuf::from(data).join("tls").join(name);
    assert!(path.exists(), "{} is missing: engines wipe, engines up", path.display());
    path
}

fn tls(authority: &str) -> Option<Tls> {
    Some(Tls { ca: file(authority), identity: None })
}

/// Migrates, appends and reads.
async fn round_trip(settings: &Settings) {
    migrate(settings).await.unwrap();
    let store = Store::connect(settings).await.unwrap();
    let patient = patient();
    let rows: Vec<_> = (0..100).map(|n| row(patient, n as i32 / 10, n)).collect();
    store.append(&rows).await.unwrap();
    expect(&store, patient, &rows).await;
}

/// Neither migrating nor connecting works, both say so in time, with these words somewhere in the causes.
async fn refused(settings: &Settings, words: &str) {
    let limit = settings.connect_timeout * (settings.nodes.len() as u32 + 1) + Duration::from_secs(5);
    for what in ["migrate", "connect"] {
        let began = Instant::now();
        let result = match what {
            "migrate" => migrate(settings).await.map(drop),
            _ => Store::connect(settings).await.map(drop),
        };
        let error = result.expect_err("a refusal");
        let mut story = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            story = format!("{story}: {error}");
            cause = error.source();
        }
        assert!(story.contains(words), "{what}: {story}");
        assert!(began.elapsed() < limit, "{what}: {:?}", began.elapsed());
    }
}

/// Carries connections to `node` from a port of an address of this machine, for as long as it is kept.
async fn carried(from: &str, node: String) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind((from, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let carry = async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(&node).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    };
    (address, tokio::spawn(carry))
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn all_works_over_tls() {
    let fresh = Fresh::new().await;
    round_trip(&Settings { tls: tls("ca.pem"), ..fresh.settings.clone() }).await;
    fresh.done().await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn an_unknown_authority_is_refused() {
    let settings = Settings { nodes: vec![node()], tls: tls("stranger.pem"), ..Settings::default() };
    refused(&settings, "UnknownIssuer").await;
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn a_certificate_of_another_address_is_refused() {
    let fresh = Fresh::new().await;
    for (from, is_named) in [("127.0.0.1", true), ("127.0.0.9", false)] {
        let (address, carry) = carried(from, node()).await;
        let settings = Settings { nodes: vec![address], tls: tls("ca.pem"), ..fresh.settings.clone() };
        match is_named {
            true => round_trip(&settings).await,
            false => refused(&settings, "not valid for name").await,
        }
        carry.abort();
    }
    fresh.done().await;
}

/// A node that wants a password, ended with it.
struct Guarded;

fn engines(command: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/engines/engines");
    let done = Command::new(script).args([command, "guarded"]).output().unwrap();
    assert!(done.status.success(), "engines {command} guarded: {}", String::from_utf8_lossy(&done.stderr));
}

impl Guarded {
    fn start() -> (Self, Settings) {
        engines("start");
        let (host, port) = node().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
        let node = format!("{host}:{}", port.parse::<u16>().unwrap() + 10);
        let user = Credentials { username: "cassandra".into(), password: "cassandra".into() };
        let keyspace = format!("wardline_test_{:x}", rand::random::<u64>());
        (Self, Settings { nodes: vec![node], keyspace, credentials: Some(user), buckets: 1, ..Settings::default() })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        engines("kill");
    }
}

#[tokio::test]
#[ignore = "needs a CQL server"]
async fn who_does_not_sign_in_is_refused() {
    let (_guarded, settings) = Guarded::start();
    // It makes its first user when it has started, in the background.
    let patience = Instant::now() + Duration::from_secs(60);
    while let Err(error) = migrate(&settings).await {
        assert!(Instant::now() < patience, "{error:?}");
    }
    round_trip(&settings).await;

    let user = |username: &str, password: &str| Credentials { username: username.into(), password: password.into() };
    let with = |credentials| Settings { credentials, ..settings.clone() };
    refused(&with(Some(user("cassandra", "guess"))), "password").await;
    refused(&with(Some(user("somebody", "cassandra"))), "password").await;
    refused(&with(None), "Authentication").await;

    // With TLS it wants our certificate, too.
    let identity =
        |name: &str| Some(TlsIdentity { cert: file(&format!("{name}.pem")), key: file(&format!("{name}.key")) });
    let with = |identity| Settings { tls: Some(Tls { ca: file("ca.pem"), identity }), ..settings.clone() };
    round_trip(&with(identity("client"))).await;
    refused(&with(None), "fatal alert").await;
    refused(&with(identity("stranger")), "fatal alert").await;
}
