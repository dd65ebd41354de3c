//! `ReadTrend`: what each metric came to in each hour, from the rollups of hours.

use crate::{
    Query, failed, is_asked, metrics, named,
    page::{Cursor, Question},
    range,
    readings::Key,
    wants,
};
use guard::{convert, errors, pages};
use model::{Hour, HourRange, MetricId, Nanos, Permit, Rollup, access::Principal};
use proto::telemetry::v1::{ReadTrendRequest, ReadTrendResponse, Trend, TrendHour};
use std::collections::BTreeMap;
use store::{HourEntry, HourRollups, Order};
use tonic::Status;

/// Default and largest page, in hours of metrics.
pub const PAGE: (usize, usize) = (5_000, 20_000);
/// The range when none is asked for.
const DEFAULT_NS: i64 = 30 * Nanos::DAY;
/// Most hours whose rollups are read in one go: ten days.
const HOURS_AT_ONCE: usize = 240;

pub(crate) async fn read(
    query: &Query,
    permit: &Permit,
    principal: &Principal,
    request: &ReadTrendRequest,
) -> Result<ReadTrendResponse, Status> {
    let now = query.decisions.now();
    let metrics = metrics(&request.metrics)?;
    let bounds = (request.start_time.as_ref(), request.end_time.as_ref());
    let question = Question { of: "trend", patient_id: &request.patient_id, metrics: &request.metrics, bounds };
    let context = question.context(principal);
    let size = pages::size(request.page_size, PAGE)?;
    let (range, hours) = if request.page_token.is_empty() {
        let range = range(bounds, DEFAULT_NS, now)?;
        (range, range.hours())
    } else {
        let Cursor { range, after } = Cursor::decrypt(&request.page_token, &query.cipher, &context, now)?;
        (range, HourRange { first: Hour(after.at.hour().0 + 1), ..range.hours() })
    };
    let mut trends = BTreeMap::new();
    let mut response = ReadTrendResponse::default();
    if let Some(last) = fill(query, permit, hours, &metrics, size, &mut trends).await? {
        let next = Cursor { range, after: Key::end_of(last) };
        response.next_page_token = next.encrypt(&query.cipher, &context, now)?;
    }
    response.trends = trends.into_values().collect();
    response.trends.sort_by(|a: &Trend, b| a.metric.cmp(&b.metric));
    Ok(response)
}

/// Adds hours until the page is full; then says which was the last.
async fn fill(
    query: &Query,
    permit: &Permit,
    mut hours: HourRange,
    metrics: &[MetricId],
    size: usize,
    trends: &mut BTreeMap<MetricId, Trend>,
) -> Result<Option<Hour>, Status> {
    let mut taken = 0;
    while hours.first < hours.end {
        // an hour mostly fills one place at least: of more there would be no use
        let n_hours = (size - taken).min(HOURS_AT_ONCE);
        let mut entries = query.store.hours(permit, hours, Order::Ascending, n_hours).await.map_err(failed)?;
        let Some(last) = entries.last().map(|entry| entry.hour) else { break };
        hours.first = Hour(last.0 + 1);
        entries.retain(|entry| wants(entry, metrics));
        for one in rollups(query, permit, &entries).await? {
            for rollup in one.rollups {
                if is_asked(metrics, rollup.metric) {
                    add(trends, one.hour, &rollup);
                    taken += 1;
                }
            }
            if taken >= size {
                return Ok(Some(one.hour));
            }
        }
    }
    Ok(None)
}

/// The rollups of some hours, without what was taken back of the patient's readings: that is marked in the rows alone.
async fn rollups(query: &Query, permit: &Permit, entries: &[HourEntry]) -> Result<Vec<HourRollups>, Status> {
    let directory = query.decisions.directory();
    let retractions = directory.retractions(permit.patient());
    let is_concerned =
        |entry: &HourEntry| retractions.iter().any(|retraction| retraction.concerns(entry.hour, &entry.metrics));
    let (concerned, others): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(is_concerned);
    let mut all = query.store.rollups(permit, &others).await.map_err(failed)?;
    for entry in &concerned {
        for data in query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)? {
            let mut sheet = data.sheet(&[]).map_err(|error| errors::unreadable(&error))?;
            retractions.iter().for_each(|retraction| retraction.mark(&mut sheet));
            all.push(HourRollups { hour: data.hour, rollups: Rollup::of(&sheet, query.tolerance) });
        }
    }
    all.sort_by_key(|one| one.hour);
    Ok(all)
}

fn add(trends: &mut BTreeMap<MetricId, Trend>, hour: Hour, rollup: &Rollup) {
    let trend = trends.entry(rollup.metric).or_insert_with(|| {
        let (metric, unit) = named(rollup.metric);
        Trend { metric: metric.to_owned(), unit: unit.to_owned(), hours: Vec::new() }
    });
    let good = rollup.good;
    trend.hours.push(TrendHour {
        start: Some(convert::timestamp(hour.start())),
        n_readings: good.map_or(0, |good| good.n),
        min: good.map(|good| good.min),
        max: good.map(|good| good.max),
        mean: good.map(|good| good.mean()),
        n_doubtful: rollup.n_doubtful,
        n_repeats: rollup.n_repeats,
        n_bounded: rollup.n_bounded,
        n_absent: rollup.n_absent,
        sum: good.filter(|_| model::by_id(rollup.metric).is_some_and(|metric| metric.adds_up)).map(|good| good.sum),
    });
}
