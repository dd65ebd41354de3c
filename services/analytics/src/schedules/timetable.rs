//! When a schedule fires: a cron pattern by the clock of a time zone.
//!
//! A fixed time of day that a change of clocks leaves out fires when the clock goes on, and one that comes twice fires the first
//! time: once a day, whatever the day. What repeats within the hour goes by time that passes.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, civil::Date, tz::TimeZone, tz::TimeZoneDatabase};
use model::quoted;
use std::sync::LazyLock;

/// Zones as they were when this was built: all processes of a version agree, and none needs files of the system.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A pattern and a zone. Instants are nanoseconds since 1970.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
    text: (String, String),
}

impl Timetable {
    /// Five fields (minute, hour, day of the month, month, day of the week), and the IANA name of a zone.
    ///
    /// # Errors
    /// What is wrong, with the setting's name before it.
    pub fn new(cron: &str, time_zone: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(cron).map_err(|error| format!("cron: {}: {error}", quoted(cron)))?;
        let zone = ZONES.get(time_zone);
        let zone =
            zone.map_err(|_| format!("time_zone: {} is none, such as \"America/New_York\"", quoted(time_zone)))?;
        let text = (cron.to_owned(), zone.iana_name().unwrap_or(time_zone).to_owned());
        let timetable = Self { cron: pattern, zone, text };
        // from any day on: whether there is such a day at all
        timetable.after(0).ok_or_else(|| format!("cron: {} never comes", quoted(cron)))?;
        Ok(timetable)
    }

    /// The pattern, as it was given.
    pub fn cron(&self) -> &str {
        &self.text.0
    }

    /// The zone's name.
    pub fn time_zone(&self) -> &str {
        &self.text.1
    }

    /// The first firing after an instant; `None`: there is none.
    pub fn after(&self, instant: i64) -> Option<i64> {
        let at = Timestamp::from_nanosecond(instant.into()).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&at, false).ok()?;
        nanos(next.timestamp()).filter(|next| *next > instant)
    }

    /// Firings after an instant, ascending.
    pub fn all_after(&self, instant: i64) -> impl Iterator<Item = i64> {
        std::iter::successors(self.after(instant), |last| self.after(*last))
    }

    /// The local date of an instant.
    pub fn date(&self, instant: i64) -> Option<Date> {
        Some(Timestamp::from_nanosecond(instant.into()).ok()?.to_zoned(self.zone.clone()).date())
    }

    /// Firings of local dates, both included, ascending.
    pub fn on(&self, from: Date, to: Date) -> impl Iterator<Item = i64> {
        let start = from.to_zoned(self.zone.clone()).ok().and_then(|start| nanos(start.timestamp()));
        let firings = start.into_iter().flat_map(|start| self.all_after(start - 1));
        firings.take_while(move |instant| self.date(*instant).is_some_and(|date| date <= to))
    }
}

