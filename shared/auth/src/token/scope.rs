//! What a token leaves of its subject's permissions: the claims `scope` (RFC 8693) and `scp`, its name at other issuers.
//!
//! Words are compared exactly. Those of other programs (`openid`, SMART's `patient/Observation.read`) say nothing here; what
//! looks like one of ours and is not written like it restricts in a way that is not understood, and so do other claims that
//! restrict: such a token is refused, for to pass over a restriction is to widen.

use super::Fault;
use model::access::Permission;
use serde_json::{Map, Value};

/// What the words of a scope that are ours begin with. A permission's name alone is ours, too.
const PREFIX: &str = "wardline/";
/// Our name, in small letters: what holds it is meant for us.
const OUR_NAME: &str = "wardline";
/// What stands between the parts of a permission's name when it is written otherwise.
const JOINTS: [char; 5] = ['.', ':', '_', '-', '/'];
/// What Entra ID calls the one scope of a program that has no others. It only begins like a permission.
const ANY_USE: &str = "access_as_user";
/// Claims that restrict a token and are not understood here: a key that the sender must have (RFC 7800), and what exactly it
/// may be used for (RFC 9396).
const NOT_DONE: [&str; 2] = ["cnf", "authorization_details"];

/// The permissions that a token leaves; `None`: it names none of ours, and all are left.
pub(super) fn scope(claims: &Map<String, Value>) -> Result<Option<Vec<Permission>>, Fault> {
    let understood = || {
        let scope = claims.get("scope").map_or(Some(None), |value| named(&spaced(value)?))?;
        let scp = claims.get("scp").map_or(Some(None), |value| named(&listed(value).or_else(|| spaced(value))?))?;
        // each restricts
        Some(match (scope, scp) {
            (Some(scope), Some(scp)) => Some(scope.into_iter().filter(|one| scp.contains(one)).collect()),
            (scope, scp) => scope.or(scp),
        })
    };
    let is_done = !NOT_DONE.iter().any(|name| claims.contains_key(*name));
    understood().filter(|_| is_done).ok_or(Fault::UnknownRestriction)
}

/// The words of a text, which has spaces between them and nothing else (RFC 6749, 3.3).
fn spaced(value: &Value) -> Option<Vec<&str>> {
    Some(value.as_str()?.split(' ').filter(|word| !word.is_empty()).collect())
}

fn listed(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(|word| word.as_str().filter(|word| !word.is_empty())).collect()
}

/// Those of ours among some words, `Some(None)` when there are none. A permission that nobody knows leaves nothing, rather than
/// everything. `None`: something that is no word, or that looks like one of ours.
fn named(words: &[&str]) -> Option<Option<Vec<Permission>>> {
    let mut ours: Option<Vec<Permission>> = None;
    for word in words {
        if !is_word(word) {
            return None;
        }
        if let Some(name) = word.strip_prefix(PREFIX) {
            ours.get_or_insert_default().extend(Permission::from_name(name));
        } else if let Some(permission) = Permission::from_name(word) {
            ours.get_or_insert_default().push(permission);
        } else if is_alike(word) {
            return None;
        }
    }
    Some(ours)
}

/// Letters, digits and signs of ASCII, but for quotation marks and backslashes (RFC 6749, 3.3).
fn is_word(word: &str) -> bool {
    word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Whether a word may be meant as one of ours: in other letters, with other signs or none, escaped, or the other way round
/// (`manage:users`). The first part of a permission's name alone is not, for `profile` and `roles` are words of others.
fn is_alike(word: &str) -> bool {
    let written = unescaped(word);
    let word = written.to_ascii_lowercase();
    if word == ANY_USE {
        return false;
    }
    let (parted, is_sign) = (apart(&written), |sign: char| !sign.is_ascii_alphanumeric());
    let parts: Vec<_> = parted.split(is_sign).filter(|part| !part.is_empty()).collect();
    let runs: Vec<_> = word.split(is_sign).collect();
    let listed: Vec<_> = word.split(|sign: char| is_sign(sign) && sign != '.').collect();
    let names = |permission: &Permission| {
        let Some((what, how)) = permission.name().split_once('.') else { return false };
        let joined = [[what, how].concat(), [how, what].concat()];
        // in whatever list, quotes or address it stands
        parts.windows(2).any(|pair| pair == [what, how] || pair == [how, what])
            || runs.iter().any(|run| joined.iter().any(|name| name == run))
            || listed.iter().any(|name| name.strip_prefix(what).is_some_and(|rest| rest.starts_with('.')))
            || word.strip_prefix(what).is_some_and(|rest| rest.starts_with(JOINTS) && rest.len() > 1)
    };
    word.contains(OUR_NAME) || Permission::ALL.iter().any(names)
}

/// A word without percent signs of an address (`%2E`), however often it was escaped.
fn unescaped(word: &str) -> String {
    let mut word = word.to_owned();
    let escaped = |word: &str| {
        let (at, _) = word.match_indices('%').find(|(at, _)| word.get(at + 1..at + 3).is_some_and(is_hexadecimal))?;
        let byte = u8::from_str_radix(&word[at + 1..at + 3], 16).ok()?;
        Some((at, char::from(byte)))
    };
    // each makes it shorter
    while let Some((at, sign)) = escaped(&word) {
        word.replace_range(at..at + 3, sign.encode_utf8(&mut [0; 4]));
    }
    word
}

fn is_hexadecimal(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// A word in small letters, with a space before each capital that follows a small letter (`usersManage`).
fn apart(word: &str) -> String {
    let mut parted = String::with_capacity(2 * word.len());
    let mut before = ' ';
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            parted.push(' ');
        }
        parted.push(letter.to_ascii_lowercase());
        before = letter;
    }
    parted
}
