//! The cases of the store's contract.

use crate::fixture::{Store, all, expect, hours, patient, permit, row, rows, stored};
use bytes::Bytes;
use model::{ClockQuality, DeviceId, HourRange, MetricId, Nanos, PatientId, Row, StreamId};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::BTreeMap;
use store::{LogPosition, Order, Quarantined, Sighting};

/// The hours that are named near 1970, each with its metrics.
async fn named(store: &impl Store, patient: PatientId, order: Order, limit: usize) -> Vec<(i32, Vec<u16>)> {
    let entries = store.hours(&permit(patient), hours(-100, 100), order, limit).await.unwrap();
    entries.into_iter().map(|entry| (entry.hour.0, entry.metrics.iter().map(|metric| metric.0).collect())).collect()
}

pub async fn replay_changes_nothing(store: &impl Store) {
    let patient = patient();
    let rows: Vec<_> = (0..10).map(|n| row(patient, n as i32 / 3, n)).collect();
    for _ in 0..3 {
        store.append(&rows).await.unwrap();
        expect(store, patient, &rows).await;
    }
    store.append(&rows[4..6]).await.unwrap();
    expect(store, patient, &rows).await;
}

pub async fn range_ends_are_half_open(store: &impl Store) {
    let patient = patient();
    let rows: Vec<_> = (10..14).map(|hour| row(patient, hour, hour as u64)).collect();
    store.append(&rows).await.unwrap();
    let permit = permit(patient);
    for (range, expected) in [
        (hours(11, 13), vec![11, 12]),
        (hours(13, 14), vec![13]),
        (hours(9, 10), vec![]),
        (hours(14, 99), vec![]),
        (hours(11, 11), vec![]),
        (hours(12, 11), vec![]),
    ] {
        let found: Vec<_> = self::rows(store, patient, range).await.iter().map(|r| r.hour.0).collect();
        assert_eq!(found, expected, "rows of {range:?}");
        let found = store.hours(&permit, range, Order::Ascending, 100).await.unwrap();
        assert_eq!(found.iter().map(|e| e.hour.0).collect::<Vec<_>>(), expected, "hours of {range:?}");
    }
}

pub async fn two_batches_at_one_time_both_survive(store: &impl Store) {
    let patient = patient();
    let first = row(patient, 5, 1);
    let mut other_device = first.clone();
    other_device.identity.device = DeviceId::from_bytes([0xff; 16]);
    let mut other_stream = first.clone();
    other_stream.identity.stream = StreamId::from_bytes([9; 16]);
    let mut next = first.clone();
    next.identity.sequence = 2;
    for row in [&first, &other_device, &other_stream, &next] {
        store.append(std::slice::from_ref(row)).await.unwrap();
    }
    let mut rows = [first, other_device, other_stream, next];
    rows.sort_by_key(|row| row.identity);
    expect(store, patient, &rows).await;
}

pub async fn same_sequence_with_another_digest_survives(store: &impl Store) {
    let patient = patient();
    let first = row(patient, 5, 1);
    let mut second = first.clone();
    second.identity.digest += 1;
    second.block = Bytes::from_static(b"other content");
    store.append(std::slice::from_ref(&second)).await.unwrap();
    store.append(std::slice::from_ref(&first)).await.unwrap();
    expect(store, patient, &[first, second]).await;
}

pub async fn late_data_lands_in_its_hour(store: &impl Store) {
    let patient = patient();
    let today = row(patient, 1_000, 1);
    // measured a month before, received after
    let late = row(patient, 1_000 - 24 * 30, 2);
    store.append(std::slice::from_ref(&today)).await.unwrap();
    store.append(std::slice::from_ref(&late)).await.unwrap();
    expect(store, patient, &[late.clone(), today]).await;
    let day = hours(late.hour.day() * 24, late.hour.day() * 24 + 24);
    assert_eq!(rows(store, patient, day).await, [stored(&late)]);
}

pub async fn a_correction_stands_whatever_comes_last(store: &impl Store) {
    let patient = patient();
    let old = row(patient, 5, 1);
    let mut correction = old.clone();
    correction.received_at = old.received_at.plus(1_000_000);
    correction.clock = ClockQuality::Unset;
    // smaller bytes, and shorter
    correction.block = Bytes::from_static(b"a");
    for order in [[&old, &correction], [&correction, &old]] {
        let patient = self::patient();
        for version in order {
            store.append(&[Row { patient, ..version.clone() }]).await.unwrap();
        }
        expect(store, patient, std::slice::from_ref(&correction)).await;
    }
}

