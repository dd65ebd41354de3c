//! The cases, each for any log.

use crate::{Bench, PARTITIONS, PATIENCE, ROOM_BYTES, publish_all, read, record, text};
use bus::{Commits, Delivery, Error, Partition};
use futures::FutureExt;
use model::PatientId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

fn commits<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Commits {
    let mut commits = Commits::default();
    deliveries.into_iter().for_each(|delivery| commits.add(delivery));
    commits
}

fn texts<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> BTreeSet<String> {
    deliveries.into_iter().map(text).collect()
}

pub async fn a_receipt_means_that_the_record_can_be_read<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let mut reader = bench.subscribe("writer").await;
    publish_all(&*bench.publisher(), [record(1, "first")]).await;
    // Once the reader is there, what has a receipt comes without waiting for anything more.
    read(&mut *reader, 1).await;
    for n in 0..20 {
        publish_all(&*bench.publisher(), [record(n, n.to_string())]).await;
        let found = reader.poll(1, 1 << 20, PATIENCE).await.unwrap();
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), [n.to_string()]);
    }
}

pub async fn one_key_is_one_partition_in_order<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let keys: Vec<_> = (0..20u128).map(|n| Uuid::new_v5(&Uuid::NAMESPACE_OID, &n.to_be_bytes())).collect();
    let all = (0..1000).map(|n| record(keys[n % 20].as_u128(), format!("{}:{n}", n % 20)));
    publish_all(&*bench.publisher(), all).await;
    let found = read(&mut *bench.subscribe("writer").await, 1000).await;
    let mut offsets: BTreeMap<Partition, i64> = BTreeMap::new();
    let mut seen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for delivery in &found {
        let next = offsets.entry(delivery.partition).or_insert(delivery.offset);
        assert_eq!(delivery.offset, *next, "offsets follow each other");
        *next += 1;
        let text = text(delivery);
        let (key, n) = text.split_once(':').unwrap();
        let key: usize = key.parse().unwrap();
        assert_eq!(delivery.partition, Partition(i32::from(model::spread(keys[key].as_bytes(), PARTITIONS))));
        seen.entry(key).or_default().push(n.parse().unwrap());
    }
    assert!(offsets.len() > 1, "more than one partition is used");
    for (key, numbers) in seen {
        assert_eq!(numbers, (0..1000).filter(|n| n % 20 == key).collect::<Vec<_>>());
    }
}

pub async fn what_is_committed_does_not_come_again_and_the_rest_does<B: Bench>() {
    let mut bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..100).map(|n| record(n, n.to_string()))).await;
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 100).await;
    reader.commit(&commits(&found[..60])).await.unwrap();
    drop(reader);
    bench = bench.reopen().await;
    let committed: BTreeMap<_, _> = commits(&found[..60]).iter().collect();
    let rest = |d: &&Delivery| committed.get(&d.partition).is_none_or(|next| d.offset >= next.get());
    let expected = texts(found.iter().filter(rest));
    assert_eq!(texts(&read(&mut *bench.subscribe("writer").await, expected.len()).await), expected);
    bench = bench.reopen().await;
    // Not committed the second time either.
    let mut reader = bench.subscribe("writer").await;
    let again = read(&mut *reader, expected.len()).await;
    reader.commit(&commits(&again)).await.unwrap();
    drop(reader);
    bench = bench.reopen().await;
    publish_all(&*bench.publisher(), [record(7, "new")]).await;
    assert_eq!(texts(&read(&mut *bench.subscribe("writer").await, 1).await), texts_of(["new"]));
}

fn texts_of<const N: usize>(all: [&str; N]) -> BTreeSet<String> {
    all.into_iter().map(str::to_owned).collect()
}

pub async fn two_groups_do_not_disturb_each_other<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..50).map(|n| record(n, n.to_string()))).await;
    let mut writer = bench.subscribe("writer").await;
    let found = read(&mut *writer, 50).await;
    writer.commit(&commits(&found)).await.unwrap();
    let mut alerts = bench.subscribe("alerts").await;
    assert_eq!(texts(&read(&mut *alerts, 50).await), texts(&found));
    drop((writer, alerts));
    let bench = bench.reopen().await;
    assert_eq!(read(&mut *bench.subscribe("alerts").await, 50).await.len(), 50, "alerts has committed nothing");
}

pub async fn a_commit_never_goes_backwards<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..10).map(|n| record(1, n.to_string()))).await;
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 10).await;
    reader.commit(&commits(&found[..8])).await.unwrap();
    reader.commit(&commits(&found[..3])).await.unwrap();
    assert_eq!(reader.lag().await.unwrap(), 2);
    drop(reader);
    let bench = bench.reopen().await;
    assert_eq!(texts(&read(&mut *bench.subscribe("writer").await, 2).await), texts_of(["8", "9"]));
}

