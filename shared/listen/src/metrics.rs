//! What connections tell about themselves.

use metrics::{Gauge, counter, gauge};
use model::telemetry::{Instrument, Label};

/// Every metric of this crate.
pub const METRICS: &[Instrument] =
    &[CONNECTIONS, CONNECTIONS_LIMIT, CONNECTIONS_REFUSED, CONNECTIONS_ENDED, CERTIFICATE_EXPIRY, RELOAD_FAILURES];

const CONNECTIONS: Instrument = Instrument::gauge(
    "wardline_connections_open",
    "connections",
    &[],
    "Connections to the gRPC port and the JSON API that are open",
);
const CONNECTIONS_LIMIT: Instrument = Instrument::gauge(
    "wardline_connections_limit",
    "connections",
    &[],
    "Most connections to the gRPC port and the JSON API at once",
);
const CONNECTIONS_REFUSED: Instrument = Instrument::counter(
    "wardline_connections_refused_total",
    "connections",
    &[Label::of("reason", &["limit", "address_limit", "gone", "handshake", "handshake_timeout"])],
    "Connections closed before anything was served on them",
);
const CONNECTIONS_ENDED: Instrument = Instrument::counter(
    "wardline_connections_ended_total",
    "connections",
    &[Label::of("reason", &["certificate"])],
    "Connections closed because their client certificate has expired or is no longer trusted",
);
const CERTIFICATE_EXPIRY: Instrument = Instrument::gauge(
    "wardline_tls_certificate_expiry_timestamp_seconds",
    "seconds",
    &[],
    "When the server's certificate expires, as Unix time; only with TLS",
);
const RELOAD_FAILURES: Instrument = Instrument::counter(
    "wardline_tls_reload_failures_total",
    "reads",
    &[],
    "Times that changed TLS files could not be used; those before stay in force",
);
/// The handle for connections that are open, of at most `max`.
pub(crate) fn connections(max: usize) -> Gauge {
    gauge!(CONNECTIONS_LIMIT.name).set(max as f64);
    gauge!(CONNECTIONS.name)
}

/// A connection was closed before anything was served on it.
pub(crate) fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED.name, "reason" => reason).increment(1);
}

/// A connection was closed for its certificate.
pub(crate) fn connection_ended() {
    counter!(CONNECTIONS_ENDED.name, "reason" => "certificate").increment(1);
}

/// When the server's certificate expires, in seconds since 1970.
pub(crate) fn certificate_expires_at(seconds: i64) {
    gauge!(CERTIFICATE_EXPIRY.name).set(seconds as f64);
}

/// Changed TLS files cannot be used.
pub(crate) fn reload_failed() {
    counter!(RELOAD_FAILURES.name).increment(1);
}
