//! How much of a range has data.

use crate::{INDEX_AT_ONCE, Query, failed, is_asked, latest, named, wants};
use guard::{convert, errors};
use model::{Hour, HourRange, MetricId, Nanos, Permit, Range, Reach, age};
use proto::telemetry::v1::Coverage;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};
use store::{HourEntry, Order};
use tonic::Status;

/// For each metric: in how many hours of the range it has data, and the newest reading that has a part in it.
pub(crate) async fn coverage(
    query: &Query,
    permit: &Permit,
    range: Range,
    wanted: &[MetricId],
    now: Nanos,
) -> Result<Vec<Coverage>, Status> {
    let hours = range.hours();
    let until = hours.end.min(Hour(now.hour().0 + 1));
    let hours_in_range = u32::try_from(i64::from(until.0) - i64::from(hours.first.0)).unwrap_or(0);
    let counts = count(query, permit, wanted, Counting::of(hours, until)).await?;
    let found: Vec<_> = counts.keys().copied().collect();
    let newest = latest::newest(query, permit, range, &found).await?;
    let entry = |(metric, hours_with_data): (MetricId, u32)| {
        let found = newest.get(&metric);
        Coverage {
            metric: named(metric).0.to_owned(),
            hours_with_data,
            hours_in_range,
            newest_measured_at: found.map(|found| convert::timestamp(found.measured_at)),
            newest_age: found.map(|found| convert::duration(age(found.recency.at, now))),
        }
    };
    Ok(counts.into_iter().map(entry).collect())
}

/// Goes through the index page by page, however many hours there are, and reads those that may last into others. What is kept
/// besides a page is a week of hours; how long it takes is bounded by the call's time alone.
async fn count(
    query: &Query,
    permit: &Permit,
    wanted: &[MetricId],
    mut counting: Counting,
) -> Result<BTreeMap<MetricId, u32>, Status> {
    let begin = counting.hours.first;
    let mut rest = HourRange { first: Reach::before(begin).first, end: counting.hours.end };
    let mut lasting = Lasting::default();
    loop {
        let mut entries = query.store.hours(permit, rest, Order::Ascending, INDEX_AT_ONCE).await.map_err(failed)?;
        let last = entries.last().filter(|_| entries.len() == INDEX_AT_ONCE).map(|entry| entry.hour);
        let is_in_it = |entry: &HourEntry| entry.hour >= begin || entry.reach.reaches(entry.hour, begin);
        entries.retain(|entry| wants(entry, wanted) && is_in_it(entry));
        for entry in &entries {
            for before in lasting.see(entry) {
                read(query, permit, wanted, &before, &mut counting).await?;
            }
            counting.add(entry.hour, entry.metrics.iter().filter(|metric| is_asked(wanted, **metric)).copied());
        }
        let Some(last) = last else { break };
        rest.first = Hour(last.0 + 1);
    }
    if let Some(before) = lasting.0 {
        read(query, permit, wanted, &before, &mut counting).await?;
    }
    Ok(counting.end())
}

/// Adds what of an hour lasts into later ones.
async fn read(
    query: &Query,
    permit: &Permit,
    wanted: &[MetricId],
    entry: &HourEntry,
    counting: &mut Counting,
) -> Result<(), Status> {
    for data in query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)? {
        let sheet = data.sheet(wanted).map_err(|error| errors::unreadable(&error))?;
        for column in sheet.columns.iter().filter(|column| column.lasts()) {
            let ends = (0..column.lines.len()).map(|line| column.lines.end(line)).max();
            counting.reach(column.lines.metric, entry.hour, ends.map_or(entry.hour, |end| end.plus(-1).hour()));
        }
    }
    Ok(())
}

/// The last hour seen, if it reaches into the next one: whether that has the same metrics is not known yet.
#[derive(Default)]
struct Lasting(Option<HourEntry>);

impl Lasting {
    /// Takes the hours in ascending order; those up to this one that may reach into hours in which nothing else of their metric is.
    fn see(&mut self, entry: &HourEntry) -> Vec<HourEntry> {
        let is_next = |last: &HourEntry| last.hour.0 + 1 == entry.hour.0;
        let has = |metric: &MetricId| entry.metrics.binary_search(metric).is_ok();
        let last = self.0.take().filter(|last| !(is_next(last) && last.metrics.iter().all(has)));
        let mut found = Vec::from_iter(last);
        match entry.reach {
            Reach::Within => {}
            Reach::NextHour => self.0 = Some(entry.clone()),
            Reach::Longer => found.push(entry.clone()),
        }
        found
    }
}

