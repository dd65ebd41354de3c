//! Schedules: work that is submitted by itself at its times.
//!
//! What has fired is in the store (`history.rs`), each step at the schedule's next number: of several processes one fires. A firing
//! is written down first, then submitted under a key that is its own, then written down as submitted: a process that dies between
//! leaves what the next one completes. What was fired is never due again, whatever the clock says.

mod due;
mod history;
mod keeper;
pub mod timetable;

pub use due::Missed;
pub use history::{Firing, State};
pub use keeper::{BackfillError, Keeper, Schedule, What};

#[cfg(test)]
mod tests;
