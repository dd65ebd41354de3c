//! The internal port: `/metrics`, `/live`, `/ready`. Liveness never looks at the log or the store.

use crate::ready::Ready;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
    let status = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, ready.text())
}
