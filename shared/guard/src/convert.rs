//! Times and lengths of time between the wire and the model.

use model::Nanos;
use proto::prost_types::{Duration, Timestamp};

/// `None` outside 1677-09-21 to 2262-04-11, or with nanoseconds outside 0 to 999,999,999.
pub fn nanos(timestamp: &Timestamp) -> Option<Nanos> {
    Nanos::from_parts(timestamp.seconds, timestamp.nanos)
}

/// Why [`nanos`] does not take an instant, and what to mend: the usual mistake is another unit than seconds.
pub fn out_of_range(timestamp: &Timestamp) -> String {
    // 1990 to 2100: what devices measure
    const SECONDS: std::ops::Range<i64> = 631_152_000..4_102_444_800;
    let allowed = "must lie between 1678 and 2261, with nanoseconds from 0 to 999,999,999";
    let units = [("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000)];
    match units.iter().find(|(_, in_a_second)| SECONDS.contains(&(timestamp.seconds / in_a_second))) {
        Some((unit, in_a_second)) => {
            format!("{allowed}; `seconds` looks like {unit}: divide it by {in_a_second}, the rest goes into `nanos`")
        }
        None => allowed.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_unit_in_the_seconds_of_a_time_is_named() {
        let text = |seconds, nanos| out_of_range(&Timestamp { seconds, nanos });
        // 2026-11-29, and the first of what is looked for
        for (seconds, unit) in [
            (1_795_900_000_123, "milliseconds: divide it by 1000,"),
            (631_152_000_000, "milliseconds"),
            (1_795_900_000_123_456, "microseconds: divide it by 1000000,"),
            (1_795_900_000_123_456_789, "nanoseconds: divide it by 1000000000,"),
        ] {
            assert!(nanos(&Timestamp { seconds, nanos: 0 }).is_none());
            assert!(text(seconds, 0).contains(&format!("`seconds` looks like {unit}")), "{}", text(seconds, 0));
        }
        for (seconds, nanos) in [(-11_676_096_000, 0), (9_300_000_000, 0), (i64::MIN, 0), (0, -1), (i64::MAX, i32::MAX)]
        {
            assert!(text(seconds, nanos).ends_with("999,999,999"), "{}", text(seconds, nanos));
        }
    }
}
