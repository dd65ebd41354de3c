//! Persist: read the log, write the store, then commit.
//!
//! The promise: a position is committed only when every record before it is durable in the store or put aside in
//! quarantine, with reason and original bytes. A crash at any point means that records are read again; rows land on
//! themselves. A batch whose sequence was used for other readings goes into quarantine, too ([`SEQUENCE_REUSED`]). A record
//! that cannot be read never holds up its partition; a store that does not answer does, for as long
//! as it takes.
//!
//! What is bounded: the writer holds two polls ([`POLL_RECORDS`], [`POLL_BYTES`]), one being written and the next.

mod identity;
pub mod metrics;
mod quarantine;
pub mod recovery;
mod sealing;
mod telling;

pub use quarantine::QuarantineRpcs;
pub use sealing::HourSealer;

use async_trait::async_trait;
use bus::{Commits, Delivery, Handle, Pace, Subscribe, consume, until_done};
use identity::Used;
use model::{Clock, DeviceId, Record, Row, StreamId};
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{Append, Identities, LogPosition, Positions, Quarantine, Quarantined, Sighting};
use telling::Waiting;
use tokio_util::sync::CancellationToken;

/// How the reason starts for which a batch is put aside whose sequence was used for other readings.
pub const SEQUENCE_REUSED: &str = "SEQUENCE_REUSED";

/// Records of one poll: enough for full CQL batches and one fsync for many, few enough to be quick.
pub const POLL_RECORDS: usize = 4_000;
/// Bytes of one poll; with the rows made from it about three times that in memory, and the next poll beside it.
pub const POLL_BYTES: usize = 8 * 1024 * 1024;
/// Positions of streams and the lag are noted seldom: hints.
const PACE: Pace = Pace { records: POLL_RECORDS, bytes: POLL_BYTES, note_every: Duration::from_secs(5) };

/// Writes what one subscription delivers.
pub struct Writer {
    rows: Arc<dyn Append>,
    quarantine: Arc<dyn Quarantine>,
    positions: Arc<dyn Positions>,
    clock: Clock,
    topic: String,
    used: Used,
    streams: HashMap<(DeviceId, StreamId), u64>,
    /// When devices were heard since that was noted.
    seen: HashMap<DeviceId, Sighting>,
    waiting: Waiting,
}

impl Writer {
    /// Writes to one store, by its three ways in; asks it what identities were used for.
    pub fn new(
        rows: Arc<dyn Append>,
        quarantine: Arc<dyn Quarantine>,
        positions: Arc<dyn Positions>,
        identities: Arc<dyn Identities>,
        clock: Clock,
    ) -> Self {
        let topic = bus::READINGS.to_owned();
        let (streams, seen, used, waiting) =
            (HashMap::new(), HashMap::new(), Used::new(identities), Waiting::default());
        Self { rows, quarantine, positions, clock, topic, used, streams, seen, waiting }
    }

