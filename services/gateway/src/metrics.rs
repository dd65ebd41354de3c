//! What the JSON API tells about itself: every metric of the crate.

use axum::http::StatusCode;
use metrics::histogram;
use model::telemetry::{Instrument, Label};
use std::time::Duration;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[SECONDS];

const SECONDS: Instrument = Instrument::seconds(
    "wardline_api_request_seconds",
    &[Label::open("route"), Label::open("status")],
    "Time to answer a request of the JSON API; route: its path as in the OpenAPI document, or `none`; status: of HTTP",
);

/// Counts a request that was answered, with the time that it took.
pub(crate) fn answered(route: &'static str, status: StatusCode, time: Duration) {
    histogram!(SECONDS.name, "route" => route, "status" => status.as_str().to_owned()).record(time);
}
