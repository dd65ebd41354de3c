//! The JSON API's port, and how requests come from there to the gateway.

use crate::config::Listen;
use anyhow::Context;
use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, StatusCode},
};
use gateway::{Gateway, TIMEOUT};
use guard::{
    RequestId,
    streams::{TAKEN_WITHIN, end_stream_at},
};
use hyper::body::Incoming;
use listen::{Answers, Fault, Listener, Terms};
use std::sync::Arc;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 64;

/// The API, until `stop` and what is under way then. `guard` is let go of at the very end.
pub(crate) async fn run(
    listener: Listener,
    gateway: Gateway,
    terms: Terms,
    stop: CancellationToken,
    guard: Arc<DropGuard>,
) -> anyhow::Result<()> {
    let terms = Terms { max_streams: terms.max_streams.min(MAX_STREAMS), ..terms };
    listen::serve(listener, terms, Api(gateway), stop).await;
    drop(guard);
    Ok(())
}

/// The gateway behind a port.
#[derive(Clone)]
struct Api(Gateway);

impl Answers for Api {
    type Body = Body;

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        // also what no rpc answers has to be taken in time
        end_stream_at(Instant::now() + TIMEOUT + TAKEN_WITHIN);
        self.0.answer(request).await
    }

    fn refuse(&self, fault: Fault, id: RequestId, headers: &HeaderMap) -> Response<Body> {
        let status = match fault {
            Fault::UrlTooLong(_) => StatusCode::URI_TOO_LONG,
            Fault::TooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Fault::TooManyStreams(_) => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        };
        self.0.refuse((status, fault.reason()), fault.text(), id, headers)
    }
}

/// Binds `server.api_listen`, when there is one.
pub(crate) async fn listen(Listen(address): Listen) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("server.api_listen {address}"))?;
    Ok(Some(listener))
}
