//! Where sequences are: a row's key starts with patient and hour, so a batch is found by its identity only by who knows in
//! which hours the stream has rows. The index names them for stretches of [`STRETCH`] sequences: a few entries an hour, where
//! one for each batch would cost as much as the rows.
//!
//! An entry is written with or before the first row it is needed for, never changed, and written again when forgotten here.

use lru::LruCache;
use model::{DeviceId, Hour, PatientId, Row, StreamId};
use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Sequences of one stream that share their entries: long enough that few are written, short enough that few hours are
/// read for one batch.
pub(crate) const STRETCH: u64 = 256;
/// Entries remembered as written: 10,000 devices some times over, about 100 bytes each.
const MAX_ENTRIES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// An entry: rows of these sequences are in this hour of this patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// The device that sent the batches.
    pub device: DeviceId,
    /// The stream that the sequences belong to.
    pub stream: StreamId,
    /// Which stretch of it, from 0.
    pub stretch: u64,
    /// The patient whose rows they are.
    pub patient: PatientId,
    /// When they were measured.
    pub hour: Hour,
}

impl Entry {
    fn of(row: &Row) -> Self {
        let identity = &row.identity;
        Self {
            device: identity.device,
            stream: identity.stream,
            stretch: stretch(identity.sequence),
            patient: row.patient,
            hour: row.hour,
        }
    }
}

/// The stretch that has a sequence.
pub(crate) fn stretch(sequence: u64) -> u64 {
    sequence / STRETCH
}

/// The first and the last sequence of a stretch.
pub(crate) fn ends(stretch: u64) -> (u64, u64) {
    let first = stretch.saturating_mul(STRETCH);
    (first, first.saturating_add(STRETCH - 1))
}

/// Entries that are durable.
pub(crate) struct Written(Mutex<LruCache<Entry, ()>>);

impl Written {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_ENTRIES)))
    }

    /// What these rows need and what is not known to be durable, ascending, without repeat.
    pub(crate) fn missing(&self, rows: &[Row]) -> Vec<Entry> {
        let mut missing = Vec::new();
        let mut written = self.lock();
        for row in rows {
            let entry = Entry::of(row);
            if written.get(&entry).is_none() && missing.last() != Some(&entry) {
                missing.push(entry);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Remembers what is durable by now.
    pub(crate) fn remember(&self, entries: Vec<Entry>) {
        let mut written = self.lock();
        for entry in entries {
            written.put(entry, ());
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Entry, ()>> {
        // no code that can panic runs under the lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
