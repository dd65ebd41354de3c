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
mod quarantine;
mod sealing;

pub use quarantine::QuarantineDesk;
pub use sealing::HourSealer;

use bus::{Commits, Delivery, Subscribe};
use identity::Used;
use model::{Clock, DeviceId, Nanos, Record, Row, StreamId};
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{Append, Identities, Place, Positions, Quarantine, Quarantined};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How the reason starts for which a batch is put aside whose sequence was used for other readings.
pub const SEQUENCE_REUSED: &str = "SEQUENCE_REUSED";

/// Records of one poll: enough for full CQL batches and one fsync for many, few enough to be quick.
pub const POLL_RECORDS: usize = 4_000;
/// Bytes of one poll; with the rows made from it about three times that in memory, and the next poll beside it.
pub const POLL_BYTES: usize = 8 * 1024 * 1024;
/// How long an idle poll waits.
const POLL_WAIT: Duration = Duration::from_millis(250);
/// How often the positions of streams and the lag are noted: hints, so seldom is good enough.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// First and longest wait before the store or the log is asked again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

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
    seen: HashMap<DeviceId, Nanos>,
    noted: Instant,
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
        let (streams, seen, used) = (HashMap::new(), HashMap::new(), Used::new(identities));
        Self { rows, quarantine, positions, clock, topic, used, streams, seen, noted: Instant::now() }
    }

    /// The topic it reads, where that is not [`bus::READINGS`]: quarantined records are named by it.
    pub fn of_topic(mut self, topic: &str) -> Self {
        self.topic = topic.to_owned();
        self
    }

    /// Runs until `stop`. Fails only when the log's client can never read again.
    ///
    /// While the store takes the rows of one poll, the log commits those before and gives the next.
    pub async fn run(mut self, mut log: Box<dyn Subscribe>, stop: CancellationToken) -> Result<(), bus::Error> {
        let mut wait = RETRY.0;
        // read and not yet durable; durable and not yet committed
        let (mut held, mut durable) = (Vec::new(), Commits::default());
        while !stop.is_cancelled() {
            let ahead = ahead(log.as_mut(), std::mem::take(&mut durable), &stop);
            let (persisted, polled) = tokio::join!(self.persist(&held, &stop), ahead);
            if !persisted {
                break;
            }
            held.iter().for_each(|delivery| durable.add(delivery));
            held.clear();
            match polled {
                Ok(deliveries) => {
                    held = deliveries;
                    wait = RETRY.0;
                }
                Err(error @ (bus::Error::Fatal(_) | bus::Error::Config(_))) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be read; trying again");
                    pause(&mut wait, &stop).await;
                }
            }
            if held.is_empty() {
                // nothing to do beside it
                commit(log.as_mut(), &std::mem::take(&mut durable)).await;
            }
            if self.noted.elapsed() >= NOTE_EVERY {
                self.note(log.as_mut()).await;
            }
        }
        commit(log.as_mut(), &durable).await;
        self.note(log.as_mut()).await;
        Ok(())
    }

    /// Makes all deliveries durable, as rows or in quarantine; `false` when it was stopped before that.
    async fn persist(&mut self, deliveries: &[Delivery], stop: &CancellationToken) -> bool {
        let Some((rows, aside)) = self.sort(deliveries, stop).await else { return false };
        let (store, quarantine) = (Arc::clone(&self.rows), Arc::clone(&self.quarantine));
        let mut read = Commits::default();
        deliveries.iter().for_each(|delivery| read.add(delivery));
        let read: Vec<_> = read.iter().map(|(partition, next)| (partition.0, next.get())).collect();
        let appended = || store.append_through(&rows, &self.topic, &read);
        if !deliveries.is_empty() && until_done(stop, appended).await.is_none() {
            return false;
        }
        for record in &aside {
            if until_done(stop, || quarantine.put_aside(record)).await.is_none() {
                return false;
            }
            metrics::counter!("wardline_writer_quarantined_total").increment(1);
        }
        metrics::counter!("wardline_writer_records_total").increment(deliveries.len() as u64);
        metrics::counter!("wardline_writer_rows_total").increment(rows.len() as u64);
        true
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
                    // a record that nobody can read: somebody should look
                    tracing::error!(partition = delivery.partition.0, offset = delivery.offset, "record put aside");
                    aside.push(self.quarantined(delivery, malformed.to_string()));
                }
            }
        }
        self.used.follow(deliveries);
        let judged = until_done(stop, || self.used.judge(&batches)).await?;
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
        aside.sort_by(|a, b| a.place.cmp(&b.place));
        Some((rows, aside))
    }

    fn quarantined(&self, delivery: &Delivery, reason: String) -> Quarantined {
        let place = Place { topic: self.topic.clone(), partition: delivery.partition.0, offset: delivery.offset };
        let payload = delivery.payload.clone();
        Quarantined { place, at: (self.clock)(), reason, payload, replayed_at: None }
    }

    fn read(&mut self, delivery: &Delivery) -> Result<Vec<Row>, model::Malformed> {
        let record = Record::decode(&delivery.payload)?;
        let (identity, acked) = (record.identity, record.acked_through);
        let seen = self.seen.entry(identity.device).or_insert(Nanos::MIN);
        *seen = record.received_at.max(*seen);
        let rows = record.rows()?;
        if acked > 0 {
            let known = self.streams.entry((identity.device, identity.stream)).or_default();
            *known = acked.max(*known);
        }
        Ok(rows)
    }

    /// Notes how far streams had come, when devices were heard, and how far this writer is behind. Hints: a failure is
    /// only said.
    async fn note(&mut self, log: &mut dyn Subscribe) {
        self.noted = Instant::now();
        if !self.streams.is_empty() {
            let streams: Vec<_> =
                self.streams.drain().map(|((device, stream), acked)| (device, stream, acked)).collect();
            if let Err(error) = self.positions.note(&streams).await {
                tracing::warn!(%error, "positions of streams were not noted");
            }
        }
        let seen: Vec<_> = self.seen.drain().collect();
        if !seen.is_empty()
            && let Err(error) = self.positions.note_seen(&seen).await
        {
            tracing::warn!(%error, "when devices were heard was not noted");
        }
        match log.lag().await {
            Ok(lag) => metrics::gauge!("wardline_writer_lag_records").set(lag as f64),
            Err(error) => tracing::warn!(%error, "the lag is not known"),
        }
    }
}

