//! The topic and the groups before anything runs: made by `wardline migrate`, checked by everyone.

use super::{
    Settings, client_error,
    trouble::{AdminContext, Heeds},
};
use crate::{Error, NextOffset, Progress};
use async_trait::async_trait;
use model::PatientId;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::{Client, DefaultClientContext},
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    metadata::Metadata,
    types::RDKafkaErrorCode,
};
use std::{
    mem,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// A new topic is known everywhere within this time, or something is wrong.
const CREATE_LIMIT: Duration = Duration::from_secs(30);
/// Both questions of how far a group has come; less than who asks waits for, who then hears why there is no answer.
const PROGRESS_LIMIT: Duration = Duration::from_secs(4);
/// The first try of a question; the one after a try that took it all has twice the time, so that a slow broker gets half
/// of the limit. Between them we check whether a broker has refused us, and more time is of no use.
const FIRST_TRY: Duration = Duration::from_secs(1);
/// What librdkafka has to say is there by then.
const HEAR: Duration = Duration::from_millis(20);
/// Between two tries, and two checks whether a new topic is known.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Makes the topic if it is missing, and checks the one that is there. Partitions are never added: the keys of a
/// patient would move to another partition and lose their order.
///
/// # Errors
/// `Config` when the topic has another number of partitions or a broker refuses the topic, us, or TLS; `Unavailable`
/// when none answers.
pub async fn ensure_topic(settings: &Settings) -> Result<(), Error> {
    let wanted = settings.clone();
    if blocking(move || topic_exists(&asking(&wanted)?, &wanted, CREATE_LIMIT)).await?? {
        return Ok(());
    }
    let client: AdminClient<DefaultClientContext> =
        settings.with_extra(settings.client()?).create().map_err(client_error)?;
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
    blocking(move || await_topic(&settings)).await?
}

/// A new topic takes a moment to be known to every broker.
fn await_topic(settings: &Settings) -> Result<(), Error> {
    let until = Instant::now() + CREATE_LIMIT;
    let client = asking(settings)?;
    loop {
        match check_topic(&client, settings, CREATE_LIMIT) {
            Err(_) if Instant::now() < until => std::thread::sleep(TRY_AGAIN),
            found => return found,
        }
    }
}

/// Gives a group that has never committed the earliest positions, so that its consumers can run with
/// `OffsetReset::Error` from their first start. Positions that are there stay. Nobody may be reading in the group.
///
/// # Errors
/// `Config` when the topic is not as the settings say, or a broker refuses us or TLS; `Unavailable` when none answers,
/// or it refuses positions.
pub async fn ensure_group(settings: &Settings, group: &str) -> Result<(), Error> {
    let (settings, group) = (settings.clone(), group.to_owned());
    blocking(move || {
        let consumer = asking_of(&settings, &group)?;
        check_topic(&consumer, &settings, CREATE_LIMIT)?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&settings.topic, 0, i32::from(settings.partitions) - 1);
        let until = Instant::now() + CREATE_LIMIT;
        loop {
            let committed = consumer.committed_offsets(partitions.clone(), CREATE_LIMIT);
            match committed.map_err(client_error).and_then(|found| commit_missing(&consumer, &found, CREATE_LIMIT)) {
                Err(error) if is_settling(&error) && Instant::now() < until => std::thread::sleep(TRY_AGAIN),
                done => return done,
            }
        }
    })
    .await?
}

/// How far a group has come, for who is not of it. It is asked seldom: each wait has a client of its own for all its questions.
pub struct GroupProgress {
    settings: Settings,
    group: String,
    /// Made with the first question.
    client: Arc<OnceLock<BaseConsumer<AdminContext>>>,
}

impl GroupProgress {
    /// Of `group` on the settings' topic; does not ask yet.
    pub fn new(settings: Settings, group: &str) -> Self {
        Self { settings, group: group.to_owned(), client: Arc::default() }
    }
}

impl Drop for GroupProgress {
    fn drop(&mut self) {
        let client = mem::take(&mut self.client);
        // a client ends when its threads have: not where others are served meanwhile
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(client));
        }
    }
}

