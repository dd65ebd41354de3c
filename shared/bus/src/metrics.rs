//! What the log tells about itself: every metric of the crate.

use metrics::{Counter, Histogram, counter, histogram};
use model::telemetry::{Instrument, Label};
use std::time::Duration;

/// All metrics of the crate.
pub const METRICS: &[Instrument] =
    &[PUBLISH_SECONDS, RECORDS, BYTES, FAILED, DELIVERED, TRIMMED, COMMITS_LOST, CONSUMER_RETRIES];

const PUBLISH_SECONDS: Instrument = Instrument::seconds(
    "wardline_log_publish_seconds",
    &[],
    "Time from publishing a record until it was durable, of a sample of the records",
);
const RECORDS: Instrument =
    Instrument::counter("wardline_log_records_total", "records", &[], "Records published and durable");
const BYTES: Instrument =
    Instrument::counter("wardline_log_bytes_total", "bytes", &[], "Payload of the records published and durable");
const FAILED: Instrument = Instrument::counter(
    "wardline_log_failed_total",
    "records",
    &[],
    "Records whose publishing failed or whose fate is unknown; devices send them again",
);
const DELIVERED: Instrument =
    Instrument::counter("wardline_log_delivered_total", "records", &[], "Records read by consumers of this process");
const TRIMMED: Instrument = Instrument::counter(
    "wardline_log_trimmed_total",
    "records",
    &[],
    "Records of the embedded log deleted after their retention",
);
const COMMITS_LOST: Instrument = Instrument::counter(
    "wardline_log_commits_lost_total",
    "commits",
    &[],
    "Positions not committed because another consumer owns the partitions by now",
);
const CONSUMER_RETRIES: Instrument = Instrument::counter(
    "wardline_consumer_retries_total",
    "calls",
    &[Label::of("of", &["store"])],
    "Calls that a consumer of the log repeats because what it writes to did not answer",
);

/// Records on their way in. The handles are looked up once, not for each record.
pub(crate) struct Published {
    seconds: Histogram,
    n_records: Counter,
    n_bytes: Counter,
    n_failed: Counter,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            seconds: histogram!(PUBLISH_SECONDS.name),
            n_records: counter!(RECORDS.name),
            n_bytes: counter!(BYTES.name),
            n_failed: counter!(FAILED.name),
        }
    }

    /// Counts records that are durable, and the bytes of their payloads.
    pub(crate) fn durable(&self, n_records: u64, n_bytes: u64) {
        self.n_records.increment(n_records);
        self.n_bytes.increment(n_bytes);
    }

    /// Records are not, or nobody knows.
    pub(crate) fn failed(&self, n_records: u64) {
        self.n_failed.increment(n_records);
    }

    /// What came of one record, after so long.
    pub(crate) fn took(&self, time: Duration) {
        self.seconds.record(time);
    }
}

/// Records on their way out. The handle is looked up once.
pub(crate) struct Delivered(Counter);

impl Delivered {
    pub(crate) fn new() -> Self {
        Self(counter!(DELIVERED.name))
    }

    pub(crate) fn add(&self, n_records: usize) {
        self.0.increment(n_records as u64);
    }
}

/// Records were deleted after their retention.
pub(crate) fn trimmed(n_records: u64) {
    counter!(TRIMMED.name).increment(n_records);
}

/// Positions were not committed: the partitions have another owner.
pub(crate) fn commit_lost() {
    counter!(COMMITS_LOST.name).increment(1);
}

/// Counts one more attempt of a consumer; `what`: of which step.
pub(crate) fn retried(what: &'static str) {
    counter!(CONSUMER_RETRIES.name, "of" => what).increment(1);
}
