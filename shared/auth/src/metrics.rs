//! What authentication tells about itself: every metric of the crate.

use metrics::counter;
use model::telemetry::{Instrument, Label};

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[REFUSED, KEYS_FETCHED];

const REFUSED: Instrument = Instrument::counter(
    "wardline_auth_refused_total",
    "requests",
    &[Label::of(
        "reason",
        &[
            "no_token",
            "too_large",
            "malformed",
            "unknown_issuer",
            "unknown_key",
            "issuer_unavailable",
            "wrong_type",
            "bad_signature",
            "wrong_audience",
            "expired",
            "not_yet_valid",
            "bad_claims",
            "unknown_restriction",
            "bad_subject",
        ],
    )],
    "Requests refused for their token",
);
const KEYS_FETCHED: Instrument = Instrument::counter(
    "wardline_auth_keys_fetched_total",
    "requests",
    &[Label::of("outcome", &["ok", "failed"])],
    "Questions to token issuers for their keys",
);

/// A request is refused for its token; `reason` is one of those in the table.
pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED.name, "reason" => reason).increment(1);
}

/// An issuer was asked for its keys.
pub(crate) fn keys_fetched(failing: bool) {
    let outcome = if failing { "failed" } else { "ok" };
    counter!(KEYS_FETCHED.name, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_token_is_counted_by_its_name() {
        let counted = REFUSED.labels[0].values;
        let faults: Vec<_> = std::iter::once("no_token").chain(crate::faults().map(|(label, _)| label)).collect();
        assert_eq!(counted, faults);
    }
}
