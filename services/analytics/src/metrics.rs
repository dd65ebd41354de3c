//! What analytics tells about itself: every metric of the crate.

use crate::jobs::step::Step;
use metrics::{counter, histogram};
use model::telemetry::{Instrument, Label};
use std::time::Duration;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[ATTEMPTS, ATTEMPT_SECONDS, UPLOADED];

/// What was done.
const KIND: Label = Label { name: "kind", values: &[] };

const ATTEMPTS: Instrument = Instrument::counter(
    "wardline_analytics_job_attempts_total",
    "attempts",
    &[KIND, Label { name: "outcome", values: &[] }],
    "Attempts at jobs that this process ended: succeeded, failed, again (there is another attempt)",
);
const ATTEMPT_SECONDS: Instrument =
    Instrument::seconds("wardline_analytics_job_attempt_seconds", &[KIND], "How long attempts at jobs took");

const UPLOADED: Instrument = Instrument::counter(
    "wardline_analytics_uploaded_bytes_total",
    "bytes",
    &[],
    "Bytes of files that were sent for imports",
);

/// Bytes of a file came.
pub(crate) fn uploaded(bytes: usize) {
    counter!(UPLOADED.name).increment(bytes as u64);
}

/// An attempt ended with a step.
pub(crate) fn attempted(kind: &str, last: &Step, took: Duration) {
    let outcome = match last {
        Step::Succeeded { .. } => "succeeded",
        Step::Failed { again_at: Some(_), .. } => "again",
        _ => "failed",
    };
    counter!(ATTEMPTS.name, "kind" => kind.to_owned(), "outcome" => outcome).increment(1);
    histogram!(ATTEMPT_SECONDS.name, "kind" => kind.to_owned()).record(took);
}
