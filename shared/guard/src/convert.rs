//! Times and lengths of time between the wire and the model.

use model::Nanos;
use proto::prost_types::{Duration, Timestamp};

/// `None` outside 1677-09-21 to 2262-04-11, or with nanoseconds outside 0 to 999,999,999.
pub fn nanos(timestamp: &Timestamp) -> Option<Nanos> {
    Nanos::from_parts(timestamp.seconds, timestamp.nanos)
}

/// The wire's form of an instant.
pub fn timestamp(at: Nanos) -> Timestamp {
    let (seconds, nanos) = at.parts();
    Timestamp { seconds, nanos }
}

/// The wire's form of a length of time in nanoseconds; both parts have the same sign.
pub fn duration(nanos: i64) -> Duration {
    // the remainder of a billion fits
    Duration { seconds: nanos / Nanos::SECOND, nanos: (nanos % Nanos::SECOND) as i32 }
}
