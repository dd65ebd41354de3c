//! Offsets. There is one type for "the next offset to read", because client interfaces differ by one.

use crate::Delivery;
use std::collections::BTreeMap;

/// A partition's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

/// The offset of the first record not yet dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    /// The start of a partition.
    pub const START: Self = Self(0);

    /// From an offset that already means "next" (what Kafka keeps for a group).
    pub fn at(offset: i64) -> Self {
        Self(offset)
    }

    /// After a record has been dealt with.
    pub fn after(delivery: &Delivery) -> Self {
        Self(delivery.offset + 1)
    }

    /// The offset as Kafka keeps it for a consumer group.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// Positions to commit, per partition; the furthest wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits(BTreeMap<Partition, NextOffset>);

impl Commits {
    /// Notes that a record and all before it in its partition have been dealt with.
    pub fn add(&mut self, delivery: &Delivery) {
        self.reach(delivery.partition, NextOffset::after(delivery));
    }

    /// Notes that all records of a partition before an offset have been dealt with.
    pub fn reach(&mut self, partition: Partition, next: NextOffset) {
        let entry = self.0.entry(partition).or_insert(next);
        *entry = next.max(*entry);
    }

    /// Adds the positions of others.
    pub fn extend(&mut self, others: Self) {
        others.iter().for_each(|(partition, next)| self.reach(partition, next));
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The positions, ascending by partition.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, NextOffset)> + '_ {
        self.0.iter().map(|(&p, &n)| (p, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_offset_is_one_further() {
        let delivery = |offset| Delivery { partition: Partition(3), offset, payload: Default::default() };
        let mut commits = Commits::default();
        commits.add(&delivery(7));
        commits.add(&delivery(5));
        assert_eq!(commits.iter().collect::<Vec<_>>(), [(Partition(3), NextOffset::at(8))]);
    }
}
