//! The internal port: `/metrics`, `/live`, `/ready`. Liveness never looks at the log or the store.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether the node wants work: set when everything has started, cleared when it drains.
#[derive(Clone, Default)]
pub struct Ready(Arc<AtomicBool>, Arc<Mutex<Option<String>>>);

impl Ready {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// What keeps a node that has started from being ready, if anything does.
    pub fn trouble(&self, trouble: Option<String>) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn get(&self) -> Result<(), String> {
        match self.1.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            _ if !self.0.load(Ordering::Acquire) => Err("not ready\n".into()),
            Some(trouble) => Err(format!("not ready: {trouble}\n")),
            None => Ok(()),
        }
    }
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    metrics: PrometheusHandle,
    ready: Ready,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(is_ready))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state(ready);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn is_ready(State(ready): State<Ready>) -> (StatusCode, String) {
    match ready.get() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}
