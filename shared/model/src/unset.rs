//! Clocks that were never set: when such a clock says it is.
//!
//! A device whose battery was empty counts on from an epoch: of Unix, of FAT and GPS, of its clock chip, or from the default
//! of its firmware, which is the beginning of a year more often than not. It may show local time, so that the epoch lies up to
//! fourteen hours before or twelve after that of UTC. A true time is never taken for such a one where it was received within
//! 400 days: on the first of January people are measured, too.

use crate::time::Nanos;

/// 1990-01-01T00:00:00Z: no device that sends readings was made before. The epochs of Unix (1970), FAT and GPS (1980) lie there.
const YEAR_1990: Nanos = Nanos(631_152_000 * Nanos::SECOND);
/// What was received so long after it was measured may be of a clock that was never set: 400 days, as far as "latest" looks back.
const TRUE_SINCE_NS: i64 = 400 * Nanos::DAY;
/// How far the zones of the earth are apart from UTC, east and west.
const EAST_NS: i64 = 14 * HOUR_NS;
const WEST_NS: i64 = 12 * HOUR_NS;
const HOUR_NS: i64 = 3_600 * Nanos::SECOND;

/// Days since 1970 from which clocks count on, and for how many days a device may have been on since.
const EPOCHS: [(i64, i64); 4] = [
    // 1999-08-22 and 2019-04-07: GPS weeks begin at 0 again
    (10_825, 1),
    (17_993, 1),
    // 2000-01-01: clock chips with two digits for the year, Zigbee, PostgreSQL
    (10_957, 31),
    // 2001-01-01: Apple
    (11_323, 7),
];
/// The same of the first day of any other year, as firmware is built with; of years since, people send what they have kept.
const OF_A_YEAR_DAYS: i64 = 1;
/// The last year of such firmware.
const LAST_YEAR: i64 = 2015;

/// Whether a clock that was never set shows such a time. What was measured before 1990 always counts as that.
pub fn is_unset(measured_at: Nanos, received_at: Nanos) -> bool {
    measured_at < YEAR_1990
        || (received_at.0.saturating_sub(measured_at.0) > TRUE_SINCE_NS && is_after_an_epoch(measured_at))
}

fn is_after_an_epoch(at: Nanos) -> bool {
    let follows = |(epoch, days): (i64, i64)| {
        let start = epoch * Nanos::DAY;
        (start - EAST_NS..start + WEST_NS + days * Nanos::DAY).contains(&at.0)
    };
    let days = at.0.div_euclid(Nanos::DAY);
    // the year by its mean length is off by one at most, and at its end the next one counts by local time
    let year = 1970 + days * 400 / 146_097;
    let years = (year - 1..=(year + 1).min(LAST_YEAR)).map(|year| (first_day(year), OF_A_YEAR_DAYS));
    EPOCHS.into_iter().chain(years).any(follows)
}

/// The first of January of a year of this time (1970 and later), in days since 1970.
fn first_day(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    365 * (year - 1970) + leap_days - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_begin_when_they_do() {
        for (year, days) in [(1970, 0), (1980, 3_652), (2000, 10_957), (2001, 11_323), (2024, 19_723), (2025, 20_089)] {
            assert_eq!(first_day(year), days, "{year}");
        }
    }
}
