//! What the store tells about itself. The only label is the engine: no patient, no device.

use metrics::{counter, histogram};
use std::time::Instant;

/// Rows were made durable, with so many entries of the hour index.
pub(crate) fn appended(engine: &'static str, rows: usize, hours: usize, started: Instant) {
    histogram!("wardline_store_append_seconds", "engine" => engine).record(started.elapsed());
    counter!("wardline_store_rows_total", "engine" => engine).increment(rows as u64);
    counter!("wardline_store_hour_entries_total", "engine" => engine).increment(hours as u64);
}

/// Rows were read.
pub(crate) fn read(engine: &'static str, rows: usize, started: Instant) {
    histogram!("wardline_store_read_seconds", "engine" => engine).record(started.elapsed());
    counter!("wardline_store_rows_read_total", "engine" => engine).increment(rows as u64);
}