#[async_trait]
impl Progress for GroupProgress {
    async fn progress(&self, key: PatientId) -> Result<(NextOffset, NextOffset), Error> {
        let (settings, group, made) = (self.settings.clone(), self.group.clone(), Arc::clone(&self.client));
        blocking(move || {
            let client = match made.get() {
                Some(client) => client,
                None => {
                    let client = asking_of(&settings, &group)?;
                    made.get_or_init(|| client)
                }
            };
            let (topic, until) = (&settings.topic, Instant::now() + PROGRESS_LIMIT);
            let partition = i32::from(model::spread(key.as_bytes(), settings.partitions));
            let explained = |error| {
                client.hear();
                client.context().trouble().explain_for_now(error)
            };
            let mut sought = TopicPartitionList::new();
            sought.add_partition(topic, partition);
            let committed = client.committed_offsets(sought, PROGRESS_LIMIT).map_err(explained)?;
            let rest = until.saturating_duration_since(Instant::now());
            let (earliest, end) = client.fetch_watermarks(topic, partition, rest).map_err(explained)?;
            let next = committed.elements().first().and_then(|found| found.offset().to_raw()).unwrap_or(earliest);
            // a group that has never committed has a mark of that, and goes on from the earliest
            Ok((NextOffset::at(next.max(earliest)), NextOffset::at(end)))
        })
        .await?
    }

    fn opened(&self) -> Option<Box<dyn Progress>> {
        Some(Box::new(Self::new(self.settings.clone(), &self.group)))
    }
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
    blocking(move || check_topic(&asking(&settings)?, &settings, limit)).await?
}

/// A client whose trouble is heard.
pub(super) trait Asks {
    type Heeds: Heeds;
    fn client(&self) -> &Client<Self::Heeds>;
    /// Takes in what librdkafka has to say, unless a thread does so all the time.
    fn hear(&self) {}
}

impl Asks for BaseConsumer<AdminContext> {
    type Heeds = AdminContext;

    fn client(&self) -> &Client<AdminContext> {
        Consumer::client(self)
    }

    fn hear(&self) {
        while self.poll(HEAR).is_some() {}
    }
}

fn asking(settings: &Settings) -> Result<BaseConsumer<AdminContext>, Error> {
    settings.with_extra(settings.client()?).create_with_context(AdminContext::default()).map_err(client_error)
}

/// As [`asking`], of what a group has committed; it does not join the group.
fn asking_of(settings: &Settings, group: &str) -> Result<BaseConsumer<AdminContext>, Error> {
    settings.consumer(group)?.create_with_context(AdminContext::default()).map_err(client_error)
}

pub(super) fn check_topic(asks: &impl Asks, settings: &Settings, limit: Duration) -> Result<(), Error> {
    match topic_exists(asks, settings, limit)? {
        true => Ok(()),
        false => Err(Error::Config(format!("the topic {} does not exist", settings.topic))),
    }
}

/// Of all topics: asking for one by name can make it, with the broker's default of partitions.
fn metadata(asks: &impl Asks, limit: Duration) -> Result<Metadata, Error> {
    let (client, until) = (asks.client(), Instant::now() + limit);
    let trouble = client.context().trouble();
    let mut patience = FIRST_TRY;
    loop {
        let began = Instant::now();
        match client.fetch_metadata(None, patience.min(until.saturating_duration_since(began))) {
            Ok(metadata) => {
                trouble.over();
                return Ok(metadata);
            }
            Err(error) => {
                asks.hear();
                if trouble.is_refused() || Instant::now() >= until {
                    return Err(trouble.explain(error));
                }
            }
        }
        if began.elapsed() >= patience {
            patience *= 2;
        }
        // A connection that is lost ends a try at once.
        std::thread::sleep(TRY_AGAIN);
    }
}

/// Whether it exists; an error when it does and is not as wanted.
fn topic_exists(asks: &impl Asks, settings: &Settings, limit: Duration) -> Result<bool, Error> {
    let metadata = metadata(asks, limit)?;
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
