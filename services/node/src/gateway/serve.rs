//! Connections of the API: HTTP/1.1 and HTTP/2 on one port, with limits, drained on a stop.

use super::{Gateway, TIMEOUT};
use crate::{
    accept::Door,
    run::{MAX_HEADER_LIST_BYTES, MAX_RESETS},
};
use anyhow::Context;
use futures::{Stream, StreamExt};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use serde::Deserialize;
use std::{
    convert::Infallible,
    net::{AddrParseError, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::Connected;

/// Buffer of an HTTP/1.1 connection, and so the largest head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 64;

/// `server.api_listen`: an address, or an empty text for none.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub Option<SocketAddr>);

impl TryFrom<String> for Listen {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        Ok(Self(if text.is_empty() { None } else { Some(text.parse()?) }))
    }
}

/// The API, until `stop`; what is under way then has nearly `drain` to end, so that a
/// caller that never ends its request does not make the whole node late. `guard` is let go of at the very end.
pub(crate) async fn run(
    door: Door,
    gateway: Gateway,
    drain: Duration,
    stop: CancellationToken,
    guard: Arc<DropGuard>,
) -> anyhow::Result<()> {
    let served = serve(door.connections(), gateway, drain.mul_f64(0.75), stop).await;
    drop(guard);
    served.context("JSON API")
}

/// Binds `server.api_listen`, when there is one.
pub(crate) async fn listen(Listen(address): Listen) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("server.api_listen {address}"))?;
    Ok(Some(listener))
}

/// Serves until `stop`; then what is under way has `grace` to end.
async fn serve<C>(
    incoming: impl Stream<Item = Result<C, Infallible>>,
    gateway: Gateway,
    grace: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let mut open = JoinSet::new();
    {
        let mut incoming = pin!(incoming);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = open.join_next() => said(ended),
                next = incoming.next() => match next {
                    Some(Ok(connection)) => {
                        open.spawn(one(connection, gateway.clone(), grace, stop.clone()));
                    }
                    None => break,
                },
            }
        }
    }
    while let Some(ended) = open.join_next().await {
        said(ended);
    }
    Ok(())
}

fn said(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "a connection of the API panicked");
    }
}

async fn one<C>(connection: C, gateway: Gateway, grace: Duration, stop: CancellationToken)
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let caller = connection.connect_info();
    let begun = Arc::new(AtomicBool::new(false));
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        begun.store(true, Ordering::Release);
        // who is at the other end, for the gate
        request.extensions_mut().insert(caller.clone());
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(Some(MAX_RESETS.0))
        .max_local_error_reset_streams(Some(MAX_RESETS.1))
        .keep_alive_interval(Some(TIMEOUT))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    // until the first request nothing in it looks at the clock
    let silent = async {
        sleep(TIMEOUT).await;
        if begun.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        // how a client's connection ends is the client's business
        _ = serving.as_mut() => return,
        () = silent => return,
        () = stop.cancelled() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(grace, serving).await;
}
