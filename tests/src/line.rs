//! A device's end of one stream, and what a caller sees of an error.

use crate::{Bed, builders, wait::PATIENCE, with_token};
use anyhow::{Context, bail, ensure};
use proto::telemetry::v1::{
    Ack, Opened, Reading, Refusal, StreamReadingsRequest, StreamReadingsResponse,
    ingest_service_client::IngestServiceClient, stream_readings_response::Message as Out,
};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

/// Messages that a test may have on their way to the server.
const ON_THE_WAY: usize = 1_024;

/// An open call of `StreamReadings`.
pub struct Line {
    sender: mpsc::Sender<StreamReadingsRequest>,
    answers: Streaming<StreamReadingsResponse>,
}

/// What several `Ack`s said together.
#[derive(Default)]
pub struct Acked {
    /// Sequence of the last acknowledgement.
    pub through: u64,
    /// All refusals, in their order.
    pub refused: Vec<Refusal>,
    /// Readings accepted, those sent before included.
    pub accepted: u64,
    /// Of these, known already.
    pub duplicate: u64,
}

impl Acked {
    fn add(&mut self, ack: Ack) -> anyhow::Result<()> {
        ensure!(ack.through >= self.through, "acknowledgements went back to {} from {}", ack.through, self.through);
        self.through = ack.through;
        self.refused.extend(ack.refused);
        self.accepted += ack.accepted_readings;
        self.duplicate += ack.duplicate_readings;
        Ok(())
    }
}

impl Line {
    /// Calls; nothing is sent yet.
    pub async fn start(mut client: IngestServiceClient<Channel>, token: Option<&str>) -> anyhow::Result<Self> {
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        let requests = ReceiverStream::new(receiver);
        let request = match token {
            Some(token) => with_token(requests, token)?,
            None => Request::new(requests),
        };
        let answers = client.stream_readings(request).await?.into_inner();
        Ok(Self { sender, answers })
    }

    /// Calls and opens as a bed's device.
    pub async fn open(
        client: IngestServiceClient<Channel>,
        token: &str,
        bed: &Bed,
        resume_after: u64,
    ) -> anyhow::Result<(Self, Opened)> {
        Self::start(client, Some(token)).await?.opened(bed, resume_after).await
    }

    /// Opens a call as a bed's device, whoever calls.
    pub async fn opened(mut self, bed: &Bed, resume_after: u64) -> anyhow::Result<(Self, Opened)> {
        self.send(builders::open(bed, resume_after)).await;
        match self.next().await? {
            Some(Out::Opened(opened)) => Ok((self, opened)),
            _ => bail!("not opened"),
        }
    }

    /// Sends one message; one that the server no longer takes is lost, as on a real line.
    pub async fn send(&self, message: StreamReadingsRequest) {
        let _ = self.sender.send(message).await;
    }

    /// Sends a batch under a sequence.
    pub async fn batch(&self, sequence: u64, readings: Vec<Reading>) {
        self.send(builders::batch(sequence, readings)).await;
    }

    /// The next answer; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Out>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("the test waited too long for an answer"))??;
        Ok(answer.and_then(|answer| answer.message))
    }

    /// Whether nothing comes for so long.
    pub async fn is_silent(&mut self, quiet: Duration) -> bool {
        tokio::time::timeout(quiet, self.answers.message()).await.is_err()
    }

    /// Reads until the acknowledgement of `through`.
    pub async fn acked(&mut self, through: u64) -> anyhow::Result<Acked> {
        let mut all = Acked::default();
        while all.through < through {
            match self.next().await?.context("the stream ended before the acknowledgement")? {
                Out::Ack(ack) => all.add(ack)?,
                _ => continue,
            }
        }
        Ok(all)
    }

    /// Waits for the next acknowledgement.
    pub async fn ack(&mut self) -> anyhow::Result<Ack> {
        loop {
            if let Out::Ack(ack) = self.next().await?.context("the stream ended before an acknowledgement")? {
                return Ok(ack);
            }
        }
    }

    /// Ends the device's half and reads what is left: acknowledgements, whether `Draining` came, and the end.
    pub async fn finish(self) -> anyhow::Result<(Acked, bool, Option<Status>)> {
        let Self { sender, answers } = self;
        drop(sender);
        Self::rest(answers).await
    }

    /// As [`Line::finish`], with the device's half left open.
    pub async fn until_end(self) -> anyhow::Result<(Acked, bool, Option<Status>)> {
        let Self { sender, answers } = self;
        let rest = Self::rest(answers).await;
        drop(sender);
        rest
    }

    async fn rest(mut answers: Streaming<StreamReadingsResponse>) -> anyhow::Result<(Acked, bool, Option<Status>)> {
        let (mut all, mut draining) = (Acked::default(), false);
        loop {
            match tokio::time::timeout(PATIENCE, answers.message()).await.context("the stream does not end")? {
                Ok(None) => return Ok((all, draining, None)),
                Err(status) => return Ok((all, draining, Some(status))),
                Ok(Some(answer)) => match answer.message {
                    Some(Out::Ack(ack)) => all.add(ack)?,
                    Some(Out::Draining(_)) => draining = true,
                    _ => {}
                },
            }
        }
    }
}

/// An error as a program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// gRPC status code.
    pub code: Code,
    /// Reason in `ErrorInfo`.
    pub reason: String,
    /// Fields named in `BadRequest.field_violations`.
    pub fields: Vec<String>,
    /// Delay in `RetryInfo`; `None`: there is none.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// Reads the details of a status.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let fields = details.bad_request().map(|bad| bad.field_violations.iter().map(|v| v.field.clone()).collect());
        Self {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            fields: fields.unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }

    /// What came of a call that had to fail.
    pub fn from<T>(outcome: Result<T, Status>) -> anyhow::Result<Self> {
        Ok(Self::of(&outcome.err().context("the call succeeded")?))
    }

    /// Code, reason and the first field at fault.
    pub fn parts(&self) -> (Code, &str, &str) {
        (self.code, &self.reason, self.fields.first().map_or("", String::as_str))
    }
}

/// Index, field and reason of each refusal.
pub fn outlines(refused: &[Refusal]) -> Vec<(Option<u32>, &str, &str)> {
    refused.iter().map(|r| (r.index, r.field.as_str(), r.reason.as_str())).collect()
}
