//! The unary form, for small devices and backfill: one batch, one answer.

use super::{
    Error, Stream, Tokens,
    retry::{Backoff, Verdict, verdict},
    wire::bearer,
};
use proto::telemetry::v1::{
    Reading, WriteReadingsRequest, WriteReadingsResponse, ingest_service_client::IngestServiceClient,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Status, transport::Channel};

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes single batches, and again while that can help.
pub struct Writer {
    client: IngestServiceClient<Channel>,
    tokens: Tokens,
    stream: Stream,
}

impl Writer {
    /// For one stream of one device; `stream.resume_after` has no meaning here. Connects at the first write.
    pub fn new(channel: Channel, tokens: Tokens, stream: Stream) -> Self {
        Self { client: IngestServiceClient::new(channel), tokens, stream }
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
        let deadline = Instant::now() + patience;
        let message = WriteReadingsRequest {
            device_id: self.stream.device.to_string(),
            stream_id: self.stream.stream.to_string(),
            sequence,
            readings,
            clock_quality: self.stream.clock.into(),
        };
        let mut backoff = Backoff::default();
        let mut has_new_token = false;
        loop {
            let status = match self.attempt(message.clone()).await? {
                Ok(response) => return Ok(response),
                Err(status) => status,
            };
            let verdict = verdict(&status);
            let status = Arc::new(status);
            let wait = match verdict {
                Verdict::Again(asked) => backoff.next(asked),
                Verdict::NewToken if !has_new_token => {
                    has_new_token = true;
                    continue;
                }
                Verdict::NewToken | Verdict::Never => return Err(Error::Refused(status)),
            };
            if Instant::now() + wait >= deadline {
                return Err(Error::Unreachable { waited: patience, last: Some(status) });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, message: WriteReadingsRequest) -> Result<Result<WriteReadingsResponse, Status>, Error> {
        let token = (self.tokens)().map_err(|error| Error::Token(Arc::from(error)))?;
        let mut request = Request::new(message);
        request.set_timeout(ATTEMPT_TIMEOUT);
        let bearer = match bearer(&token) {
            Ok(bearer) => bearer,
            Err(status) => return Ok(Err(status)),
        };
        request.metadata_mut().insert("authorization", bearer);
        Ok(self.client.clone().write_readings(request).await.map(tonic::Response::into_inner))
    }
}
