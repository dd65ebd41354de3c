//! The cases of the store's contract about sealed hours. Blocks that nobody can read are never sealed: cases that write
//! such do not mind others that seal the same store.

use crate::fixture::{Store, patient, permit, read, row, rows};
use model::{
    Batch, Block, ClockQuality, ClockTolerance, Column, DeviceId, Factor, Hour, HourRange, MetricId, Nanos, PatientId,
    Quality, Range, Rollup, Row, Sheet, StreamId, Values,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};
use store::{Data, HourData, HourRollups, Order, Rollups, Timeline};

/// An hour that is long over, in hours since 1970.
pub const HOUR: i32 = 470_000;

/// A row with readings: so many, of one to three metrics.
pub fn readings(random: &mut StdRng, patient: PatientId, hour: i32, n: u64, lines: u32) -> Row {
    let mut first = random.random_range(1..5);
    let columns: Vec<_> = (0..random.random_range(1..4))
        .map(|_| {
            first += random.random_range(1..4);
            let at = |_| Hour(hour).start().plus(random.random_range(0..3_600) * Nanos::SECOND);
            let mut measured_at: Vec<_> = (0..lines).map(at).collect();
            measured_at.sort_unstable();
            Column {
                metric: MetricId(first),
                unit: "".into(),
                factor: Factor::IDENTITY,
                index: (0..lines).collect(),
                measured_at,
                quality: vec![Quality::GOOD; lines as usize],
                lasting: vec![],
                values: Values::Number((0..lines).map(|_| random.random_range(0.0..200.0)).collect()),
            }
        })
        .collect();
    let mut block = Vec::new();
    let metrics = columns.iter().map(|column| column.metric).collect();
    Block { columns }.encode(Hour(hour), &mut block);
    let mut row = row(patient, hour, n);
    let (device, stream) = (random.random_range(1..4), random.random_range(1..3));
    row.identity.device = DeviceId::from_bytes([device; 16]);
    row.identity.stream = StreamId::from_bytes([stream; 16]);
    row.clock = ClockQuality::Free;
    Row { metrics, block: block.into(), ..row }
}

/// An hour's readings, sealed or not.
pub fn sheet(data: &HourData) -> Sheet {
    data.sheet(&[]).unwrap()
}

/// All readings of a patient, hour by hour.
pub async fn sheets(store: &impl Timeline, patient: PatientId) -> Vec<Sheet> {
    read(store, patient, Range::ALL.hours()).await.iter().map(sheet).collect()
}

/// What rows amount to, hour by hour.
fn sheets_of(rows: &[Row]) -> Vec<Sheet> {
    let hours: BTreeSet<_> = rows.iter().map(|row| row.hour).collect();
    let sheet = |hour: Hour| {
        let rows = rows.iter().filter(|row| row.hour == hour);
        let batch = |r: &Row| Batch { identity: r.identity, received_at: r.received_at, clock: r.clock };
        Sheet::collect(hour, rows.map(|row| (batch(row), &row.block[..])), &[]).unwrap()
    };
    hours.into_iter().map(sheet).collect()
}

/// What a patient's hours come to.
pub async fn rollups(store: &impl Rollups, patient: PatientId) -> Vec<HourRollups> {
    let permit = permit(patient);
    let entries = store.hours(&permit, Range::ALL.hours(), Order::Ascending, usize::MAX).await.unwrap();
    store.rollups(&permit, &entries).await.unwrap()
}

/// What rows come to, hour by hour.
fn rollups_of(rows: &[Row]) -> Vec<HourRollups> {
    let of = |sheet: Sheet| HourRollups { hour: sheet.hour, rollups: Rollup::of(&sheet, ClockTolerance::default()) };
    sheets_of(rows).into_iter().map(of).collect()
}

/// Which hours of a patient are sealed.
pub async fn sealed(store: &impl Timeline, patient: PatientId) -> Vec<i32> {
    let data = read(store, patient, Range::ALL.hours()).await;
    data.iter().filter(|data| matches!(data.data, Data::Sealed(_))).map(|data| data.hour.0).collect()
}

