//! The second half of a stream: waits until batches are durable, in order, and says so.

use crate::{
    log_failed,
    stream::{Answer, answer},
    streams::{Shared, lock},
    unary::Counts,
};
use futures::FutureExt;
use proto::telemetry::v1::{Ack, Refusal, stream_readings_response::Message as Out};
use tokio::{sync::mpsc, time::Instant};
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
    pub(crate) refused: Vec<Refusal>,
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
            refused: Vec::new(),
            since: (sequence % SAMPLE_EVERY_BATCHES == 1).then(Instant::now),
        }
    }

    /// Readings that it had; of one that is refused as a whole no more than one.
    pub(crate) fn n_readings(&self) -> usize {
        usize::try_from(self.accepted).unwrap_or(usize::MAX).saturating_add(self.refused.len())
    }

    /// Refuses the whole batch for its sequence, without counting that as dealt with.
    pub(crate) fn refuse(mut self, reason: &str, description: String) -> Self {
        self.advances = false;
        self.refused.push(Refusal {
            sequence: self.sequence,
            index: None,
            field: "sequence".to_owned(),
            reason: reason.to_owned(),
            description,
        });
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

/// Waits for each batch in turn; one `Ack` covers all that are durable by then.
pub(crate) async fn acknowledge(
    mut queue: mpsc::Receiver<Box<Pending>>,
    answers: mpsc::Sender<Answer>,
    state: Shared,
    epoch: u64,
    counts: Counts,
) -> Result<(), Status> {
    let latency = metrics::histogram!("wardline_ingest_ack_seconds");
    let mut next = queue.recv().await;
    while let Some(mut pending) = next.take() {
        pending.durable().await.map_err(|error| log_failed(&error))?;
        let mut ack = Ack { through: lock(&state).durable_through(), ..Default::default() };
        loop {
            if let Some(since) = pending.since {
                latency.record(since.elapsed().as_secs_f64());
            }
            if pending.advances {
                lock(&state).durable(epoch, pending.sequence, pending.settled);
                ack.through = ack.through.max(pending.sequence);
            }
            counts.add(pending.accepted, pending.duplicate, &pending.refused);
            ack.accepted_readings += pending.accepted;
            ack.duplicate_readings += pending.duplicate;
            ack.refused.append(&mut pending.refused);
            match queue.try_recv() {
                Err(_) => break,
                Ok(mut follower) => match follower.durable().now_or_never() {
                    Some(Ok(())) => pending = follower,
                    Some(Err(error)) => {
                        let _ = answers.send(answer(Out::Ack(ack))).await;
                        return Err(log_failed(&error));
                    }
                    None => {
                        next = Some(follower);
                        break;
                    }
                },
            }
        }
        if answers.send(answer(Out::Ack(ack))).await.is_err() {
            return Ok(());
        }
        if next.is_none() {
            next = queue.recv().await;
        }
    }
    Ok(())
}
