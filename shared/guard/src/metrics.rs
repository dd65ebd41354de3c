//! What the way into an rpc tells about itself: every metric of the crate.

use metrics::{Gauge, Histogram, counter, gauge, histogram};
use model::telemetry::{Instrument, Label};

/// All metrics of the crate.
pub const METRICS: &[Instrument] = &[
    RPC_SECONDS,
    RPCS_OPEN,
    DEVICE_REFUSALS,
    RATE_LIMITED,
    MEMORY_USED,
    MEMORY_LIMIT,
    MEMORY_REFUSED,
    ANSWERS_UNTAKEN,
    STREAMS_CUT,
    TOKENLESS,
    TOKENLESS_LIMIT,
    TOKENLESS_REFUSED,
];

const METHOD: Label = Label::open("method");
const RPC_SECONDS: Instrument = Instrument::seconds(
    "wardline_rpc_seconds",
    &[METHOD, Label::open("code")],
    "Time of a call from its head until its last answer, of a stream until its end; method: `package.Service/Method`, or \
     `unknown`; code: of gRPC. Calls of the JSON API are in it",
);
const RPCS_OPEN: Instrument =
    Instrument::gauge("wardline_rpcs_open", "calls", &[METHOD], "Calls under way, streams included");
/// What a device is told when it is refused as a whole; others are counted as [`OTHER`].
const DEVICE_REASONS: [&str; 13] = [
    "NO_TOKEN",
    "TOKEN_EXPIRED",
    "TOKEN_TOO_LARGE",
    "UNKNOWN_RESTRICTION",
    "INVALID_TOKEN",
    "INVALID_CERTIFICATE",
    "OTHER_DEVICE",
    "WRONG_DEVICE",
    "UNKNOWN_DEVICE",
    "DEVICE_REVOKED",
    "NOT_PERMITTED",
    "CLAIM_REFUSED",
    OTHER,
];
/// The label for every reason that is not in the list.
pub(crate) const OTHER: &str = "other";
const DEVICE_REFUSALS: Instrument = Instrument::counter(
    "wardline_device_refusals_total",
    "calls",
    &[Label::of("reason", &DEVICE_REASONS)],
    "Calls of devices (readings, claims, their own credentials) refused for who they are or what they may do, by the \
     reason that the device is told",
);
const RATE_LIMITED: Instrument = Instrument::counter(
    "wardline_rate_limited_total",
    "calls",
    &[Label::of(
        "limit",
        &[
            "quotas.probes_a_second",
            "quotas.claims_a_second",
            "quotas.reads_a_second",
            "quotas.writes_a_second",
            "quotas.device_calls_a_second",
            "quotas.batches_a_second",
        ],
    )],
    "Calls refused because their caller makes too many; limit: the setting",
);
const BUDGET: Label = Label::of("of", &["requests", "api_requests", "api_parsed", "calls", "answers"]);
const MEMORY_USED: Instrument = Instrument::gauge(
    "wardline_memory_used_bytes",
    "bytes",
    &[BUDGET],
    "Bytes taken of each budget of memory (settings `memory.*`), every second",
);
const MEMORY_LIMIT: Instrument =
    Instrument::gauge("wardline_memory_limit_bytes", "bytes", &[BUDGET], "Bytes that each budget of memory has");
const MEMORY_REFUSED: Instrument = Instrument::counter(
    "wardline_memory_refused_total",
    "calls",
    &[Label::of("of", &["requests", "calls", "answers"]), Label::of("whose", &["caller", "address", "node"])],
    "Calls refused because a share of memory is used up: of, whose: the setting",
);
const ANSWERS_UNTAKEN: Instrument = Instrument::counter(
    "wardline_answers_untaken_total",
    "answers",
    &[],
    "Answers dropped because their caller did not read them in time",
);
const STREAMS_CUT: Instrument = Instrument::counter(
    "wardline_streams_cut_total",
    "streams",
    &[],
    "HTTP/2 streams reset because their caller did not read the answer in time",
);
const TOKENLESS: Instrument =
    Instrument::gauge("wardline_tokenless_calls", "calls", &[], "Calls under way of rpcs that need no token");
const TOKENLESS_LIMIT: Instrument =
    Instrument::gauge("wardline_tokenless_calls_limit", "calls", &[], "Most calls at once of rpcs that need no token");
const TOKENLESS_REFUSED: Instrument = Instrument::counter(
    "wardline_tokenless_calls_refused_total",
    "calls",
    &[],
    "Calls without a token refused because too many are under way, of their address or in all",
);

/// The handle for times of calls of a method that end with a code.
pub(crate) fn rpc_seconds(method: &'static str, code: &'static str) -> Histogram {
    histogram!(RPC_SECONDS.name, "method" => method, "code" => code)
}

/// The handle for calls of a method that are under way.
pub(crate) fn open_rpcs(method: &'static str) -> Gauge {
    gauge!(RPCS_OPEN.name, "method" => method)
}

/// A call of a device was refused with this reason.
pub(crate) fn device_refused(reason: &str) {
    counter!(DEVICE_REFUSALS.name, "reason" => device_reason(reason)).increment(1);
}

/// As what a reason is counted.
pub(crate) fn device_reason(reason: &str) -> &'static str {
    DEVICE_REASONS.into_iter().find(|known| *known == reason).unwrap_or(OTHER)
}

/// A caller makes too many calls.
pub(crate) fn rate_limited(limit: &'static str) {
    counter!(RATE_LIMITED.name, "limit" => limit).increment(1);
}

/// So much of a budget is taken.
pub(crate) fn memory(of: &'static str, n_used: usize, n_limit: usize) {
    gauge!(MEMORY_USED.name, "of" => of).set(n_used as f64);
    gauge!(MEMORY_LIMIT.name, "of" => of).set(n_limit as f64);
}

/// A share of a budget is used up.
pub(crate) fn memory_refused(of: &'static str, whose: &'static str) {
    counter!(MEMORY_REFUSED.name, "of" => of, "whose" => whose).increment(1);
}

/// Counts answers that were dropped because nobody read them.
pub(crate) fn untaken(n_answers: usize) {
    counter!(ANSWERS_UNTAKEN.name).increment(n_answers as u64);
}

/// Counts a stream that was reset.
pub(crate) fn stream_cut() {
    counter!(STREAMS_CUT.name).increment(1);
}

/// The handle for calls without a token, of at most `max`.
pub(crate) fn tokenless(max: usize) -> Gauge {
    gauge!(TOKENLESS_LIMIT.name).set(max as f64);
    gauge!(TOKENLESS.name)
}

/// A call without a token found no place.
pub(crate) fn tokenless_refused() {
    counter!(TOKENLESS_REFUSED.name).increment(1);
}