pub async fn sealed_hours_read_the_same(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(3);
    let (patient, other) = (patient(), patient());
    // two days, and hours between them that have nothing
    let hours = [HOUR, HOUR + 1, HOUR + 2, HOUR + 9, HOUR + 30, HOUR + 31];
    let mut all: Vec<_> =
        (0..240).map(|n| readings(&mut random, patient, hours[n as usize % hours.len()], n, 10)).collect();
    all.shuffle(&mut random);
    for call in all.chunks(17) {
        store.append(call).await.unwrap();
    }
    let others = readings(&mut random, other, HOUR, 1, 5);
    store.append(std::slice::from_ref(&others)).await.unwrap();
    let before = sheets(store, patient).await;
    assert_eq!(before, sheets_of(&all));
    assert!(sealed(store, patient).await.is_empty());

    let permit = permit(patient);
    let index = async || store.hours(&permit, Range::ALL.hours(), Order::Descending, 100).await.unwrap();
    let entries = index().await;
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await, hours);
    assert_eq!(sheets(store, patient).await, before);
    assert_eq!(index().await, entries);
    // any of them, in the order asked for
    let some: Vec<_> = [0, 5, 2].map(|n| entries[n].clone()).into();
    let found: Vec<_> = store.read(&permit, &some).await.unwrap().iter().map(sheet).collect();
    assert_eq!(found, [5, 0, 3].map(|n| before[n].clone()));
    assert_eq!(sheets(store, other).await, sheets_of(&[others]));
}

pub async fn late_data_unseals(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(4);
    let patient = patient();
    let mut all: Vec<_> = (0..30).map(|n| readings(&mut random, patient, HOUR + n as i32 % 3, n, 4)).collect();
    store.append(&all).await.unwrap();
    for n in 100..103 {
        store.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(store, patient).await, [HOUR, HOUR + 1, HOUR + 2]);
        assert_eq!(sheets(store, patient).await, sheets_of(&all));
        let late = readings(&mut random, patient, HOUR + 1, n, 4);
        store.append(std::slice::from_ref(&late)).await.unwrap();
        all.push(late);
        assert_eq!(sealed(store, patient).await, [HOUR, HOUR + 2]);
        assert_eq!(sheets(store, patient).await, sheets_of(&all));
    }
    // touched just now
    store.seal(Duration::from_secs(3_600)).await.unwrap();
    assert_eq!(sealed(store, patient).await, [HOUR, HOUR + 2]);
}

pub async fn replay_of_sealed_rows_changes_nothing(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(5);
    let patient = patient();
    let all: Vec<_> = (0..30).map(|n| readings(&mut random, patient, HOUR + n as i32 % 3, n, 4)).collect();
    store.append(&all).await.unwrap();
    for _ in 0..2 {
        store.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(store, patient).await, [HOUR, HOUR + 1, HOUR + 2]);
        assert_eq!(sheets(store, patient).await, sheets_of(&all));
        store.append(&all).await.unwrap();
        assert_eq!(sheets(store, patient).await, sheets_of(&all));
    }
}

pub async fn a_correction_after_sealing_stands(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(6);
    let patient = patient();
    let mut all: Vec<_> = (0..9).map(|n| readings(&mut random, patient, HOUR, n, 4)).collect();
    store.append(&all).await.unwrap();
    store.seal(Duration::ZERO).await.unwrap();
    let old = all[4].clone();
    let other = readings(&mut random, patient, HOUR, 77, 6);
    all[4] =
        Row { received_at: old.received_at.plus(5_000), block: other.block, metrics: other.metrics, ..old.clone() };
    store.append(&all[4..5]).await.unwrap();
    assert_eq!(sheets(store, patient).await, sheets_of(&all));
    // the version that lost comes again
    store.append(std::slice::from_ref(&old)).await.unwrap();
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await, [HOUR]);
    assert_eq!(sheets(store, patient).await, sheets_of(&all));
}

pub async fn rollups_follow_the_rows(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(9);
    let patient = patient();
    // more than are rolled up at once, and in more than one span of days
    let hour = |n: u64| HOUR + n as i32 % 30 * 29;
    let mut all: Vec<_> = (0..90).map(|n| readings(&mut random, patient, hour(n), n, 4)).collect();
    store.append(&all).await.unwrap();
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "of rows");
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await.len(), 30);
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "of sealed hours");

    store.append(&all).await.unwrap();
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "after all of it came again");
    let late = readings(&mut random, patient, hour(100), 100, 4);
    store.append(std::slice::from_ref(&late)).await.unwrap();
    all.push(late);
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "after late data");
    let old = all[4].clone();
    let other = readings(&mut random, patient, old.hour.0, 77, 6);
    all[4] =
        Row { received_at: old.received_at.plus(5_000), block: other.block, metrics: other.metrics, ..old.clone() };
    store.append(&all[4..5]).await.unwrap();
    store.append(&[old]).await.unwrap();
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "after a correction");
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await.len(), 30);
    assert_eq!(rollups(store, patient).await, rollups_of(&all), "sealed once more");

    let permit = permit(patient);
    let entries = store.hours(&permit, Range::ALL.hours(), Order::Ascending, usize::MAX).await.unwrap();
    let some: Vec<_> = [7, 0, 21].map(|n| entries[n].clone()).into();
    let expected = rollups_of(&all);
    assert_eq!(store.rollups(&permit, &some).await.unwrap(), [7, 0, 21].map(|n| expected[n].clone()));
}