pub async fn of_equal_times_the_larger_bytes_stand(store: &impl Store) {
    let small = row(patient(), 5, 1);
    let mut large = small.clone();
    large.block = Bytes::from_static(b"c");
    let mut a_nanosecond_later = small.clone();
    a_nanosecond_later.received_at = small.received_at.plus(1);
    for (loser, winner) in [(&small, &large), (&large, &a_nanosecond_later)] {
        for order in [[loser, winner], [winner, loser]] {
            let patient = patient();
            for version in order {
                store.append(&[Row { patient, ..version.clone() }]).await.unwrap();
            }
            expect(store, patient, std::slice::from_ref(winner)).await;
        }
    }
}

pub async fn versions_in_one_call_settle_too(store: &impl Store) {
    let patient = patient();
    let old = row(patient, 5, 1);
    let correction = Row { received_at: old.received_at.plus(5_000), block: Bytes::from_static(b"a"), ..old.clone() };
    store.append(&[old.clone(), correction.clone(), old.clone(), old]).await.unwrap();
    expect(store, patient, &[correction]).await;
}

pub async fn versions_written_at_once_settle_too(store: &impl Store) {
    let patient = patient();
    let version = |n: u16| {
        let mut row = row(patient, 5, 1);
        row.received_at = row.received_at.plus(i64::from(n) * 700);
        row.metrics = vec![MetricId(n)];
        row
    };
    let writers = (0..16).map(|n| {
        let (store, row) = (store.clone(), version(n));
        tokio::spawn(async move { store.append(&[row]).await })
    });
    for done in futures::future::join_all(writers).await {
        done.unwrap().unwrap();
    }
    expect(store, patient, &[version(15)]).await;
    assert_eq!(named(store, patient, Order::Ascending, 10).await, [(5, (0..16).collect())]);
}

pub async fn any_order_of_writes_gives_the_same_rows(store: &impl Store) {
    let mut random = StdRng::seed_from_u64(20_26);
    let patient = patient();
    let mut versions: Vec<Row> = (0..400)
        .map(|_| {
            let mut row = row(patient, random.random_range(-40..40), random.random_range(0..4));
            row.received_at = Nanos(random.random_range(0..5_000));
            row.block = Bytes::from(vec![random.random_range(0..3); random.random_range(0..3)]);
            row
        })
        .collect();
    let mut expected = BTreeMap::new();
    for row in &versions {
        let rank = |row: &Row| (row.received_at, row.block.clone());
        let stands = expected.entry((row.hour, row.identity)).or_insert(row);
        if rank(row) > rank(stands) {
            *stands = row;
        }
    }
    let expected: Vec<_> = expected.into_values().cloned().collect();
    for _ in 0..3 {
        versions.shuffle(&mut random);
        for call in versions.chunks(random.random_range(1..100)) {
            store.append(call).await.unwrap();
        }
        expect(store, patient, &expected).await;
    }
}

pub async fn pages_join_without_gap_or_repeat(store: &impl Store) {
    let patient = patient();
    // more than a page of 5,000 in one day, and more in the next
    let rows: Vec<_> = (0..6_100).map(|n| row(patient, n as i32 / 240, n)).collect();
    for call in rows.chunks(2_000) {
        store.append(call).await.unwrap();
    }
    expect(store, patient, &rows).await;
    let found = self::rows(store, patient, hours(0, 24)).await;
    assert_eq!(found.len(), 24 * 240);
}

pub async fn empty_hours_do_not_end_a_read(store: &impl Store) {
    let patient = patient();
    let rows = [row(patient, -9_000, 1), row(patient, 3, 2), row(patient, 20, 3), row(patient, 90_000, 4)];
    store.append(&rows).await.unwrap();
    expect(store, patient, &rows).await;
    let entries = store.hours(&permit(patient), model::Range::ALL.hours(), Order::Ascending, 100).await.unwrap();
    assert_eq!(entries.iter().map(|e| e.hour).collect::<Vec<_>>(), rows.each_ref().map(|r| r.hour));
}

pub async fn rows_come_in_the_order_promised(store: &impl Store) {
    let patient = patient();
    let mut rows = Vec::new();
    for hour in [-1, 0] {
        // UUIDs of other versions, numbers whose sign bit is set: an engine may sort these its own way
        for (device, stream) in [(0x10, 0x70), (0x10, 0x40), (0x90, 0x40), (0xf0, 0x10)] {
            for (sequence, digest) in [(1, u64::MAX), (1, 5), (u64::MAX, 0), (i64::MAX as u64, 0), (1 << 63, 0)] {
                let mut row = row(patient, hour, 1);
                let id = |n: u8| [n, 0, 0, 0, 0, 0, n, 0, n, 0, 0, 0, 0, 0, 0, 0];
                row.identity.device = DeviceId::from_bytes(id(device));
                row.identity.stream = StreamId::from_bytes(id(stream));
                (row.identity.sequence, row.identity.digest) = (sequence, digest);
                rows.push(row);
            }
        }
    }
    store.append(&rows).await.unwrap();
    rows.sort_by_key(|row| (row.hour, row.identity));
    expect(store, patient, &rows).await;
}

