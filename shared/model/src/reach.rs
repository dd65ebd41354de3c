//! How far readings of an hour reach beyond its end. A reading is kept in the hour of its beginning; that one which is asked for
//! may have begun earlier is said by the index of hours, among the metrics of the earlier hour, as numbers that no metric has.

use crate::{
    catalog::{Kind, MetricId, by_id},
    time::{Hour, HourRange, Nanos},
};

const NEXT_HOUR: MetricId = MetricId(u16::MAX);
const LONGER: MetricId = MetricId(u16::MAX - 1);

/// How far readings of an hour reach beyond its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reach {
    /// All end within it.
    #[default]
    Within,
    /// At most into the next one.
    NextHour,
    /// Farther, but no farther than [`Reach::LONGEST`].
    Longer,
}

impl Reach {
    /// The longest that a reading may last, in nanoseconds: a week.
    pub const LONGEST: i64 = 7 * Nanos::DAY;

    /// The hours before one in which a reading may have begun that reaches into it.
    pub fn before(hour: Hour) -> HourRange {
        let hours = Self::LONGEST / (Nanos::DAY / 24);
        // a week has 168
        HourRange { first: Hour(hour.0.saturating_sub(hours as i32 + 1)), end: hour }
    }

    /// Of readings of an hour of which the last one ends then.
    pub(crate) fn of(end: Nanos, hour: Hour) -> Self {
        match () {
            () if end <= hour.end() => Self::Within,
            () if end <= Hour(hour.0 + 1).end() => Self::NextHour,
            () => Self::Longer,
        }
    }

    /// What stands for it among an hour's metrics.
    pub(crate) fn mark(self) -> Option<MetricId> {
        match self {
            Self::Within => None,
            Self::NextHour => Some(NEXT_HOUR),
            Self::Longer => Some(LONGER),
        }
    }

    /// Takes it out of an hour's metrics, ascending. Waveforms were kept before there was a mark: they may reach into the next hour.
    pub fn take(metrics: &mut Vec<MetricId>) -> Self {
        let mut reach = Self::Within;
        while let Some(mark) = metrics.pop_if(|metric| *metric >= LONGER) {
            reach = reach.max(if mark == LONGER { Self::Longer } else { Self::NextHour });
        }
        let is_waveform = |id: &MetricId| by_id(*id).is_some_and(|metric| metric.kind == Kind::Waveform);
        if reach == Self::Within && metrics.iter().any(is_waveform) { Self::NextHour } else { reach }
    }

    /// Whether readings of an hour may reach into a later one.
    pub fn reaches(self, from: Hour, to: Hour) -> bool {
        match self {
            Self::Within => false,
            Self::NextHour => from.0 + 1 == to.0,
            Self::Longer => from < to,
        }
    }
}