/// In how many hours each metric has data; the hours come in ascending order.
struct Counting {
    hours: HourRange,
    /// The first hour that is yet to come: what lasts into it does not count.
    until: Hour,
    /// What lasts into hours that have not been counted: a week of them at most.
    reached: BTreeMap<Hour, BTreeSet<MetricId>>,
    counts: BTreeMap<MetricId, u32>,
}

impl Counting {
    fn of(hours: HourRange, until: Hour) -> Self {
        Self { hours, until, reached: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// A metric of an hour lasts up to `last`; nothing later than the hour has been added.
    fn reach(&mut self, metric: MetricId, hour: Hour, last: Hour) {
        for hour in (hour.0 + 1).max(self.hours.first.0)..=last.0.min(self.until.0 - 1) {
            self.reached.entry(Hour(hour)).or_default().insert(metric);
        }
    }

    /// An hour has data of these metrics; what lasts into it is known.
    fn add(&mut self, hour: Hour, metrics: impl IntoIterator<Item = MetricId>) {
        self.settle(hour);
        if hour >= self.hours.first {
            let mut all = self.reached.remove(&hour).unwrap_or_default();
            all.extend(metrics);
            all.into_iter().for_each(|metric| *self.counts.entry(metric).or_default() += 1);
        }
    }

    /// Counts what lasts into hours before this one, which have no data of their own.
    fn settle(&mut self, hour: Hour) {
        let later = self.reached.split_off(&hour);
        for metric in mem::replace(&mut self.reached, later).into_values().flatten() {
            *self.counts.entry(metric).or_default() += 1;
        }
    }

    fn end(mut self) -> BTreeMap<MetricId, u32> {
        self.settle(self.hours.end);
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(hour: i32, reach: Reach) -> HourEntry {
        HourEntry { hour: Hour(hour), metrics: vec![MetricId(1)], reach, version: 0 }
    }

    #[test]
    fn of_hours_that_last_none_is_left_out_however_many_there_are() {
        let (next, longer) = (Reach::NextHour, Reach::Longer);
        for reaches in [[next, next], [longer, longer], [next, longer], [longer, next]] {
            let (mut lasting, mut found) = (Lasting::default(), Vec::new());
            for (n, reach) in (0..).zip(reaches.into_iter().cycle().take(5_000)) {
                // none is the next one of another
                found.extend(lasting.see(&entry(2 * n, reach)));
            }
            found.extend(lasting.0);
            assert!(found.iter().map(|entry| entry.hour.0).eq((0..5_000_i32).map(|n| 2 * n)), "{reaches:?}");
        }
    }

    #[test]
    fn an_hour_that_has_all_that_reaches_into_it_is_enough() {
        let mut lasting = Lasting::default();
        let mut see = |entry: HourEntry| lasting.see(&entry).iter().map(|entry| entry.hour.0).collect::<Vec<_>>();
        assert!(see(entry(1, Reach::NextHour)).is_empty());
        assert!(see(entry(2, Reach::NextHour)).is_empty());
        assert_eq!(see(HourEntry { metrics: vec![MetricId(2)], ..entry(3, Reach::Within) }), [2]);
        assert!(see(entry(4, Reach::Within)).is_empty());
    }

    #[test]
    fn each_hour_counts_once_for_each_metric() {
        let [one, other] = [1, 2].map(MetricId);
        let mut counting = Counting::of(HourRange { first: Hour(10), end: Hour(30) }, Hour(20));
        // from before the range into it, over one that has data of its own
        counting.reach(one, Hour(8), Hour(12));
        counting.add(Hour(11), [one, other]);
        counting.reach(one, Hour(11), Hour(13));
        assert_eq!(counting.reached.len(), 2, "10 is counted, and 11");
        counting.reach(other, Hour(12), Hour(14));
        counting.add(Hour(12), [other]);
        // into what is yet to come
        counting.reach(one, Hour(18), Hour(25));
        counting.add(Hour(18), [one]);
        assert_eq!(counting.end(), BTreeMap::from([(one, 6), (other, 4)]));
    }
}