pub async fn a_poll_keeps_its_limits_and_makes_progress<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..60).map(|n| record(n, vec![n as u8; 1000]))).await;
    let mut reader = bench.subscribe("writer").await;
    assert!(reader.poll(0, 1 << 20, Duration::ZERO).await.unwrap().is_empty());
    let mut seen = BTreeSet::new();
    for (max_records, max_bytes, most) in [(7, 1 << 20, 7), (100, 3_500, 3), (100, 1, 1), (100, 0, 1), (1, 1 << 20, 1)]
    {
        let found = reader.poll(max_records, max_bytes, PATIENCE).await.unwrap();
        assert!((1..=most).contains(&found.len()), "{} for {max_records} and {max_bytes} bytes", found.len());
        seen.extend(found.iter().map(|d| (d.partition, d.offset)));
    }
    while seen.len() < 60 {
        let found = reader.poll(2, 1, PATIENCE).await.unwrap();
        assert_eq!(found.len(), 1);
        assert!(seen.insert((found[0].partition, found[0].offset)), "no record comes twice");
    }
}

pub async fn concurrent_publishers_lose_nothing_and_keep_their_order<B: Bench>() {
    const EACH: usize = 2_000;
    let bench = B::start(256 << 10).await;
    let publishers = (0..8u128).map(|key| {
        let publisher = bench.publisher();
        let all: Vec<_> = (0..EACH).map(|n| record(key, format!("{key}:{n}"))).collect();
        tokio::spawn(async move { publish_all(&*publisher, all).await })
    });
    let publishers: Vec<_> = publishers.collect();
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 8 * EACH).await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut next = [0; 8];
    for delivery in &found {
        let text = text(delivery);
        let (key, n) = text.split_once(':').unwrap();
        let next = &mut next[key.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<usize>().unwrap(), *next, "key {key}");
        *next += 1;
    }
    assert_eq!(next, [EACH; 8]);
}

pub async fn a_record_too_large_is_refused_by_itself<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let publisher = bench.publisher();
    let before = publisher.publish(record(1, "before")).await.unwrap();
    let refused = publisher.publish(record(1, vec![0; 2 << 20])).await.err();
    assert!(matches!(refused, Some(Error::TooLarge { bytes, .. }) if bytes == 2 << 20), "{refused:?}");
    before.await.unwrap();
    publish_all(&*publisher, [record(1, "after")]).await;
    let found = read(&mut *bench.subscribe("writer").await, 2).await;
    assert_eq!(found.iter().map(text).collect::<Vec<_>>(), ["before", "after"]);
    assert_eq!(publisher.fatal(), None);
}

pub async fn a_backlog_is_read_in_bounded_pieces<B: Bench>() {
    const LIMIT: usize = 256 << 10;
    let bench = B::start(ROOM_BYTES).await;
    let publisher = bench.publisher();
    for n in 0..20u8 {
        publish_all(&*publisher, (0..100).map(|key| record(key, vec![n; 10_000]))).await;
    }
    let mut reader = bench.subscribe("writer").await;
    let (mut n_read, mut polls) = (0, 0);
    while n_read < 2_000 {
        let found = reader.poll(10_000, LIMIT, PATIENCE).await.unwrap();
        assert!(!found.is_empty(), "{n_read} of 2000 came");
        assert!(found.iter().map(|d| d.payload.len()).sum::<usize>() <= LIMIT);
        (n_read, polls) = (n_read + found.len(), polls + 1);
    }
    assert_eq!(n_read, 2_000);
    assert!(polls >= 20_000_000 / LIMIT);
}

pub async fn rewinding_reads_everything_again_and_forgets_no_commit<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..50).map(|n| record(n, n.to_string()))).await;
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 50).await;
    reader.commit(&commits(&found)).await.unwrap();
    reader.rewind();
    let again = read(&mut *reader, 50).await;
    assert_eq!(texts(&again), texts(&found));
    // Going over old ground takes nothing back.
    reader.commit(&commits(&again[..5])).await.unwrap();
    assert_eq!(reader.lag().await.unwrap(), 0);
    drop(reader);
    let bench = bench.reopen().await;
    publish_all(&*bench.publisher(), [record(3, "new")]).await;
    let mut reader = bench.subscribe("writer").await;
    assert_eq!(texts(&read(&mut *reader, 1).await), texts_of(["new"]));
    drop(reader);
    // Before anything is read, too.
    let mut reader = bench.subscribe("writer").await;
    reader.rewind();
    assert_eq!(read(&mut *reader, 51).await.len(), 51);
}

pub async fn a_late_group_sees_what_is_old<B: Bench>() {
    let mut bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..30).map(|n| record(n, n.to_string()))).await;
    bench = bench.reopen().await;
    publish_all(&*bench.publisher(), (30..40).map(|n| record(n, n.to_string()))).await;
    let found = read(&mut *bench.subscribe("late").await, 40).await;
    assert_eq!(texts(&found), (0..40).map(|n| n.to_string()).collect());
}

