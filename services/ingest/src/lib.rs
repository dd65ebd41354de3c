//! Accept: gRPC in, authorise, judge, publish, acknowledge.
//!
//! The promise to a device: `Ack` means that the log has the batch on durable storage; nothing else does. A bad reading
//! is refused by itself, with field and reason; a batch sent twice lands on itself.
//!
//! What is bounded, and what happens at the bound: batches in flight per stream ([`Limits::max_in_flight`]: the server
//! stops reading, HTTP/2 makes the device wait), bytes in flight in the log (the same, and `Throttle` says so), answers
//! not yet read by the device ([`ANSWERS_WAITING`], and their refusals in bytes, [`WAITING_BYTES`]: acknowledging and reading
//! wait, [`Limits::stall`] at most), refusals written out of a batch ([`NAMED_MAX`]: of more only the number is said), open
//! streams of a device ([`Limits::max_streams`]: one more is refused), stream states in memory
//! (`streams::MAX_STREAMS`: the oldest is forgotten; its batches are published again, which changes nothing), readings and
//! bytes a second of a device and of an organisation ([`Rates`]: a stream is read no faster, and told).
//!
//! What a sequence was used for is decided by what is stored: what memory does not know the store is asked, and what the
//! store does not have yet the writer sorts out.

mod acknowledge;
mod answer;
mod digest;
mod ending;
mod fault;
mod judge;
mod last;
pub mod metrics;
mod other_unit;
mod rates;
mod refused;
mod stream;
mod streams;
mod unary;
pub mod units;
mod value;

pub use rates::{Allowed, Rates};
pub use refused::{NAMED_MAX, WAITING_BYTES};
pub use value::MAX_SAMPLES;

use async_trait::async_trait;
use bus::Publish;
use guard::device;
use model::{
    BatchId, Clock, ClockTolerance, DeviceId, Nanos, PatientId, Record, StreamId,
    access::{Principal, WritePermit},
};
use proto::{
    in_place::{Received, ingest_service_server},
    problem,
    salvage::ReceivedWrite,
    telemetry::v1 as wire,
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

/// Answers waiting for one device to read them: an acknowledgement is small, a device that reads none is stuck.
pub const ANSWERS_WAITING: usize = 16;

/// A task of a request: its log lines are the request's.
fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task.in_current_span())
}

/// Limits of batches and streams.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most batches of one stream that are not yet durable.
    pub max_in_flight: u32,
    /// Most readings of one batch; a larger batch is refused.
    pub max_readings: u32,
    /// Most bytes of one message, after decompression.
    pub max_message_bytes: u32,
    /// A stream on which nothing comes for so long is ended.
    pub idle: Duration,
    /// What was measured further ahead of its receipt is marked, and never newest.
    pub tolerance: ClockTolerance,
    /// Most streams that one device may have open.
    pub max_streams: u32,
    /// A stream whose device reads nothing of what it is answered for so long is ended.
    pub stall: Duration,
    /// Most streams of one connection, as devices are told; the listener counts them.
    pub max_streams_of_connection: u32,
    /// How often a quiet connection is asked whether its peer is there, as devices are told.
    pub keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_readings: 4_096,
            max_message_bytes: 512 * 1024,
            idle: Duration::from_secs(900),
            tolerance: ClockTolerance::default(),
            max_streams: 16,
            stall: Duration::from_secs(30),
            max_streams_of_connection: 128,
            keepalive: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// As devices are told them.
    fn wire(&self) -> wire::Limits {
        let seconds = |length: Duration| u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        wire::Limits {
            max_in_flight: self.max_in_flight,
            max_readings: self.max_readings,
            max_message_bytes: self.max_message_bytes,
            idle_seconds: seconds(self.idle),
            max_streams_of_connection: self.max_streams_of_connection,
            keepalive_seconds: seconds(self.keepalive),
            max_streams_of_device: self.max_streams,
        }
    }
}

/// What is stored of streams; belongs to `ingest`, implemented over the store.
#[async_trait]
pub trait Positions: Send + Sync {
    /// Where a stream had come to. Never fails: without an answer nothing is known, and the device sends again what it has.
    async fn stored(&self, device: DeviceId, stream: StreamId) -> Stored;

    /// The digests of the batches stored under a sequence. Never fails: without an answer there are none, and the writer
    /// decides.
    async fn digests(&self, device: DeviceId, stream: StreamId, sequence: u64) -> Vec<u64>;