/// Commits what is durable, then reads on.
async fn ahead(
    log: &mut dyn Subscribe,
    durable: Commits,
    stop: &CancellationToken,
) -> Result<Vec<Delivery>, bus::Error> {
    commit(log, &durable).await;
    tokio::select! {
        polled = log.poll(POLL_RECORDS, POLL_BYTES, POLL_WAIT) => polled,
        () = stop.cancelled() => Ok(Vec::new()),
    }
}

async fn commit(log: &mut dyn Subscribe, durable: &Commits) {
    if durable.is_empty() {
        return;
    }
    if let Err(error) = log.commit(durable).await {
        // what is not committed is read again and lands on itself
        tracing::warn!(%error, "positions were not committed");
    }
}

/// Asks the store until it has done it; `None` when stopped.
async fn until_done<T, F, O>(stop: &CancellationToken, mut ask: F) -> Option<T>
where
    F: FnMut() -> O,
    O: Future<Output = Result<T, store::Error>>,
{
    let mut wait = RETRY.0;
    loop {
        let error = match ask().await {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        metrics::counter!("wardline_writer_retries_total").increment(1);
        tracing::warn!(error = &error as &dyn std::error::Error, "the store did not answer; trying again");
        if stop.is_cancelled() {
            return None;
        }
        pause(&mut wait, stop).await;
    }
}

async fn pause(wait: &mut Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(*wait) => {}
        () = stop.cancelled() => {}
    }
    *wait = (*wait * 2).min(RETRY.1);
}
