//! Measures a store: rows per second, and the time to read one patient's day among others.
//!
//! `cargo run --release -p store --example measure -- embedded [ROWS [ROWS_A_CALL]]`
//! `cargo run --release -p store --example measure -- cql [ROWS [ROWS_A_CALL [BUCKETS]]]` (server at `WARDLINE_CQL`)
//!
//! With 32,767 buckets nearly every patient has one of its own: a partition for each patient and day.

use model::{
    ClockQuality, DeviceId, Hour, HourRange, Identity, MetricId, Nanos, PatientId, Permit, Row, StreamId, UserId,
    access::{Action, Permission, Principal, Relation, RelationKind, Subject, decide},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Instant;
use store::{Append, Timeline, cql, embedded};

const PATIENTS: u64 = 1_000;
const ROWS_A_DAY: u64 = 8_640;
const FIRST_HOUR: i32 = 480_000;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let engine = arguments.next().unwrap_or_default();
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |n| n.parse());
    let (n_rows, a_call, buckets) = (number(1_000_000)?, number(2_000)?, number(64)?);
    match engine.as_str() {
        "embedded" => {
            for bytes in [60, 200] {
                let dir = tempfile::tempdir()?;
                let store = embedded::Store::open(dir.path())?;
                measure(&format!("embedded, {bytes} B"), &store, n_rows, a_call, bytes).await?;
            }
        }
        "cql" => {
            let node = std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".into());
            let keyspace = format!("measure_{buckets}");
            let buckets = i16::try_from(buckets)?;
            let settings = cql::Settings { nodes: vec![node], keyspace, buckets, ..cql::Settings::default() };
            cql::migrate(&settings).await?;
            let store = cql::Store::connect(&settings).await?;
            measure(&format!("cql, {buckets} buckets, 200 B"), &store, n_rows, a_call, 200).await?;
        }
        _ => return Err("say which: embedded | cql".into()),
    }
    Ok(())
}

async fn measure<S: Append + Timeline>(
    name: &str,
    store: &S,
    n_rows: u64,
    a_call: u64,
    bytes: usize,
) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(7);
    let mut spent = 0.0;
    let mut made = 0;
    while made < n_rows {
        // as a writer sees them: all patients in turn, time going on
        let rows: Vec<_> = (made..made + a_call).map(|i| row(i % PATIENTS, i / PATIENTS, bytes, &mut random)).collect();
        let started = Instant::now();
        store.append(&rows).await?;
        spent += started.elapsed().as_secs_f64();
        made += a_call;
    }
    println!("{name}: {:.0} rows/s over {made} rows, calls of {a_call}", made as f64 / spent);
    let again: Vec<_> = (0..a_call).map(|i| row(i % PATIENTS, i / PATIENTS, bytes, &mut random)).collect();
    let started = Instant::now();
    store.append(&again).await?;
    println!("{name}: {:.0} rows/s of a replay", a_call as f64 / started.elapsed().as_secs_f64());
    for chunk in (0..ROWS_A_DAY).collect::<Vec<_>>().chunks(a_call as usize) {
        let rows: Vec<_> = chunk.iter().map(|i| row(PATIENTS, *i, bytes, &mut random)).collect();
        store.append(&rows).await?;
    }
    let day = HourRange { first: Hour(FIRST_HOUR), end: Hour(FIRST_HOUR + 24) };
    let permit = permit(PATIENTS)?;
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..50 {
        let started = Instant::now();
        found = store.rows(&permit, day).await?.len();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("{name}: a day of {found} rows in {:.1?} (p50), {:.1?} (p95)", times[25], times[47]);
    Ok(())
}

/// Row `n` of a patient: one every ten seconds, the day starting over after 8,640.
fn row(patient: u64, n: u64, bytes: usize, random: &mut StdRng) -> Row {
    let mut block = vec![0; bytes];
    random.fill(block.as_mut_slice());
    let second = (n % ROWS_A_DAY) * 10;
    Row {
        patient: PatientId::from_bytes(id(1, patient)),
        hour: Hour(FIRST_HOUR + (second / 3_600) as i32),
        identity: Identity {
            device: DeviceId::from_bytes(id(2, patient)),
            stream: StreamId::from_bytes(id(3, patient)),
            sequence: n + 1,
            digest: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        },
        received_at: Nanos(Hour(FIRST_HOUR).start().0 + second as i64 * Nanos::SECOND),
        clock: ClockQuality::Synchronized,
        metrics: vec![MetricId(1), MetricId(2), MetricId(3)],
        block: block.into(),
    }
}

/// Sixteen bytes that look like a random UUID and stay the same.
fn id(kind: u64, n: u64) -> [u8; 16] {
    StdRng::seed_from_u64(kind << 32 | n).random()
}

fn permit(patient: u64) -> Result<Permit, Failure> {
    let subject = Subject::User(UserId::from_bytes([9; 16]));
    let principal = Principal { subject, permissions: vec![Permission::ReadReadings], expires_at: Nanos::MAX };
    let relation = Relation { kind: RelationKind::CareTeam, from: Nanos::MIN, to: Nanos::MAX };
    let patient = PatientId::from_bytes(id(1, patient));
    Ok(decide(&principal, Action::ReadTimeline, patient, &[relation], Nanos(0))?)
}
