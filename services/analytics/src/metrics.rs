//! What analytics tells about itself: every metric of the crate.

use crate::jobs::step::Step;
use metrics::{counter, gauge, histogram};
use model::telemetry::{Instrument, Label};
use std::time::Duration;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[ATTEMPTS, ATTEMPT_SECONDS, UPLOADED];

/// All metrics of the archive.
pub const ARCHIVE: &[Instrument] =
    &[ARCHIVED, ARCHIVED_REPEATS, ARCHIVED_BYTES, ARCHIVE_LAG, ARCHIVE_LOST, ARCHIVE_FAILURES, ARCHIVE_MERGES];

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

const ARCHIVED: Instrument =
    Instrument::counter("wardline_archive_readings_total", "readings", &[], "Readings archived");
const ARCHIVED_REPEATS: Instrument = Instrument::counter(
    "wardline_archive_repeats_total",
    "records",
    &[],
    "Records of the log that were left out because the same batch is archived already",
);
const ARCHIVED_BYTES: Instrument =
    Instrument::counter("wardline_archive_bytes_total", "bytes", &[], "Bytes of the files that were archived");
const ARCHIVE_LAG: Instrument =
    Instrument::gauge("wardline_archive_lag_records", "records", &[], "Records of the log that are not archived");
const ARCHIVE_LOST: Instrument = Instrument::counter(
    "wardline_archive_lost_records_total",
    "records",
    &[],
    "Records that were gone from the log before they were archived",
);
const ARCHIVE_FAILURES: Instrument = Instrument::counter(
    "wardline_archive_failures_total",
    "attempts",
    &[],
    "Attempts to archive that failed and were made again",
);
const ARCHIVE_MERGES: Instrument = Instrument::counter(
    "wardline_archive_merges_total",
    "generations",
    &[],
    "Generations of larger files that were made of small ones",
);

/// A file of the archive was put.
pub(crate) fn archived(n_readings: usize, n_repeats: usize, bytes: usize) {
    counter!(ARCHIVED.name).increment(n_readings as u64);
    counter!(ARCHIVED_REPEATS.name).increment(n_repeats as u64);
    counter!(ARCHIVED_BYTES.name).increment(bytes as u64);
}

/// How many records are not archived yet.
pub(crate) fn archive_lag(n_records: u64) {
    gauge!(ARCHIVE_LAG.name).set(n_records as f64);
}

/// Records were gone before they were archived.
pub(crate) fn archive_lost(n_records: u64) {
    counter!(ARCHIVE_LOST.name).increment(n_records);
}

/// An attempt failed.
pub(crate) fn archive_failed() {
    counter!(ARCHIVE_FAILURES.name).increment(1);
}

/// A generation was made.
pub(crate) fn archive_merged() {
    counter!(ARCHIVE_MERGES.name).increment(1);
}
