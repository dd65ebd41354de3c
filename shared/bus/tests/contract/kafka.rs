//! Kafka: how it is reached for the contract, and what only it promises. Needs a broker at `WARDLINE_KAFKA`.

use crate::{Bench, PARTITIONS, PATIENCE, Reader, publish_all, read, record, text};
use async_trait::async_trait;
use bus::{
    Commits, Delivery, Error, Partition, Progress, Publish, Subscribe,
    kafka::{self, GroupProgress, KafkaConsumer, KafkaPublisher, OffsetReset, Settings},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

pub struct Live {
    settings: Settings,
    publisher: KafkaPublisher,
}

impl Reader for KafkaConsumer {
    fn rewind(&mut self) {
        KafkaConsumer::rewind(self);
    }
}

/// A topic that nobody has used.
pub fn settings() -> Settings {
    Settings {
        brokers: std::env::var("WARDLINE_KAFKA").unwrap_or_else(|_| "127.0.0.1:19092".into()),
        topic: format!("contract-{}", Uuid::new_v4()),
        partitions: PARTITIONS,
        replication_factor: 1,
        min_insync_replicas: 1,
        auto_offset_reset: OffsetReset::Earliest,
        ..Settings::default()
    }
}

/// Groups are known to the whole cluster: named after the topic.
pub fn consumer(settings: &Settings, group: &str) -> KafkaConsumer {
    KafkaConsumer::open(settings.clone(), &of_topic(settings, group)).unwrap()
}

fn of_topic(settings: &Settings, group: &str) -> String {
    format!("{group}-{}", settings.topic)
}

#[async_trait]
impl Bench for Live {
    async fn start(max_in_flight_bytes: usize) -> Self {
        let settings = Settings { max_in_flight_bytes, ..settings() };
        kafka::ensure_topic(&settings).await.expect("a broker at WARDLINE_KAFKA");
        Self { publisher: KafkaPublisher::open(settings.clone()).unwrap(), settings }
    }

    fn publisher(&self) -> Arc<dyn Publish> {
        Arc::new(self.publisher.clone())
    }

    async fn subscribe(&self, group: &str) -> Box<dyn Reader> {
        Box::new(consumer(&self.settings, group))
    }

    fn progress_of(&self, group: &str) -> Box<dyn Progress> {
        Box::new(GroupProgress::new(self.settings.clone(), &of_topic(&self.settings, group)))
    }

    async fn reopen(self) -> Self {
        let settings = self.settings;
        Self { publisher: KafkaPublisher::open(settings.clone()).unwrap(), settings }
    }
}

pub fn commits(deliveries: &[Delivery]) -> Commits {
    let mut commits = Commits::default();
    deliveries.iter().for_each(|delivery| commits.add(delivery));
    commits
}

/// Polls all of `readers` until `done`.
async fn until(readers: &mut [&mut KafkaConsumer], mut done: impl FnMut(&[&mut KafkaConsumer], Vec<Delivery>) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        for reader in readers.iter_mut() {
            found.extend(reader.poll(1000, 1 << 20, Duration::from_millis(20)).await.unwrap());
        }
        if done(readers, found) {
            return;
        }
        assert!(Instant::now() < until, "assigned: {:?}", readers.iter().map(|r| r.assigned()).collect::<Vec<_>>());
    }
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn a_topic_is_made_once_and_its_partitions_are_never_changed() {
    let settings = settings();
    assert!(matches!(kafka::health(&settings, PATIENCE).await, Err(Error::Config(_))), "not there yet");
    kafka::ensure_topic(&settings).await.unwrap();
    kafka::ensure_topic(&settings).await.unwrap();
    kafka::health(&settings, PATIENCE).await.unwrap();
    KafkaPublisher::open(settings.clone()).unwrap().health(PATIENCE).await.unwrap();
    let other = Settings { partitions: PARTITIONS + 1, ..settings };
    assert!(matches!(kafka::ensure_topic(&other).await, Err(Error::Config(_))));
    assert!(matches!(kafka::health(&other, PATIENCE).await, Err(Error::Config(_))));
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn a_topic_that_the_broker_refuses_is_a_mistake() {
    let greedy = Settings { replication_factor: 99, ..settings() };
    assert!(matches!(kafka::ensure_topic(&greedy).await, Err(Error::Config(_))));
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn nobody_there_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = Settings { brokers: closed.to_string(), ..settings() };
    assert!(matches!(kafka::health(&settings, Duration::from_millis(300)).await, Err(Error::Unavailable(_))));
    settings.extra.insert("message.timeout.ms".into(), "500".into());
    let publisher = KafkaPublisher::open(settings).unwrap();
    let receipt = publisher.publish(record(1, "lost?")).await.unwrap();
    assert!(matches!(publisher.flush(Duration::from_millis(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(receipt.await, Err(Error::Unavailable(_))), "unknown, never taken for durable");
    publisher.flush(PATIENCE).await.unwrap();
    assert_eq!(publisher.fatal(), None);
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn how_far_a_group_has_come_is_asked_no_longer_than_the_limit() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let progress = GroupProgress::new(Settings { brokers: closed.to_string(), ..settings() }, "writer");
    let (key, begun) = (model::PatientId::new(Uuid::nil()), Instant::now());
    assert!(!bus::catches_up(&progress, key, Duration::from_millis(300)).await.unwrap());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn settings_that_librdkafka_refuses_are_a_mistake() {
    let mut settings = settings();
    settings.extra.insert("acks".into(), "1".into());
    assert!(matches!(KafkaPublisher::open(settings.clone()).err(), Some(Error::Config(_))), "contradicts idempotence");
    settings.extra = [("no.such.setting".into(), "1".into())].into();
    assert!(matches!(KafkaConsumer::open(settings, "g").err(), Some(Error::Config(_))));
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn without_a_position_nothing_is_skipped() {
    let bench = Live::start(1 << 20).await;
    let strict = Settings { auto_offset_reset: OffsetReset::Error, ..bench.settings.clone() };
    publish_all(&bench.publisher, [record(1, "one")]).await;
    let mut reader = consumer(&strict, "writer");
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "no error came");
        if let Err(error) = reader.poll(10, 1000, Duration::from_secs(1)).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    drop(reader);
    // The bootstrap gives every partition a position, also those that have no record.
    kafka::ensure_group(&strict, &format!("writer-{}", strict.topic)).await.unwrap();
    let mut reader = consumer(&strict, "writer");
    let found = read(&mut reader, 1).await;
    reader.commit(&commits(&found)).await.unwrap();
    drop(reader);
    kafka::ensure_group(&strict, &format!("writer-{}", strict.topic)).await.unwrap();
    publish_all(&bench.publisher, (0..20).map(|n| record(n, "new"))).await;
    let found = read(&mut consumer(&strict, "writer"), 20).await;
    assert!(found.iter().all(|delivery| text(delivery) == "new"), "the second bootstrap changed nothing");
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn a_first_start_gives_every_partition_a_position() {
    let bench = Live::start(1 << 20).await;
    let mut reader = consumer(&bench.settings, "writer");
    publish_all(&bench.publisher, [record(1, "one")]).await;
    read(&mut reader, 1).await;
    drop(reader);
    let strict = Settings { auto_offset_reset: OffsetReset::Error, ..bench.settings.clone() };
    let mut reader = consumer(&strict, "writer");
    publish_all(&bench.publisher, (0..20).map(|n| record(n, "new"))).await;
    assert_eq!(read(&mut reader, 21).await.len(), 21);
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn two_members_share_and_what_went_to_the_other_is_not_committed() {
    let bench = Live::start(4 << 20).await;
    publish_all(&bench.publisher, (0..200).map(|n| record(n, n.to_string()))).await;
    let mut first = consumer(&bench.settings, "writer");
    let found = read(&mut first, 200).await;
    assert_eq!(first.assigned().len(), usize::from(PARTITIONS));
    // Read, not committed; now half of the partitions go to the second.
    let mut second = consumer(&bench.settings, "writer");
    let mut of_second = Vec::new();
    until(&mut [&mut first, &mut second], |readers, found| {
        of_second.extend(found);
        readers.iter().all(|reader| reader.assigned().len() == usize::from(PARTITIONS / 2))
    })
    .await;
    let moved: BTreeSet<Partition> = second.assigned().into_iter().collect();
    let expected: BTreeSet<_> = found.iter().filter(|d| moved.contains(&d.partition)).map(text).collect();
    until(&mut [&mut second], |_, found| {
        of_second.extend(found);
        of_second.len() >= expected.len()
    })
    .await;
    assert_eq!(of_second.iter().map(text).collect::<BTreeSet<_>>(), expected, "they come again, to the new owner");
    second.commit(&commits(&of_second[..1])).await.unwrap();
    let (lag, n_moved) = (second.lag().await.unwrap(), expected.len() as u64);
    assert_eq!(lag, n_moved - 1);
    // The first deals late with all that it had read: only its own partitions move.
    first.commit(&commits(&found)).await.unwrap();
    assert_eq!(first.lag().await.unwrap(), 0);
    drop(first);
    until(&mut [&mut second], |readers, _| readers[0].assigned().len() == usize::from(PARTITIONS)).await;
    assert_eq!(second.lag().await.unwrap(), n_moved - 1, "what the second has not committed is not committed");
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn a_reader_that_stays_away_is_paused_and_loses_nothing() {
    let bench = Live::start(4 << 20).await;
    let mut reader = consumer(&bench.settings, "writer");
    for n in 0..30u8 {
        publish_all(&bench.publisher, (0..100).map(|key| record(key, vec![n; 10_000]))).await;
    }
    let mut found = read(&mut reader, 1).await;
    // Long enough that the partitions are paused; not waited for, but part of the case.
    tokio::time::sleep(Duration::from_secs(4)).await;
    found.extend(read(&mut reader, 2_999).await);
    let places: BTreeSet<_> = found.iter().map(|d| (d.partition, d.offset)).collect();
    assert_eq!(places.len(), 3_000, "each once");
}
