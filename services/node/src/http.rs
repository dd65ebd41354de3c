//! The internal port: `/metrics`, `/live`, `/ready`. Liveness never looks at the log or the store.
//!
//! What is bounded: [`MAX_CONNECTIONS`] (for itself: who fills the other ports does not silence the probes), and an answer's
//! time ([`TIMEOUT`]); the rest as on every port ([`serving`]).

use crate::accept::{
    Door,
    head::Fault,
    serving::{self, Answers, Terms},
};
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, Response, StatusCode},
    response::IntoResponse,
    routing::get,
};
use hyper::body::Incoming;
use metrics_exporter_prometheus::PrometheusHandle;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;

/// Connections of this port: probes and a few scrapers.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, and then the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the node wants work: set when everything has started, cleared when it drains.
#[derive(Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(door: Door, terms: Terms, metrics: PrometheusHandle, ready: Ready, stop: CancellationToken) {
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(is_ready))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state(ready);
    let terms = Terms { head: TIMEOUT, ..terms };
    serving::serve(door, terms, Internal(routes), stop).await;
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

    fn refuse(&self, fault: Fault) -> Response<Body> {
        (StatusCode::BAD_REQUEST, fault.text() + "\n").into_response()
    }
}

async fn is_ready(State(ready): State<Ready>) -> (StatusCode, &'static str) {
    if ready.get() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
