//! Values that were gathered over a time: from the time in the chart to their beginning and length.

use super::{
    mapping::{Lasts, Mapping},
    recording::Row,
};
use model::{Nanos, Reach};
use std::collections::HashMap;

/// Seconds of an hour.
const HOUR_S: u32 = 3_600;

/// Gives one device's rows, which are as charted, their beginnings and lengths.
pub fn spread(rows: &mut [Row], mapping: &Mapping) {
    let lasts = |row: &Row| {
        let sent = mapping.sent(row.sent);
        // what was not measured was not emptied either
        sent.lasts.filter(|_| sent.absent.is_none())
    };
    for row in rows.iter_mut() {
        if lasts(row) == Some(Lasts::HourAfter) {
            row.lasting_s = HOUR_S;
            // before its end nobody knows it
            row.arrived_ns = row.arrived_ns.max(row.ended_ns());
        }
    }
    let since_previous = |place: &usize| lasts(&rows[*place]) == Some(Lasts::SincePrevious);
    let mut places: Vec<usize> = (0..rows.len()).filter(since_previous).collect();
    places.sort_by_key(|&place| rows[place].measured_ns);
    let mut charted = HashMap::<&str, (i64, Option<i64>)>::new();
    for place in places {
        let row = &mut rows[place];
        let (last, before) = charted.entry(&mapping.sent(row.sent).item).or_insert((row.measured_ns, None));
        // what is charted at the same time began at the same time
        if *last < row.measured_ns {
            *before = Some(*last);
            *last = row.measured_ns;
        }
        let lasting_ns = before.map_or(0, |before| row.measured_ns.saturating_sub(before));
        // the server takes no longer one
        if (Nanos::SECOND..=Reach::LONGEST).contains(&lasting_ns) {
            row.lasting_s = (lasting_ns / Nanos::SECOND) as u32;
            row.measured_ns -= i64::from(row.lasting_s) * Nanos::SECOND;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::mapping::Written;

    const MINUTE: i64 = 60 * Nanos::SECOND;

    /// Beginning, end, arrival of each in minutes, of an item charted at these minutes.
    fn spread_over(section: &str, item: &str, minutes: &[i64]) -> Vec<(i64, i64, i64)> {
        let mapping = Mapping::load().unwrap();
        let written = Written::alone("50");
        let judged = mapping.section(section).unwrap()[item].judge(written).unwrap();
        let mut rows: Vec<_> = minutes.iter().map(|at| Row::charted(at * MINUTE, judged)).collect();
        spread(&mut rows, &mapping);
        let in_minutes = |row: &Row| (row.measured_ns / MINUTE, row.ended_ns() / MINUTE, row.arrived_ns / MINUTE);
        rows.iter().map(in_minutes).collect()
    }

    #[test]
    fn an_hour_begins_with_its_time_and_is_known_at_its_end() {
        assert_eq!(spread_over("eicu_hourly", "urine", &[0, 120]), [(0, 60, 60), (120, 180, 180)]);
        assert_eq!(spread_over("eicu_hourly", "hr", &[0, 120]), [(0, 0, 0), (120, 120, 120)]);
    }

    #[test]
    fn what_is_emptied_was_gathered_since_it_was_emptied_before() {
        let week = 7 * 24 * 60;
        assert_eq!(
            // in no order, two at once, and one after more than a week
            spread_over("physionet2012", "Urine", &[150, 30, 90, 90, 151 + week]),
            [(90, 150, 150), (30, 30, 30), (30, 90, 90), (30, 90, 90), (151 + week, 151 + week, 151 + week)]
        );
        assert_eq!(spread_over("physionet2012", "HR", &[30, 90]), [(30, 30, 30), (90, 90, 90)]);
    }
}
