//! The second half of a stream: waits until batches are durable, in order, and says so.

use crate::{
    answer::{Answer, answer},
    metrics::{self, Counts},
    refused::Refused,
    streams::{StreamState, lock},
};
use futures::FutureExt;
use guard::errors;
use proto::{
    problem,
    telemetry::v1::{Ack, Refusal, stream_readings_response::Message as Out},
};
use std::time::Duration;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout},
};
use tonic::Status;

/// One sample of the time to the acknowledgement for each so many batches.
const SAMPLE_EVERY_BATCHES: u64 = 8;

/// A batch on its way from the reader to the acknowledger.
pub(crate) struct Pending {
    sequence: u64,
    /// Whether `sequence` has been dealt with once the receipts are in: not so for a gap.
    advances: bool,
    /// Whether it would be judged the same another time.
    pub(crate) settled: bool,
    pub(crate) receipts: Vec<bus::Receipt>,
    pub(crate) accepted: u64,
    pub(crate) duplicate: u64,
    pub(crate) refused: Refused,
    /// For the refusals, until the device has read them.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// When it came, if it is one of those that are timed.
    since: Option<Instant>,
}

impl Pending {
    /// A batch that came now.
    pub(crate) fn new(sequence: u64) -> Self {
        Self {
            sequence,
            advances: true,
            settled: true,
            receipts: Vec::new(),
            accepted: 0,
            duplicate: 0,
            refused: Refused::default(),
            room: None,
            since: (sequence % SAMPLE_EVERY_BATCHES == 1).then(Instant::now),
        }
    }

    /// Readings that it had; of one that is refused as a whole no more than one.
    pub(crate) fn n_readings(&self) -> usize {
        usize::try_from(self.accepted.saturating_add(self.refused.n())).unwrap_or(usize::MAX)
    }

    /// Refuses the whole batch for its sequence, without counting that as dealt with.
    pub(crate) fn refuse(mut self, reason: &'static str, description: String) -> Self {
        self.advances = false;
        let (sequence, field) = (self.sequence, "sequence".to_owned());
        self.refused.push(reason, || Refusal { sequence, field, description, ..Default::default() });
        self
    }

    /// Waits for the receipts. Dropped half-way it loses none: a receipt leaves only when it is in.
    async fn durable(&mut self) -> Result<(), bus::Error> {
        while let Some(receipt) = self.receipts.last_mut() {
            receipt.await?;
            self.receipts.pop();
        }
        Ok(())
    }
}

/// The channel on which acknowledgements go to the device.
pub(crate) struct Answers {
    pub(crate) to: mpsc::Sender<Box<Answer>>,
    /// A device that reads none for so long has gone.
    pub(crate) stall: Duration,
}

impl Answers {
    /// Waits until the device has read enough of what was said before.
    async fn send(&self, ack: Ack, room: Option<OwnedSemaphorePermit>) -> Result<(), Status> {
        let answer = Answer { _room: room, ..answer(Out::Ack(ack)) };
        match timeout(self.stall, self.to.send(Box::new(answer))).await {
            Ok(sent) => sent.map_err(|_| not_read()),
            Err(_) => Err(not_read()),
        }
    }
}

/// The device does not read what it is answered.
pub(crate) fn not_read() -> Status {
    let text = "nothing of what was answered was read for too long; open the stream again, and read";
    problem::status(tonic::Code::DeadlineExceeded, "ANSWERS_NOT_READ", text)
}

/// Waits for each batch in turn; one `Ack` covers all that are durable by then.
pub(crate) async fn acknowledge(
    mut queue: mpsc::Receiver<Box<Pending>>,
    answers: Answers,
    state: StreamState,
    epoch: u64,
    counts: Counts,
) -> Result<(), Status> {
    let latency = metrics::ack_seconds();
    let mut next = queue.recv().await;
    while let Some(mut pending) = next.take() {
        pending.durable().await.map_err(|error| errors::log(&error))?;
        let mut ack = Ack { through: lock(&state).durable_through(), ..Default::default() };
        let mut room: Option<OwnedSemaphorePermit> = None;
        loop {
            if let Some(since) = pending.since {
                latency.record(since.elapsed().as_secs_f64());
            }
            if pending.advances {
                lock(&state).durable(epoch, pending.sequence, pending.settled);
                ack.through = ack.through.max(pending.sequence);
            }
            counts.add(pending.accepted, pending.duplicate);
            pending.refused.count();
            ack.accepted_readings += pending.accepted;
            ack.duplicate_readings += pending.duplicate;
            ack.refused.append(&mut pending.refused.named);
            ack.refused_more += pending.refused.n_more;
            match (&mut room, pending.room.take()) {
                (Some(room), Some(more)) => room.merge(more),
                (room, more) => *room = room.take().or(more),
            }
            match queue.try_recv() {
                Err(_) => break,
                Ok(mut follower) => match follower.durable().now_or_never() {
                    Some(Ok(())) => pending = follower,
                    Some(Err(error)) => {
                        answers.send(ack, room).await?;
                        return Err(errors::log(&error));
                    }
                    None => {
                        next = Some(follower);
                        break;
                    }
                },
            }
        }
        answers.send(ack, room).await?;
        if next.is_none() {
            next = queue.recv().await;
        }
    }
    Ok(())
}
