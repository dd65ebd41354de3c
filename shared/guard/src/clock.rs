//! The one place that asks the operating system for the time.

use model::Nanos;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now; before 1970 and after 2262 the nearest of the two.
pub fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
