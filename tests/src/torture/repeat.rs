//! Batches sent again after they were acknowledged: by a unary call, or over another stream that claims to know less.

use super::{
    content::Content,
    load::{Device, QUIET_LIMIT},
};
use crate::{builders, with_token};
use anyhow::Context;
use client::Writer;
use proto::telemetry::v1::{
    StreamReadingsResponse, ingest_service_client::IngestServiceClient, stream_readings_response::Message,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::VecDeque, time::Duration};
use tokio::time::timeout;
use tonic::Streaming;

/// One repetition in so many goes over a stream of its own, which takes the stream away from the device.
const STREAMS_ONE_IN: u32 = 40;
/// Half of the repetitions wait behind so many others: some seconds, so that the node has forgotten them by then.
const HELD: usize = 16;
/// How long such a stream may take: whatever stops it is not its subject.
const STREAM_LIMIT: Duration = Duration::from_secs(5);

/// Sends again what one device is told to.
pub struct Repeater {
    device: Device,
    content: Content,
    writer: Writer,
    rng: StdRng,
    done: Repeated,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Repeated {
    /// By unary calls, and over another stream.
    pub n_repeated: [u64; 2],
    /// Anything that must not be.
    pub violations: Vec<String>,
}

impl Repeater {
    /// Repeats batches of one device.
    pub fn new(device: Device, content: Content, seed: u64) -> Self {
        let writer = Writer::new(device.channel.clone(), device.tokens.clone(), device.stream(0));
        let rng = StdRng::seed_from_u64(!seed ^ u64::from(device.number));
        Self { device, content, writer, rng, done: Repeated::default() }
    }

    /// Until there is nothing more to repeat.
    pub async fn run(mut self, mut queue: tokio::sync::mpsc::Receiver<u64>) -> Repeated {
        let mut held = VecDeque::with_capacity(HELD);
        while let Some(sequence) = queue.recv().await {
            if self.rng.random_ratio(1, 2) {
                self.repeat(sequence).await;
            } else if held.len() < HELD {
                held.push_back(sequence);
            } else if let Some(oldest) = held.pop_front() {
                held.push_back(sequence);
                self.repeat(oldest).await;
            }
        }
        for sequence in held {
            self.repeat(sequence).await;
        }
        self.done
    }

    async fn repeat(&mut self, sequence: u64) {
        let over_stream = self.rng.random_ratio(1, STREAMS_ONE_IN);
        // a stream may be cut by a kill or by the device itself; a call is tried again until it is through
        if over_stream && matches!(timeout(STREAM_LIMIT, self.stream(sequence)).await, Ok(Ok(()))) {
            self.done.n_repeated[1] += 1;
        } else {
            self.call(sequence).await;
        }
    }

    fn violation(&mut self, text: String) {
        self.done.violations.push(format!("device {}: {text}", self.device.number));
    }

    async fn call(&mut self, sequence: u64) {
        let readings = self.content.readings(self.device.number, sequence, false);
        match self.writer.write(sequence, readings, QUIET_LIMIT).await {
            Ok(answer) if answer.accepted_readings == u64::from(self.content.batch) && answer.refused.is_empty() => {
                self.done.n_repeated[0] += 1;
            }
            Ok(answer) => {
                let n_accepted = answer.accepted_readings;
                self.violation(format!(
                    "batch {sequence} again: {n_accepted} accepted, {} refused",
                    answer.refused.len()
                ));
            }
            Err(error) => self.violation(format!("batch {sequence} again: {error}")),
        }
    }

    async fn stream(&mut self, sequence: u64) -> anyhow::Result<()> {
        let (device, number) = (&self.device, self.device.number);
        let batch = builders::batch(sequence, self.content.readings(number, sequence, false));
        let messages = tokio_stream::iter([builders::open(&device.bed, sequence - 1), batch]);
        let request = with_token(messages, &(device.tokens)().map_err(anyhow::Error::from_boxed)?)?;
        let mut client = IngestServiceClient::new(device.channel.clone());
        let mut answers = client.stream_readings(request).await?.into_inner();
        // less than was claimed is the truth of a store that lags; the batch must be taken all the same, which is seen below
        let Some(Message::Opened(_)) = next(&mut answers).await? else { anyhow::bail!("not opened") };
        while let Some(message) = next(&mut answers).await? {
            let Message::Ack(ack) = message else { continue };
            if let Some(refusal) = ack.refused.first() {
                self.violation(format!("batch {sequence} on another stream: {}", refusal.reason));
            }
            if ack.through >= sequence {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended before the batch was acknowledged")
    }
}

async fn next(answers: &mut Streaming<StreamReadingsResponse>) -> anyhow::Result<Option<Message>> {
    answers.message().await?.map(|answer| answer.message.context("an empty message")).transpose()
}
