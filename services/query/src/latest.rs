//! `LatestReadings`: the newest value of each metric, found from the hour index and read from the rows. There is no stored
//! "latest" that could be wrong: late and repeated data make it right, and it never goes backwards.
//!
//! Which readings count, and which is the newest, is decided in `model` ([`counts_from`](model::counts_from)). Readings
//! of a clock that was never set are stored under whatever hour it showed: so a few hours are read that lie ahead, and a few
//! from times before such devices were made.

use crate::{
    Query, failed, is_asked,
    readings::{NewestReading, Readings, Selection},
};
use guard::{convert, errors};
use model::{ClockQuality, Hour, MetricId, Nanos, Permit, Quality, Range, Reach, Retraction, age};
use proto::telemetry::v1::{LatestReading, LatestReadingsResponse};
use std::collections::BTreeMap;
use store::{HourEntry, Order};
use tonic::Status;

/// How far back "latest" looks, in nanoseconds: 400 days. What is older is history.
const LOOK_BACK_NS: i64 = 400 * Nanos::DAY;
/// Entries of the hour index read in one go: most answers are in the first few.
const INDEX_AT_ONCE: usize = 256;
/// 2015-01-01T00:00:00Z: clocks that were never set count from 1970, 1980, 2000 or the like more often than from later.
const CLOCKS_SET_SINCE: Nanos = Nanos(1_420_070_400 * Nanos::SECOND);
/// Most hours read, on either side, for readings of a clock that was never set.
const HOURS_OF_NO_CLOCK: usize = 24;

/// The newest reading of each metric.
type Newest = BTreeMap<MetricId, NewestReading>;

pub(crate) async fn read(
    query: &Query,
    permit: &Permit,
    metrics: &[MetricId],
) -> Result<LatestReadingsResponse, Status> {
    let now = query.decisions.now();
    let found = in_reach(query, permit, metrics, now, |before, found| all_known(before, metrics, found)).await?;
    let latest = |found: NewestReading| LatestReading {
        reading: Some(found.reading),
        age: Some(convert::duration(age(found.recency.at, now))),
    };
    let mut readings: Vec<_> = found.into_values().map(latest).collect();
    let key = |latest: &LatestReading| latest.reading.as_ref().map(|reading| reading.metric.clone());
    readings.sort_by_key(key);
    Ok(LatestReadingsResponse { readings })
}

/// The newest of the readings that [`read`] gives, of whatever metric.
pub(crate) async fn newest_of_any(query: &Query, permit: &Permit) -> Result<Option<NewestReading>, Status> {
    let any = |before: Hour, found: &Newest| found.values().any(|found| !may_be_newer(before, Some(found)));
    let found = in_reach(query, permit, &[], query.decisions.now(), any).await?;
    Ok(found.into_values().max_by_key(|found| found.recency))
}

/// The newest reading of each metric in the range of "latest", and of devices whose clocks were never set.
async fn in_reach(
    query: &Query,
    permit: &Permit,
    metrics: &[MetricId],
    now: Nanos,
    is_enough: impl Fn(Hour, &Newest) -> bool,
) -> Result<Newest, Status> {
    let (first, last) = (now.plus(-LOOK_BACK_NS), query.tolerance.latest_measured(now));
    let range = Range::new(first, last.plus(1)).unwrap_or(Range::ALL);
    let directory = query.decisions.directory();
    let asked = asked(range, metrics, directory.retractions(permit.patient()));
    let mut found = walk(query, permit, asked, is_enough).await?;
    if let Some(range) = Range::new(range.to(), Nanos::MAX) {
        add_without_clock(query, permit, Selection { range, ..asked }, Order::Ascending, &mut found).await?;
    }
    if let Some(range) = Range::new(Nanos::MIN, first.min(CLOCKS_SET_SINCE)) {
        add_without_clock(query, permit, Selection { range, ..asked }, Order::Descending, &mut found).await?;
    }
    Ok(found)
}

