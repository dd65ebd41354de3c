//! A cell's value, and the numbers, days and truths that cells are read as.

use std::borrow::Cow;

use jiff::civil::{Date, date};

use super::{error::Reason, kind::Type};

/// A value of a column's type, or none.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none.
    Null,
    /// Text or a code.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// An exact number, in units of its last place.
    Decimal(i128),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// Days since 1 January 1970.
    Date(i32),
}

/// Why a cell has no value of its column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Which rule the cell broke.
    pub(super) reason: Reason,
    /// What is allowed.
    pub(super) allowed: Cow<'static, str>,
}

/// A fault with what is allowed.
pub(super) fn fault<T>(reason: Reason, allowed: impl Into<Cow<'static, str>>) -> Result<T, Fault> {
    Err(Fault { reason, allowed: allowed.into() })
}

impl Value<'_> {
    /// The same, apart from what it was read from.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text.into_owned().into()),
            Self::Integer(number) => Value::Integer(number),
            Self::Decimal(number) => Value::Decimal(number),
            Self::Double(number) => Value::Double(number),
            Self::Boolean(truth) => Value::Boolean(truth),
            Self::Date(day) => Value::Date(day),
        }
    }

    /// The number, for ranges.
    #[expect(clippy::cast_precision_loss, reason = "ranges are no exact numbers")]
    pub(super) fn number(&self, kind: Type) -> Option<f64> {
        match (self, kind) {
            (Self::Integer(number), _) => Some(*number as f64),
            (Self::Double(number), _) => Some(*number),
            (Self::Decimal(number), Type::Decimal(_, places)) => Some(*number as f64 / 10_f64.powi(i32::from(places))),
            _ => None,
        }
    }
}

/// The cell as its column's type.
pub(super) fn plain(cell: &str, kind: Type) -> Result<Value<'_>, Fault> {
    match kind {
        Type::Text => Ok(Value::Text(cell.into())),
        Type::Integer => integer(cell),
        Type::Decimal(digits, places) => decimal(cell, digits, places),
        Type::Double => double(cell),
        Type::Boolean => boolean(cell),
        Type::Date => day_ymd(cell),
    }
}

/// A whole number in digits.
pub(super) fn integer(cell: &str) -> Result<Value<'static>, Fault> {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match cell.parse() {
        Ok(number) if plain => Ok(Value::Integer(number)),
        _ => fault(Reason::Type, "a whole number"),
    }
}

/// A number with digits, a point and an exponent; no `inf`, no `nan`.
pub(super) fn double(cell: &str) -> Result<Value<'static>, Fault> {
    let plain = cell.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match cell.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(Value::Double(number)),
        _ => fault(Reason::Type, "a number"),
    }
}

/// An exact number with at most so many places.
pub(super) fn decimal(cell: &str, digits: u8, places: i8) -> Result<Value<'static>, Fault> {
    let allowed = || format!("an amount with {places} places at most and {digits} digits in all");
    let (negative, number) = cell.strip_prefix('-').map_or((false, cell), |number| (true, number));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let part = part.trim_end_matches('0');
    let width = usize::try_from(places).unwrap_or_default();
    let plain = whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain || part.len() > width || whole.len() + width > usize::from(digits) {
        return fault(Reason::Type, allowed());
    }
    let filled = part.bytes().chain(std::iter::repeat_n(b'0', width - part.len()));
    let digits = whole.bytes().chain(filled).map(|byte| i128::from(byte - b'0'));
    // `digits` of a column are at most the 38 that a number of this size has
    let number = digits.fold(0, |number, digit| number * 10 + digit);
    Ok(Value::Decimal(if negative { -number } else { number }))
}

/// Yes or no, in the ways that publishers write it.
fn boolean(cell: &str) -> Result<Value<'static>, Fault> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(cell));
    if is(&["yes", "y", "true", "t", "1"]) {
        Ok(Value::Boolean(true))
    } else if is(&["no", "n", "false", "f", "0"]) {
        Ok(Value::Boolean(false))
    } else {
        fault(Reason::Type, "yes or no, Y or N, true or false")
    }
}

/// A number without the commas between its groups of three; none where they stand elsewhere.
pub(super) fn without_commas(cell: &str) -> Option<Cow<'_, str>> {
    if !cell.contains(',') {
        return Some(cell.into());
    }
    let (whole, part) = cell.split_once('.').map_or((cell, ""), |(whole, _)| (whole, &cell[whole.len()..]));
    let mut groups = whole.split(',');
    let first = groups.next()?.trim_start_matches('-').len();
    let even = (1..=3).contains(&first) && groups.all(|group| group.len() == 3);
    even.then(|| (whole.replace(',', "") + part).into())
}

/// The whole number in `= 43.0`.
pub(super) fn equals(cell: &str) -> Result<Value<'static>, Fault> {
    let number = cell.strip_prefix('=').unwrap_or(cell).trim();
    integer(number.strip_suffix(".0").unwrap_or(number))
}

/// A day written `MM/DD/YYYY`; month and day may have one digit.
pub(super) fn day_mdy(cell: &str) -> Result<Value<'static>, Fault> {
    let mut parts = cell.split('/');
    let (month, day, year) = (parts.next(), parts.next(), parts.next());
    day_of(year, month, day, parts.next().is_none()).map_or_else(|| fault(Reason::Type, "a day as MM/DD/YYYY"), Ok)
}

/// A day written `YYYY-MM-DD`; month and day may have one digit.
pub(super) fn day_ymd(cell: &str) -> Result<Value<'static>, Fault> {
    let mut parts = cell.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    day_of(year, month, day, parts.next().is_none()).map_or_else(|| fault(Reason::Type, "a day as YYYY-MM-DD"), Ok)
}

/// `YYYYMM`, as the month's first day.
pub(super) fn day_ym(cell: &str) -> Result<Value<'static>, Fault> {
    let parts = (cell.len() == 6).then(|| (cell.get(..4), cell.get(4..)));
    let day = parts.and_then(|(year, month)| day_of(year, month, Some("01"), true));
    day.map_or_else(|| fault(Reason::Type, "a month as YYYYMM"), Ok)
}

fn day_of(year: Option<&str>, month: Option<&str>, day: Option<&str>, whole: bool) -> Option<Value<'static>> {
    let (year, month, day) = (year.filter(|year| year.len() == 4)?, month?, day?);
    let day = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    let days = day.duration_since(date(1970, 1, 1)).as_hours() / 24;
    i32::try_from(days).ok().filter(|_| whole).map(Value::Date)
}

/// A part of `POINT (-85.4 40.2)`: 0 is the longitude, 1 the latitude.
pub(super) fn of_point(cell: &str, part: usize) -> Result<Value<'static>, Fault> {
    let inner = cell.strip_prefix("POINT (").and_then(|rest| rest.strip_suffix(')'));
    match inner.map(|inner| inner.split(' ').collect::<Vec<_>>()).as_deref() {
        Some(parts @ [_, _]) => double(parts[part]),
        _ => fault(Reason::Type, "a point as POINT (longitude latitude)"),
    }
}