pub async fn hours_go_both_ways_with_limit_and_all_metrics(store: &impl Store) {
    let patient = patient();
    let with = |hour: i32, n: u64, m: &[u16]| {
        let metrics = m.iter().copied().map(MetricId).collect();
        Row { metrics, ..row(patient, hour, n) }
    };
    store.append(&[with(7, 1, &[9, 3]), with(-7, 2, &[1]), with(8, 3, &[4])]).await.unwrap();
    store.append(&[with(7, 4, &[40_000, 3, 5]), with(7, 5, &[9]), with(6, 6, &[2])]).await.unwrap();
    let mut expected = [(-7, vec![1]), (6, vec![2]), (7, vec![3, 5, 9, 40_000]), (8, vec![4])];
    let read = async |order, limit| named(store, patient, order, limit).await;
    assert_eq!(read(Order::Ascending, 10).await, expected);
    assert_eq!(read(Order::Ascending, 2).await, expected[..2]);
    assert_eq!(read(Order::Ascending, 0).await, []);
    expected.reverse();
    assert_eq!(read(Order::Descending, usize::MAX).await, expected);
    assert_eq!(read(Order::Descending, 3).await, expected[..3]);
}

pub async fn an_hour_without_metrics_is_named(store: &impl Store) {
    let patient = patient();
    let bare = Row { metrics: vec![], ..row(patient, 7, 1) };
    for metrics in [vec![], vec![MetricId(1), MetricId(2)]] {
        assert!(named(store, patient, Order::Ascending, 10).await.len() < 2);
        store.append(&[Row { metrics: metrics.clone(), ..bare.clone() }]).await.unwrap();
        let metrics = metrics.iter().map(|metric| metric.0).collect();
        assert_eq!(named(store, patient, Order::Ascending, 10).await, [(7, metrics)]);
    }
}

pub async fn another_patients_rows_never_show(store: &impl Store) {
    // neighbours on both sides; with four buckets or none, some share one
    let middle = u128::from_be_bytes(*patient().as_bytes());
    let patients: Vec<_> =
        (0..9).map(|n| PatientId::from_bytes((middle.wrapping_add(n).wrapping_sub(4)).to_be_bytes())).collect();
    let rows: Vec<_> = patients.iter().flat_map(|p| [row(*p, i32::MIN / 4_000, 1), row(*p, 5, 2)]).collect();
    store.append(&rows).await.unwrap();
    for patient in patients {
        let own: Vec<_> = rows.iter().filter(|row| row.patient == patient).cloned().collect();
        expect(store, patient, &own).await;
        let entries = store.hours(&permit(patient), model::Range::ALL.hours(), Order::Descending, 100).await.unwrap();
        assert_eq!(entries.iter().map(|e| e.hour).collect::<Vec<_>>(), [own[1].hour, own[0].hour]);
    }
    assert_eq!(all(store, patient()).await, []);
}

pub async fn times_before_1970_and_far_ahead_are_kept(store: &impl Store) {
    let patient = patient();
    let ends = [Nanos::MIN.hour().0, Nanos::YEAR_1900.hour().0, -25, -24, -1, 0, 23, 24, Nanos::MAX.hour().0];
    let rows = ends.map(|hour| Row { received_at: Nanos(-5), ..row(patient, hour, 1) });
    store.append(&rows).await.unwrap();
    expect(store, patient, &rows).await;
    for row in &rows {
        assert_eq!(self::rows(store, patient, HourRange::one(row.hour)).await, [stored(row)]);
    }
    assert_eq!(self::rows(store, patient, hours(-24, 0)).await, [stored(&rows[3]), stored(&rows[4])]);
}

pub async fn one_call_may_span_days_and_patients(store: &impl Store) {
    let patients: Vec<_> = (0..30).map(|_| patient()).collect();
    let rows: Vec<_> = (0..3_000).map(|n| row(patients[n % 30], (n / 30) as i32 * 5 - 200, n as u64)).collect();
    store.append(&rows).await.unwrap();
    for patient in patients {
        let own: Vec<_> = rows.iter().filter(|row| row.patient == patient).cloned().collect();
        assert_eq!(own.len(), 100);
        expect(store, patient, &own).await;
    }
}

pub async fn an_empty_call_does_nothing(store: &impl Store) {
    store.append(&[]).await.unwrap();
    store.note(&[]).await.unwrap();
    assert_eq!(all(store, patient()).await, []);
}

