//! Which hours the index is known to name, so that it is written rarely: a bounded memory of what was written.
//!
//! Forgetting costs a write that changes nothing; remembering what is not durable would lose an hour from the
//! index. So an entry is remembered only after its write is durable.

use lru::LruCache;
use model::{Hour, MetricId, PatientId, Row};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Patients and hours remembered: 10,000 patients with some late hours each, about 100 bytes an entry.
const MAX_HOURS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Hours to be named in the index, each with its metrics, ascending and without repeat.
pub(crate) type Hours = BTreeMap<(PatientId, Hour), Vec<MetricId>>;

/// Hours whose index entries are durable, with the metrics that they name.
pub(crate) struct Known(Mutex<Memory>);

type Memory = LruCache<(PatientId, Hour), Box<[MetricId]>>;

impl Known {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_HOURS)))
    }

    /// What the index does not yet name, as far as is known: each hour with all its metrics in `rows`.
    pub(crate) fn missing(&self, rows: &[Row]) -> Hours {
        let mut missing = Hours::new();
        let mut known = self.lock();
        for row in rows {
            let key = (row.patient, row.hour);
            if known.get(&key).is_some_and(|have| row.metrics.iter().all(|m| have.binary_search(m).is_ok())) {
                continue;
            }
            merge(missing.entry(key).or_default(), &row.metrics);
        }
        missing
    }

    /// Remembers that the index durably names these.
    pub(crate) fn remember(&self, hours: Hours) {
        let mut known = self.lock();
        for (key, mut metrics) in hours {
            if let Some(have) = known.get(&key) {
                merge(&mut metrics, have);
            }
            known.put(key, metrics.into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // no code that can panic runs under the lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The union of two lists of metrics, ascending; `into` must be ascending.
pub(crate) fn merge(into: &mut Vec<MetricId>, more: &[MetricId]) {
    for metric in more {
        if let Err(at) = into.binary_search(metric) {
            into.insert(at, *metric);
        }
    }
}
