//! What the registry tells about itself: every metric of the crate.

use metrics::counter;
use model::telemetry::Instrument;

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[CHANGES, EMERGENCIES, NOTICES, NOTICE_FAILURES, REFRESH_REUSED];

const CHANGES: Instrument =
    Instrument::counter("wardline_registry_changes_total", "changes", &[], "Changes of the registry made durable");
const EMERGENCIES: Instrument = Instrument::counter(
    "wardline_registry_break_glass_total",
    "emergencies",
    &[],
    "Times that somebody opened a patient's record in an emergency",
);
const NOTICES: Instrument = Instrument::counter(
    "wardline_registry_notices_total",
    "notices",
    &[],
    "Emergencies published for those who treat the patient",
);
const NOTICE_FAILURES: Instrument = Instrument::counter(
    "wardline_registry_notice_failures_total",
    "calls",
    &[],
    "Attempts to publish an emergency that failed and are repeated",
);
const REFRESH_REUSED: Instrument = Instrument::counter(
    "wardline_registry_refresh_reused_total",
    "devices",
    &[],
    "Devices revoked because a refresh token was used twice: it has been copied",
);

/// Counts a change that is durable.
pub(crate) fn changed() {
    counter!(CHANGES.name).increment(1);
}

/// Counts an emergency that was opened.
pub(crate) fn emergency() {
    counter!(EMERGENCIES.name).increment(1);
}

/// Counts an emergency whose notice was published.
pub(crate) fn noticed() {
    counter!(NOTICES.name).increment(1);
}

/// An emergency is not published yet.
pub(crate) fn notice_failed() {
    counter!(NOTICE_FAILURES.name).increment(1);
}

/// A refresh token was used twice.
pub(crate) fn refresh_reused() {
    counter!(REFRESH_REUSED.name).increment(1);
}
