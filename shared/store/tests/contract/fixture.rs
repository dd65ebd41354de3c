//! Stores to test, patients nobody else uses, and permission to read them.

use bytes::Bytes;
use model::{
    BatchId, ClockQuality, DeviceId, Hour, HourRange, MetricId, Nanos, PatientId, Permit, Row, StreamId, UserId,
    access::{Action, Facts, Permission, Principal, Relation, RelationKind, Subject, decide},
};
use store::{Append, Data, HourData, Identities, Order, Positions, Quarantine, Rollups, Seal, StoredRow, Timeline};

/// All that a store does.
pub trait Store: Append + Timeline + Rollups + Seal + Positions + Identities + Quarantine + Clone + 'static {}
impl<T: Append + Timeline + Rollups + Seal + Positions + Identities + Quarantine + Clone + 'static> Store for T {}

/// An embedded store in a folder of its own.
pub async fn embedded() -> (store::embedded::Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (store::embedded::Store::open(dir.path().join("store")).unwrap(), dir)
}

/// A CQL store as it comes.
pub async fn cql() -> (store::cql::Store, ()) {
    connect(store::cql::Settings::default().page_rows).await
}

/// A CQL store that reads three rows at once.
pub async fn cql_small_pages() -> (store::cql::Store, ()) {
    connect(3).await
}

/// A CQL store as it comes, and that nobody else seals at the same time.
pub async fn cql_alone() -> (store::cql::Store, tokio::sync::MutexGuard<'static, ()>) {
    let alone = SEALING.lock().await;
    (cql().await.0, alone)
}

/// A CQL store that reads three rows at once, and that nobody else seals at the same time.
pub async fn cql_small_pages_alone() -> (store::cql::Store, tokio::sync::MutexGuard<'static, ()>) {
    let alone = SEALING.lock().await;
    (cql_small_pages().await.0, alone)
}

/// Held by the cases that seal the keyspace which all share.
static SEALING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn connect(page_rows: i32) -> (store::cql::Store, ()) {
    use store::cql::{Settings, Store, migrate};
    static MIGRATED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let node = std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".into());
    // few buckets, so that patients share them; every test has patients of its own, so that the keyspace can stay
    let settings = Settings {
        nodes: vec![node],
        keyspace: "wardline_contract".into(),
        buckets: 4,
        page_rows,
        ..Settings::default()
    };
    MIGRATED
        .get_or_init(async || {
            migrate(&settings).await.expect("a CQL server at WARDLINE_CQL");
        })
        .await;
    (Store::connect(&settings).await.unwrap(), ())
}

/// A patient nobody else uses.
pub fn patient() -> PatientId {
    PatientId::from_bytes(rand::random())
}

/// Permission to read a patient's timeline.
pub fn permit(patient: PatientId) -> Permit {
    let subject = Subject::User(UserId::from_bytes([1; 16]));
    let doctor = Principal::everywhere(subject, &[Permission::ReadReadings], Nanos::MAX);
    let relation = Relation { kind: RelationKind::CareTeam, from: Nanos::MIN, to: Nanos::MAX };
    let facts = Facts { relations: vec![relation], ..Facts::default() };
    decide(&doctor, Action::ReadTimeline, patient, &facts, Nanos(0)).unwrap()
}

/// A row of the patient's one device: sequence `n`, received then, two metrics.
pub fn row(patient: PatientId, hour: i32, n: u64) -> Row {
    let device = DeviceId::from_bytes(*patient.as_bytes());
    let identity = BatchId { device, stream: StreamId::from_bytes([3; 16]), sequence: n, digest: n + 7 };
    Row {
        patient,
        hour: Hour(hour),
        identity,
        received_at: Nanos(1_700_000_000 * Nanos::SECOND + n as i64),
        clock: ClockQuality::Synchronized,
        metrics: vec![MetricId(2), MetricId(1)],
        block: Bytes::from(format!("block {n}")),
    }
}

/// What reading a row gives back.
pub fn stored(row: &Row) -> StoredRow {
    StoredRow {
        hour: row.hour,
        identity: row.identity,
        received_at: row.received_at,
        clock: row.clock,
        block: row.block.clone(),
    }
}

/// The hours from `first` up to, not including, `end`.
pub fn hours(first: i32, end: i32) -> HourRange {
    HourRange { first: Hour(first), end: Hour(end) }
}

/// What there is of a patient's hours.
pub async fn read(store: &impl Timeline, patient: PatientId, hours: HourRange) -> Vec<HourData> {
    let permit = permit(patient);
    let entries = store.hours(&permit, hours, Order::Ascending, usize::MAX).await.unwrap();
    let data = store.read(&permit, &entries).await.unwrap();
    assert!(data.iter().map(|data| data.hour).eq(entries.iter().map(|entry| entry.hour)), "in the order asked for");
    data
}

/// The rows of a patient's hours, none of which may be sealed.
pub async fn rows(store: &impl Timeline, patient: PatientId, hours: HourRange) -> Vec<StoredRow> {
    let rows = |data: HourData| match data.data {
        Data::Rows(rows) => {
            assert!(rows.iter().all(|row| row.hour == data.hour));
            rows
        }
        Data::Sealed(_) => panic!("{:?} is sealed", data.hour),
    };
    read(store, patient, hours).await.into_iter().flat_map(rows).collect()
}

/// All rows of a patient, of hours that are not sealed.
pub async fn all(store: &impl Timeline, patient: PatientId) -> Vec<StoredRow> {
    rows(store, patient, model::Range::ALL.hours()).await
}

/// All rows of a patient, which must be these, in this order.
pub async fn expect(store: &impl Timeline, patient: PatientId, rows: &[Row]) {
    assert_eq!(all(store, patient).await, rows.iter().map(stored).collect::<Vec<_>>());
}
