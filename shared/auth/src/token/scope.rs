//! What a token leaves of its subject's permissions: the claims `scope` (RFC 8693) and `scp`, its name at other issuers.
//!
//! Words are compared exactly. Those of other programs (`openid`, SMART's `patient/Observation.read`) say nothing here; what
//! looks like one of ours and is not written like it restricts in a way that is not understood, and so do other claims that
//! restrict: such a token is refused, for to pass over a restriction is to widen.

mod alike;

use super::Fault;
use alike::is_alike;
use model::access::Permission;
use serde_json::{Map, Value};

/// What the words of a scope that are ours begin with. A permission's name alone is ours, too.
const PREFIX: &str = "wardline/";
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
