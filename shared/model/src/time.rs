//! Time: nanoseconds since 1970-01-01T00:00:00Z, and the hours that rows are kept in.

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_HOUR: i64 = 3_600 * NANOS_PER_SECOND;

/// Where a service gets the time from. Given by whoever composes it, so that tests can turn it.
pub type Clock = fn() -> Nanos;

/// Nanoseconds since the Unix epoch; reaches from 1677-09-21 to 2262-04-11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

impl Nanos {
    /// The earliest representable instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable instant.
    pub const MAX: Self = Self(i64::MAX);
    /// 1900-01-01T00:00:00Z: what claims to be older is of no clock that ever was.
    pub const YEAR_1900: Self = Self(-2_208_988_800 * NANOS_PER_SECOND);
    /// Nanoseconds of a day of 24 hours.
    pub const DAY: i64 = 24 * NANOS_PER_HOUR;
    /// Nanoseconds of a second.
    pub const SECOND: i64 = NANOS_PER_SECOND;

    /// From seconds and nanoseconds (0 to 999,999,999), `None` outside what an `i64` of nanoseconds holds.
    pub fn from_parts(seconds: i64, nanos: i32) -> Option<Self> {
        if !(0..1_000_000_000).contains(&nanos) {
            return None;
        }
        let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        i64::try_from(total).ok().map(Self)
    }

    /// Whole seconds (rounded down) and the nanoseconds after them.
    pub fn parts(self) -> (i64, i32) {
        let nanos = self.0.rem_euclid(NANOS_PER_SECOND);
        // rem_euclid by a billion fits
        (self.0.div_euclid(NANOS_PER_SECOND), nanos as i32)
    }

    /// The hour that holds this instant.
    pub fn hour(self) -> Hour {
        // i64::MAX nanoseconds is 2.6 million hours: fits an i32
        Hour(self.0.div_euclid(NANOS_PER_HOUR) as i32)
    }

    /// This instant plus a length in nanoseconds, clamped at the ends.
    pub fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// Whole hours since the Unix epoch: the unit in which rows are grouped, read and recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i32);

impl Hour {
    /// The first instant of the hour.
    pub fn start(self) -> Nanos {
        Nanos(i64::from(self.0).saturating_mul(NANOS_PER_HOUR))
    }

    /// The first instant after the hour.
    pub fn end(self) -> Nanos {
        self.start().plus(NANOS_PER_HOUR)
    }

    /// Whole days since the Unix epoch.
    pub fn day(self) -> i32 {
        self.0.div_euclid(24)
    }
}

/// A half-open span of time: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    from: Nanos,
    to: Nanos,
}

impl Range {
    /// The range from the earliest to the latest instant.
    pub const ALL: Self = Self { from: Nanos::MIN, to: Nanos::MAX };

    /// `None` when `from` lies after `to`.
    pub fn new(from: Nanos, to: Nanos) -> Option<Self> {
        (from <= to).then_some(Self { from, to })
    }

    /// The first instant in the range.
    pub fn from(&self) -> Nanos {
        self.from
    }

    /// The first instant after the range.
    pub fn to(&self) -> Nanos {
        self.to
    }

    /// Whether an instant lies in the range.
    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }

    /// The hours that the range touches.
    pub fn hours(&self) -> HourRange {
        if self.from == self.to {
            let hour = self.from.hour();
            return HourRange { first: hour, end: hour };
        }
        HourRange { first: self.from.hour(), end: Hour(Nanos(self.to.0 - 1).hour().0 + 1) }
    }
}

/// A half-open run of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourRange {
    /// The first hour of the range, inclusive.
    pub first: Hour,
    /// The hour after the last.
    pub end: Hour,
}

impl HourRange {
    /// The range of exactly one hour.
    pub fn one(hour: Hour) -> Self {
        Self { first: hour, end: Hour(hour.0 + 1) }
    }

    /// Whether an hour lies in the run.
    pub fn contains(&self, hour: Hour) -> bool {
        self.first <= hour && hour < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_before_its_end() {
        let range = Range::new(Nanos(0), Nanos(NANOS_PER_HOUR)).unwrap();
        assert!(range.contains(Nanos(0)));
        assert!(!range.contains(Nanos(NANOS_PER_HOUR)));
        assert_eq!(range.hours(), HourRange { first: Hour(0), end: Hour(1) });
        assert_eq!(Range::new(Nanos(1), Nanos(0)), None);
    }

    #[test]
    fn instants_before_1970_round_down() {
        assert_eq!(Nanos(-1).hour(), Hour(-1));
        assert_eq!(Nanos(-1).parts(), (-1, 999_999_999));
        assert_eq!(Nanos::from_parts(-1, 999_999_999), Some(Nanos(-1)));
        assert_eq!(Hour(-1).day(), -1);
        assert_eq!(Nanos::from_parts(i64::MAX, 0), None);
        assert_eq!(Nanos::from_parts(0, 1_000_000_000), None);
    }
}
