//! The cases of the store's contract about the audit log. Each has writers, patients and a time of its own, so that others
//! may use the same store.

use crate::fixture::patient;
use bytes::Bytes;
use model::{
    Nanos, PatientId, UserId, WriterId,
    access::{Purpose, Subject},
    audit::{Chain, Entry, Event, Outcome, Verifier, Who},
};
use store::{Audit, AuditQuery};

/// An audit log that can be used from several places.
pub trait Log: Audit + Clone + 'static {}
impl<T: Audit + Clone + 'static> Log for T {}

pub fn chain() -> Chain {
    Chain::new(WriterId::from_bytes(rand::random()))
}

/// A time at which nothing else happens: anywhere between 1970 and 2116.
fn quiet_time() -> Nanos {
    Nanos(rand::random_range(0..1i64 << 62))
}

fn event(patient: impl Into<Option<PatientId>>, at: Nanos) -> Event {
    Event {
        at,
        subject: Some(Who::Proven(Subject::User(UserId::from_bytes([4; 16])))),
        patient: patient.into(),
        action: "readings.timeline".into(),
        purpose: Purpose::Treatment,
        outcome: Outcome::Denied("NO_RELATION".into()),
        detail: "of a test".into(),
        request: rand::random(),
    }
}

/// Entries of a patient, one a second.
pub fn entries(chain: &mut Chain, patient: PatientId, from: Nanos, n: i64) -> Vec<Entry> {
    (0..n).map(|i| chain.append(event(patient, from.plus(i * Nanos::SECOND)))).collect()
}

/// What is stored of entries.
pub fn stored(entries: &[Entry]) -> Vec<(u64, Bytes)> {
    entries.iter().map(|entry| (entry.sequence, entry.encode().into())).collect()
}

