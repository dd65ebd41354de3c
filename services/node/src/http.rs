//! The internal port: `/metrics`, `/live`, `/ready`. Liveness never depends on the log or the store.
//!
//! What is bounded: `MAX_CONNECTIONS` (for itself: who fills the other ports does not silence the probes), and an answer's
//! time (`TIMEOUT`); the rest as on every port (the crate `listen`).

use crate::{metrics::Metrics, ready::Ready};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use guard::RequestId;
use hyper::body::Incoming;
use listen::{Answers, Fault, Listener, Terms};
use std::{convert::Infallible, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

/// Connections of this port: probes and a few scrapers.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and then the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the internal port until `stop`.
pub(crate) async fn serve(listener: Listener, terms: Terms, metrics: Metrics, ready: Ready, stop: CancellationToken) {
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(is_ready))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state(ready);
    let terms = Terms { head: TIMEOUT, ..terms };
    listen::serve(listener, terms, Internal(routes), stop).await;
}

/// What the port serves.
#[derive(Clone)]
struct Internal(Router);

impl Answers for Internal {
    type Body = Body;

    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        match tokio::time::timeout(TIMEOUT, self.0.call(request)).await {
            Ok(answered) => answered.unwrap_or_else(|never: Infallible| match never {}),
            Err(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
        }
    }

    fn refuse(&self, fault: Fault, _: RequestId, _: &HeaderMap) -> Response<Body> {
        (StatusCode::BAD_REQUEST, fault.text() + "\n").into_response()
    }
}

async fn is_ready(State(ready): State<Ready>) -> (StatusCode, String) {
    let status = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, ready.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use listen::{Admission, tls::Speaks};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::Instant,
    };

    async fn serving() -> (std::net::SocketAddr, CancellationToken) {
        let config = Config::load(&Default::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let admission = Admission::new(config.limits(1)).apart(2);
        let listener = Listener::new(listener, None, Speaks::Http, &admission);
        let metrics = Metrics::of(&[]).unwrap();
        tokio::spawn(serve(listener, config.terms(), metrics, Ready::new(&[]), stop.clone()));
        (address, stop)
    }

    async fn said(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_its_head_is_closed_and_there_is_room_for_a_few_only() {
        let (address, _stop) = serving().await;
        let began = Instant::now();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /live HTTP/1.1\r\nhost").await.unwrap();
        // kept, and then silent
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /live HTTP/1.1\r\nhost: w\r\n\r\n").await.unwrap();
        let mut answer = [0; 64];
        let n_bytes = kept.read(&mut answer).await.unwrap();
        assert!(answer[..n_bytes].starts_with(b"HTTP/1.1 200"));
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET /live HTTP/1.1\r\nhost: w\r\n\r\n").await.unwrap();
        assert!(said(third).await.starts_with("HTTP/1.1 503"));
        assert!(!said(slow).await.contains("200"));
        said(kept).await;
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    }
}
