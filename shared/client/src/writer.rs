//! The unary form, for small devices and backfill: one batch, one answer.

use super::{Connection, Error, Repeat, Stream, Tokens, call};
use proto::telemetry::v1::{
    GetLastStreamRequest, GetLastStreamResponse, Reading, WriteReadingsRequest, WriteReadingsResponse,
    ingest_service_client::IngestServiceClient,
};
use std::time::Duration;
use tonic::Request;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes single batches, and again while that can help; asks where the device stood.
pub struct Writer {
    client: IngestServiceClient<Connection>,
    stream: Stream,
}

impl Writer {
    /// For one stream of one device; `stream.resume_after` has no meaning here. Connects at the first write.
    pub fn new(connection: impl Into<Connection>, tokens: Tokens, stream: Stream) -> Self {
        Self { client: IngestServiceClient::new(connection.into().with_tokens(tokens)), stream }
    }

    /// Writes one batch; it is durable when this returns. Tries again for up to `patience`.
    ///
    /// # Errors
    /// [`Error::Refused`] when trying again would not help, [`Error::Unreachable`] after `patience`.
    pub async fn write(
        &self,
        sequence: u64,
        readings: Vec<Reading>,
        patience: Duration,
    ) -> Result<WriteReadingsResponse, Error> {
        let message = WriteReadingsRequest {
            device_id: self.stream.device.to_string(),
            stream_id: self.stream.stream.to_string(),
            sequence,
            readings,
            clock_quality: self.stream.clock.into(),
        };
        call(Repeat::Always, patience, || {
            let (mut client, mut request) = (self.client.clone(), Request::new(message.clone()));
            request.set_timeout(ATTEMPT_TIMEOUT);
            async move { client.write_readings(request).await }
        })
        .await
    }

    /// Where the device's last stream stood, whichever that was: for a device that has lost its state. Tries again for up to
    /// `patience`.
    ///
    /// # Errors
    /// [`Error::Refused`] when trying again would not help: with `NOT_FOUND` where no stream of the device is known;
    /// [`Error::Unreachable`] after `patience`.
    pub async fn last_stream(&self, patience: Duration) -> Result<GetLastStreamResponse, Error> {
        let message = GetLastStreamRequest { device_id: self.stream.device.to_string() };
        call(Repeat::Always, patience, || {
            let (mut client, mut request) = (self.client.clone(), Request::new(message.clone()));
            request.set_timeout(ATTEMPT_TIMEOUT);
            async move { client.get_last_stream(request).await }
        })
        .await
    }
}
