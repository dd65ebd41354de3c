//! What a schedule does now, by its last firing and the clock.

use super::timetable::Timetable;

/// Firings that are submitted late at most.
const CATCH_UP_MAX: usize = 31;
/// A firing counts as missed when it is so late, in nanoseconds: a process that starts takes its time.
const GRACE: i64 = 300 * 1_000_000_000;
/// Firings that are looked at in one go.
const LOOK_MAX: usize = 1_000;

/// What becomes of firings that were missed because no process was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The last 31 are submitted late.
    CatchUp,
    /// They are left out.
    Skip,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait: no firing is due yet.
    Rest,
    /// Submit the firing of an instant.
    Fire(i64),
    /// Leave firings out up to an instant: so many.
    LeaveOut(i64, u64),
}

/// What comes after the firings up to an instant.
pub(super) fn next(timetable: &Timetable, missed: Missed, until: i64, now: i64) -> Next {
    let due: Vec<_> = timetable.all_after(until).take_while(|instant| *instant <= now).take(LOOK_MAX).collect();
    let Some(first) = due.first() else { return Next::Rest };
    let n_left_out = match missed {
        Missed::CatchUp => due.len().saturating_sub(CATCH_UP_MAX),
        Missed::Skip => due.iter().filter(|instant| **instant < now.saturating_sub(GRACE)).count(),
    };
    match n_left_out.checked_sub(1).and_then(|last| due.get(last)) {
        Some(last) => Next::LeaveOut(*last, n_left_out as u64),
        None => Next::Fire(*first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600 * 1_000_000_000;

    fn hourly() -> Timetable {
        Timetable::new("0 * * * *", "UTC").unwrap()
    }

    #[test]
    fn nothing_is_due_before_its_time_nor_again_after_the_clock_went_back() {
        let table = hourly();
        for missed in [Missed::CatchUp, Missed::Skip] {
            assert_eq!(next(&table, missed, 10 * HOUR, 11 * HOUR - 1), Next::Rest);
            assert_eq!(next(&table, missed, 10 * HOUR, 11 * HOUR), Next::Fire(11 * HOUR));
            assert_eq!(next(&table, missed, 11 * HOUR, 11 * HOUR), Next::Rest);
            assert_eq!(next(&table, missed, 11 * HOUR, 9 * HOUR), Next::Rest);
        }
    }

    #[test]
    fn what_was_missed_is_made_up_for_up_to_a_bound_or_left_out() {
        let table = hourly();
        assert_eq!(next(&table, Missed::CatchUp, 0, 31 * HOUR + 1), Next::Fire(HOUR));
        assert_eq!(next(&table, Missed::CatchUp, 0, 100 * HOUR), Next::LeaveOut(69 * HOUR, 69));
        assert_eq!(next(&table, Missed::CatchUp, 69 * HOUR, 100 * HOUR), Next::Fire(70 * HOUR));
        // a year is looked at in parts
        assert_eq!(next(&table, Missed::CatchUp, 0, 8_760 * HOUR), Next::LeaveOut(969 * HOUR, 969));
        assert_eq!(next(&table, Missed::Skip, 0, 100 * HOUR + HOUR / 2), Next::LeaveOut(100 * HOUR, 100));
        // the last one is not late yet
        assert_eq!(next(&table, Missed::Skip, 0, 100 * HOUR + 1), Next::LeaveOut(99 * HOUR, 99));
        assert_eq!(next(&table, Missed::Skip, 99 * HOUR, 100 * HOUR + 1), Next::Fire(100 * HOUR));
    }
}
