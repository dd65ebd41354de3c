//! Times as people write and read them.

use anyhow::{Context, bail};
use jiff::{Timestamp, tz::TimeZone};
use model::{Nanos, quoted};

/// RFC 3339, `now`, or a length of time before or after it: `-90s`, `-30m`, `-24h`, `-7d`.
pub(crate) fn parse(text: &str, now: Nanos) -> anyhow::Result<Nanos> {
    if text == "now" {
        return Ok(now);
    }
    if text.starts_with(['-', '+']) {
        let span = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(Nanos::SECOND)
        };
        return span().map(|span| now.plus(span)).with_context(|| unreadable(text));
    }
    let at = model::exact_time(text).with_context(|| inexact(text))?;
    let at: Timestamp = at.parse().with_context(|| unreadable(text))?;
    match i64::try_from(at.as_nanosecond()) {
        Ok(at) => Ok(Nanos(at)),
        Err(_) => bail!("{} lies outside of 1678 to 2261", quoted(text)),
    }
}

fn unreadable(text: &str) -> String {
    format!("{} is no time: give 2026-01-31T08:00:00Z, now, -24h, -30m, -90s or -7d", quoted(text))
}

fn inexact(text: &str) -> String {
    format!("{} has a leap second that never was, or more than nine digits after a second", quoted(text))
}

/// RFC 3339 in UTC, as exact as it is.
pub(crate) fn show(at: Nanos) -> String {
    Timestamp::from_nanosecond(at.0.into()).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}

/// A short label on an axis that is `span_ns` long.
pub(super) fn label(at: Nanos, span_ns: i64) -> String {
    // by the longest axis; a day ends just after its newest reading
    let patterns = [(600 * Nanos::SECOND, "%H:%M:%S"), (Nanos::DAY + 1, "%H:%M"), (30 * Nanos::DAY, "%m-%d %H:%M")];
    let pattern = patterns.iter().find(|(longest, _)| span_ns <= *longest).map_or("%Y-%m-%d", |(_, pattern)| pattern);
    let zoned = Timestamp::from_nanosecond(at.0.into()).map(|at| at.to_zoned(TimeZone::UTC));
    zoned.map_or_else(|_| String::new(), |at| at.strftime(pattern).to_string())
}

/// "12 s", "5 min", "3 h", "8 d": the age of a value.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{} s", seconds.max(0)),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Nanos(1_000_000 * Nanos::SECOND);
        assert_eq!(parse("now", now).unwrap(), now);
        assert_eq!(parse("-24h", now).unwrap(), Nanos((1_000_000 - 86_400) * Nanos::SECOND));
        assert_eq!(parse("+90s", now).unwrap(), Nanos(1_000_090 * Nanos::SECOND));
        assert_eq!(parse("1970-01-01T01:00:00+01:00", now).unwrap(), Nanos(0));
        assert_eq!(parse("2016-12-31T23:59:60Z", now).unwrap(), Nanos(1_483_228_800 * Nanos::SECOND));
        for cut in ["2026-01-31T08:00:60Z", "2026-01-31T08:00:00.1234567891Z"] {
            assert!(parse(cut, now).unwrap_err().to_string().contains("never was"), "{cut}");
        }
        for wrong in ["", "-", "-h", "-5", "-5y", "-5€", "-99999999999999d", "yesterday", "9000-01-01T00:00:00Z"] {
            assert!(parse(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_short() {
        assert_eq!(show(Nanos(Nanos::SECOND / 2)), "1970-01-01T00:00:00.5Z");
        assert_eq!(label(Nanos(0), Nanos::DAY), "00:00");
        assert_eq!(label(Nanos(0), 3 * Nanos::DAY), "01-01 00:00");
        assert_eq!(
            [age(-1), age(119), age(7_199), age(90_000), age(864_000)],
            ["0 s", "119 s", "119 min", "25 h", "10 d"]
        );
    }
}