pub async fn an_hour_that_is_not_over_is_not_sealed(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(7);
    let patient = patient();
    let now = Nanos(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as i64).hour().0;
    // over for three hours; for less, even when the clock strikes meanwhile; not over; far ahead
    let hours = [now - 4, now - 2, now - 1, now, now + 1, Nanos::MAX.hour().0];
    let all = hours.map(|hour| readings(&mut random, patient, hour, 1, 4));
    // the last instants have no time to measure in
    store.append(&all[..5]).await.unwrap();
    store.append(&[row(patient, hours[5], 1)]).await.unwrap();
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await, [now - 4]);
    assert_eq!(rows(store, patient, HourRange::one(Hour(now))).await.len(), 1);
}

pub async fn unreadable_blocks_are_left_as_rows(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(8);
    let patient = patient();
    let good = readings(&mut random, patient, HOUR, 1, 4);
    let beside_junk = readings(&mut random, patient, HOUR + 1, 2, 4);
    let junk = row(patient, HOUR + 1, 3);
    // 300,000 bytes each
    let large: Vec<_> = (0..40).map(|n| readings(&mut random, patient, HOUR + 2, n, 30_000)).collect();
    assert!(large.iter().map(|row| row.block.len()).sum::<usize>() > 9 << 20);
    store.append(&[good, beside_junk, junk]).await.unwrap();
    for call in large.chunks(8) {
        store.append(call).await.unwrap();
    }
    for _ in 0..2 {
        store.seal(Duration::ZERO).await.unwrap();
        assert_eq!(sealed(store, patient).await, [HOUR]);
        assert_eq!(rows(store, patient, HourRange::one(Hour(HOUR + 1))).await.len(), 2);
        let found = rows(store, patient, HourRange::one(Hour(HOUR + 2))).await;
        assert_eq!(found.len(), large.iter().map(|row| row.identity).collect::<BTreeSet<_>>().len());
    }
}

/// Rows appended by each of the tasks of the case below.
const RACE_ROWS: u64 = 60;

pub async fn appends_and_seals_at_once(store: &impl Store) {
    let patient = patient();
    let done = AtomicBool::new(false);
    // times of readings of rows whose `append` has returned: of several of one device and metric the last one counts
    let returned = Mutex::new(BTreeMap::new());
    let append = async |task: u64| {
        let mut random = StdRng::seed_from_u64(task);
        let mut all = Vec::new();
        for n in 0..RACE_ROWS {
            let hour = HOUR + random.random_range(0..2);
            let row = readings(&mut random, patient, hour, task * RACE_ROWS + n, 3);
            store.append(std::slice::from_ref(&row)).await.unwrap();
            let found = read(store, patient, HourRange::one(row.hour)).await;
            let found = found.first().map(sheet).expect("an hour with rows");
            assert!(
                found.batches.iter().any(|batch| batch.identity == row.identity),
                "row {n} of task {task} is missing"
            );
            let expected = {
                let mut returned = returned.lock().unwrap();
                let instants: &mut BTreeSet<_> = returned.entry(row.hour).or_default();
                let block = Block::decode(row.hour, &row.block).unwrap();
                let of = |column: &Column| {
                    let at = |at: &Nanos| (row.identity.device, column.metric, *at);
                    column.measured_at.iter().map(at).collect::<Vec<_>>()
                };
                instants.extend(block.columns.iter().flat_map(of));
                instants.len() as u64
            };
            let rolled_up: u64 = rollups(store, patient)
                .await
                .iter()
                .filter(|one| one.hour == row.hour)
                .flat_map(|one| &one.rollups)
                .map(|rollup| rollup.n_doubtful + rollup.good.map_or(0, |good| good.n))
                .sum();
            assert!(rolled_up >= expected, "rollups lack readings after row {n} of task {task}");
            all.push(row);
        }
        all
    };
    let appends = async {
        let all = futures::future::join_all((1..=3).map(append)).await.concat();
        done.store(true, Ordering::SeqCst);
        all
    };
    let seals = async || {
        while !done.load(Ordering::SeqCst) {
            store.seal(Duration::ZERO).await.unwrap();
        }
    };
    let (all, ..) = futures::join!(appends, seals(), seals());
    assert_eq!(sheets(store, patient).await, sheets_of(&all));
    store.seal(Duration::ZERO).await.unwrap();
    assert_eq!(sealed(store, patient).await, [HOUR, HOUR + 1]);
    assert_eq!(sheets(store, patient).await, sheets_of(&all));
}
