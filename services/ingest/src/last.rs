//! `GetLastStream`: where a device stood that has lost its own state.

use crate::{Ingest, Last, Unknown, assigned, device, streams::lock};
use guard::convert;
use proto::{
    problem,
    telemetry::v1::{GetLastStreamRequest, GetLastStreamResponse},
};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

pub(crate) async fn get(
    ingest: &Ingest,
    request: Request<GetLastStreamRequest>,
) -> Result<Response<GetLastStreamResponse>, Status> {
    let permit = device(ingest, request.extensions(), &request.get_ref().device_id)?;
    assigned(&ingest.directory.get(), permit.device(), permit.issued_at())?;
    let last = ingest.positions.last(permit.device()).await.map_err(|Unknown| {
        let text = "what is stored of the device cannot be read; try again";
        problem::unavailable("STORE_UNAVAILABLE", text, Duration::from_secs(1))
    })?;
    let Last { stream, received_at } = last.ok_or_else(|| {
        let text = "no batch of the device is known: begin a stream of its own, with sequence 1";
        problem::status(Code::NotFound, "NO_STREAM", text)
    })?;
    let stored = ingest.positions.stored(permit.device(), stream).await;
    // what this process acknowledged is durable before the store says so
    let proven = ingest.streams.known(permit.device(), stream).map_or(0, |state| lock(&state).proven());
    let last_durable = stored.through.max(proven);
    Ok(Response::new(GetLastStreamResponse {
        stream_id: stream.uuid().to_string(),
        last_durable,
        highest_sequence: stored.highest.max(last_durable),
        received_at: Some(convert::timestamp(received_at)),
    }))
}
