//! What the writer tells about itself: every metric of the crate.

use metrics::{Gauge, counter, gauge};
use model::{Nanos, telemetry::Instrument};

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[RECORDS, ROWS, QUARANTINED, QUARANTINE_DEPTH, LAG_RECORDS, LAG_SECONDS];

const RECORDS: Instrument =
    Instrument::counter("wardline_writer_records_total", "records", &[], "Records of the log stored or put aside");
const ROWS: Instrument = Instrument::counter("wardline_writer_rows_total", "rows", &[], "Rows written to the store");
const QUARANTINED: Instrument =
    Instrument::counter("wardline_writer_quarantined_total", "records", &[], "Records put aside in quarantine");
const QUARANTINE_DEPTH: Instrument = Instrument::gauge(
    "wardline_writer_quarantine_records",
    "records",
    &[],
    "Records in quarantine that were not published again; the same number from every writer",
);
const LAG_RECORDS: Instrument = Instrument::gauge(
    "wardline_writer_lag_records",
    "records",
    &[],
    "Records of this writer's partitions that are not yet stored and committed, every five seconds",
);
const LAG_SECONDS: Instrument = Instrument::gauge(
    "wardline_writer_lag_seconds",
    "seconds",
    &[],
    "Age of the oldest record that was read and is not yet stored; 0 when there is none",
);

/// What a writer has dealt with.
pub(crate) fn written(n_records: usize, n_rows: usize) {
    counter!(RECORDS.name).increment(n_records as u64);
    counter!(ROWS.name).increment(n_rows as u64);
}

/// Counts a record that was put aside.
pub(crate) fn quarantined() {
    counter!(QUARANTINED.name).increment(1);
}

/// So many records are in quarantine.
pub(crate) fn quarantine_depth(n_records: u64) {
    gauge!(QUARANTINE_DEPTH.name).set(n_records as f64);
}

/// So many records are behind what is committed.
pub(crate) fn lag_records(n_records: u64) {
    gauge!(LAG_RECORDS.name).set(n_records as f64);
}

/// The handle for the age of the oldest record that waits.
pub(crate) struct LagSeconds(Gauge);

impl LagSeconds {
    pub(crate) fn new() -> Self {
        Self(gauge!(LAG_SECONDS.name))
    }

    /// The oldest record that waits was received at `oldest`.
    pub(crate) fn set(&self, oldest: Option<Nanos>, now: Nanos) {
        let nanos = oldest.map_or(0, |oldest| now.0.saturating_sub(oldest.0).max(0));
        self.0.set(nanos as f64 / Nanos::SECOND as f64);
    }
}