/// All entries of a writer, read `limit` at a time.
pub async fn read(log: &impl Log, writer: WriterId, limit: usize) -> Vec<(u64, Bytes)> {
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let from = all.last().map_or(0, |last| last.0 + 1);
        let page = log.entries(writer, from, limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub async fn search(
    log: &impl Log,
    patient: impl Into<Option<PatientId>>,
    from: Nanos,
    to: Nanos,
    limit: usize,
) -> Vec<Entry> {
    let found = log.search(&AuditQuery { patient: patient.into(), from, to, limit }).await.unwrap();
    assert_eq!(found.unreadable, 0);
    found.entries
}

pub fn newest_first(entries: &[Entry]) -> Vec<Entry> {
    entries.iter().rev().cloned().collect()
}

pub async fn audit_entries_come_back_over_pages(log: &impl Log) {
    let mut chain = chain();
    let first = entries(&mut chain, patient(), quiet_time(), 120);
    log.append(&[]).await.unwrap();
    for call in [&first[..1], &first[1..60], &first[60..]] {
        log.append(call).await.unwrap();
    }
    for limit in [1, 7, 120, usize::MAX] {
        assert_eq!(read(log, chain.writer(), limit).await, stored(&first), "{limit} at a time");
    }
    assert_eq!(log.entries(chain.writer(), 40, 3).await.unwrap(), stored(&first[39..42]));
    for (from, limit) in [(121, 9), (u64::MAX, 9), (1, 0)] {
        assert_eq!(log.entries(chain.writer(), from, limit).await.unwrap(), [], "{limit} from {from}");
    }
    let nobody = WriterId::from_bytes(rand::random());
    assert_eq!(log.entries(nobody, 0, 9).await.unwrap(), []);

    let mut verifier = Verifier::new(chain.writer(), [], |_| false);
    read(log, chain.writer(), 50).await.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
    assert_eq!(verifier.close(), []);

    // a writer of long ago, of which only these are left: wherever the store draws its lines
    let far = [1, 9_998, 9_999, 10_000, 10_001, 20_000, 1_000_000, u64::from(u32::MAX) + 1];
    let mut far: Vec<_> = far.map(|sequence| Entry { sequence, ..first[0].clone() }).into();
    let writer = WriterId::from_bytes(rand::random());
    far.iter_mut().for_each(|entry| entry.writer = writer);
    log.append(&far).await.unwrap();
    for limit in [1, 3, 100] {
        assert_eq!(read(log, writer, limit).await, stored(&far), "{limit} at a time");
    }
    assert_eq!(log.entries(writer, 10_001, 2).await.unwrap(), stored(&far[4..6]));
}

pub async fn audit_entries_appended_twice_land_on_themselves(log: &impl Log) {
    let (mut chain, patient, from) = (chain(), patient(), quiet_time());
    let all = entries(&mut chain, patient, from, 70);
    log.append(&all[..50]).await.unwrap();
    log.append(&all[20..]).await.unwrap();
    log.append(&all).await.unwrap();
    assert_eq!(read(log, chain.writer(), 100).await, stored(&all));
    let to = from.plus(Nanos::DAY);
    assert_eq!(search(log, patient, from, to, 1_000).await, newest_first(&all));
    assert_eq!(search(log, None, from, to, 1_000).await, newest_first(&all));
}

pub async fn audit_search_is_half_open_newest_first_and_limited(log: &impl Log) {
    let (mut chain, patient, start) = (chain(), patient(), quiet_time());
    let all = entries(&mut chain, patient, start, 30);
    log.append(&all).await.unwrap();
    let at = |second: i64| start.plus(second * Nanos::SECOND);
    for who in [Some(patient), None] {
        for (from, to, limit, expected) in [
            (at(10), at(20), 100, &all[10..20]),
            (at(10).plus(1), at(20).plus(1), 100, &all[11..21]),
            (at(10), at(20), 4, &all[16..20]),
            (at(10), at(11), 1, &all[10..11]),
            (at(0), at(30), 0, &[]),
            (at(10), at(10), 100, &[]),
            (at(11), at(10), 100, &[]),
            (at(30), at(99), 100, &[]),
            (at(-9), at(0), 100, &[]),
        ] {
            let found = search(log, who, from, to, limit).await;
            assert_eq!(found, newest_first(expected), "{limit} from {from:?} to {to:?}");
        }
    }
    assert_eq!(search(log, patient, Nanos::MIN, Nanos::MAX, usize::MAX).await, newest_first(&all));
}

pub async fn audit_search_reaches_over_years(log: &impl Log) {
    let (mut chain, patient) = (chain(), patient());
    // also before 1970, with a clock that was never set
    let days = [-20_000, -33, -32, -1, 0, 1, 31, 32, 33, 400, 20_000, 50_000];
    let all: Vec<_> = days.iter().map(|day| chain.append(event(patient, Nanos(day * Nanos::DAY + 5)))).collect();
    log.append(&all).await.unwrap();
    assert_eq!(search(log, patient, Nanos::MIN, Nanos::MAX, 1_000).await, newest_first(&all));
    assert_eq!(search(log, patient, Nanos::MIN, Nanos::MAX, 5).await, newest_first(&all[7..]));
    let from = |day: usize| all[day].event.at;
    assert_eq!(search(log, patient, from(1), from(10), 1_000).await, newest_first(&all[1..10]));
    let everybodys = search(log, None, from(1), from(9), usize::MAX).await;
    assert!(everybodys.is_sorted_by(|a, b| a.event.at >= b.event.at), "newest first over the years");
    let ours: Vec<_> = everybodys.into_iter().filter(|entry| entry.writer == chain.writer()).collect();
    assert_eq!(ours, newest_first(&all[1..9]));
}

pub async fn audit_search_never_shows_another_patients(log: &impl Log) {
    let (mut chain, from) = (chain(), quiet_time());
    let (ada, ben) = (patient(), patient());
    let all: Vec<_> = [Some(ada), Some(ben), None, Some(ben), Some(ada), None]
        .into_iter()
        .zip(0..)
        .map(|(patient, n)| chain.append(event(patient, from.plus(n))))
        .collect();
    log.append(&all).await.unwrap();
    let pick = |patient: Option<PatientId>| -> Vec<_> {
        all.iter().rev().filter(|entry| entry.event.patient == patient).cloned().collect()
    };
    let to = from.plus(100);
    assert_eq!(search(log, ada, from, to, 100).await, pick(Some(ada)));
    assert_eq!(search(log, ben, from, to, 100).await, pick(Some(ben)));
    assert_eq!(search(log, None, from, to, 100).await, newest_first(&all));
    assert_eq!(search(log, patient(), Nanos::MIN, Nanos::MAX, 100).await, []);
}

pub async fn audit_entries_of_one_time_have_an_order(log: &impl Log) {
    let (patient, at) = (patient(), quiet_time());
    let mut all = Vec::new();
    // of no version, of version 4, of version 1: whatever order a store has for UUIDs
    for [head, version] in [[0x10, 0x40], [0xf0, 0x10], [0x80, 0x00], [0x70, 0x70]] {
        let mut writer: [u8; 16] = rand::random();
        (writer[0], writer[6]) = (head, version);
        let mut chain = Chain::new(WriterId::from_bytes(writer));
        let entries: Vec<_> = (0..3).map(|_| chain.append(event(patient, at))).collect();
        log.append(&entries).await.unwrap();
        all.extend(entries);
    }
    all.sort_by_key(|entry| (entry.writer, entry.sequence));
    for who in [Some(patient), None] {
        assert_eq!(search(log, who, at, at.plus(1), 100).await, newest_first(&all));
        assert_eq!(search(log, who, at, at.plus(1), 4).await, newest_first(&all[8..]));
    }
}

pub async fn audit_writers_are_listed(log: &impl Log) {
    let mut ours: Vec<_> = (0..5).map(|_| chain()).collect();
    for chain in &mut ours {
        log.append(&entries(chain, patient(), quiet_time(), 40)).await.unwrap();
    }
    let mut highest = Chain::new(WriterId::from_bytes([0xff; 16]));
    log.append(&entries(&mut highest, patient(), Nanos(1), 1)).await.unwrap();
    let writers = log.writers().await.unwrap();
    assert!(writers.is_sorted_by(|a, b| a < b), "ascending, each once");
    assert!(ours.iter().chain([&highest]).all(|chain| writers.contains(&chain.writer())));
}

pub async fn audit_writers_at_once_do_not_mix(log: &impl Log) {
    let (patient, from) = (patient(), quiet_time());
    let writers = (0..8).map(|_| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut chain = chain();
            let mut all = Vec::new();
            for call in 0..10 {
                let some = entries(&mut chain, patient, from.plus(call * 20 * Nanos::SECOND), 20);
                log.append(&some).await.unwrap();
                all.extend(some);
            }
            all
        })
    });
    let mut all = Vec::new();
    for written in futures::future::join_all(writers).await {
        let written = written.unwrap();
        assert_eq!(read(log, written[0].writer, 64).await, stored(&written));
        all.extend(written);
    }
    all.sort_by_key(|entry| (entry.event.at, entry.writer, entry.sequence));
    assert_eq!(search(log, patient, from, from.plus(Nanos::DAY), usize::MAX).await, newest_first(&all));
}