    /// The stream that a device used last; `None`: none is known.
    ///
    /// # Errors
    /// There was no answer.
    async fn last(&self, device: DeviceId) -> Result<Option<Last>, Unknown>;
}

/// The stream that a device used last: all of it may lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// The run of sequence numbers in which its last batch came.
    pub stream: StreamId,
    /// When its last batch was received, by our clock.
    pub received_at: Nanos,
}

/// The store did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// What is stored of a stream: all of it may lag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Every batch up to here is durable, or was refused as a whole; 0 when nothing is known.
    pub through: u64,
    /// The highest sequence of which there is anything; 0: none is known.
    pub highest: u64,
}

/// The ingest service. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    log: Arc<dyn Publish>,
    directory: directory::LiveDirectory,
    positions: Arc<dyn Positions>,
    judge: Arc<judge::Judge>,
    streams: Arc<streams::Streams>,
    meters: rates::Meters,
    open: refused::Open,
    limits: Limits,
    clock: Clock,
    drain: CancellationToken,
    counts: metrics::Counts,
}

impl Ingest {
    /// Publishes to `log`; ends its streams with `Draining` when `drain` is cancelled.
    pub fn new(
        log: Arc<dyn Publish>,
        directory: directory::LiveDirectory,
        positions: Arc<dyn Positions>,
        limits: Limits,
        clock: Clock,
        drain: CancellationToken,
    ) -> Self {
        let judge = Arc::new(judge::Judge::new(limits.max_readings, limits.tolerance));
        let (streams, counts) = (Arc::default(), metrics::Counts::default());
        let (open, meters) = (refused::Open::default(), rates::Meters::new(Rates::default()));
        Self { log, directory, positions, judge, streams, open, meters, limits, clock, drain, counts }
    }

    /// The same, and nobody may send more than this.
    pub fn with_rates(self, rates: Rates) -> Self {
        Self { meters: rates::Meters::new(rates), ..self }
    }

    /// The gRPC service, with its message limits set.
    pub fn service(self) -> ingest_service_server::IngestServiceServer<Self> {
        let bytes = self.limits.max_message_bytes as usize;
        ingest_service_server::IngestServiceServer::new(self)
            .max_decoding_message_size(bytes)
            .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
    }

    /// Publishes a judged batch; one receipt for each patient it has readings of.
    async fn publish(
        &self,
        identity: BatchId,
        judged: judge::Judged,
        clock: model::ClockQuality,
        acked_through: u64,
    ) -> Result<Vec<bus::Receipt>, bus::Error> {
        let mut receipts = Vec::with_capacity(judged.parts.len());
        for (patient, slices) in judged.parts {
            let record = Record { patient, identity, received_at: judged.received_at, clock, acked_through, slices };
            let payload = record.encode();
            receipts.push(self.log.publish(bus::Outgoing { key: patient, payload }).await?);
        }
        Ok(receipts)
    }
}

#[async_trait]
impl ingest_service_server::IngestService for Ingest {
    type StreamReadingsStream = Pin<Box<dyn Stream<Item = Result<wire::StreamReadingsResponse, Status>> + Send>>;

    async fn stream_readings(
        &self,
        request: Request<Streaming<Received>>,
    ) -> Result<Response<Self::StreamReadingsStream>, Status> {
        stream::open(self.clone(), request).await
    }

    async fn write_readings(
        &self,
        request: Request<ReceivedWrite>,
    ) -> Result<Response<wire::WriteReadingsResponse>, Status> {
        unary::write(self, request).await
    }

    async fn get_last_stream(
        &self,
        request: Request<wire::GetLastStreamRequest>,
    ) -> Result<Response<wire::GetLastStreamResponse>, Status> {
        last::get(self, request).await
    }
}

/// The device that sends: the request's principal must be it.
fn device(ingest: &Ingest, extensions: &tonic::Extensions, device_id: &str) -> Result<WritePermit, Status> {
    let principal = extensions
        .get::<Principal>()
        .ok_or_else(|| problem::unauthenticated("NO_TOKEN", "send a device token as `authorization: Bearer ...`"))?;
    device::permit(principal, device_id, (ingest.clock)())
}

/// Whose readings the device's are, from when to when.
fn assigned(directory: &directory::Directory, device: DeviceId, issued_at: Nanos) -> Result<judge::Assigned, Status> {
    device::assignments(directory, device, issued_at).map(|held| judge::Assigned::new(held.to_vec()))
}

/// A patient's part of a batch, by hour.
type Part = (PatientId, Vec<model::Slice>);
