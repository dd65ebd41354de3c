//! Publishing to Kafka: a non-blocking hand-over to librdkafka, bounded by bytes; receipts from delivery reports.
//!
//! Every failed report means "unknown": the record may be in the log. Sent again it lands on itself in the store.

use super::{
    MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES, Settings, admin, client_error,
    trouble::{Heeds, Trouble},
};
use crate::{Error, Outgoing, Publish, Receipt, metrics::Published};
use async_trait::async_trait;
use rdkafka::{
    ClientContext,
    client::Client,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Message},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, oneshot, watch};

/// A sample of the time to the report for each so many records: one each would cost more than it tells.
const SAMPLE_EVERY_OFFSETS: i64 = 16;
/// Probes that nobody answers before records are refused at once: librdkafka would keep them for a minute, and devices
/// can keep them better. What it has by then may still arrive, and lands on itself when it is sent again.
const SILENT_MAX: u32 = 2;
/// How long dropping a publisher with records in flight waits for their reports; `flush` is the way to end.
const DROP_FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// A producer for one topic. Clones are the same producer.
#[derive(Clone)]
pub struct KafkaPublisher(Arc<Inner>);

struct Inner {
    producer: ThreadedProducer<Reports>,
    room: Arc<Semaphore>,
    settings: Settings,
    /// Probes in a row that nobody answered.
    n_silent: AtomicU32,
    /// Whether these are too many: nobody waits for a report any more.
    away: watch::Sender<bool>,
}

/// Gets the delivery reports.
struct Reports {
    room: Arc<Semaphore>,
    published: Published,
    /// Of the connections.
    trouble: Trouble,
}

/// A record of which no report has come yet.
struct InFlight {
    receipt: oneshot::Sender<Result<(), KafkaError>>,
    cost_bytes: u32,
    since: Instant,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka producer");
        self.trouble.hear(&error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.trouble.hear_log(level, facility, line);
    }
}

impl Heeds for Reports {
    fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

impl admin::Asks for ThreadedProducer<Reports> {
    type Heeds = Reports;

    fn client(&self) -> &Client<Reports> {
        Producer::client(self)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, report: &DeliveryResult<'_>, in_flight: Self::DeliveryOpaque) {
        let outcome = match report {
            Ok(message) => {
                self.published.durable(1, message.payload_len() as u64);
                if message.offset() % SAMPLE_EVERY_OFFSETS == 0 {
                    self.published.took(in_flight.since.elapsed());
                }
                Ok(())
            }
            Err((error, _)) => {
                self.published.failed(1);
                Err(error.clone())
            }
        };
        // Nobody waits any more: the record's fate is the same.
        let _ = in_flight.receipt.send(outcome);
        self.room.add_permits(in_flight.cost_bytes as usize);
    }
}

impl KafkaPublisher {
    /// Makes a producer. Does not wait for the broker: [`KafkaPublisher::health`] does.
    ///
    /// # Errors
    /// `Config` when the settings are wrong.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let room = Arc::new(Semaphore::new(settings.max_in_flight_bytes));
        let reports = Reports { room: room.clone(), published: Published::new(), trouble: Trouble::default() };
        let producer = settings.producer()?.create_with_context(reports).map_err(client_error)?;
        let (n_silent, away) = (AtomicU32::new(0), watch::Sender::new(false));
        Ok(Self(Arc::new(Inner { producer, room, settings, n_silent, away })))
    }

    /// Whether the brokers answer within `limit` and the topic is as the settings say.
    ///
    /// # Errors
    /// `Unavailable` when they do not answer, `Config` when the topic is missing or has other partitions, or a broker
    /// refuses us or TLS.
    pub async fn health(&self, limit: Duration) -> Result<(), Error> {
        let inner = self.0.clone();
        let check = move || admin::check_topic(&inner.producer, &inner.settings, limit);
        tokio::task::spawn_blocking(check).await.map_err(|error| Error::Unavailable(Box::new(error)))?
    }
}

impl Inner {
    fn fatal(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }

    /// What a probe found.
    fn heard(&self, answered: bool) {
        let silent = if answered { 0 } else { self.n_silent.load(Ordering::Relaxed).saturating_add(1) };
        self.n_silent.store(silent, Ordering::Relaxed);
        let away = silent >= SILENT_MAX;
        self.away.send_if_modified(|held| std::mem::replace(held, away) != away);
    }

    /// Waits for something, but not while the brokers are away.
    async fn unless_away<T>(&self, something: impl Future<Output = T>) -> Result<T, Error> {
        let mut away = self.away.subscribe();
        tokio::select! {
            biased;
            done = something => Ok(done),
            _ = away.wait_for(|away| *away) => Err(self.nobody()),
        }
    }

