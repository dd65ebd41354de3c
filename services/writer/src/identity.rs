//! What a sequence was used for: the store decides, and this remembers what need not be asked.
//!
//! The promise: of two batches of one device, stream and sequence that say different things the one that is stored stays,
//! and the other does not become visible: not after a restart, not after any number of batches, not when the log is read
//! again. A batch that comes again lands on itself, also in the part for another patient.
//!
//! A sequence above the highest stored of its stream was never used: that is known from memory, and nearly all are. The rest
//! (batches sent again, or out of order) is looked up among the rows. Memory holds as long as this writer reads each
//! partition without a gap; after one, another may have written, and all is asked anew. What is left are two writers that at
//! one time write the same sequence with two contents for two patients, whose records are in different partitions.

use bus::{Delivery, NextOffset, Partition};
use model::{BatchId, DeviceId, Row, StreamId};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use store::{Identities, Sought};

/// Streams remembered, at about 100 bytes each; at one more all are forgotten, and asked for again as they come.
const MAX_STREAMS: usize = 100_000;

type Stream = (DeviceId, StreamId);

/// The sequences that were used in each stream, as far as they are remembered.
pub(crate) struct Used {
    store: Arc<dyn Identities>,
    /// The highest sequence stored of each stream; 0: none.
    highest: HashMap<Stream, u64>,
    next: HashMap<Partition, NextOffset>,
}

/// What became of the batches of a poll.
pub(crate) struct Judged {
    /// Of each whether its sequence was used for other readings.
    pub reused: Vec<bool>,
    /// The highest sequences once the others are stored.
    highest: HashMap<Stream, u64>,
}

impl Used {
    /// Asks `store` what is not remembered.
    pub(crate) fn new(store: Arc<dyn Identities>) -> Self {
        Self { store, highest: HashMap::new(), next: HashMap::new() }
    }

    /// Notes what was read; after a gap in a partition nothing is remembered any more.
    pub(crate) fn follow(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let next = self.next.insert(delivery.partition, NextOffset::after(delivery));
            if next != Some(NextOffset::at(delivery.offset)) {
                self.highest.clear();
            }
        }
    }

    /// Judges batches in the order of the log, each the rows of one record (of one identity). Changes nothing.
    pub(crate) async fn judge(&self, batches: &[Vec<Row>]) -> Result<Judged, store::Error> {
        let stream = |identity: &BatchId| (identity.device, identity.stream);
        let identities = || batches.iter().map(|rows| rows.first().map(|row| row.identity));
        let unknown: HashSet<_> =
            identities().flatten().map(|i| stream(&i)).filter(|stream| !self.highest.contains_key(stream)).collect();
        let unknown: Vec<_> = unknown.into_iter().collect();
        let mut highest: HashMap<Stream, u64> = HashMap::new();
        if !unknown.is_empty() {
            let found = self.store.highest(&unknown).await?;
            highest = unknown.into_iter().zip(found).map(|(stream, found)| (stream, found.unwrap_or(0))).collect();
        }
        let stored = |stream: &Stream| self.highest.get(stream).or_else(|| highest.get(stream)).copied().unwrap_or(0);

        let mut used = self.look_up(batches, stored).await?;
        let mut reused = Vec::with_capacity(batches.len());
        for identity in identities() {
            let Some(identity) = identity else {
                reused.push(false);
                continue;
            };
            let digests = used.entry((stream(&identity), identity.sequence)).or_default();
            if digests.is_empty() {
                digests.push(identity.digest);
            }
            reused.push(!digests.contains(&identity.digest));
        }
        for ((stream, sequence), _) in used {
            let known = highest.entry(stream).or_insert_with(|| self.highest.get(&stream).copied().unwrap_or(0));
            *known = sequence.max(*known);
        }
        Ok(Judged { reused, highest })
    }

    /// Remembers what is about to be stored.
    pub(crate) fn learn(&mut self, judged: Judged) -> Vec<bool> {
        if self.highest.len() + judged.highest.len() > MAX_STREAMS {
            self.highest.clear();
        }
        self.highest.extend(judged.highest);
        judged.reused
    }

    /// The digests stored of those batches whose sequence is not above the highest stored.
    async fn look_up(
        &self,
        batches: &[Vec<Row>],
        stored: impl Fn(&Stream) -> u64,
    ) -> Result<HashMap<(Stream, u64), Vec<u64>>, store::Error> {
        let mut places: HashMap<(Stream, u64), usize> = HashMap::new();
        let mut sought: Vec<Sought> = Vec::new();
        for row in batches.iter().flatten() {
            let BatchId { device, stream, sequence, .. } = row.identity;
            if sequence <= stored(&(device, stream)) {
                let place = *places.entry(((device, stream), sequence)).or_insert_with(|| {
                    sought.push(Sought { device, stream, sequence, near: Vec::new() });
                    sought.len() - 1
                });
                sought[place].near.push((row.patient, row.hour));
            }
        }
        if sought.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.store.digests(&sought).await?;
        let key = |sought: &Sought| ((sought.device, sought.stream), sought.sequence);
        Ok(sought.iter().map(key).zip(found).collect())
    }
}
