//! The thread that polls a consumer, and what happens to it there: records, rebalances, pauses, rewinds, errors.

use super::{
    admin,
    assignment::Assignment,
    client_error,
    trouble::{Heeds, Trouble},
};
use crate::{Delivery, Error, NextOffset, Partition};
use bytes::Bytes;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult},
    topic_partition_list::TopicPartitionListElem,
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// One wait for a record; a stop or a rewind is noticed after it.
const POLL: Duration = Duration::from_millis(50);
/// A reader that leaves the hand-over full for so long has its partitions paused: pausing throws away what librdkafka
/// has read ahead, not polling loses the membership after five minutes.
const PAUSE_AFTER: Duration = Duration::from_secs(2);
/// Questions within a rebalance.
const REBALANCE_LIMIT: Duration = Duration::from_secs(10);
/// Between two tries to commit the first positions: a rebalance may be going on.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(1);
/// A jump to the beginning.
const SEEK_LIMIT: Duration = Duration::from_secs(10);

/// Between the polling thread and the reader.
#[derive(Default)]
pub(super) struct ThreadState {
    assignment: Mutex<Assignment>,
    /// Something came, or went wrong.
    pub filled: Notify,
    /// The reader took something, or wants something.
    taken: Condvar,
    stopped: AtomicBool,
    /// Of the connections.
    trouble: Trouble,
}

impl ThreadState {
    pub(super) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_thread(&self) {
        self.taken.notify_one();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Under the lock, so that it is not missed between a check and a wait.
        drop(self.assignment());
        self.taken.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits until there is room again; false when there is none after `limit`.
    fn wait_for_room(&self, limit: Duration) -> bool {
        let full = |assignment: &mut Assignment| assignment.is_full() && !assignment.rewinding && !self.is_stopped();
        let waited = self.taken.wait_timeout_while(self.assignment(), limit, full);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Hears of rebalances, on the polling thread.
pub(super) struct Context {
    pub shared: Arc<ThreadState>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka consumer");
        self.shared.trouble.hear(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.shared.trouble.hear_log(level, facility, line);
    }
}

impl Heeds for Context {
    fn trouble(&self) -> &Trouble {
        &self.shared.trouble
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, partitions, cooperative)
        } else {
            let mut assignment = self.shared.assignment();
            for partition in partitions.elements() {
                assignment.revoke(Partition(partition.partition()));
            }
            drop(assignment);
            tracing::info!(n_partitions = partitions.count(), lost = consumer.assignment_lost(), "partitions revoked");
            // Nothing is committed here: the reader may still be at work, and the next owner reads it again.
            if cooperative { consumer.incremental_unassign(partitions) } else { consumer.unassign() }
        };
        if let Err(error) = done {
            self.shared.assignment().fatal = Some(format!("a rebalance failed: {error}"));
            self.shared.filled.notify_one();
        }
    }
}

impl Context {
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
        cooperative: bool,
    ) -> KafkaResult<()> {
        tracing::info!(n_partitions = partitions.count(), "partitions assigned");
        if partitions.count() > 0 {
            let committed = committed(consumer, partitions);
            let mut assignment = self.shared.assignment();
            for partition in partitions.elements() {
                let partition = Partition(partition.partition());
                assignment.assign(partition, committed.get(&partition).copied());
            }
        }
        if cooperative { consumer.incremental_assign(partitions) } else { consumer.assign(partitions) }
    }
}

/// Committed positions; without those that cannot be asked for.
fn committed(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> BTreeMap<Partition, i64> {
    let committed = match consumer.committed_offsets(partitions.clone(), REBALANCE_LIMIT) {
        Ok(committed) => committed,
        Err(error) => {
            tracing::warn!(%error, "cannot ask for committed positions");
            return BTreeMap::new();
        }
    };
    let position = |partition: &TopicPartitionListElem<'_>| match partition.offset() {
        Offset::Offset(offset) => Some((Partition(partition.partition()), offset)),
        _ => None,
    };
    committed.elements().iter().filter_map(position).collect()
}