    /// The topic it reads, where that is not [`bus::READINGS`]: quarantined records are named by it.
    pub fn of_topic(mut self, topic: &str) -> Self {
        self.topic = topic.to_owned();
        self
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// The log's client can never read again.
    pub async fn run(mut self, mut log: Box<dyn Subscribe>, stop: CancellationToken) -> Result<(), bus::Error> {
        // there before the first record is
        metrics::lag_records(log.lag().await.unwrap_or(0));
        // beside it, so that the lag grows while the store does not answer
        let told = telling::tell(self.waiting.clone(), Arc::clone(&self.quarantine), self.clock);
        tokio::select! {
            ended = consume(log, &mut self, PACE, metrics::lag_records, stop) => ended,
            never = told => match never {},
        }
    }

    /// Tells rows from what goes into quarantine; `None` when it was stopped before the store had answered.
    async fn sort(
        &mut self,
        deliveries: &[Delivery],
        stop: &CancellationToken,
    ) -> Option<(Vec<Row>, Vec<Quarantined>)> {
        let (mut batches, mut sources, mut aside) = (Vec::new(), Vec::new(), Vec::new());
        for delivery in deliveries {
            match self.read(delivery) {
                Ok(rows) => {
                    batches.push(rows);
                    sources.push(delivery);
                }
                Err(malformed) => {
                    // a record that nobody can read: somebody should check
                    tracing::error!(partition = delivery.partition.0, offset = delivery.offset, "record put aside");
                    aside.push(self.quarantined(delivery, malformed.to_string()));
                }
            }
        }
        self.waiting.set(batches.iter().flatten().map(|row: &Row| row.received_at).min());
        self.used.follow(deliveries);
        let judged = until_done("store", stop, || self.used.judge(&batches)).await?;
        let mut rows = Vec::with_capacity(batches.len());
        let mut n_reused = 0;
        for ((mut batch, delivery), reused) in batches.into_iter().zip(sources).zip(self.used.learn(judged)) {
            if reused {
                n_reused += 1;
                let text = "the sequence was used for other readings, which are stored";
                aside.push(self.quarantined(delivery, format!("{SEQUENCE_REUSED}: {text}")));
            } else {
                rows.append(&mut batch);
            }
        }
        if n_reused > 0 {
            tracing::warn!(n_reused, "batches put aside whose sequences were used for other readings");
        }
        aside.sort_by(|a, b| a.position.cmp(&b.position));
        Some((rows, aside))
    }

    fn quarantined(&self, delivery: &Delivery, reason: String) -> Quarantined {
        let position =
            LogPosition { topic: self.topic.clone(), partition: delivery.partition.0, offset: delivery.offset };
        let payload = delivery.payload.clone();
        Quarantined { position, at: (self.clock)(), reason, payload, replayed_at: None }
    }

    fn read(&mut self, delivery: &Delivery) -> Result<Vec<Row>, model::Malformed> {
        let record = Record::decode(&delivery.payload)?;
        let (identity, acked) = (record.identity, record.acked_through);
        let seen = Sighting { device: identity.device, at: record.received_at, stream: identity.stream };
        let latest = self.seen.entry(identity.device).or_insert(seen);
        *latest = seen.max(*latest);
        let rows = record.rows()?;
        if acked > 0 {
            let known = self.streams.entry((identity.device, identity.stream)).or_default();
            *known = acked.max(*known);
        }
        Ok(rows)
    }
}

#[async_trait]
impl Handle for Writer {
    /// Makes all deliveries durable, as rows or in quarantine; `false` when it was stopped before that.
    async fn handle(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> bool {
        let Some((rows, aside)) = self.sort(deliveries, stop).await else { return false };
        let (store, quarantine) = (Arc::clone(&self.rows), Arc::clone(&self.quarantine));
        let mut read = Commits::default();
        deliveries.iter().for_each(|delivery| read.add(delivery));
        let read: Vec<_> = read.iter().map(|(partition, next)| (partition.0, next.get())).collect();
        let appended = || store.append_through(&rows, &self.topic, &read);
        if !deliveries.is_empty() && until_done("store", stop, appended).await.is_none() {
            return false;
        }
        for record in &aside {
            if until_done("store", stop, || quarantine.put_aside(record)).await.is_none() {
                return false;
            }
            metrics::quarantined();
        }
        metrics::written(deliveries.len(), rows.len());
        true
    }

    /// Notes how far streams had come, and when devices were heard. Hints: a failure is only said.
    async fn note(&mut self) {
        if !self.streams.is_empty() {
            let streams: Vec<_> =
                self.streams.drain().map(|((device, stream), acked)| (device, stream, acked)).collect();
            if let Err(error) = self.positions.note(&streams).await {
                tracing::warn!(%error, "positions of streams were not noted");
            }
        }
        let seen: Vec<_> = self.seen.drain().map(|(_, sighting)| sighting).collect();
        if !seen.is_empty()
            && let Err(error) = self.positions.note_seen(&seen).await
        {
            tracing::warn!(%error, "when devices were heard was not noted");
        }
    }
}
