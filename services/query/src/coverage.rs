//! How much of a range has data.

use crate::{INDEX_AT_ONCE, Query, failed, latest, named};
use guard::{convert, errors};
use model::{Hour, HourRange, MetricId, Nanos, Permit, Range, Reach, age};
use proto::telemetry::v1::Coverage;
use std::collections::{BTreeMap, BTreeSet};
use store::{HourEntry, Order};
use tonic::Status;

/// Hours of a range that are read for what lasts into others; a device that sends such readings does so a few times a day.
const LASTING_MAX: usize = 1_000;

/// For each metric: in how many hours of the range it has data, and the newest reading that was measured there.
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
    let mut counts: BTreeMap<MetricId, u32> = BTreeMap::new();
    let mut lasting = Lasting::default();
    index(query, permit, Reach::before(hours.first), |entry| {
        if entry.reach.reaches(entry.hour, hours.first) {
            lasting.see(entry);
        }
    })
    .await?;
    index(query, permit, hours, |entry| {
        for metric in &entry.metrics {
            if wanted.is_empty() || wanted.binary_search(metric).is_ok() {
                *counts.entry(*metric).or_default() += 1;
            }
        }
        lasting.see(entry);
    })
    .await?;
    let mut lasting = lasting.end();
    lasting.truncate(LASTING_MAX);
    for (metric, n) in
        reached(query, permit, &lasting, wanted, HourRange { end: until.max(hours.first), ..hours }).await?
    {
        *counts.entry(metric).or_default() += n;
    }
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

/// Hours with readings that may reach into hours in which nothing else of their metric is, seen in ascending order.
#[derive(Default)]
struct Lasting {
    found: Vec<HourEntry>,
    /// The last one seen, if it reaches into the next hour: whether that has the same metrics is not known yet.
    last: Option<HourEntry>,
}

impl Lasting {
    fn see(&mut self, entry: HourEntry) {
        let is_next = |last: &HourEntry| last.hour.0 + 1 == entry.hour.0;
        let has = |metric: &MetricId| entry.metrics.binary_search(metric).is_ok();
        self.found.extend(self.last.take().filter(|last| !(is_next(last) && last.metrics.iter().all(has))));
        match entry.reach {
            Reach::Within => {}
            Reach::NextHour => self.last = Some(entry),
            Reach::Longer => self.found.push(entry),
        }
    }

    fn end(mut self) -> Vec<HourEntry> {
        self.found.extend(self.last);
        self.found
    }
}

/// Goes through the index of some hours, however many they are.
async fn index(
    query: &Query,
    permit: &Permit,
    mut hours: HourRange,
    mut see: impl FnMut(HourEntry),
) -> Result<(), Status> {
    loop {
        let entries = query.store.hours(permit, hours, Order::Ascending, INDEX_AT_ONCE).await.map_err(failed)?;
        let last = entries.last().filter(|_| entries.len() == INDEX_AT_ONCE).map(|entry| entry.hour);
        entries.into_iter().for_each(&mut see);
        let Some(last) = last else { return Ok(()) };
        hours.first = Hour(last.0 + 1);
    }
}

/// For each metric: in how many hours that have no data of their own a reading lasts that began before.
async fn reached(
    query: &Query,
    permit: &Permit,
    lasting: &[HourEntry],
    wanted: &[MetricId],
    hours: HourRange,
) -> Result<BTreeMap<MetricId, u32>, Status> {
    let mut reached: BTreeMap<Hour, BTreeSet<MetricId>> = BTreeMap::new();
    for entry in lasting {
        for data in query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)? {
            let sheet = data.sheet(wanted).map_err(|error| errors::unreadable(&error))?;
            for column in sheet.columns.iter().filter(|column| column.lasts()) {
                let ends = (0..column.lines.len()).map(|line| column.lines.end(line)).max();
                let last = ends.map_or(entry.hour, |end| end.plus(-1).hour());
                for hour in (entry.hour.0 + 1).max(hours.first.0)..=last.0.min(hours.end.0 - 1) {
                    reached.entry(Hour(hour)).or_default().insert(column.lines.metric);
                }
            }
        }
    }
    let (Some(first), Some(last)) = (reached.keys().next().copied(), reached.keys().last().copied()) else {
        return Ok(BTreeMap::new());
    };
    index(query, permit, HourRange { first, end: Hour(last.0 + 1) }, |entry| {
        if let Some(metrics) = reached.get_mut(&entry.hour) {
            metrics.retain(|metric| entry.metrics.binary_search(metric).is_err());
        }
    })
    .await?;
    let mut counts = BTreeMap::new();
    for metric in reached.into_values().flatten() {
        *counts.entry(metric).or_default() += 1;
    }
    Ok(counts)
}
