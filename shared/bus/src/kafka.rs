//! The Kafka log: librdkafka, idempotent, `acks=all`.
//!
//! [`KafkaPublisher`] resolves a receipt with the delivery report and bounds what is in flight by bytes.
//! [`KafkaConsumer`] commits only what its reader says, only forwards, only for partitions that are its own.
//! [`ensure_topic`] and [`ensure_group`] belong to `wardline migrate`. No transactions: what is sent twice lands on
//! itself in the store.

mod admin;
mod assignment;
mod consumer;
mod publisher;
mod settings;
mod thread;
mod trouble;

pub use admin::{GroupProgress, ensure_group, ensure_topic, health};
pub use consumer::KafkaConsumer;
pub use publisher::KafkaPublisher;
pub use settings::{Compression, OffsetReset, Protocol, Security, Settings};

use crate::Error;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The largest payload: a broker takes 1 MiB by default, with key and framing.
pub const MAX_RECORD_BYTES: usize = 1_000_000;
/// What a record in flight costs beside its payload, in bytes: key and bookkeeping, here and in librdkafka.
pub const RECORD_OVERHEAD_BYTES: usize = 256;

/// Settings that librdkafka refuses are `Config`, the rest may pass.
fn client_error(error: KafkaError) -> Error {
    match &error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Error::Config(error.to_string()),
        _ => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => Error::Fatal(error.to_string()),
            _ => Error::Unavailable(Box::new(error)),
        },
    }
}
