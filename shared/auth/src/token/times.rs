//! When a token was issued, and from when to when it is good: dates of RFC 7519, which may have a fraction of a second.

use super::Fault;
use model::Nanos;
use serde_json::{Map, Value};

/// How far clocks may differ.
const LEEWAY: i64 = 30 * Nanos::SECOND;
/// The claim that says after which change of a device its token comes, in seconds since 1970, where `iat` does not say it. A
/// clock that was put back must not make a new token look older than the change that it comes after.
const AFTER: &str = "urn:wardline:after";

/// When a token was issued, as far as it says so, and when it ends for everybody, whatever the clock: by as much later than
/// `exp` as clocks may differ.
pub(super) struct Times {
    pub issued_at: Nanos,
    pub expires_at: Nanos,
}

/// The present, in whole seconds.
pub(super) fn now() -> Nanos {
    let seconds = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap_or(i64::MAX);
    Nanos::from_parts(seconds, 0).unwrap_or(Nanos::MAX)
}

/// Of a token that is good now; `needs_start`: only one that says from when on it is.
pub(super) fn times(claims: &Map<String, Value>, needs_start: bool, now: Nanos) -> Result<Times, Fault> {
    let read = |name: &str| claims.get(name).map(|value| date(value).ok_or(Fault::BadClaims)).transpose();
    let (issued_at, not_before, after) = (read("iat")?, read("nbf")?, read(AFTER)?);
    let expires_at = read("exp")?.ok_or(Fault::BadClaims)?.plus(LEEWAY);
    if needs_start && not_before.is_none() {
        return Err(Fault::BadClaims);
    }
    // exclusive, as wherever the end is looked at again
    if now >= expires_at {
        return Err(Fault::Expired);
    }
    let soonest = now.plus(LEEWAY);
    if issued_at.is_some_and(|at| at > soonest) || not_before.is_some_and(|at| at > soonest) {
        return Err(Fault::NotYetValid);
    }
    // one that says nothing is older than any change
    let issued_at = issued_at.or(not_before).max(after).unwrap_or(Nanos::MIN);
    Ok(Times { issued_at, expires_at })
}

/// A number of seconds since 1970. `None`: no number, or beyond all calendars.
fn date(value: &Value) -> Option<Nanos> {
    if let Some(seconds) = value.as_u64() {
        return Nanos::from_parts(i64::try_from(seconds).ok()?, 0);
    }
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    // what is too large becomes the largest, and that is beyond all calendars
    Nanos::from_parts(seconds as i64, (seconds.fract() * 1e9) as i32)
}
