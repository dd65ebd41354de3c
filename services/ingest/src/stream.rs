//! `StreamReadings`: batches in, acknowledgements out.
//!
//! Two tasks a stream. The reader judges and publishes; the acknowledger (`acknowledge.rs`) waits for the log, in order,
//! and answers. The queue between them holds [`Limits::max_in_flight`](crate::Limits) batches: when the log is slow the reader waits, and
//! HTTP/2 makes the device wait.

use crate::{
    ANSWERS_WAITING, Ingest,
    acknowledge::{Answers, Pending, acknowledge, not_read},
    answer::{Answer, answer},
    assigned, device, digest,
    ending::{expired, idle, superseded, unreadable},
    judge, metrics,
    rates::{Meter, Over},
    refused::WAITING_BYTES,
    spawn,
    streams::{StreamState, Turn, lock},
    unary::{clock_quality, in_range, number},
};
use futures::future::OptionFuture;
use guard::{convert, errors};
use model::{BatchId, ClockQuality, DeviceId, Nanos, StreamId};
use proto::{
    in_place::{Message, ReadingView, Received},
    problem,
    telemetry::v1::{
        Draining, Opened, Refusal, Throttle, stream_readings_request::Message as In,
        stream_readings_response::Message as Out,
    },
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// How long a device should wait before it comes back to a server that is about to stop.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// Credits while the log has no room, and how long to wait before using them.
const THROTTLED_IN_FLIGHT: u32 = 4;
const THROTTLED_WAIT: Duration = Duration::from_millis(100);
/// How often a quiet stream is checked: whether it is still the device's newest, and the device still registered. With the
/// second until the directory is read again, and some more, within five.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// A device that always has a batch ready is asked to drain after so many.
const DRAIN_CHECK_BATCHES: u64 = 32;

/// Reads `Open`, answers `Opened`, and leaves two tasks behind.
pub(crate) async fn open(
    ingest: Ingest,
    request: Request<Streaming<Received>>,
) -> Result<Response<<Ingest as crate::ingest_service_server::IngestService>::StreamReadingsStream>, Status> {
    let (_, extensions, mut incoming) = request.into_parts();
    let Some(principal) = extensions.get::<model::access::Principal>() else {
        return Err(problem::unauthenticated("NO_TOKEN", "send a device token as `authorization: Bearer ...`"));
    };
    let counted = ingest.open.enter(principal.subject, ingest.limits.max_streams)?;
    // boxed, as batches are on their way to the acknowledger: a channel sets aside 32 places, and a quiet stream needs none
    let (answers, outgoing) = mpsc::channel::<Box<Answer>>(ANSWERS_WAITING);
    let stall = ingest.limits.stall;
    // the head of the answer leaves at once, so that a client may wait for it before it opens
    spawn(async move {
        let opened = Reader::open(ingest, &extensions, &mut incoming, answers.clone()).await;
        // a stream may last for months: what only its beginning needed goes
        drop(extensions);
        let outcome = match opened {
            Ok(reader) => reader.run(incoming).await,
            Err(status) => Err(status),
        };
        if let Err(status) = outcome {
            // a device that has gone away, or does not read, does not hear it; it will ask again
            let _ = timeout(stall, answers.send(Box::new(Answer { message: Err(status), _room: None }))).await;
        }
        drop(counted);
    });
    Ok(Response::new(Box::pin(ReceiverStream::new(outgoing).map(|answer| answer.message))))
}

struct Reader {
    ingest: Ingest,
    device: DeviceId,
    stream: StreamId,
    clock: ClockQuality,
    issued_at: Nanos,
    expires_at: Nanos,
    directory: Arc<directory::Directory>,
    assigned: judge::Assigned,
    state: StreamState,
    epoch: u64,
    answers: mpsc::Sender<Box<Answer>>,
    /// For refusals that the device has not read.
    room: Arc<Semaphore>,
    throttled: bool,
    meter: Meter,
    /// Over a rate: no batch is read before then.
    held_until: Option<Instant>,
}

/// What a batch is after it was judged.
enum Step {
    /// Whether its sequence was used before is not known here.
    Ask { sequence: u64, digest: u64 },
    /// A batch of which nothing is to be published.
    Done(Pending),
    /// A batch with accepted readings, to be published under this identity.
    Publish(Pending, BatchId, judge::Judged),
}

impl Reader {
    async fn open(
        ingest: Ingest,
        extensions: &tonic::Extensions,
        incoming: &mut Streaming<Received>,
        answers: mpsc::Sender<Box<Answer>>,
    ) -> Result<Self, Status> {
        let first = timeout(ingest.limits.idle, incoming.message()).await;
        let first = first.map_err(|_| idle())?.map_err(|status| unreadable(status, &ingest))?;
        let first = first.map(|received| received.read().map(message)).transpose()?.flatten();
        let Some(In::Open(open)) = first else {
            return Err(problem::invalid("OPEN_EXPECTED", "message", "the first message of a stream must be `open`"));
        };
        let permit = device(&ingest, extensions, &open.device_id)?;
        let directory = ingest.directory.get();
        let assigned = assigned(&directory, permit.device(), permit.issued_at())?;
        let (device, stream) = (permit.device(), guard::ids::id("stream_id", &open.stream_id)?);
        if i64::try_from(open.resume_after).is_err() {
            return Err(problem::invalid("SEQUENCE_OUT_OF_RANGE", "resume_after", "sequences stay below 2^63"));
        }
        let state = ingest.streams.get(device, stream);
        // each time: the stream may have been elsewhere meanwhile
        let stored = ingest.positions.stored(device, stream).await;
        let (epoch, last_durable) = lock(&state).open(stored, open.resume_after);
        let opened = Out::Opened(Opened { last_durable, limits: Some(ingest.limits.wire()) });
        let _ = answers.send(Box::new(answer(opened))).await;
        let clock = clock_quality(open.clock_quality);
        let (issued_at, expires_at) = (permit.issued_at(), permit.expires_at());
        let meter = ingest.meters.of(&directory, device);
        Ok(Self {
            ingest,
            device,
            stream,
            clock,
            issued_at,
            expires_at,
            directory,
            assigned,
            state,
            epoch,
            answers,
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            throttled: false,
            meter,
            held_until: None,
        })
    }

    /// Reads until the device ends the stream, the server drains, or something is wrong; then waits for what is under way.
    async fn run(mut self, mut incoming: Streaming<Received>) -> Result<(), Status> {
        let _open = metrics::OpenStream::new();
        let (pending, queue) = mpsc::channel(self.ingest.limits.max_in_flight as usize);
        let answers = Answers { to: self.answers.clone(), stall: self.ingest.limits.stall };
        let (state, counts) = (Arc::clone(&self.state), self.ingest.counts.clone());
        let acknowledger = spawn(acknowledge(queue, answers, state, self.epoch, counts));
        let outcome = self.read(&mut incoming, &pending).await;
        drop(pending);
        let acknowledged = acknowledger.await;
        outcome?;
        acknowledged.map_err(|_| problem::status(tonic::Code::Aborted, "ABORTED", "open the stream again"))?
    }

    async fn read(
        &mut self,
        incoming: &mut Streaming<Received>,
        pending: &mpsc::Sender<Box<Pending>>,
    ) -> Result<(), Status> {
        let drain = self.ingest.drain.clone();
        let (mut drained, mut gone) = (pin!(drain.cancelled()), pin!(pending.closed()));
        let (mut n_heard, mut n_heard_before, mut quiet_since) = (0u64, 0, Instant::now());
        let mut check = pin!(sleep_until(self.next_check(quiet_since)));
        loop {
            let held = OptionFuture::from(self.held_until.map(sleep_until));
            let message = tokio::select! {
                biased;
                Some(()) = held => {
                    self.held_until = None;
                    continue;
                }
                message = incoming.message(), if self.held_until.is_none() => message,
                () = &mut drained => return self.say_draining().await,
                // the acknowledger stopped: its answer says why
                () = &mut gone => return Ok(()),
                () = &mut check => {
                    // who is held cannot be heard
                    if n_heard != n_heard_before || self.held_until.is_some() {
                        (n_heard_before, quiet_since) = (n_heard, Instant::now());
                    }
                    self.check_quiet(quiet_since)?;
                    check.as_mut().reset(self.next_check(quiet_since));
                    continue;
                }
            };
            let Some(received) = message.map_err(|status| unreadable(status, &self.ingest))? else {
                return Ok(());
            };
            n_heard += 1;
            // a device that sends faster than it is read would otherwise never see the other branches
            if n_heard.is_multiple_of(DRAIN_CHECK_BATCHES) && drain.is_cancelled() {
                return self.say_draining().await;
            }
            let n_bytes = received.n_bytes();
            let mut next = self.take(received).await?;
            self.hold(self.meter.count(next.n_readings(), n_bytes)).await;
            next.room = self.room_for(next.refused.n_bytes()).await?;
            if pending.send(Box::new(next)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Waits until the device has read enough of what was refused before.
    async fn room_for(&self, n_bytes: u32) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if n_bytes == 0 {
            return Ok(None);
        }
        let room = Arc::clone(&self.room).acquire_many_owned(n_bytes);
        tokio::select! {
            room = timeout(self.ingest.limits.stall, room) => room.ok().and_then(Result::ok).map(Some).ok_or_else(not_read),
            () = self.answers.closed() => Err(not_read()),
        }
    }

    /// When to check a stream next of which nothing was heard since then.
    fn next_check(&self, quiet_since: Instant) -> Instant {
        // not when its token ends: how long that is by the clock, which may be put back, is no time to wait
        (Instant::now() + CHECK_EVERY).min(quiet_since + self.ingest.limits.idle)
    }

    /// Whether a quiet stream may stay: what a batch would be told otherwise, when it comes.
    fn check_quiet(&mut self, quiet_since: Instant) -> Result<(), Status> {
        if (self.ingest.clock)() >= self.expires_at {
            return Err(expired());
        }
        if quiet_since.elapsed() >= self.ingest.limits.idle {
            return Err(idle());
        }
        if !lock(&self.state).is_current(self.epoch) {
            return Err(superseded());
        }
        self.refresh_assignments()
    }

    /// Tells the device to come back, which ends the reading.
    async fn say_draining(&self) -> Result<(), Status> {
        let wait = Some(convert::duration(RECONNECT_AFTER.as_nanos() as i64));
        let _ = self.answers.send(Box::new(answer(Out::Draining(Draining { reconnect_after: wait })))).await;
        Ok(())
    }

    /// Judges and publishes one batch.
    async fn take(&mut self, received: Received) -> Result<Pending, Status> {
        let mut step = self.judge(&received)?;
        if let Step::Ask { sequence, digest } = step {
            let stored = self.ingest.positions.digests(self.device, self.stream, sequence).await;
            lock(&self.state).learn(sequence, digest, &stored);
            step = self.judge(&received)?;
        }
        match step {
            // what was just learnt could only be forgotten again by more batches at once than one connection has
            Step::Ask { .. } => Err(problem::status(tonic::Code::Aborted, "ABORTED", "open the stream again")),
            Step::Done(pending) => Ok(pending),
            Step::Publish(mut pending, identity, judged) => {
                // the bytes it was read from are the transport's again
                drop(received);
                self.throttle().await;
                let acked_through = lock(&self.state).proven();
                let published = self.ingest.publish(identity, judged, self.clock, acked_through).await;
                pending.receipts = published.map_err(|error| errors::log(&error))?;
                Ok(pending)
            }
        }
    }

    fn judge(&mut self, received: &Received) -> Result<Step, Status> {
        let now = (self.ingest.clock)();
        if now >= self.expires_at {
            return Err(expired());
        }
        match received.read()? {
            Message::Batch { sequence, readings } => self.judge_batch(sequence, &readings, now),
            Message::Damaged { sequence, readings } => {
                let readings: Vec<_> = readings.iter().map(ReadingView::from).collect();
                self.judge_batch(sequence, &readings, now)
            }
            Message::Other(request) => {
                let Some(In::Batch(batch)) = request.message else {
                    let text = "after `open` every message must be `batch`";
                    return Err(problem::invalid("BATCH_EXPECTED", "message", text));
                };
                let readings: Vec<_> = batch.readings.iter().map(ReadingView::from).collect();
                self.judge_batch(batch.sequence, &readings, now)
            }
        }
    }

    fn judge_batch(&mut self, sequence: u64, readings: &[ReadingView<'_>], now: Nanos) -> Result<Step, Status> {
        let mut pending = Pending::new(sequence);
        if let Err(text) = in_range(sequence) {
            return Ok(Step::Done(pending.refuse("SEQUENCE_OUT_OF_RANGE", text.to_owned())));
        }
        let digest = digest::digest(readings);
        let turn = lock(&self.state).take(self.epoch, sequence, digest);
        match turn {
            Turn::Publish | Turn::Duplicate => {}
            Turn::Ask => return Ok(Step::Ask { sequence, digest }),
            Turn::Gap { expected } => {
                let text = format!("batches are missing: {expected} must come next; send it, then this one again");
                return Ok(Step::Done(pending.refuse("SEQUENCE_GAP", text)));
            }
            Turn::Reused => {
                let text = "this sequence was used for other readings; start a new stream_id after a loss of state";
                return Ok(Step::Done(pending.refuse("SEQUENCE_REUSED", text.to_owned())));
            }
            Turn::Superseded => return Err(superseded()),
        }
        if let Some((reason, refusal)) = self.ingest.judge.refuse_whole(readings.len()) {
            pending.refused.push(reason, || Refusal { sequence, ..refusal });
            return Ok(Step::Done(pending));
        }
        self.refresh_assignments()?;
        let mut judged = self.ingest.judge.judge(readings, &mut self.assigned, (self.clock, now));
        (pending.accepted, pending.settled) = (judged.accepted, judged.settled);
        pending.refused = std::mem::take(&mut judged.refused);
        number(&mut pending.refused, sequence);
        if turn == Turn::Duplicate {
            pending.duplicate = pending.accepted;
            return Ok(Step::Done(pending));
        }
        let identity = BatchId { device: self.device, stream: self.stream, sequence, digest };
        Ok(Step::Publish(pending, identity, judged))
    }

    /// Follows the registry: a changed assignment, or a device that was taken out, counts from the next batch on.
    fn refresh_assignments(&mut self) -> Result<(), Status> {
        let directory = self.ingest.directory.get();
        if !Arc::ptr_eq(&directory, &self.directory) {
            self.assigned = assigned(&directory, self.device, self.issued_at)?;
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
        self.say_throttle(if crowded { THROTTLED_WAIT } else { Duration::ZERO }).await;
    }

    /// Reads no more of a device that is over its rate, and tells it, until it may go on.
    async fn hold(&mut self, counted: Result<(), Over>) {
        if let Err(over) = counted {
            self.held_until = Some(Instant::now() + over.wait);
            self.throttled = true;
            metrics::held();
            self.say_throttle(over.wait).await;
        }
    }

    /// Gives credits: few, to be used after `wait`; or, without one, all.
    async fn say_throttle(&self, wait: Duration) {
        let max_in_flight = if wait.is_zero() { self.ingest.limits.max_in_flight } else { THROTTLED_IN_FLIGHT };
        let retry_after = Some(convert::duration(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)));
        let _ = self.answers.send(Box::new(answer(Out::Throttle(Throttle { retry_after, max_in_flight })))).await;
    }
}

/// The request in a message that is no batch, or an unusual one.
fn message(message: Message<'_>) -> Option<In> {
    match message {
        Message::Other(request) => request.message,
        Message::Batch { .. } | Message::Damaged { .. } => None,
    }
}
