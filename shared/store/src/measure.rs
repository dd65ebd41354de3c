//! What the store tells about itself. The only label is the engine: no patient, no device.

use crate::{Data, HourData, Sealed};
use metrics::{counter, gauge, histogram};
use std::time::Instant;

/// Rows were made durable, with so many entries of the hour index.
pub(crate) fn appended(engine: &'static str, rows: usize, hours: usize, started: Instant) {
    histogram!("wardline_store_append_seconds", "engine" => engine).record(started.elapsed());
    counter!("wardline_store_rows_total", "engine" => engine).increment(rows as u64);
    counter!("wardline_store_hour_entries_total", "engine" => engine).increment(hours as u64);
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
    histogram!("wardline_store_read_seconds", "engine" => engine).record(started.elapsed());
    counter!("wardline_store_rows_read_total", "engine" => engine).increment(rows as u64);
    counter!("wardline_store_seals_read_total", "engine" => engine).increment(seals);
}

/// Hours were sealed.
pub(crate) fn sealed(engine: &'static str, sealed: Sealed) {
    counter!("wardline_store_hours_sealed_total", "engine" => engine).increment(sealed.hours);
    gauge!("wardline_store_hours_waiting", "engine" => engine).set(sealed.waiting as f64);
}

/// Entries of the audit log were made durable.
pub(crate) fn audited(engine: &'static str, entries: usize, started: Instant) {
    histogram!("wardline_store_audit_append_seconds", "engine" => engine).record(started.elapsed());
    counter!("wardline_store_audit_entries_total", "engine" => engine).increment(entries as u64);
}

/// The audit log did not take entries, and is asked again.
pub(crate) fn audit_waits() {
    counter!("wardline_audit_append_failures_total").increment(1);
}

/// A checkpoint of the audit log was not kept.
pub(crate) fn checkpoint_failed() {
    counter!("wardline_audit_checkpoint_failures_total").increment(1);
}

/// An hour is over and stays rows, for good or until it changes.
pub(crate) fn not_sealed(engine: &'static str, reason: &'static str) {
    counter!("wardline_store_hours_not_sealed_total", "engine" => engine, "reason" => reason).increment(1);
}
