//! What a consumer holds at the moment: its partitions, what has been read but not yet handed on, and how far it has
//! committed. Behind a lock, between librdkafka's polling thread and the reader.

use crate::{Commits, Delivery, Error, NextOffset, Partition};
use std::collections::{BTreeMap, VecDeque};

/// The hand-over holds no more than this: librdkafka holds 16 MiB more behind it.
pub(super) const MAX_WAITING_BYTES: usize = 4 << 20;
/// What a delivery costs beside its payload.
const DELIVERY_OVERHEAD_BYTES: usize = 64;

#[derive(Default)]
pub(super) struct Assignment {
    partitions: BTreeMap<Partition, Owned>,
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
    /// Set by the reader, done by the polling thread; what is read meanwhile is dropped.
    pub rewinding: bool,
    /// What the reader has to hear.
    pub error: Option<Error>,
    /// Why nothing can be read any more.
    pub fatal: Option<String>,
}

/// A partition since it was assigned.
#[derive(Default, Clone, Copy)]
struct Owned {
    /// The committed position, once known: nothing below is committed again.
    committed: Option<i64>,
    /// Behind the last record read since the assignment: nothing above is ours to commit.
    read: Option<i64>,
}

impl Assignment {
    pub(super) fn assign(&mut self, partition: Partition, committed: Option<i64>) {
        self.partitions.insert(partition, Owned { committed, read: None });
    }

    /// Takes a partition away, with what was read of it and not handed on.
    pub(super) fn revoke(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
        self.waiting.retain(|delivery| delivery.partition != partition);
        self.waiting_bytes = self.waiting.iter().map(cost).sum();
    }

    pub(super) fn partitions(&self) -> Vec<(Partition, Option<i64>)> {
        self.partitions.iter().map(|(&partition, owned)| (partition, owned.committed)).collect()
    }

    /// Partitions of which neither a committed position is known nor a record has been read.
    pub(super) fn without_position(&self) -> Vec<Partition> {
        let without = |owned: &Owned| owned.committed.is_none() && owned.read.is_none();
        self.partitions.iter().filter(|(_, owned)| without(owned)).map(|(&partition, _)| partition).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes >= MAX_WAITING_BYTES
    }

    /// Whether there is so much room again that pausing may end.
    pub(super) fn is_low(&self) -> bool {
        self.waiting_bytes <= MAX_WAITING_BYTES / 4
    }

    /// A record has been read; dropped when its partition is not ours or is about to be read again.
    pub(super) fn push(&mut self, delivery: Delivery) {
        let Some(owned) = self.partitions.get_mut(&delivery.partition) else { return };
        if self.rewinding {
            return;
        }
        // When the committed position could not be asked for, reading began there.
        owned.committed.get_or_insert(delivery.offset);
        let next = NextOffset::after(&delivery).get();
        owned.read = owned.read.max(Some(next));
        self.waiting_bytes += cost(&delivery);
        self.waiting.push_back(delivery);
    }

    /// Everything is about to be read again.
    pub(super) fn rewind(&mut self) {
        self.rewinding = true;
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// Up to `max_records` and `max_bytes` (one record at least) of what waits.
    pub(super) fn take(&mut self, max_records: usize, max_bytes: usize) -> Vec<Delivery> {
        let (mut n_records, mut bytes) = (0, 0);
        for delivery in self.waiting.iter().take(max_records) {
            bytes += delivery.payload.len();
            if bytes > max_bytes && n_records > 0 {
                break;
            }
            n_records += 1;
        }
        let taken: Vec<_> = self.waiting.drain(..n_records).collect();
        self.waiting_bytes -= taken.iter().map(cost).sum::<usize>();
        taken
    }

    /// Those of `commits` that are ours and ahead. The rest is left alone: it was read before the partition went to
    /// somebody else, or is committed already.
    pub(super) fn ours(&self, commits: &Commits) -> Vec<(Partition, NextOffset)> {
        let ours = |&(partition, next): &(Partition, NextOffset)| {
            self.partitions.get(&partition).is_some_and(|owned| {
                owned.committed.is_none_or(|committed| next.get() > committed)
                    && owned.read.is_some_and(|read| next.get() <= read)
            })
        };
        commits.iter().filter(ours).collect()
    }

    pub(super) fn committed(&mut self, partition: Partition, next: NextOffset) {
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.committed = owned.committed.max(Some(next.get()));
        }
    }
}

fn cost(delivery: &Delivery) -> usize {
    delivery.payload.len() + DELIVERY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(1);

    fn delivery(offset: i64) -> Delivery {
        Delivery { partition: P, offset, payload: vec![0; 10].into() }
    }

    fn commits(offset: i64) -> Commits {
        let mut commits = Commits::default();
        commits.add(&delivery(offset));
        commits
    }

    #[test]
    fn only_what_this_owner_has_read_is_committed_and_only_forwards() {
        let mut assignment = Assignment::default();
        assert!(assignment.ours(&commits(5)).is_empty(), "not assigned");
        assignment.assign(P, Some(5));
        assert!(assignment.ours(&commits(5)).is_empty(), "not read");
        (5..8).for_each(|offset| assignment.push(delivery(offset)));
        assert_eq!(assignment.ours(&commits(6)), [(P, NextOffset::at(7))]);
        assert!(assignment.ours(&commits(8)).is_empty(), "behind what was read");
        assignment.committed(P, NextOffset::at(7));
        assert!(assignment.ours(&commits(5)).is_empty(), "backwards");
        // Away and back, another owner having committed 20 meanwhile.
        assignment.revoke(P);
        assert!(assignment.take(10, 1000).is_empty(), "not ours any more");
        assignment.assign(P, Some(20));
        assignment.push(delivery(20));
        assert!(assignment.ours(&commits(7)).is_empty(), "read by the earlier owner");
        assert_eq!(assignment.ours(&commits(20)), [(P, NextOffset::at(21))]);
    }

    #[test]
    fn what_is_read_before_a_rewind_is_dropped() {
        let mut assignment = Assignment::default();
        assignment.assign(P, None);
        assignment.push(delivery(3));
        assignment.rewind();
        assignment.push(delivery(4));
        assert!(assignment.take(10, 1000).is_empty());
        assignment.rewinding = false;
        assignment.push(delivery(0));
        assert_eq!(assignment.take(10, 1000).len(), 1);
        assert!(assignment.ours(&commits(0)).is_empty(), "committed before");
    }

    #[test]
    fn taking_is_limited_and_makes_progress() {
        let mut assignment = Assignment::default();
        assignment.assign(P, Some(0));
        (0..5).for_each(|offset| assignment.push(delivery(offset)));
        assert_eq!(assignment.take(2, 1000).len(), 2);
        assert_eq!(assignment.take(10, 1).len(), 1);
        assert_eq!(assignment.take(10, 25).len(), 2);
        assert_eq!(assignment.waiting_bytes, 0);
    }
}
