//! What the store tells about itself: every metric of the crate. The only label of all is the engine: no patient, no device.

use crate::{Data, HourData, Sealed};
use metrics::{counter, gauge, histogram};
use model::telemetry::{Instrument, Label};
use std::time::Instant;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[
    APPEND_SECONDS,
    ROWS,
    HOUR_ENTRIES,
    READ_SECONDS,
    ROWS_READ,
    SEALS_READ,
    SEALS_WRITTEN,
    SEALS_WAITING,
    SEALS_SKIPPED,
    RETRIES,
    AUDIT_SECONDS,
    AUDIT_ENTRIES,
    AUDIT_FAILURES,
    CHECKPOINT_FAILURES,
];

const ENGINE: Label = Label::of("engine", &["cql", "embedded"]);
const APPEND_SECONDS: Instrument =
    Instrument::seconds("wardline_store_append_seconds", &[ENGINE], "Time until the rows of one write were durable");
const ROWS: Instrument = Instrument::counter("wardline_store_rows_total", "rows", &[ENGINE], "Rows made durable");
const HOUR_ENTRIES: Instrument = Instrument::counter(
    "wardline_store_hour_entries_total",
    "entries",
    &[ENGINE],
    "Entries of the hour index written with rows",
);
const READ_SECONDS: Instrument =
    Instrument::seconds("wardline_store_read_seconds", &[ENGINE], "Time to read the hours of one request");
const ROWS_READ: Instrument = Instrument::counter(
    "wardline_store_rows_read_total",
    "rows",
    &[ENGINE],
    "Rows read, of hours without a usable seal",
);
const SEALS_READ: Instrument = Instrument::counter(
    "wardline_store_seals_read_total",
    "seals",
    &[ENGINE],
    "Sealed hours read in place of their rows",
);
const SEALS_WRITTEN: Instrument =
    Instrument::counter("wardline_store_seals_written_total", "seals", &[ENGINE], "Hours of patients sealed");
const SEALS_WAITING: Instrument = Instrument::gauge(
    "wardline_store_seals_waiting",
    "seals",
    &[ENGINE],
    "Hours of patients that are over and changed too recently to be sealed",
);
const SEALS_SKIPPED: Instrument = Instrument::counter(
    "wardline_store_seals_skipped_total",
    "seals",
    &[ENGINE, Label::of("reason", &["size", "unreadable"])],
    "Hours of patients left as rows: too large for a seal, or with a row that cannot be read",
);
const RETRIES: Instrument = Instrument::counter(
    "wardline_store_retries_total",
    "calls",
    &[Label::of("engine", &["cql"])],
    "Statements sent again because the store did not answer",
);
const AUDIT_SECONDS: Instrument = Instrument::seconds(
    "wardline_store_audit_append_seconds",
    &[ENGINE],
    "Time until the entries of one write to the audit log were durable",
);
const AUDIT_ENTRIES: Instrument =
    Instrument::counter("wardline_store_audit_entries_total", "entries", &[ENGINE], "Audit log entries made durable");
const AUDIT_FAILURES: Instrument = Instrument::counter(
    "wardline_audit_append_failures_total",
    "calls",
    &[],
    "Writes to the audit log that failed and were tried again; nothing is shown meanwhile",
);
const CHECKPOINT_FAILURES: Instrument = Instrument::counter(
    "wardline_audit_checkpoint_failures_total",
    "checkpoints",
    &[],
    "Signed checkpoints of the audit log that could not be kept",
);

/// Rows were made durable, with so many entries of the hour index.
pub(crate) fn appended(engine: &'static str, rows: usize, hours: usize, started: Instant) {
    histogram!(APPEND_SECONDS.name, "engine" => engine).record(started.elapsed());
    counter!(ROWS.name, "engine" => engine).increment(rows as u64);
    counter!(HOUR_ENTRIES.name, "engine" => engine).increment(hours as u64);
}

/// Hours were read, some as seals.
pub(crate) fn read(engine: &'static str, hours: &[HourData], started: Instant) {
    let mut rows = 0;
    let mut seals = 0;
    for hour in hours {
        match &hour.data {
            Data::Rows(found) => rows += found.len(),
            Data::Sealed(_) => seals += 1,
        }
    }
    histogram!(READ_SECONDS.name, "engine" => engine).record(started.elapsed());
    counter!(ROWS_READ.name, "engine" => engine).increment(rows as u64);
    counter!(SEALS_READ.name, "engine" => engine).increment(seals);
}

/// Counts hours that a call sealed, and sets how many wait.
pub(crate) fn sealed(engine: &'static str, sealed: Sealed) {
    counter!(SEALS_WRITTEN.name, "engine" => engine).increment(sealed.hours);
    gauge!(SEALS_WAITING.name, "engine" => engine).set(sealed.waiting as f64);
}

/// Entries of the audit log were made durable.
pub(crate) fn audited(engine: &'static str, entries: usize, started: Instant) {
    histogram!(AUDIT_SECONDS.name, "engine" => engine).record(started.elapsed());
    counter!(AUDIT_ENTRIES.name, "engine" => engine).increment(entries as u64);
}

/// The audit log did not take entries, and is asked again.
pub(crate) fn audit_waits() {
    counter!(AUDIT_FAILURES.name).increment(1);
}

/// A checkpoint of the audit log was not kept.
pub(crate) fn checkpoint_failed() {
    counter!(CHECKPOINT_FAILURES.name).increment(1);
}

/// An hour is over and stays rows, for good or until it changes.
pub(crate) fn not_sealed(engine: &'static str, reason: &'static str) {
    counter!(SEALS_SKIPPED.name, "engine" => engine, "reason" => reason).increment(1);
}

/// The CQL store did not answer, and is asked again.
pub(crate) fn retried() {
    counter!(RETRIES.name, "engine" => "cql").increment(1);
}
