//! Measures a store: rows per second as they come and late, hours sealed per second, and the time to read one
//! patient's day among others, as rows and sealed.
//!
//! `cargo run --release -p store --example measure -- embedded [ROWS [ROWS_A_CALL]]`
//! `cargo run --release -p store --example measure -- cql [ROWS [ROWS_A_CALL [BUCKETS]]]` (server at `WARDLINE_CQL`)
//!
//! With 32,767 buckets nearly every patient has one of its own: a partition for each patient and day. Blocks have
//! three metrics, with one reading or ten of each.

use model::{
    BatchId, Block, ClockQuality, Column, DeviceId, Factor, Hour, HourRange, MetricId, Nanos, PatientId, Permit,
    Quality, Row, StreamId, UserId, Values,
    access::{Action, Facts, Permission, Principal, Relation, RelationKind, Subject, decide},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant, SystemTime};
use store::{Append, HourData, Order, Seal, Timeline, cql, embedded};

const PATIENTS: u64 = 1_000;
const ROWS_A_DAY: u64 = 8_640;
const LATE: Hour = Hour(480_000);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let engine = arguments.next().unwrap_or_default();
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |n| n.parse());
    let (n_rows, a_call, buckets) = (number(1_000_000)?, number(2_000)?, number(64)?);
    match engine.as_str() {
        "embedded" => {
            for readings in [1, 10] {
                let dir = tempfile::tempdir()?;
                let store = embedded::Store::open(dir.path().join("store"))?;
                measure(&format!("embedded, {readings} a batch"), &store, n_rows, a_call, readings).await?;
            }
        }
        "cql" => {
            let node = std::env::var("WARDLINE_CQL").unwrap_or_else(|_| "127.0.0.1:19042".into());
            let keyspace = format!("measure_{buckets}");
            let buckets = i16::try_from(buckets)?;
            let settings = cql::Settings { nodes: vec![node], keyspace, buckets, ..cql::Settings::default() };
            cql::migrate(&settings).await?;
            let store = cql::Store::connect(&settings).await?;
            measure(&format!("cql, {buckets} buckets"), &store, n_rows, a_call, 10).await?;
        }
        _ => return Err("say which: embedded | cql".into()),
    }
    Ok(())
}

async fn measure<S: Append + Timeline + Seal>(
    name: &str,
    store: &S,
    n_rows: u64,
    a_call: u64,
    readings: u32,
) -> Result<(), Failure> {
    let now = Nanos(i64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_nanos())?);
    // a day that comes, and one that is long over
    load(&format!("{name}, as they come"), store, now.hour(), n_rows, a_call, readings).await?;
    load(&format!("{name}, late"), store, LATE, n_rows, a_call, readings).await?;
    read_day(&format!("{name}, as rows"), store).await?;
    let started = Instant::now();
    let sealed = store.seal(Duration::ZERO).await?;
    let spent = started.elapsed().as_secs_f64();
    println!("{name}: {:.0} hours/s sealed of {}", sealed.hours as f64 / spent, sealed.hours);
    read_day(&format!("{name}, sealed"), store).await
}

async fn load<S: Append>(
    name: &str,
    store: &S,
    first: Hour,
    n_rows: u64,
    a_call: u64,
    readings: u32,
) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(7);
    let mut spent = 0.0;
    let mut made = 0;
    let mut bytes = 0;
    while made < n_rows {
        // as a writer sees them: all patients in turn, time going on
        let rows: Vec<_> =
            (made..made + a_call).map(|i| row(i % PATIENTS, i / PATIENTS, first, readings, &mut random)).collect();
        bytes += rows.iter().map(|row| row.block.len()).sum::<usize>();
        let started = Instant::now();
        store.append(&rows).await?;
        spent += started.elapsed().as_secs_f64();
        made += a_call;
    }
    let (rate, size) = (made as f64 / spent, bytes as u64 / made);
    println!("{name}: {rate:.0} rows/s over {made} rows of {size} B, calls of {a_call}");
    for chunk in (0..ROWS_A_DAY).collect::<Vec<_>>().chunks(a_call as usize) {
        let rows: Vec<_> = chunk.iter().map(|i| row(PATIENTS, *i, first, readings, &mut random)).collect();
        store.append(&rows).await?;
    }
    Ok(())
}

async fn read_day<S: Timeline>(name: &str, store: &S) -> Result<(), Failure> {
    let day = HourRange { first: LATE, end: Hour(LATE.0 + 24) };
    let permit = permit(PATIENTS)?;
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..50 {
        let started = Instant::now();
        let entries = store.hours(&permit, day, Order::Ascending, usize::MAX).await?;
        let hours = store.read(&permit, &entries).await?;
        let batches = |hour: &HourData| hour.sheet(&[]).map(|sheet| sheet.batches.len());
        found = hours.iter().map(batches).sum::<Result<_, _>>()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!("{name}: a day of {found} batches in {:.1?} (p50), {:.1?} (p95)", times[25], times[47]);
    Ok(())
}

/// Row `n` of a patient: one every ten seconds, the day starting over after 8,640.
fn row(patient: u64, n: u64, first: Hour, readings: u32, random: &mut StdRng) -> Row {
    let second = (n % ROWS_A_DAY) * 10;
    let hour = Hour(first.0 + (second / 3_600) as i32);
    let start = first.start().plus(second as i64 * Nanos::SECOND);
    let metrics = [MetricId(1), MetricId(2), MetricId(3)];
    let columns = metrics.map(|metric| Column {
        metric,
        unit: "".into(),
        factor: Factor::IDENTITY,
        index: (0..readings).collect(),
        measured_at: (0..readings).map(|n| start.plus(i64::from(n) * Nanos::SECOND / 2)).collect(),
        quality: vec![Quality::GOOD; readings as usize],
        lasting: vec![],
        values: Values::Number((0..readings).map(|_| f64::from(random.random_range(300..1_200)) / 10.0).collect()),
    });
    let mut block = Vec::new();
    Block { columns: columns.into() }.encode(hour, &mut block);
    Row {
        patient: PatientId::from_bytes(id(1, patient)),
        hour,
        identity: BatchId {
            device: DeviceId::from_bytes(id(2, patient)),
            stream: StreamId::from_bytes(id(3, patient)),
            sequence: n + 1,
            digest: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        },
        received_at: start,
        clock: ClockQuality::Synchronized,
        metrics: metrics.into(),
        block: block.into(),
    }
}

/// Sixteen bytes that look like a random UUID and stay the same.
fn id(kind: u64, n: u64) -> [u8; 16] {
    StdRng::seed_from_u64(kind << 32 | n).random()
}

fn permit(patient: u64) -> Result<Permit, Failure> {
    let subject = Subject::User(UserId::from_bytes([9; 16]));
    let principal = Principal::everywhere(subject, &[Permission::ReadReadings], Nanos::MAX);
    let relation = Relation { kind: RelationKind::CareTeam, from: Nanos::MIN, to: Nanos::MAX };
    let patient = PatientId::from_bytes(id(1, patient));
    let facts = Facts { relations: vec![relation], ..Facts::default() };
    Ok(decide(&principal, Action::ReadTimeline, patient, &facts, Nanos(0))?)
}
