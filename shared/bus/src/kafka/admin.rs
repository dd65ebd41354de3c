//! The topic and the groups before anything runs: made by `wardline migrate`, checked by everyone.

use super::{Settings, client_error};
use crate::Error;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::{Client, DefaultClientContext},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::time::{Duration, Instant};

/// A new topic is known everywhere within this time, or something is wrong.
const CREATE_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at whether a new topic is known.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Makes the topic if it is missing, and checks the one that is there. Partitions are never added: the keys of a
/// patient would move to another partition and lose their order.
///
/// # Errors
/// `Config` when the topic has another number of partitions or the broker refuses; `Unavailable` when it does not
/// answer.
pub async fn ensure_topic(settings: &Settings) -> Result<(), Error> {
    let client: AdminClient<DefaultClientContext> =
        settings.with_extra(settings.client()?).create().map_err(client_error)?;
    let wanted = settings.clone();
    let (exists, client) = blocking(move || (topic_exists(client.inner(), &wanted, CREATE_LIMIT), client)).await?;
    if exists? {
        return Ok(());
    }
    let min_insync_replicas = settings.min_insync_replicas.to_string();
    let replication = TopicReplication::Fixed(settings.replication_factor.into());
    let topic = NewTopic::new(&settings.topic, settings.partitions.into(), replication)
        .set("min.insync.replicas", &min_insync_replicas)
        .set("unclean.leader.election.enable", "false");
    let options = AdminOptions::new().operation_timeout(Some(CREATE_LIMIT)).request_timeout(Some(CREATE_LIMIT));
    for result in client.create_topics([&topic], &options).await.map_err(client_error)? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::Config(format!("the topic {topic} cannot be made: {code}"))),
        }
    }
    let settings = settings.clone();
    blocking(move || await_topic(client.inner(), &settings)).await?
}

/// A new topic takes a moment to be known to every broker.
fn await_topic<C: ClientContext>(client: &Client<C>, settings: &Settings) -> Result<(), Error> {
    let until = Instant::now() + CREATE_LIMIT;
    loop {
        match check_topic(client, settings, CREATE_LIMIT) {
            Err(_) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            found => return found,
        }
    }
}

/// Gives a group that has never committed the earliest positions, so that its consumers can run with
/// [`OffsetReset::Error`] from their first start. Positions that are there stay. Nobody may be reading in the group.
///
/// # Errors
/// `Config` when the topic is not as the settings say; `Unavailable` when the broker does not answer or refuses.
pub async fn ensure_group(settings: &Settings, group: &str) -> Result<(), Error> {
    let (settings, group) = (settings.clone(), group.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = settings.consumer(&group)?.create().map_err(client_error)?;
        check_topic(consumer.client(), &settings, CREATE_LIMIT)?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&settings.topic, 0, i32::from(settings.partitions) - 1);
        let until = Instant::now() + CREATE_LIMIT;
        loop {
            let committed = consumer.committed_offsets(partitions.clone(), CREATE_LIMIT);
            match committed.map_err(client_error).and_then(|found| commit_missing(&consumer, &found, CREATE_LIMIT)) {
                Err(error) if is_settling(&error) && Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
                done => return done,
            }
        }
    })
    .await?
}

/// Whether the cluster has not got so far: the first group of a new one, a topic just made, a broker that has just come.
fn is_settling(error: &Error) -> bool {
    use RDKafkaErrorCode::{
        CoordinatorLoadInProgress, CoordinatorNotAvailable, LeaderNotAvailable, NotCoordinator, NotLeaderForPartition,
        UnknownTopicOrPartition,
    };
    let settling = [
        CoordinatorLoadInProgress,
        CoordinatorNotAvailable,
        LeaderNotAvailable,
        NotCoordinator,
        NotLeaderForPartition,
        UnknownTopicOrPartition,
    ];
    let Error::Unavailable(source) = error else { return false };
    let code = source.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code);
    code.is_some_and(|code| settling.contains(&code))
}

/// Commits the earliest offset for every partition of `committed` that has none.
pub(super) fn commit_missing<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    committed: &TopicPartitionList,
    limit: Duration,
) -> Result<(), Error> {
    let mut missing = TopicPartitionList::new();
    for partition in committed.elements() {
        if partition.offset() == Offset::Invalid {
            let (topic, number) = (partition.topic(), partition.partition());
            let (earliest, _) = consumer.fetch_watermarks(topic, number, limit).map_err(client_error)?;
            missing.add_partition_offset(topic, number, Offset::Offset(earliest)).map_err(client_error)?;
        }
    }
    if missing.count() == 0 {
        return Ok(());
    }
    consumer.commit(&missing, CommitMode::Sync).map_err(client_error)
}

/// Whether the brokers answer within `limit` and the topic is as the settings say.
///
/// # Errors
/// As [`ensure_topic`]; a missing topic is `Config`.
pub async fn health(settings: &Settings, limit: Duration) -> Result<(), Error> {
    let settings = settings.clone();
    blocking(move || {
        let client: BaseConsumer = settings.with_extra(settings.client()?).create().map_err(client_error)?;
        check_topic(client.client(), &settings, limit)
    })
    .await?
}

pub(super) fn check_topic<C: ClientContext>(
    client: &Client<C>,
    settings: &Settings,
    limit: Duration,
) -> Result<(), Error> {
    match topic_exists(client, settings, limit)? {
        true => Ok(()),
        false => Err(Error::Config(format!("the topic {} does not exist", settings.topic))),
    }
}

/// Whether it exists; an error when it does and is not as wanted.
fn topic_exists<C: ClientContext>(client: &Client<C>, settings: &Settings, limit: Duration) -> Result<bool, Error> {
    // Of all topics: asking for one by name can make it, with the broker's default of partitions.
    let metadata = client.fetch_metadata(None, limit).map_err(client_error)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == settings.topic);
    let Some(topic) = topic.filter(|topic| !topic.partitions().is_empty()) else {
        return Ok(false);
    };
    let n_partitions = topic.partitions().len();
    if n_partitions != usize::from(settings.partitions) {
        return Err(Error::Config(format!(
            "the topic {} has {n_partitions} partitions, not {}: their number cannot change, keys would move",
            settings.topic, settings.partitions
        )));
    }
    let n_replicas = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
    if n_replicas < usize::from(settings.replication_factor) {
        tracing::warn!(n_replicas, wanted = settings.replication_factor, "the topic has fewer replicas than wanted");
    }
    Ok(true)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Unavailable(Box::new(error)))
}
