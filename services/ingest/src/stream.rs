//! `StreamReadings`: batches in, acknowledgements out.
//!
//! Two tasks a stream. The reader judges and publishes; the acknowledger waits for the log, in order, and answers. The
//! queue between them holds [`Limits::max_in_flight`](crate::Limits) batches: when the log is slow the reader waits, and
//! HTTP/2 makes the device wait.

use crate::{
    ANSWERS_WAITING, Ingest, assigned, device, judge, log_failed,
    streams::{Shared, Turn, lock},
    unary::{Counts, clock_quality, in_range, number, stream_id},
};
use futures::FutureExt;
use model::{ClockQuality, DeviceId, Identity, Nanos, StreamId};
use proto::{
    convert, problem,
    telemetry::v1::{
        Ack, Batch, Draining, Limits, Opened, Refusal, StreamReadingsRequest, StreamReadingsResponse, Throttle,
        stream_readings_request::Message as In, stream_readings_response::Message as Out,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long a device should wait before it comes back to a server that is about to stop.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// Credits while the log has no room, and how long to wait before using them.
const THROTTLED_IN_FLIGHT: u32 = 4;
const THROTTLED_WAIT: Duration = Duration::from_millis(100);

type Answer = Result<StreamReadingsResponse, Status>;

/// Reads `Open`, answers `Opened`, and leaves two tasks behind.
pub(crate) async fn open(
    ingest: Ingest,
    request: Request<Streaming<StreamReadingsRequest>>,
) -> Result<Response<<Ingest as crate::ingest_service_server::IngestService>::StreamReadingsStream>, Status> {
    let (_, extensions, mut incoming) = request.into_parts();
    if extensions.get::<model::access::Principal>().is_none() {
        return Err(problem::unauthenticated("NO_TOKEN", "send a device token as `authorization: Bearer ...`"));
    }
    let (answers, outgoing) = mpsc::channel(ANSWERS_WAITING);
    // the head of the answer leaves at once, so that a client may wait for it before it opens
    tokio::spawn(async move {
        let outcome = match Reader::open(ingest, &extensions, &mut incoming, answers.clone()).await {
            Ok(reader) => reader.run(incoming).await,
            Err(status) => Err(status),
        };
        if let Err(status) = outcome {
            // a device that has gone away does not hear it; it will ask again
            let _ = answers.send(Err(status)).await;
        }
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
}

struct Reader {
    ingest: Ingest,
    device: DeviceId,
    stream: StreamId,
    clock: ClockQuality,
    expires_at: Nanos,
    directory: Arc<auth::Directory>,
    assigned: judge::Assigned,
    state: Shared,
    epoch: u64,
    answers: mpsc::Sender<Answer>,
    throttled: bool,
}

/// A batch on its way from the reader to the acknowledger.
struct Pending {
    sequence: u64,
    /// Whether `sequence` has been dealt with once the receipts are in: not so for a gap.
    advances: bool,
    /// Whether it would be judged the same another time.
    settled: bool,
    receipts: Vec<bus::Receipt>,
    accepted: u64,
    duplicate: u64,
    refused: Vec<Refusal>,
    since: Instant,
}

impl Reader {
    async fn open(
        ingest: Ingest,
        extensions: &tonic::Extensions,
        incoming: &mut Streaming<StreamReadingsRequest>,
        answers: mpsc::Sender<Answer>,
    ) -> Result<Self, Status> {
        let first = tokio::time::timeout(ingest.limits.idle, incoming.message()).await;
        let first = first.map_err(|_| idle())?.map_err(|status| unreadable(status, &ingest))?;
        let Some(In::Open(open)) = first.and_then(|request| request.message) else {
            return Err(problem::invalid("OPEN_EXPECTED", "message", "the first message of a stream must be `open`"));
        };
        let permit = device(&ingest, extensions, &open.device_id)?;
        let directory = ingest.directory.get();
        let assigned = assigned(&directory, permit.device())?;
        let (device, stream) = (permit.device(), stream_id(&open.stream_id)?);
        if i64::try_from(open.resume_after).is_err() {
            return Err(problem::invalid("SEQUENCE_OUT_OF_RANGE", "resume_after", "sequences stay below 2^63"));
        }
        let state = ingest.streams.get(device, stream);
        let fresh = lock(&state).is_fresh();
        let stored = if fresh { ingest.positions.durable_through(device, stream).await } else { 0 };
        let (epoch, last_durable) = lock(&state).open(stored.max(open.resume_after));
        let limits = Limits {
            max_in_flight: ingest.limits.max_in_flight,
            max_readings: ingest.limits.max_readings,
            max_message_bytes: ingest.limits.max_message_bytes,
        };
        let opened = Out::Opened(Opened { last_durable, limits: Some(limits) });
        let _ = answers.send(answer(opened)).await;
        let clock = clock_quality(open.clock_quality);
        let expires_at = permit.expires_at();
        Ok(Self {
            ingest,
            device,
            stream,
            clock,
            expires_at,
            directory,
            assigned,
            state,
            epoch,
            answers,
            throttled: false,
        })
    }

    /// Reads until the device ends the stream, the server drains, or something is wrong; then waits for what is under way.
    async fn run(mut self, mut incoming: Streaming<StreamReadingsRequest>) -> Result<(), Status> {
        metrics::gauge!("wardline_ingest_streams").increment(1.0);
        let (pending, queue) = mpsc::channel(self.ingest.limits.max_in_flight as usize);
        let (answers, state, counts) = (self.answers.clone(), Arc::clone(&self.state), self.ingest.counts.clone());
        let acknowledger = tokio::spawn(acknowledge(queue, answers, state, self.epoch, counts));
        let outcome = self.read(&mut incoming, &pending).await;
        drop(pending);
        let acknowledged = acknowledger.await;
        metrics::gauge!("wardline_ingest_streams").decrement(1.0);
        outcome?;
        acknowledged.map_err(|_| problem::status(tonic::Code::Aborted, "ABORTED", "open the stream again"))?
    }

    async fn read(
        &mut self,
        incoming: &mut Streaming<StreamReadingsRequest>,
        pending: &mpsc::Sender<Pending>,
    ) -> Result<(), Status> {
        let left = (self.expires_at.0 - (self.ingest.clock)().0).max(0);
        let token_ends = tokio::time::sleep(Duration::from_nanos(left as u64));
        tokio::pin!(token_ends);
        let drain = self.ingest.drain.clone();
        loop {
            let message = tokio::select! {
                biased;
                message = tokio::time::timeout(self.ingest.limits.idle, incoming.message()) => message,
                () = drain.cancelled() => return self.say_draining().await,
                // the acknowledger stopped: its answer says why
                () = pending.closed() => return Ok(()),
                () = &mut token_ends => return Err(expired()),
            };
            let Some(request) = message.map_err(|_| idle())?.map_err(|status| unreadable(status, &self.ingest))? else {
                return Ok(());
            };
            let Some(In::Batch(batch)) = request.message else {
                return Err(problem::invalid(
                    "BATCH_EXPECTED",
                    "message",
                    "after `open` every message must be `batch`",
                ));
            };
            // a device that sends faster than it is read would otherwise never see the other branches
            if drain.is_cancelled() {
                return self.say_draining().await;
            }
            if (self.ingest.clock)() >= self.expires_at {
                return Err(expired());
            }
            let next = self.take(batch).await?;
            if pending.send(next).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Tells the device to come back, which ends the reading.
    async fn say_draining(&self) -> Result<(), Status> {
        let wait = Some(convert::duration(RECONNECT_AFTER.as_nanos() as i64));
        let _ = self.answers.send(answer(Out::Draining(Draining { reconnect_after: wait }))).await;
        Ok(())
    }

    /// Judges and publishes one batch.
    async fn take(&mut self, batch: Batch) -> Result<Pending, Status> {
        let sequence = batch.sequence;
        let mut pending = Pending {
            sequence,
            advances: true,
            settled: true,
            receipts: Vec::new(),
            accepted: 0,
            duplicate: 0,
            refused: Vec::new(),
            since: Instant::now(),
        };
        if let Err(text) = in_range(sequence) {
            pending.refuse("sequence", "SEQUENCE_OUT_OF_RANGE", text.to_owned());
            return Ok(pending);
        }
        let digest = judge::digest(&batch.readings);
        let turn = lock(&self.state).take(self.epoch, sequence, digest);
        match turn {
            Turn::Publish | Turn::Duplicate => {}
            Turn::Gap { expected } => {
                let text = format!("batches are missing: {expected} must come next; send it, then this one again");
                pending.refuse("sequence", "SEQUENCE_GAP", text);
                return Ok(pending);
            }
            Turn::Reused => {
                let text = "this sequence was used for other readings; start a new stream_id after a loss of state";
                pending.refuse("sequence", "SEQUENCE_REUSED", text.to_owned());
                return Ok(pending);
            }
            Turn::Superseded => {
                let text = "the stream was opened again elsewhere; use one connection a stream";
                return Err(problem::status(tonic::Code::Aborted, "STREAM_SUPERSEDED", text));
            }
        }
        if let Some(refusal) = self.ingest.judge.refuse_whole(&batch.readings) {
            pending.refused.push(Refusal { sequence, ..refusal });
            return Ok(pending);
        }
        self.refresh_assignments()?;
        let mut judged = self.ingest.judge.judge(&batch.readings, &mut self.assigned, (self.ingest.clock)());
        (pending.accepted, pending.settled) = (judged.accepted, judged.settled);
        pending.refused = std::mem::take(&mut judged.refused);
        number(&mut pending.refused, sequence);
        if turn == Turn::Duplicate {
            pending.duplicate = pending.accepted;
            return Ok(pending);
        }
        self.throttle().await;
        let identity = Identity { device: self.device, stream: self.stream, sequence, digest };
        let acked_through = lock(&self.state).durable_through();
        let published = self.ingest.publish(identity, judged, self.clock, acked_through).await;
        pending.receipts = published.map_err(|error| log_failed(&error))?;
        Ok(pending)
    }

    /// Follows the registry: a changed assignment, or a device that was taken out, counts from the next batch on.
    fn refresh_assignments(&mut self) -> Result<(), Status> {
        let directory = self.ingest.directory.get();
        if !Arc::ptr_eq(&directory, &self.directory) {
            self.assigned = assigned(&directory, self.device)?;
            self.directory = directory;
        }
        Ok(())
    }

    /// Tells the device when the log has no room, and when it has again.
    async fn throttle(&mut self) {
        let crowded = !self.ingest.log.has_room();
        if crowded == self.throttled {
            return;
        }
        self.throttled = crowded;
        let (wait, max_in_flight) = if crowded {
            (THROTTLED_WAIT, THROTTLED_IN_FLIGHT)
        } else {
            (Duration::ZERO, self.ingest.limits.max_in_flight)
        };
        let retry_after = Some(convert::duration(wait.as_nanos() as i64));
        let _ = self.answers.send(answer(Out::Throttle(Throttle { retry_after, max_in_flight }))).await;
    }
}

impl Pending {
    /// Refuses the whole batch, without counting its sequence as dealt with.
    fn refuse(&mut self, field: &str, reason: &str, description: String) {
        self.advances = false;
        self.refused.push(Refusal {
            sequence: self.sequence,
            index: None,
            field: field.to_owned(),
            reason: reason.to_owned(),
            description,
        });
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
async fn acknowledge(
    mut queue: mpsc::Receiver<Pending>,
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
            latency.record(pending.since.elapsed().as_secs_f64());
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

fn answer(message: Out) -> Answer {
    Ok(StreamReadingsResponse { message: Some(message) })
}

fn expired() -> Status {
    problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; open the stream again with a new one")
}

fn idle() -> Status {
    problem::status(tonic::Code::DeadlineExceeded, "IDLE", "nothing came for too long; open the stream again")
}

fn unreadable(status: Status, ingest: &Ingest) -> Status {
    problem::unreadable(status, ingest.limits.max_message_bytes as usize)
        .unwrap_or_else(|| problem::status(tonic::Code::Cancelled, "CONNECTION_LOST", "the connection was lost"))
}
