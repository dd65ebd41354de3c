//! What attackers count: how often something was answered, and the most of something.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Counts by what was counted.
pub type Counts = BTreeMap<String, u64>;

/// Counts of one attack, from all of its loops.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// Counts one more of a kind.
    pub fn add(&self, what: &str) {
        self.change(what, |count| *count += 1);
    }

    /// The most seen so far.
    pub fn most(&self, what: &str, value: u64) {
        self.change(what, |count| *count = value.max(*count));
    }

    /// Everything that was counted.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn change(&self, what: &str, change: impl FnOnce(&mut u64)) {
        let mut counts = self.lock();
        match counts.get_mut(what) {
            Some(count) => change(count),
            None => change(counts.entry(what.to_owned()).or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A count; 0 when it was never counted.
pub fn of(counts: &Counts, what: &str) -> u64 {
    counts.get(what).copied().unwrap_or(0)
}

/// A violation for each of these that was counted at all.
pub fn none_of(counts: &Counts, forbidden: &[&str]) -> Vec<String> {
    let found = |what: &&str| (of(counts, what) > 0).then(|| format!("{what}: {} times", of(counts, what)));
    forbidden.iter().filter_map(found).collect()
}
