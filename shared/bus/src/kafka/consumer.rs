//! Reading from Kafka. A thread of its own polls librdkafka, so that the group hears of us whatever the reader does,
//! and hands on what it reads through a buffer bounded in bytes. A reader that stays away pauses the partitions.

use super::{
    OffsetReset, Settings, admin, client_error,
    thread::{self, Context, ThreadState},
};
use crate::{
    Commits, Delivery, Error, NextOffset, Partition, Subscribe,
    metrics::{self, Delivered},
};
use async_trait::async_trait;
use rdkafka::{
    Offset, TopicPartitionList,
    client::Client,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::time::Instant;

/// One question about a partition's ends.
const WATERMARKS_LIMIT: Duration = Duration::from_secs(10);
/// A commit that meets a rebalance is tried again so often ...
const COMMIT_TRIES: u32 = 50;
/// ... with this between: ten seconds, longer than a rebalance with nobody missing.
const COMMIT_PAUSE: Duration = Duration::from_millis(200);
/// How long dropping a consumer waits for it to leave its group: others get its partitions at once then.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// One member of a consumer group; dropping it leaves the group.
pub struct KafkaConsumer {
    /// `None` only while dropping.
    consumer: Option<Arc<BaseConsumer<Context>>>,
    shared: Arc<ThreadState>,
    settings: Settings,
    /// Disconnected when the polling thread has ended.
    ended: mpsc::Receiver<()>,
    n_delivered: Delivered,
}

impl KafkaConsumer {
    /// Joins `group` on the settings' topic. Does not wait for the broker.
    ///
    /// # Errors
    /// `Config` when the settings are wrong.
    pub fn open(settings: Settings, group: &str) -> Result<Self, Error> {
        let shared = Arc::new(ThreadState::default());
        let bootstrap = settings.auto_offset_reset == OffsetReset::Earliest;
        let context = Context { shared: shared.clone() };
        let consumer: BaseConsumer<Context> =
            settings.consumer(group)?.create_with_context(context).map_err(client_error)?;
        consumer.subscribe(&[&settings.topic]).map_err(client_error)?;
        let consumer = Arc::new(consumer);
        let (running, ended) = mpsc::sync_channel(0);
        let (polled, state) = (consumer.clone(), shared.clone());
        let poll = move || {
            thread::run(polled, &state, bootstrap);
            drop(running);
        };
        let thread = std::thread::Builder::new().name("log-read".into()).spawn(poll);
        thread.map_err(|error| Error::Unavailable(Box::new(error)))?;
        let n_delivered = Delivered::new();
        Ok(Self { consumer: Some(consumer), shared, settings, ended, n_delivered })
    }

    /// Reads everything again, from the earliest record kept. What is committed stays committed.
    pub fn rewind(&mut self) {
        self.shared.assignment().rewind();
        self.shared.wake_thread();
    }

    /// The partitions that are ours at the moment.
    pub fn assigned(&self) -> Vec<Partition> {
        self.shared.assignment().partitions().into_iter().map(|(partition, _)| partition).collect()
    }

    /// Whether the brokers answer within `limit` and the topic is as the settings say.
    ///
    /// # Errors
    /// `Unavailable` when they do not answer, `Config` when the topic is missing or has other partitions, or a broker
    /// refuses us or TLS.
    pub async fn health(&mut self, limit: Duration) -> Result<(), Error> {
        let settings = self.settings.clone();
        self.blocking(move |consumer, _| admin::check_topic(consumer, &settings, limit)).await
    }

    /// librdkafka answers these by waiting.
    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&BaseConsumer<Context>, &ThreadState) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(consumer) = self.consumer.clone() else { return Err(Error::Fatal("the consumer is closed".into())) };
        let shared = self.shared.clone();
        let work = tokio::task::spawn_blocking(move || work(&consumer, &shared));
        work.await.map_err(|error| Error::Unavailable(Box::new(error)))?
    }

    fn take(&self, max_records: usize, max_bytes: usize) -> Result<Vec<Delivery>, Error> {
        let mut assignment = self.shared.assignment();
        let taken = assignment.take(max_records, max_bytes);
        if taken.is_empty() {
            if let Some(reason) = &assignment.fatal {
                return Err(Error::Fatal(reason.clone()));
            }
            if let Some(error) = assignment.error.take() {
                return Err(error);
            }
        }
        drop(assignment);
        self.shared.wake_thread();
        Ok(taken)
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // First ours, so that the thread's is the last and leaves the group on its own time.
        self.consumer = None;
        self.shared.stop();
        if self.ended.recv_timeout(LEAVE_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("left a consumer group without its goodbye");
        }
    }
}

