//! Codes that spreadsheets take for numbers: ZIP, FIPS, certification numbers and provider identifiers. They are texts of a
//! fixed width; one that lost its leading zero is padded only where the state of its row agrees, else refused.

use std::borrow::Cow;

use super::{
    error::Reason,
    states::{self, State},
    value::{Fault, Value, fault},
};

/// A code, and whether it was padded.
pub(super) type Code<'a> = Result<(Cow<'a, str>, bool), Fault>;

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The code with zeros before it, where `agrees` says that it belongs to the row's state.
fn pad<'a>(code: &'a str, width: usize, state: Option<&State>, agrees: impl Fn(&State, &str) -> bool) -> Code<'a> {
    if code.len() == width {
        return Ok((code.into(), false));
    }
    let Some(state) = state.filter(|_| code.len() < width) else {
        return fault(Reason::Code, format!("{width} characters"));
    };
    let padded = format!("{code:0>width$}");
    if agrees(state, &padded) {
        return Ok((padded.into(), true));
    }
    fault(Reason::StateDisagrees, format!("{width} characters; with zeros before it, it is not in {}", state.name))
}

/// The state that a cell names.
pub(super) fn state(cell: &str) -> Result<&'static State, Fault> {
    states::find(cell).map_or_else(|| fault(Reason::UnknownState, "a state, territory or military post"), Ok)
}

/// The first five digits of a ZIP code.
pub(super) fn zip5<'a>(cell: &'a str, state: Option<&State>) -> Code<'a> {
    let five = match cell.split_once('-') {
        Some((five, four)) if four.len() == 4 && digits(four) => five,
        Some(_) => return fault(Reason::Code, "five digits, or nine with a hyphen"),
        None if cell.len() == 9 && digits(cell) => &cell[..5],
        None => cell,
    };
    if !digits(five) {
        return fault(Reason::Code, "five digits, or nine with a hyphen");
    }
    pad(five, 5, state, State::has_zip)
}

/// The last four of nine digits of a ZIP code.
pub(super) fn plus4(cell: &str) -> Value<'_> {
    match cell.split_once('-') {
        Some((_, four)) if four.len() == 4 && digits(four) => Value::Text(four.into()),
        None if cell.len() == 9 && digits(cell) => Value::Text(cell[5..].into()),
        _ => Value::Null,
    }
}

/// ZIP codes with spaces between, each with five digits.
pub(super) fn zips<'a>(cell: &'a str, state: Option<&State>) -> Code<'a> {
    let mut padded = false;
    let mut all = String::with_capacity(cell.len());
    for zip in cell.split_whitespace() {
        let (zip, repaired) = zip5(zip, state)?;
        padded |= repaired;
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&zip);
    }
    Ok((all.into(), padded))
}

/// A FIPS number of `width` digits whose first two are a state's.
pub(super) fn fips<'a>(cell: &'a str, width: usize, state: Option<&State>) -> Code<'a> {
    if !digits(cell) {
        return fault(Reason::Code, format!("{width} digits"));
    }
    // a military post has no number, with which every code would begin
    let agrees = |state: &State, code: &str| !state.fips.is_empty() && code.starts_with(&state.fips);
    let (code, padded) = pad(cell, width, state, agrees)?;
    self::state(&code[..2]).map(|_| (code, padded))
}

/// Five digits of a place; two digits are a state.
pub(super) fn place<'a>(cell: &'a str, state: Option<&State>) -> Code<'a> {
    if cell.len() == 2 && digits(cell) {
        return fips(cell, 2, None).map(|(code, _)| (format!("{code}000").into(), false));
    }
    fips(cell, 5, state)
}

/// `nation`, `state` or `county`.
pub(super) fn level(place: &str) -> &'static str {
    match place.get(2..) {
        _ if place == "00000" => "nation",
        Some("000") => "state",
        _ => "county",
    }
}

/// A CMS certification number: six digits and letters.
pub(super) fn ccn<'a>(cell: &'a str, state: Option<&State>) -> Code<'a> {
    if !cell.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
        return fault(Reason::Code, "six digits and capital letters");
    }
    pad(cell, 6, state, State::has_ccn)
}

/// Whether this can be a provider identifier: ten digits, the last of them the check digit of Luhn's rule over `80840` and the
/// first nine (45 CFR 162.406).
pub(super) fn npi_valid(cell: &str) -> bool {
    // Luhn's sum of the prefix 80840 is 24, whatever follows it.
    let value = |(position, byte): (usize, u8)| {
        let digit = u32::from(byte - b'0');
        let doubled = if position % 2 == 0 { digit * 2 } else { digit };
        doubled / 10 + doubled % 10
    };
    cell.len() == 10 && digits(cell) && (24 + cell.bytes().enumerate().map(value).sum::<u32>()) % 10 == 0
}
