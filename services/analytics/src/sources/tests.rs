//! Sources against servers that do what servers do: change, break off, send on, lie, and dawdle.

mod bucket;
mod import;
mod server;
mod tls;
mod web;

use super::http::Pace;
use std::time::Duration;

/// As always, but tries follow each other at once.
fn pace() -> Pace {
    let milliseconds = Duration::from_millis;
    Pace { tries: 3, pause: milliseconds(1), longest_pause: milliseconds(20), ..Pace::default() }
}

/// Does not wait for who says nothing.
fn impatient() -> Pace {
    Pace { idle: Duration::from_millis(300), tries: 0, ..pace() }
}