    /// The brokers are away.
    fn nobody(&self) -> Error {
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::AllBrokersDown);
        self.producer.context().trouble.explain_for_now(error)
    }

    fn publish_error(&self, error: KafkaError, bytes: usize) -> Error {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Error::TooLarge { bytes, limit: None },
            Some(RDKafkaErrorCode::Fatal) => Error::Fatal(self.fatal().unwrap_or_else(|| error.to_string())),
            // The cause of a time-out is on the connection; nothing on it explains the others.
            Some(RDKafkaErrorCode::MessageTimedOut) => self.producer.context().trouble.explain_for_now(error),
            // A full queue too: the caller sends the record again.
            _ => Error::Unavailable(Box::new(error)),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.producer.in_flight_count() > 0 && !*self.away.borrow() {
            let _ = self.producer.flush(DROP_FLUSH_LIMIT);
        }
        // librdkafka fails what is left: their receipts say "unavailable", nobody takes them for durable.
        let n_records = self.producer.in_flight_count();
        if n_records > 0 {
            tracing::error!(n_records, "dropping a producer with records in flight");
        }
    }
}

#[async_trait]
impl Publish for KafkaPublisher {
    async fn publish(&self, record: Outgoing) -> Result<Receipt, Error> {
        let inner = &self.0;
        let (bytes, limit) =
            (record.payload.len(), MAX_RECORD_BYTES.min(inner.settings.max_in_flight_bytes - RECORD_OVERHEAD_BYTES));
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit: Some(limit) });
        }
        let since = Instant::now();
        let cost_bytes = (bytes + RECORD_OVERHEAD_BYTES) as u32;
        if *inner.away.borrow() {
            return Err(inner.nobody());
        }
        let Ok(room) = inner.unless_away(inner.room.acquire_many(cost_bytes)).await? else {
            return Err(Error::Fatal("the publisher is closed".into()));
        };
        let (receipt, outcome) = oneshot::channel();
        let in_flight = Box::new(InFlight { receipt, cost_bytes, since });
        let outgoing = BaseRecord::with_opaque_to(&inner.settings.topic, in_flight)
            .key(&record.key.as_bytes()[..])
            .payload(&record.payload[..]);
        match inner.producer.send(outgoing) {
            // Given back with the report.
            Ok(()) => room.forget(),
            Err((error, _)) => return Err(inner.publish_error(error, bytes)),
        }
        let inner = inner.clone();
        Ok(Box::pin(async move {
            match inner.unless_away(outcome).await? {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(inner.publish_error(error, bytes)),
                Err(gone) => Err(Error::Unavailable(Box::new(gone))),
            }
        }))
    }

    fn has_room(&self) -> bool {
        self.0.room.available_permits() > 0
    }

    async fn flush(&self, limit: Duration) -> Result<(), Error> {
        // All the room there is: every report has come then. Others wait meanwhile.
        let all = self.0.room.acquire_many(self.0.settings.max_in_flight_bytes as u32);
        match tokio::time::timeout(limit, self.0.unless_away(all)).await {
            Ok(flushed) => flushed.map(drop),
            Err(elapsed) => Err(Error::Unavailable(Box::new(elapsed))),
        }
    }

    fn fatal(&self) -> Option<String> {
        self.0.fatal()
    }

    async fn probe(&self, limit: Duration) -> Result<(), Error> {
        let found = self.health(limit).await;
        self.0.heard(found.is_ok());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::PatientId;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Nobody listens there.
    fn nowhere() -> KafkaPublisher {
        let settings = Settings { brokers: "127.0.0.1:1".into(), ..Settings::default() };
        KafkaPublisher::open(settings).unwrap()
    }

    fn record() -> Outgoing {
        Outgoing { key: PatientId::from_bytes([1; 16]), payload: bytes::Bytes::from_static(b"a batch") }
    }

    #[tokio::test]
    async fn what_waits_for_brokers_that_are_away_is_refused_and_so_is_what_comes() {
        let log = nowhere();
        let receipt = log.publish(record()).await.unwrap();
        let waiting = tokio::spawn(receipt);
        assert!(log.probe(LIMIT).await.is_err());
        // one silence may be chance
        let receipt = log.publish(record()).await.unwrap();
        assert!(log.probe(LIMIT).await.is_err());
        for refused in [waiting.await.unwrap(), receipt.await, log.publish(record()).await.map(drop)] {
            assert!(matches!(refused, Err(Error::Unavailable(_))));
        }
        // an answer opens it again
        log.0.heard(true);
        assert!(log.publish(record()).await.is_ok());
        // nor does anybody wait for them at the end
        assert!(log.probe(LIMIT).await.is_err() && log.probe(LIMIT).await.is_err());
        assert!(log.flush(Duration::from_secs(60)).await.is_err());
    }
}