#[async_trait]
impl Subscribe for KafkaConsumer {
    async fn poll(&mut self, max_records: usize, max_bytes: usize, max_wait: Duration) -> Result<Vec<Delivery>, Error> {
        let until = Instant::now() + max_wait;
        if max_records == 0 {
            return Ok(Vec::new());
        }
        loop {
            let taken = self.take(max_records, max_bytes)?;
            if !taken.is_empty() {
                self.n_delivered.add(taken.len());
                return Ok(taken);
            }
            if tokio::time::timeout_at(until, self.shared.filled.notified()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn commit(&mut self, commits: &Commits) -> Result<(), Error> {
        let (topic, commits) = (self.settings.topic.clone(), commits.clone());
        self.blocking(move |consumer, shared| {
            for _ in 0..COMMIT_TRIES {
                let ours = shared.assignment().ours(&commits);
                if ours.is_empty() || consumer.assignment_lost() {
                    return Ok(());
                }
                match commit(consumer, &topic, &ours) {
                    Ok(()) => {
                        let mut assignment = shared.assignment();
                        ours.iter().for_each(|&(partition, next)| assignment.committed(partition, next));
                        return Ok(());
                    }
                    Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::RebalanceInProgress) => {
                        std::thread::sleep(COMMIT_PAUSE);
                    }
                    Err(error) if is_lost(&error) => {
                        tracing::warn!(%error, "did not commit: the partitions have another owner");
                        metrics::commit_lost();
                        return Ok(());
                    }
                    Err(error) => return Err(Error::Unavailable(Box::new(error))),
                }
            }
            Err(Error::Unavailable("a rebalance did not end".into()))
        })
        .await
    }

    async fn lag(&mut self) -> Result<u64, Error> {
        let topic = self.settings.topic.clone();
        self.blocking(move |consumer, shared| {
            let partitions = shared.assignment().partitions();
            let mut lag = 0;
            for (partition, committed) in partitions {
                let ends = consumer.fetch_watermarks(&topic, partition.0, WATERMARKS_LIMIT).map_err(client_error)?;
                lag += (ends.1 - committed.unwrap_or(0).max(ends.0)).max(0) as u64;
            }
            Ok(lag)
        })
        .await
    }
}

impl admin::Asks for BaseConsumer<Context> {
    type Heeds = Context;

    fn client(&self) -> &Client<Context> {
        Consumer::client(self)
    }
}

/// The only way to a commit: `commit` takes offsets as they are, so they have to be next offsets.
fn commit(consumer: &BaseConsumer<Context>, topic: &str, ours: &[(Partition, NextOffset)]) -> Result<(), KafkaError> {
    let mut offsets = TopicPartitionList::with_capacity(ours.len());
    for (partition, next) in ours {
        offsets.add_partition_offset(topic, partition.0, Offset::Offset(next.get()))?;
    }
    consumer.commit(&offsets, CommitMode::Sync)
}

/// Whether somebody else owns the partitions now, as the broker sees it.
fn is_lost(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AssignmentLost, FencedInstanceId, IllegalGeneration, StaleMemberEpoch, UnknownMemberId};
    let lost = [AssignmentLost, FencedInstanceId, IllegalGeneration, StaleMemberEpoch, UnknownMemberId];
    error.rdkafka_error_code().is_some_and(|code| lost.contains(&code))
}
