//! What `query` tells about itself: every metric of the crate.

use metrics::counter;
use model::telemetry::Instrument;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[FAILURES];

const FAILURES: Instrument = Instrument::counter(
    "wardline_query_failures_total",
    "requests",
    &[],
    "Requests not answered because the store failed",
);

/// Counts a request that was not answered because the store failed.
pub(crate) fn failed() {
    counter!(FAILURES.name).increment(1);
}
