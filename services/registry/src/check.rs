//! Whether what was sent can be taken. Complaints name the field and what is allowed, never the value: it may be personal.

use directory::Directory;
use guard::{convert, ids};
use model::{Nanos, PatientId, UserId};
use proto::{problem, prost_types::Timestamp};
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) use crate::texts::{line, name, reason};
pub(crate) use guard::ids::word;

pub(crate) fn bad(field: &str, allowed: impl Into<String>) -> Status {
    problem::invalid("INVALID_FIELD", field, allowed)
}

/// A UUID, or a new one where there is none.
pub(crate) fn id_or_new(field: &str, text: &str) -> Result<Uuid, Status> {
    if text.is_empty() { Ok(Uuid::new_v4()) } else { ids::uuid(field, text) }
}

pub(crate) fn patient(text: &str) -> Result<PatientId, Status> {
    ids::id("patient_id", text)
}

pub(crate) fn user(text: &str) -> Result<UserId, Status> {
    ids::id("user_id", text)
}

/// A word as in [`word`]; `None` when the text is empty.
pub(crate) fn word_or_none(field: &str, text: &str) -> Result<Option<String>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    word(field, text).map(|()| Some(text.to_owned()))
}

/// Refuses a ward in which no patient lies or lay, and nobody works: it would relate nobody to anybody.
pub(crate) fn ward(directory: &Directory, field: &str, ward: &str) -> Result<(), Status> {
    if directory.has_ward(ward) {
        return Ok(());
    }
    let text = "there is no such ward: one is there from its first patient on; check how it is spelled";
    Err(problem::field(Code::NotFound, "NO_SUCH_WARD", field, text))
}

/// Refuses a study in which nobody takes part.
pub(crate) fn study(directory: &Directory, field: &str, study: &str) -> Result<(), Status> {
    if directory.has_study(study) {
        return Ok(());
    }
    let text = "there is no such study: one is there from its first relation on; check how it is spelled";
    Err(problem::field(Code::NotFound, "NO_SUCH_STUDY", field, text))
}

/// The FIPS code of a county, or nothing.
pub(crate) fn county(text: &str) -> Result<(), Status> {
    let is_code = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    // 000 stands for the whole of a state
    if text.is_empty() || is_code && !text.starts_with("00") && !text.ends_with("000") {
        return Ok(());
    }
    Err(bad("contact.county", "the FIPS code of a county, 5 digits such as 06037, or nothing"))
}

/// A date of birth, not after `now`, as far as it is known: a year, a month of it, or a day.
pub(crate) fn birth_date(text: &str, now: Nanos) -> Result<(), Status> {
    if text.is_empty() {
        return Ok(());
    }
    let allowed = || {
        let text =
            "a date like 1969-12-31, or what is known of it (1969-12, 1969), not before 1880 and not in the future";
        bad("person.birth_date", text)
    };
    // the first day that it can be
    let first = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    let date: jiff::civil::Date = first.parse().map_err(|_| allowed())?;
    let now = jiff::Timestamp::from_nanosecond(i128::from(now.0)).map_err(|_| allowed())?;
    // somewhere it is tomorrow already
    let latest = now.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(14))).date();
    let is_spelled = first == date.to_string();
    if is_spelled && date.year() >= 1880 && date <= latest { Ok(()) } else { Err(allowed()) }
}

/// A number in a range, or 0 for one that is not known.
pub(crate) fn number(field: &str, value: f64, least: f64, most: f64) -> Result<(), Status> {
    if value == 0.0 || (least..=most).contains(&value) {
        return Ok(());
    }
    Err(bad(field, format!("{least} to {most}, or 0 for not known")))
}

/// A MAC address in its one form: lower-case, with colons. Nothing stays nothing.
pub(crate) fn mac(text: &str) -> Result<Option<String>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let allowed = "six pairs of hexadecimal digits with : or - between them, of one device (not a group, not all zero)";
    let separator = if text.contains('-') { '-' } else { ':' };
    let pairs: Vec<&str> = text.split(separator).collect();
    let byte = |pair: &&str| {
        let hexadecimal = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
        hexadecimal.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    match bytes.as_deref() {
        // the last bit of the first byte says that it is the address of a group
        Some(bytes @ [first, _, _, _, _, _]) if first & 1 == 0 && bytes.iter().any(|byte| *byte != 0) => {
            Ok(Some(pairs.join(":").to_ascii_lowercase()))
        }
        _ => Err(bad("mac", allowed)),
    }
}

/// From when to when, each of them perhaps open.
pub(crate) fn span(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Result<(i64, i64), Status> {
    let from = instant("start_time", from, Nanos::MIN)?;
    let to = instant("end_time", to, Nanos::MAX)?;
    if from < to {
        Ok((from.0, to.0))
    } else {
        Err(problem::invalid("TIMES_REVERSED", "end_time", "must lie after `start_time`"))
    }
}

/// An instant, or what is meant without one.
pub(crate) fn instant(field: &str, stamp: Option<&Timestamp>, without: Nanos) -> Result<Nanos, Status> {
    let Some(stamp) = stamp else { return Ok(without) };
    convert::nanos(stamp).ok_or_else(|| problem::invalid("TIME_OUT_OF_RANGE", field, convert::out_of_range(stamp)))
}

/// On the wire: absent where it is open.
pub(crate) fn stamp(at: i64) -> Option<Timestamp> {
    (at != i64::MIN && at != i64::MAX).then(|| convert::timestamp(Nanos(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_have_one_form() {
        for good in ["00:00:5e:00:53:af", "00-00-5E-00-53-AF", "00:00:5E:00:53:aF"] {
            assert_eq!(mac(good).unwrap().as_deref(), Some("00:00:5e:00:53:af"));
        }
        assert_eq!(mac("").unwrap(), None);
        let bad = [
            "00:00:5e:00:53",
            "00:00:5e:00:53:af:01",
            "00:00:5e:00:53:ag",
            "0:0:5e:0:53:af",
            "00005e0053af",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:53:af",
            "00:00:5e:00-53-af",
            "+0:00:5e:00:53:af",
        ];
        for bad in bad {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_in_another_unit_is_named_as_such() {
        let sent = Timestamp { seconds: 1_700_000_000_000, nanos: 0 };
        let refused = instant("start_time", Some(&sent), Nanos::MAX).unwrap_err();
        assert!(refused.message().contains("milliseconds"), "{}", refused.message());
    }

    #[test]
    fn a_county_has_five_digits() {
        for good in ["", "06037", "48201", "02013"] {
            assert!(county(good).is_ok(), "{good}");
        }
        for bad in ["6037", "060370", "06000", "00001", "0603a", "\u{663}6037", " 06037", "Los Angeles"] {
            assert!(county(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn birth_dates_are_dates_of_the_past() {
        let now = Nanos(1_700_000_000 * Nanos::SECOND);
        for good in ["", "1969-12-31", "1880-01-01", "2023-11-14", "1969", "1969-12", "2023-11", "1880"] {
            assert!(birth_date(good, now).is_ok(), "{good}");
        }
        for bad in
            ["2023-11-20", "1879-12-31", "1969-13-01", "1969-02-30", "31.12.1969", "1969-12-31T00:00", "19691231"]
                .into_iter()
                .chain(["2024", "2023-12", "1879", "1969-13", "1969-1", "69", "12-1969", "1969-", "+969"])
        {
            assert!(birth_date(bad, now).is_err(), "{bad}");
        }
    }
}