fn nanos(at: Timestamp) -> Option<i64> {
    i64::try_from(at.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> i64 {
        nanos(text.parse().unwrap()).unwrap()
    }

    /// The firings from one instant to before another, in UTC.
    fn firings(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let timetable = Timetable::new(cron, zone).unwrap();
        let to = instant(to);
        let all = timetable.all_after(instant(from) - 1).take_while(|at| *at < to);
        all.map(|at| Timestamp::from_nanosecond(at.into()).unwrap().to_string()).collect()
    }

    #[test]
    fn two_in_the_night_in_new_york_comes_once_on_both_days_of_the_change_of_clocks() {
        // on 14 March 2027 the clock goes from 02:00 to 03:00: there is no two o'clock
        let spring = firings("0 2 * * *", "America/New_York", "2027-03-13T05:00:00Z", "2027-03-16T04:00:00Z");
        assert_eq!(spring, ["2027-03-13T07:00:00Z", "2027-03-14T07:00:00Z", "2027-03-15T06:00:00Z"]);
        // on 7 November 2027 it goes from 02:00 back to 01:00: two o'clock is once, an hour later
        let autumn = firings("0 2 * * *", "America/New_York", "2027-11-06T04:00:00Z", "2027-11-09T05:00:00Z");
        assert_eq!(autumn, ["2027-11-06T06:00:00Z", "2027-11-07T07:00:00Z", "2027-11-08T07:00:00Z"]);
        // half past one is twice: the first one counts
        let twice = firings("30 1 * * *", "America/New_York", "2027-11-06T04:00:00Z", "2027-11-09T05:00:00Z");
        assert_eq!(twice, ["2027-11-06T05:30:00Z", "2027-11-07T05:30:00Z", "2027-11-08T06:30:00Z"]);
    }

    #[test]
    fn each_date_of_twelve_years_has_one_firing_in_zones_of_every_sort() {
        for (cron, zone) in [
            ("0 2 * * *", "America/New_York"),
            ("30 1 * * *", "America/New_York"),
            ("30 2 * * *", "Europe/Berlin"),
            ("15 2 * * *", "Australia/Lord_Howe"),
            ("45 1 * * *", "Australia/Lord_Howe"),
            ("0 2 * * *", "Asia/Kolkata"),
            ("30 0 * * *", "America/Havana"),
        ] {
            let timetable = Timetable::new(cron, zone).unwrap();
            let (from, to) = (Date::constant(2026, 1, 1), Date::constant(2037, 12, 31));
            let dates: Vec<_> = timetable.on(from, to).map(|at| timetable.date(at).unwrap()).collect();
            let expected: Vec<_> = from.series(jiff::Span::new().days(1)).take_while(|date| *date <= to).collect();
            assert_eq!(dates, expected, "{cron} {zone}");
        }
    }

    #[test]
    fn zones_of_half_an_hour_and_changes_of_half_an_hour() {
        let kolkata = firings("0 2 * * *", "Asia/Kolkata", "2027-03-13T00:00:00Z", "2027-03-15T00:00:00Z");
        assert_eq!(kolkata, ["2027-03-13T20:30:00Z", "2027-03-14T20:30:00Z"]);
        // on 3 October 2027 the clock goes from 02:00 (+10:30) to 02:30 (+11:00)
        let gap = firings("15 2 * * *", "Australia/Lord_Howe", "2027-10-01T14:00:00Z", "2027-10-04T13:00:00Z");
        assert_eq!(gap, ["2027-10-01T15:45:00Z", "2027-10-02T15:30:00Z", "2027-10-03T15:15:00Z"]);
        // on 4 April 2027 from 02:00 (+11:00) back to 01:30 (+10:30)
        let twice = firings("45 1 * * *", "Australia/Lord_Howe", "2027-04-02T13:00:00Z", "2027-04-05T14:00:00Z");
        assert_eq!(twice, ["2027-04-02T14:45:00Z", "2027-04-03T14:45:00Z", "2027-04-04T15:15:00Z"]);
    }

    #[test]
    fn what_repeats_within_the_hour_goes_by_time_that_passes() {
        let all = firings("*/30 * * * *", "America/New_York", "2027-11-07T05:00:00Z", "2027-11-07T08:00:00Z");
        assert_eq!(all.len(), 6, "{all:?}");
        let all = firings("*/30 * * * *", "America/New_York", "2027-03-14T06:00:00Z", "2027-03-14T09:00:00Z");
        assert_eq!(all.len(), 6, "{all:?}");
    }

    #[test]
    fn what_is_no_pattern_or_no_zone_is_refused_by_name() {
        for (cron, zone, said) in [
            ("0 2 * *", "UTC", "cron: "),
            ("0 0 2 * * *", "UTC", "cron: "),
            ("0 25 * * *", "UTC", "cron: "),
            ("0 0 30 2 *", "UTC", "never comes"),
            ("0 2 * * *", "America/New York", "time_zone: "),
            ("0 2 * * *", "", "time_zone: "),
        ] {
            let error = Timetable::new(cron, zone).unwrap_err();
            assert!(error.contains(said), "{cron} {zone}: {error}");
        }
    }
}
