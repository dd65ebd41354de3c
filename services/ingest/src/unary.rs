//! `WriteReadings`: one batch, one answer.

use crate::{
    Ingest, assigned, device, digest,
    rates::Over,
    refused::Refused,
    spawn,
    streams::{StreamState, Turn, lock},
};
use guard::errors;
use model::{BatchId, ClockQuality};
use proto::{in_place::ReadingView, problem, salvage::ReceivedWrite, telemetry::v1::WriteReadingsResponse};
use tonic::{Request, Response, Status};

pub(crate) async fn write(
    ingest: &Ingest,
    request: Request<ReceivedWrite>,
) -> Result<Response<WriteReadingsResponse>, Status> {
    let (_, extensions, ReceivedWrite { request, readings, n_bytes }) = request.into_parts();
    let permit = device(ingest, &extensions, &request.device_id)?;
    let mut assigned = assigned(&ingest.directory.get(), permit.device(), permit.issued_at())?;
    let stream = guard::ids::id("stream_id", &request.stream_id)?;
    in_range(request.sequence).map_err(|text| problem::invalid("SEQUENCE_OUT_OF_RANGE", "sequence", text))?;
    if let Some((reason, refusal)) = ingest.judge.refuse_whole(readings.len()) {
        return Err(problem::invalid(reason, &refusal.field, refusal.description));
    }
    let meter = ingest.meters.of(&ingest.directory.get(), permit.device());
    meter.take(readings.len(), n_bytes).map_err(Over::status)?;
    let readings: Vec<_> = readings.iter().map(ReadingView::from).collect();
    let identity =
        BatchId { device: permit.device(), stream, sequence: request.sequence, digest: digest::digest(&readings) };
    let state = ingest.streams.get(identity.device, stream);
    let turn = recall(ingest, &state, &identity).await;
    let clock = clock_quality(request.clock_quality);
    let judged = ingest.judge.judge(&readings, &mut assigned, (clock, (ingest.clock)()));
    let (accepted, settled) = (judged.accepted, judged.settled);
    let mut refused = judged.refused.clone();
    number(&mut refused, identity.sequence);
    let duplicate = match turn {
        Turn::Duplicate => accepted,
        // what cannot be known here the writer decides
        Turn::Publish | Turn::Ask => {
            // in a task of its own: a caller that goes away must not leave the batch half published
            let ingest = ingest.clone();
            let published = spawn(async move {
                for receipt in ingest.publish(identity, judged, clock, 0).await? {
                    receipt.await?;
                }
                if settled {
                    lock(&state).durable_alone(identity.sequence);
                }
                Ok::<(), bus::Error>(())
            });
            let outcome = published.await.map_err(|_| problem::status(tonic::Code::Aborted, "ABORTED", "try again"))?;
            outcome.map_err(|error| errors::log(&error))?;
            0
        }
        _ => {
            let text = "this sequence was used for other readings; give each batch its own number";
            return Err(problem::invalid("SEQUENCE_REUSED", "sequence", text));
        }
    };
    ingest.counts.add(accepted, duplicate);
    refused.count();
    Ok(Response::new(WriteReadingsResponse {
        refused: refused.named,
        accepted_readings: accepted,
        duplicate_readings: duplicate,
        refused_more: refused.n_more,
    }))
}

/// What a single batch is, by memory and by what is stored.
async fn recall(ingest: &Ingest, state: &StreamState, identity: &BatchId) -> Turn {
    let BatchId { device, stream, sequence, digest } = *identity;
    if lock(state).is_unseen() {
        let stored = ingest.positions.stored(device, stream).await;
        lock(state).note(stored);
    }
    let turn = lock(state).recall(sequence, digest);
    if turn != Turn::Ask {
        return turn;
    }
    let stored = ingest.positions.digests(device, stream, sequence).await;
    let mut state = lock(state);
    state.learn(sequence, digest, &stored);
    state.recall(sequence, digest)
}

/// Names the batch in each refusal.
pub(crate) fn number(refused: &mut Refused, sequence: u64) {
    refused.named.iter_mut().for_each(|refusal| refusal.sequence = sequence);
}

/// CQL keeps sequences in 63 bits.
pub(crate) fn in_range(sequence: u64) -> Result<(), &'static str> {
    if sequence == 0 || i64::try_from(sequence).is_err() {
        return Err("sequences count from 1 and stay below 2^63");
    }
    Ok(())
}

pub(crate) fn clock_quality(wire: i32) -> ClockQuality {
    // the wire's numbers are the record's
    u8::try_from(wire).ok().and_then(ClockQuality::from_code).unwrap_or_default()
}