/// Polls until stopped; then the consumer leaves its group.
///
/// With `bootstrap`, a partition without a committed position gets one at its beginning: one that never had a record
/// would have none otherwise, and a later start that insists on positions would refuse it.
pub(super) fn run(consumer: Arc<BaseConsumer<Context>>, shared: &ThreadState, bootstrap: bool) {
    let mut bootstrap_at = bootstrap.then(Instant::now);
    let mut paused = false;
    let mut full_since: Option<Instant> = None;
    while !shared.is_stopped() {
        rewind(&consumer, shared);
        if bootstrap_at.is_some_and(|at| at <= Instant::now()) {
            let done = first_positions(&consumer, shared);
            bootstrap_at = Some(Instant::now() + if done { Duration::ZERO } else { BOOTSTRAP_PAUSE });
        }
        if paused && shared.assignment().is_low() {
            paused = !set_paused(&consumer, false);
        } else if !paused && shared.assignment().is_full() {
            let since = *full_since.get_or_insert_with(Instant::now);
            if shared.wait_for_room(PAUSE_AFTER.saturating_sub(since.elapsed())) {
                full_since = None;
                continue;
            }
            paused = set_paused(&consumer, true);
        } else if paused {
            // A rebalance may have brought partitions that run.
            set_paused(&consumer, true);
        } else {
            full_since = None;
        }
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                let (partition, offset) = (Partition(message.partition()), message.offset());
                let payload = Bytes::copy_from_slice(message.payload().unwrap_or_default());
                shared.assignment().push(Delivery { partition, offset, payload });
                shared.filled.notify_one();
            }
            Some(Err(error)) => report(shared, error),
        }
    }
}

/// False when it has to be tried again. Nothing can have been committed by the reader meanwhile: nothing has been read,
/// and it is this thread that reads.
fn first_positions(consumer: &BaseConsumer<Context>, shared: &ThreadState) -> bool {
    let without = shared.assignment().without_position();
    if without.is_empty() {
        return true;
    }
    let positioned = consumer.assignment().map_err(client_error).and_then(|assigned| {
        let mut partitions = TopicPartitionList::new();
        for partition in assigned.elements() {
            if without.contains(&Partition(partition.partition())) {
                partitions.add_partition(partition.topic(), partition.partition());
            }
        }
        let committed = consumer.committed_offsets(partitions.clone(), REBALANCE_LIMIT).map_err(client_error)?;
        admin::commit_missing(consumer, &committed, REBALANCE_LIMIT)?;
        Ok(partitions)
    });
    match positioned {
        Ok(partitions) => {
            let positions = committed(consumer, &partitions);
            let mut assignment = shared.assignment();
            for (partition, next) in positions {
                assignment.committed(partition, NextOffset::at(next));
            }
            true
        }
        Err(error) => {
            tracing::info!(error = &error as &dyn std::error::Error, "cannot commit the first positions yet");
            false
        }
    }
}

/// Jumps to the beginning when asked to and something is assigned.
fn rewind(consumer: &BaseConsumer<Context>, shared: &ThreadState) {
    let assignment = shared.assignment();
    if !assignment.rewinding || assignment.partitions().is_empty() {
        return;
    }
    drop(assignment);
    let sought = consumer.assignment().and_then(|mut partitions| {
        partitions.set_all_offsets(Offset::Beginning)?;
        let partitions = consumer.seek_partitions(partitions, SEEK_LIMIT)?;
        partitions.elements().iter().try_for_each(|partition| partition.error())
    });
    match sought {
        Ok(()) => shared.assignment().rewinding = false,
        // Just assigned, it cannot be sought in yet: again after the next poll.
        Err(error) => tracing::debug!(%error, "cannot rewind yet"),
    }
}

fn set_paused(consumer: &BaseConsumer<Context>, pause: bool) -> bool {
    let done = consumer
        .assignment()
        .and_then(|partitions| if pause { consumer.pause(&partitions) } else { consumer.resume(&partitions) });
    if let Err(error) = &done {
        tracing::warn!(%error, pause, "cannot pause or resume");
    }
    done.is_ok()
}

fn report(shared: &ThreadState, error: KafkaError) {
    let mut assignment = shared.assignment();
    match error {
        KafkaError::MessageConsumptionFatal(code) => assignment.fatal = Some(code.to_string()),
        KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
            assignment.error = Some(Error::Config(
                "the group has no position in a partition: start it once from the earliest, or look for lost records"
                    .into(),
            ));
        }
        error => assignment.error = Some(shared.trouble.explain_for_now(error)),
    }
    drop(assignment);
    shared.filled.notify_one();
}
