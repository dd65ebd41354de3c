//! The cases of the store's contract about identities: what a sequence was used for is found from the rows.

use crate::fixture::{Store, patient, row};
use model::{BatchId, DeviceId, Hour, PatientId, Row, StreamId};
use store::Sought;

fn device() -> DeviceId {
    DeviceId::from_bytes(*patient().as_bytes())
}

fn of(patient: PatientId, hour: i32, device: DeviceId, stream: u8, sequence: u64, digest: u64) -> Row {
    let stream = StreamId::from_bytes([stream; 16]);
    Row { identity: BatchId { device, stream, sequence, digest }, ..row(patient, hour, 1) }
}

async fn digests(store: &impl Store, device: DeviceId, stream: u8, sequences: &[u64]) -> Vec<Vec<u64>> {
    let stream = StreamId::from_bytes([stream; 16]);
    let sought = |sequence: &u64| Sought { device, stream, sequence: *sequence, near: Vec::new() };
    store.digests(&sequences.iter().map(sought).collect::<Vec<_>>()).await.unwrap()
}

async fn highest(store: &impl Store, streams: &[(DeviceId, u8)]) -> Vec<Option<u64>> {
    let streams: Vec<_> =
        streams.iter().map(|(device, stream)| (*device, StreamId::from_bytes([*stream; 16]))).collect();
    store.highest(&streams).await.unwrap()
}

pub async fn a_batch_is_found_by_its_identity(store: &impl Store) {
    let (device, other, one, two) = (device(), device(), patient(), patient());
    // late, early, of two patients, two hours in one batch, in a stretch far away; and of neighbours
    let rows = [
        of(one, 7, device, 1, 1, 11),
        of(one, -9, device, 1, 2, 22),
        of(two, 7, device, 1, 3, u64::MAX),
        of(one, 7, device, 1, 3, u64::MAX),
        of(one, 8, device, 1, 255, 5),
        of(one, 8, device, 1, 256, 6),
        of(one, 9, device, 1, 256, 6),
        of(two, 9_999, device, 1, 1 << 40, 7),
        of(one, 7, device, 2, 1, 99),
        of(one, 7, other, 1, 2, 98),
    ];
    assert_eq!(highest(store, &[(device, 1)]).await, [None]);
    assert_eq!(digests(store, device, 1, &[1]).await, [[0; 0]]);
    for rows in rows.chunks(4) {
        store.append(rows).await.unwrap();
    }
    let sequences = [3, 1, 2, 4, 255, 256, 257, 1 << 40, (1 << 40) + 1, (1 << 63) - 1];
    let expected = [vec![u64::MAX], vec![11], vec![22], vec![], vec![5], vec![6], vec![], vec![7], vec![], vec![]];
    assert_eq!(digests(store, device, 1, &sequences).await, expected);
    assert_eq!(digests(store, device, 2, &[1, 2]).await, [vec![99], vec![]]);
    let streams = [(other, 1), (device, 1), (device, 3), (device, 2)];
    assert_eq!(highest(store, &streams).await, [Some(2), Some(1 << 40), None, Some(1)]);
    assert_eq!(store.digests(&[]).await.unwrap(), Vec::<Vec<u64>>::new());
}

pub async fn two_contents_of_one_sequence_are_both_told(store: &impl Store) {
    let (device, patient) = (device(), patient());
    store.append(&[of(patient, 7, device, 1, 5, 9)]).await.unwrap();
    store.append(&[of(patient, 30, device, 1, 5, 4), of(patient, 7, device, 1, 5, 9)]).await.unwrap();
    assert_eq!(digests(store, device, 1, &[5]).await, [[4, 9]]);
}

pub async fn the_highest_sequence_is_of_all_hours_of_its_stretch(store: &impl Store) {
    let (device, patient) = (device(), patient());
    let mut known = 0;
    // hours in no order; ends of stretches
    for (hour, sequence) in
        [(5, 10), (3, 12), (5, 11), (4, 255), (9, 7), (1, 256), (2, 300), (8, 257), (0, (1 << 63) - 1)]
    {
        store.append(&[of(patient, hour, device, 1, sequence, 1)]).await.unwrap();
        known = sequence.max(known);
        assert_eq!(highest(store, &[(device, 1)]).await, [Some(known)]);
    }
}

pub async fn a_position_noted_counts_as_a_sequence_known(store: &impl Store) {
    let (device, stream) = (device(), StreamId::from_bytes([1; 16]));
    store.note(&[(device, stream, 40)]).await.unwrap();
    assert_eq!(highest(store, &[(device, 1)]).await, [Some(40)], "its rows may be older than the index of sequences");
    store.append(&[of(patient(), 7, device, 1, 39, 1)]).await.unwrap();
    assert_eq!(highest(store, &[(device, 1)]).await, [Some(40)]);
    store.append(&[of(patient(), 7, device, 1, 41, 1)]).await.unwrap();
    assert_eq!(highest(store, &[(device, 1)]).await, [Some(41)]);
}

pub async fn rows_of_a_known_hour_need_no_index(store: &impl Store) {
    let (device, patient) = (device(), patient());
    let rows: Vec<_> = (1..=600).map(|n| of(patient, n as i32 / 100, device, 1, n, n + 1)).collect();
    store.append(&rows).await.unwrap();
    // hours named by a batch are read whatever the index says
    let stream = StreamId::from_bytes([1; 16]);
    let near = vec![(patient, Hour(77)), (patient, Hour(5))];
    let sought =
        [Sought { device, stream, sequence: 600, near: near.clone() }, Sought { device, stream, sequence: 601, near }];
    assert_eq!(store.digests(&sought).await.unwrap(), [vec![601], vec![]]);
}