/// The newest reading of each of these metrics that has a part in a range. What has begun before the range's first hour is looked
/// at last: nothing there is newer than what has begun later.
pub(crate) async fn newest(
    query: &Query,
    permit: &Permit,
    range: Range,
    metrics: &[MetricId],
) -> Result<Newest, Status> {
    // further on, an empty list is all there are
    if metrics.is_empty() {
        return Ok(Newest::new());
    }
    let directory = query.decisions.directory();
    let asked = asked(range, metrics, directory.retractions(permit.patient()));
    let mut found = walk(query, permit, asked, |before, found| all_known(before, metrics, found)).await?;
    let first = range.hours().first;
    // a week's hours, all in one go
    let begun =
        query.store.hours(permit, Reach::before(first), Order::Descending, INDEX_AT_ONCE).await.map_err(failed)?;
    for entry in begun.iter().filter(|entry| entry.reach.reaches(entry.hour, first)) {
        let missing = wanted(entry, metrics, |metric| may_be_newer(entry.hour, found.get(metric)));
        add(query, permit, entry, Selection { metrics: &missing, ..asked }, &mut found, |_| true).await?;
    }
    Ok(found)
}

/// What is asked for; marked by the retractions of one directory, however many hours are read.
fn asked<'a>(range: Range, metrics: &'a [MetricId], retractions: &'a [Retraction]) -> Selection<'a> {
    Selection { range, after: None, metrics, retractions, left_out: Quality::GOOD, ended_before: None }
}

/// Whether no hour up to `before` can have a newer reading of any of these metrics; never, when all there are are meant.
fn all_known(before: Hour, metrics: &[MetricId], found: &Newest) -> bool {
    !metrics.is_empty() && !metrics.iter().any(|metric| may_be_newer(before, found.get(metric)))
}

/// Walks the hours of what is asked for backwards, until `is_enough` says so of the hour that would be next.
async fn walk(
    query: &Query,
    permit: &Permit,
    asked: Selection<'_>,
    is_enough: impl Fn(Hour, &Newest) -> bool,
) -> Result<Newest, Status> {
    let mut found = Newest::new();
    let mut hours = asked.range.hours();
    loop {
        let entries = query.store.hours(permit, hours, Order::Descending, INDEX_AT_ONCE).await.map_err(failed)?;
        for entry in &entries {
            let missing = wanted(entry, asked.metrics, |metric| may_be_newer(entry.hour, found.get(metric)));
            add(query, permit, entry, Selection { metrics: &missing, ..asked }, &mut found, |_| true).await?;
            if is_enough(Hour(entry.hour.0 - 1), &found) {
                return Ok(found);
            }
        }
        let Some(oldest) = entries.last().filter(|_| entries.len() == INDEX_AT_ONCE) else { return Ok(found) };
        hours.end = oldest.hour;
    }
}

/// Whether an hour, or one before it, can have a newer reading of a metric than what was found. What counts from its receipt
/// may have been found in a later hour than that.
fn may_be_newer(hour: Hour, found: Option<&NewestReading>) -> bool {
    found.is_none_or(|found| found.recency.at < hour.end())
}

/// Adds readings of devices without a clock, from the first hours of a range.
async fn add_without_clock(
    query: &Query,
    permit: &Permit,
    asked: Selection<'_>,
    order: Order,
    found: &mut Newest,
) -> Result<(), Status> {
    let hours = query.store.hours(permit, asked.range.hours(), order, HOURS_OF_NO_CLOCK).await.map_err(failed)?;
    for entry in &hours {
        let metrics = &wanted(entry, asked.metrics, |_| true);
        add(query, permit, entry, Selection { metrics, ..asked }, found, |clock| clock == ClockQuality::Unset).await?;
    }
    Ok(())
}

/// Those metrics of an hour that are asked for and satisfy a condition.
fn wanted(entry: &HourEntry, metrics: &[MetricId], condition: impl Fn(&MetricId) -> bool) -> Vec<MetricId> {
    entry.metrics.iter().filter(|metric| is_asked(metrics, **metric) && condition(metric)).copied().collect()
}

/// Adds an hour's newest readings of some metrics, of devices with such clocks.
async fn add(
    query: &Query,
    permit: &Permit,
    entry: &HourEntry,
    selection: Selection<'_>,
    found: &mut Newest,
    clocks: impl Fn(ClockQuality) -> bool,
) -> Result<(), Status> {
    // of no metric, and not, as with an empty list, of all
    if selection.metrics.is_empty() {
        return Ok(());
    }
    let data = query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)?;
    for hour in &data {
        let readings = Readings::new(hour, selection, query.tolerance).map_err(|error| errors::unreadable(&error))?;
        for (metric, newer) in readings.newest().filter(|(_, newer)| clocks(newer.clock)) {
            // a metric may have columns in several units, and a reading in several ranges
            if found.get(&metric).is_none_or(|held| held.recency < newer.recency) {
                found.insert(metric, newer);
            }
        }
    }
    Ok(())
}