pub async fn positions_never_go_back(store: &impl Store) {
    let device = DeviceId::from_bytes(*patient().as_bytes());
    let (one, two) = (StreamId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
    assert_eq!(store.position(device, one).await.unwrap(), None);
    store.note(&[(device, one, 0)]).await.unwrap();
    assert_eq!(store.position(device, one).await.unwrap(), Some(0));
    for (noted, known) in [
        (10, 10),
        (3, 10),
        (10, 10),
        (11, 11),
        (1 << 60, 1 << 60),
        (1 << 55, 1 << 60),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
    ] {
        store.note(&[(device, one, noted)]).await.unwrap();
        assert_eq!(store.position(device, one).await.unwrap(), Some(known), "after {noted}");
    }
    store.note(&[(device, two, 5), (device, two, 9), (device, two, 7)]).await.unwrap();
    assert_eq!(store.position(device, two).await.unwrap(), Some(9));
}

pub async fn a_device_was_seen_at_its_latest_time(store: &impl Store) {
    let [one, two, never] = [(); 3].map(|()| DeviceId::from_bytes(*patient().as_bytes()));
    let micros = |n: i64| Nanos(1_740_000_000_000_000_000 + n * 1_000);
    let seen = |device, n: i64| Sighting { device, at: micros(n), stream: StreamId::from_bytes([n as u8; 16]) };
    store.note_seen(&[seen(one, 5), seen(two, 1), seen(one, 9), seen(one, 7)]).await.unwrap();
    store.note_seen(&[seen(two, 2), seen(one, 8)]).await.unwrap();
    for (device, last) in [(one, Some(9)), (two, Some(2)), (never, None)] {
        let expected = last.map(|n| (StreamId::from_bytes([n as u8; 16]), micros(n)));
        assert_eq!(store.last_stream(device).await.unwrap(), expected);
    }
    assert_eq!(store.last_seen(&[two, never, one]).await.unwrap(), [Some(micros(2)), None, Some(micros(9))]);
    assert_eq!(store.last_seen(&[]).await.unwrap(), []);
}

fn aside(topic: &str, partition: i32, offset: i64) -> Quarantined {
    Quarantined {
        position: LogPosition { topic: topic.into(), partition, offset },
        at: Nanos(1_000_000),
        reason: "malformed at byte 0: a record".into(),
        payload: Bytes::from_static(&[0, 255, 7]),
        replayed_at: None,
    }
}

pub async fn quarantine_holds_a_record_once(store: &impl Store) {
    // the keyspace may hold other tests' records
    let topic = format!("t{:?}", rand::random::<u128>());
    let other = format!("{topic}-more");
    let list = async || {
        let mut all = store.quarantined().await.unwrap();
        assert!(all.is_sorted_by_key(|record| record.position.clone()));
        all.retain(|record| record.position.topic.starts_with(&topic));
        all
    };
    let mut expected =
        [aside(&topic, 0, 9), aside(&topic, 0, 10), aside(&topic, 2, 1), aside(&topic, 10, 0), aside(&other, 0, 0)];
    for place in [4, 3, 0, 2, 1, 0, 3] {
        store.put_aside(&expected[place]).await.unwrap();
    }
    assert_eq!(list().await, expected);
    store.mark_replayed(&expected[1].position, Nanos(2_000_000)).await.unwrap();
    expected[1].replayed_at = Some(Nanos(2_000_000));
    assert_eq!(list().await, expected);
    // met again: the later report stands, and that it was replayed is not forgotten
    expected[1].at = Nanos(3_000_000);
    expected[1].reason = "another reason".into();
    store.put_aside(&Quarantined { replayed_at: None, ..expected[1].clone() }).await.unwrap();
    store.put_aside(&aside(&topic, 0, 10)).await.unwrap();
    assert_eq!(list().await, expected);
    // other tests may add theirs meanwhile, and mark none of ours
    let (before, all, after) =
        (store.depth().await.unwrap(), store.quarantined().await.unwrap(), store.depth().await.unwrap());
    let open = all.iter().filter(|record| record.replayed_at.is_none()).count() as u64;
    let marked = expected.iter().filter(|record| record.replayed_at.is_some()).count();
    assert!(marked > 0 && before <= open && open <= after, "{before}, {open}, {after}");
}

pub async fn only_what_was_put_aside_is_marked(store: &impl Store) {
    let record = aside(&format!("t{:?}", rand::random::<u128>()), 0, 0);
    store.mark_replayed(&record.position, Nanos(5)).await.unwrap();
    let found = store.quarantined().await.unwrap();
    assert!(found.iter().all(|other| other.position != record.position));
}
