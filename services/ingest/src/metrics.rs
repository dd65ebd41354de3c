//! What `ingest` tells about itself: every metric of the crate.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use model::telemetry::{Instrument, Label};

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[READINGS, REFUSED, ACK_SECONDS, STREAMS, HELD];

const READINGS: Instrument = Instrument::counter(
    "wardline_ingest_readings_total",
    "readings",
    &[Label::of("outcome", &["accepted", "duplicate"])],
    "Readings acknowledged: published, or sent before",
);
const REFUSED: Instrument = Instrument::counter(
    "wardline_ingest_refused_total",
    "readings",
    &[Label::of(
        "reason",
        &[
            "EMPTY_BATCH",
            "TOO_MANY_READINGS",
            "UNREADABLE",
            "NOT_ASSIGNED",
            "TIME_MISSING",
            "TIME_OUT_OF_RANGE",
            "VALUE_MISSING",
            "NOT_FINITE",
            "UNKNOWN_CODE",
            "BAD_WAVEFORM",
            "WRONG_VALUE_KIND",
            "UNKNOWN_METRIC",
            "WRONG_DIMENSION",
            "UNKNOWN_UNIT",
            "SEQUENCE_OUT_OF_RANGE",
            "SEQUENCE_GAP",
            "SEQUENCE_REUSED",
        ],
    )],
    "Readings refused, and batches of a stream refused as a whole, by the reason that the device is told",
);
const ACK_SECONDS: Instrument = Instrument::seconds(
    "wardline_ingest_ack_seconds",
    &[],
    "Time from reading a batch of a stream until it was durable, of every eighth batch",
);
const STREAMS: Instrument =
    Instrument::gauge("wardline_ingest_streams", "streams", &[], "Streams of devices that are open");
const HELD: Instrument = Instrument::counter(
    "wardline_ingest_held_total",
    "batches",
    &[],
    "Times that a stream was not read for a while because its device or organisation is over its rate",
);

/// Counts what became of readings. The handles are looked up once, not for each batch.
#[derive(Clone)]
pub(crate) struct Counts {
    accepted: Counter,
    duplicate: Counter,
}

impl Default for Counts {
    fn default() -> Self {
        let counter = |outcome| counter!(READINGS.name, "outcome" => outcome);
        Self { accepted: counter("accepted"), duplicate: counter("duplicate") }
    }
}

impl Counts {
    /// Counts what became of a batch's readings, but for those refused.
    pub(crate) fn add(&self, accepted: u64, duplicate: u64) {
        self.accepted.increment(accepted - duplicate);
        if duplicate > 0 {
            self.duplicate.increment(duplicate);
        }
    }
}

/// Readings are refused; `reason` is one of those in the table.
pub(crate) fn refused(reason: &'static str, n_readings: u64) {
    counter!(REFUSED.name, "reason" => reason).increment(n_readings);
}

/// The handle for times until batches are acknowledged.
pub(crate) fn ack_seconds() -> Histogram {
    histogram!(ACK_SECONDS.name)
}

/// A stream that is open, until it is dropped.
pub(crate) struct OpenStream(Gauge);

impl OpenStream {
    /// Counts a stream as open until the value is dropped.
    pub(crate) fn new() -> Self {
        let streams = gauge!(STREAMS.name);
        streams.increment(1.0);
        Self(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A stream is not read for a while.
pub(crate) fn held() {
    counter!(HELD.name).increment(1);
}
