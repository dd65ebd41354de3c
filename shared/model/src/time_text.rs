//! Times as text (RFC 3339 and its relatives), before a parser takes them: what parsers cut in silence is refused here.
//!
//! A sixtieth second was only at the end of the 27 days of [`LEAP_SECONDS`]; parsers take it for the second before or after,
//! whenever it is said to be. Of more than nine digits of a second they drop the rest.

use std::borrow::Cow;

/// Most digits after a second's point: nanoseconds.
const FRACTION_DIGITS: usize = 9;

/// The days (UTC) at whose beginning a second had been put in (IERS Bulletin C; none since 2016, none announced).
const LEAP_SECONDS: [(i64, u8); 27] = [
    (1972, 7),
    (1973, 1),
    (1974, 1),
    (1975, 1),
    (1976, 1),
    (1977, 1),
    (1978, 1),
    (1979, 1),
    (1980, 1),
    (1981, 7),
    (1982, 7),
    (1983, 7),
    (1985, 7),
    (1988, 1),
    (1990, 1),
    (1991, 1),
    (1992, 7),
    (1993, 7),
    (1994, 7),
    (1996, 1),
    (1997, 7),
    (1999, 1),
    (2006, 1),
    (2009, 1),
    (2012, 7),
    (2015, 7),
    (2017, 1),
];

/// The text as a parser may take it: a true leap second is the second after it, as in POSIX. `None` where a parser would cut or
/// make up something: another sixtieth second, more than nine digits of a fraction. Whether it is a time is the parser's
/// business; a text without a zone is of UTC.
pub fn exact_time(text: &str) -> Option<Cow<'_, str>> {
    // after year, month and day
    let Some(separator) = text.get(8..).and_then(|rest| rest.find(['T', 't', ' ', '_'])).map(|at| at + 8) else {
        return Some(text.into());
    };
    let (date, clock) = (&text[..separator], &text[separator + 1..]);
    let end = clock.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(clock.len());
    let (clock, rest) = clock.split_at(end);
    let n_digits = fraction_digits(rest);
    if n_digits > FRACTION_DIGITS {
        return None;
    }
    let digits: String = clock.chars().filter(char::is_ascii_digit).collect();
    if digits.len() != 6 || !digits.ends_with("60") {
        return Some(text.into());
    }
    let (fraction, zone) = rest.split_at(if n_digits > 0 { n_digits + 1 } else { 0 });
    let day = day_after_leap_second(date, &digits, zone)?;
    Some(format!("{day}T00:00:00{fraction}Z").into())
}

/// Whether a length of time such as "1.5s" has at most nine digits of a fraction.
pub fn is_exact_length(text: &str) -> bool {
    text.find('.').is_none_or(|point| fraction_digits(&text[point..]) <= FRACTION_DIGITS)
}

/// Digits after a point or a comma at the beginning.
fn fraction_digits(text: &str) -> usize {
    text.strip_prefix(['.', ',']).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count())
}

/// The day (UTC) that began after a leap second; `None` where there was none.
fn day_after_leap_second(date: &str, clock: &str, zone: &str) -> Option<String> {
    let number = |text: &str| text.parse::<i64>().ok();
    let date: String = date.chars().filter(char::is_ascii_digit).collect();
    if date.len() != 8 {
        return None;
    }
    let (year, month, day) = (number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?);
    // from the end of that month's last day on
    let minutes = number(&clock[..2])? * 60 + number(&clock[2..4])? + 1 - offset_minutes(zone)?;
    let (year_after, month_after) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let days_in_month = [31, 28 + i64::from(year % 4 == 0), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let last = *days_in_month.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let (year, month) = match (day, minutes) {
        (1, 0) => (year, month),
        (day, 1_440) if day == last => (year_after, month_after),
        _ => return None,
    };
    let known = LEAP_SECONDS.iter().any(|after| (after.0, i64::from(after.1)) == (year, month));
    known.then(|| format!("{year:04}-{month:02}-01"))
}

/// Minutes east of UTC: of `Z`, `+01:00`, `+0100`, `+01` and nothing, with what some writers put behind.
fn offset_minutes(zone: &str) -> Option<i64> {
    let zone = zone.split('[').next().unwrap_or_default().trim();
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits: String = zone.strip_prefix(['+', '-'])?.chars().filter(|c| *c != ':').collect();
    let number = |text: Option<&str>| text?.parse::<i64>().ok();
    match digits.len() {
        2 => Some(sign * number(digits.get(..2))? * 60),
        4 => Some(sign * (number(digits.get(..2))? * 60 + number(digits.get(2..))?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_leap_second_stays_as_it_is() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.123456789+01:00",
            "2026-01-31 12:00:59",
            "2026-01-31",
            "20260131T120059Z",
            "60:60:60",
            "",
            "now",
            "é€",
            "2026-01-31T",
            "2026-01-31T12:60:00Z",
        ] {
            assert_eq!(exact_time(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_true_leap_second_is_the_one_after_it_in_every_zone_and_spelling() {
        for (text, expected) in [
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2016-12-31t23:59:60z", "2017-01-01T00:00:00Z"),
            ("2016-12-31 23:59:60", "2017-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z"),
            ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00Z"),
            ("2017-01-01T00:59:60.5+0100", "2017-01-01T00:00:00.5Z"),
            ("2016-12-31T18:59:60-05", "2017-01-01T00:00:00Z"),
            ("2015-07-01T05:29:60+05:30", "2015-07-01T00:00:00Z"),
            ("20150630T235960Z", "2015-07-01T00:00:00Z"),
            ("1972-06-30T23:59:60Z", "1972-07-01T00:00:00Z"),
        ] {
            assert_eq!(exact_time(text).as_deref(), Some(expected), "{text}");
        }
        for (year, month) in LEAP_SECONDS {
            let (before, day) =
                if month == 1 { (format!("{:04}-12", year - 1), 31) } else { (format!("{year}-06"), 30) };
            let expected = format!("{year}-{month:02}-01T00:00:00Z");
            assert_eq!(exact_time(&format!("{before}-{day}T23:59:60Z")).as_deref(), Some(&*expected));
        }
    }

    #[test]
    fn other_sixtieth_seconds_and_digits_that_would_be_cut_are_refused() {
        for text in [
            "2026-01-31T12:00:60Z",
            "2026-12-31T23:59:60Z",
            "2016-06-30T23:59:60Z",
            "2016-12-31T23:58:60Z",
            "2016-12-30T23:59:60Z",
            "2016-12-31T23:59:60+01:00",
            "2016-12-31T23:59:60-00:01",
            "2016-12-31T23:59:60.1234567891Z",
            "2016-12-31T23:59:60 Europe",
            "2016-13-31T23:59:60Z",
            "2016-00-31T23:59:60Z",
            "20260131T120060Z",
            "2026-01-31T12:00:00.1234567890Z",
            "2026-01-31 12:00:00,0000000001",
            "+002016-12-31T23:59:60Z",
        ] {
            assert_eq!(exact_time(text), None, "{text}");
        }
        assert!(is_exact_length("1.123456789s") && is_exact_length("5s") && is_exact_length(""));
        assert!(!is_exact_length("1.1234567890s"));
    }
}