pub async fn publishing_waits_for_room<B: Bench>() {
    // Room for one record and not for two.
    let bench = B::start(64 << 10).await;
    let publisher = bench.publisher();
    let mut last = publisher.publish(record(1, vec![0; 60_000])).await.unwrap();
    for n in 1..10 {
        let publish = publisher.publish(record(1, vec![n; 60_000]));
        let next = tokio::time::timeout(PATIENCE, publish).await.expect("room in time").unwrap();
        let before = last.now_or_never().expect("the one before is known to be durable: it gave its room back");
        before.unwrap();
        last = next;
    }
    last.await.unwrap();
    assert_eq!(read(&mut *bench.subscribe("writer").await, 10).await.len(), 10);
    assert!(publisher.has_room());
}

pub async fn flushing_waits_for_every_receipt<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let publisher = bench.publisher();
    let mut receipts = Vec::new();
    for n in 0..500 {
        receipts.push(publisher.publish(record(n, n.to_string())).await.unwrap());
    }
    publisher.flush(PATIENCE).await.unwrap();
    for receipt in receipts {
        // Without tokio's budget, which would make it pause after a hundred.
        tokio::task::unconstrained(receipt).now_or_never().expect("resolved").unwrap();
    }
    assert!(publisher.has_room());
}

pub async fn a_dropped_receipt_does_not_unpublish<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let publisher = bench.publisher();
    for n in 0..50 {
        drop(publisher.publish(record(n, n.to_string())).await.unwrap());
    }
    publisher.flush(PATIENCE).await.unwrap();
    assert_eq!(read(&mut *bench.subscribe("writer").await, 50).await.len(), 50);
}

pub async fn lag_counts_what_is_not_committed<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), (0..40).map(|n| record(n, n.to_string()))).await;
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 40).await;
    assert_eq!(reader.lag().await.unwrap(), 40, "read but not committed");
    reader.commit(&commits(&found)).await.unwrap();
    assert_eq!(reader.lag().await.unwrap(), 0);
    publish_all(&*bench.publisher(), (0..3).map(|n| record(n, "more"))).await;
    assert_eq!(reader.lag().await.unwrap(), 3);
}

pub async fn nothing_new_is_an_empty_poll<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    let mut reader = bench.subscribe("writer").await;
    publish_all(&*bench.publisher(), [record(1, "one")]).await;
    read(&mut *reader, 1).await;
    assert!(reader.poll(10, 1000, Duration::from_millis(1)).await.unwrap().is_empty());
    reader.commit(&Commits::default()).await.unwrap();
}

pub async fn an_empty_record_is_a_record<B: Bench>() {
    let bench = B::start(ROOM_BYTES).await;
    publish_all(&*bench.publisher(), [record(1, ""), record(1, "x"), record(1, "")]).await;
    let found = read(&mut *bench.subscribe("writer").await, 3).await;
    assert_eq!(found.iter().map(text).collect::<Vec<_>>(), ["", "x", ""]);
}

pub async fn how_far_a_group_has_come_is_known_to_others<B: Bench>() {
    const SHORT: Duration = Duration::from_millis(300);
    let bench = B::start(ROOM_BYTES).await;
    let progress = bench.progress_of("writer");
    let [key, elsewhere] = [1u128, 2].map(|n| PatientId::new(Uuid::from_u128(n)));
    assert_ne!(spread(key), spread(elsewhere), "two partitions");
    assert!(bus::catches_up(&*progress, key, PATIENCE).await.unwrap(), "there is nothing yet");
    publish_all(&*bench.publisher(), [record(1, "a"), record(1, "b")]).await;
    assert!(!bus::catches_up(&*progress, key, SHORT).await.unwrap(), "a group that has never committed");
    assert!(bus::catches_up(&*progress, elsewhere, PATIENCE).await.unwrap());
    let mut reader = bench.subscribe("writer").await;
    let found = read(&mut *reader, 2).await;
    assert!(!bus::catches_up(&*progress, key, SHORT).await.unwrap(), "read is not dealt with");
    reader.commit(&commits(&found[..1])).await.unwrap();
    assert!(!bus::catches_up(&*progress, key, SHORT).await.unwrap());
    let (done, ()) = tokio::join!(bus::catches_up(&*progress, key, PATIENCE), async {
        tokio::time::sleep(SHORT).await;
        reader.commit(&commits(&found)).await.unwrap();
    });
    assert!(done.unwrap());
    assert!(!bus::catches_up(&*bench.progress_of("other"), key, SHORT).await.unwrap(), "each group by itself");
}

fn spread(key: PatientId) -> u16 {
    model::spread(key.as_bytes(), PARTITIONS)
}
