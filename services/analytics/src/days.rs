//! Days of UTC, as files and cards are named by them.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use model::Nanos;

/// The first instant of the day of an instant.
pub(crate) fn start(at: Nanos) -> Nanos {
    Nanos(at.0 - at.0.rem_euclid(Nanos::DAY))
}

/// The day of an instant: YYYY-MM-DD.
pub(crate) fn named(at: Nanos) -> String {
    // all nanoseconds of an i64 are instants
    Timestamp::from_nanosecond(at.0.into()).unwrap_or_default().strftime("%Y-%m-%d").to_string()
}

/// The first instant of a day that is written YYYY-MM-DD; `None`: it is no day, or none of a [`Nanos`].
pub(crate) fn begins(day: &str) -> Option<Nanos> {
    let date: Date = day.parse().ok().filter(|_| day.len() == 10)?;
    let begins = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Nanos::from_parts(begins.as_second(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_as_it_is_written() {
        for day in ["1900-01-01", "1969-12-31", "2026-11-30", "2261-12-31"] {
            let begins = begins(day).unwrap();
            assert_eq!((named(begins), named(begins.plus(Nanos::DAY - 1))), (day.to_owned(), day.to_owned()));
        }
        for other in ["", "2026-11-31", "2026-1-01", "20261130", "2026-11-30T00", "9999-01-01"] {
            assert_eq!(begins(other), None, "{other}");
        }
    }
}
