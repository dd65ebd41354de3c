//! `ReadTimeline`: pages of readings, and how much of the range has data.

use crate::{
    HOURS_AT_ONCE, Query, failed, latest, metrics, named,
    page::{Cursor, Question},
    range,
    readings::{Key, Readings, Selection},
    series::pack,
    wants,
};
use guard::{convert, errors, pages};
use model::{Hour, MetricId, Nanos, Permit, Range, access::Principal, age};
use proto::telemetry::v1::{Coverage, ReadTimelineRequest, ReadTimelineResponse, TimelineLayout};
use std::collections::BTreeMap;
use store::Order;
use tonic::Status;

/// Default and largest page, as readings and as columns.
const PAGE_READINGS: (usize, usize) = (1_000, 10_000);
pub(crate) const PAGE_COLUMNS: (usize, usize) = (50_000, 500_000);
/// Entries of the hour index read in one go: a year and a bit.
const INDEX_AT_ONCE: usize = 10_000;

pub(crate) async fn read(
    query: &Query,
    permit: &Permit,
    principal: &Principal,
    request: &ReadTimelineRequest,
) -> Result<ReadTimelineResponse, Status> {
    let now = query.decisions.now();
    let metrics = metrics(&request.metrics)?;
    let columns = request.layout == TimelineLayout::Columns as i32;
    let bounds = (request.start_time.as_ref(), request.end_time.as_ref());
    let question = Question {
        of: if columns { "columns" } else { "readings" },
        patient_id: &request.patient_id,
        metrics: &request.metrics,
        bounds,
    };
    let context = question.context(principal);
    let size = pages::size(request.page_size, if columns { PAGE_COLUMNS } else { PAGE_READINGS })?;
    let (range, after) = if request.page_token.is_empty() {
        (range(bounds, Nanos::DAY, now)?, None)
    } else {
        let cursor = Cursor::open(&request.page_token, &query.sealer, &context, now)?;
        (cursor.range, Some(cursor.after))
    };
    let mut response = ReadTimelineResponse::default();
    if after.is_none() {
        response.coverage = coverage(query, permit, range, &metrics, now).await?;
    }
    let mut page = Page::new(size);
    // who asks up to now asks for the present
    let selection = Selection { range, after, metrics: &metrics, is_present: request.end_time.is_none() };
    let full = page.fill(query, permit, selection).await?;
    match columns {
        true => response.series = pack(&page.held),
        false => response.readings = page.held.iter().flat_map(Readings::each).collect(),
    }
    if let (true, Some(after)) = (full, page.last) {
        response.next_page_token = Cursor { range, after }.seal(&query.sealer, &context, now)?;
    }
    Ok(response)
}

/// A page that is being filled.
pub(crate) struct Page {
    size: usize,
    taken: usize,
    /// The last reading of it.
    pub(crate) last: Option<Key>,
    /// The readings of the page, ascending by time.
    pub(crate) held: Vec<Readings>,
}

impl Page {
    /// An empty one with room for so many readings.
    pub(crate) fn new(size: usize) -> Self {
        Self { size, taken: 0, last: None, held: Vec::new() }
    }

    /// Adds hours until the page is full; says whether there is more.
    pub(crate) async fn fill(
        &mut self,
        query: &Query,
        permit: &Permit,
        selection: Selection<'_>,
    ) -> Result<bool, Status> {
        let mut hours = selection.range.hours();
        if let Some(after) = selection.after {
            hours.first = after.at.hour();
        }
        loop {
            let mut entries =
                query.store.hours(permit, hours, Order::Ascending, INDEX_AT_ONCE).await.map_err(failed)?;
            let more = entries.len() == INDEX_AT_ONCE;
            let Some(last) = entries.last().map(|entry| entry.hour) else { return Ok(false) };
            entries.retain(|entry| wants(entry, selection.metrics));
            let (mut rest, mut n_read) = (&entries[..], 0);
            while !rest.is_empty() {
                let (next, tail) = rest.split_at(self.hours_ahead(n_read).min(rest.len()));
                for data in query.store.read(permit, next).await.map_err(failed)? {
                    let readings = Readings::new(&data, selection, query.tolerance);
                    if self.add(readings.map_err(|error| errors::unreadable(&error))?) {
                        return Ok(true);
                    }
                }
                (rest, n_read) = (tail, n_read + next.len());
            }
            hours.first = Hour(last.0 + 1);
            if !more || hours.first >= hours.end {
                return Ok(false);
            }
        }
    }

    /// How many hours to read at once, so that little is read that has no room: going by those read so far, and one at first.
    fn hours_ahead(&self, n_read: usize) -> usize {
        if n_read == 0 {
            return 1;
        }
        let an_hour = (self.taken / n_read).max(1);
        ((self.size - self.taken) / an_hour + 1).min(HOURS_AT_ONCE)
    }

    /// Adds an hour; `true` when not all of it had room.
    fn add(&mut self, mut readings: Readings) -> bool {
        let room = self.size - self.taken;
        let full = readings.weight() > room;
        if full {
            readings.keep(room, self.last.is_none());
        }
        self.taken += readings.weight();
        self.last = readings.last().or(self.last);
        self.held.push(readings);
        full
    }
}

/// For each metric: in how many hours of the range it has data, and the newest reading that was measured there.
async fn coverage(
    query: &Query,
    permit: &Permit,
    range: Range,
    wanted: &[MetricId],
    now: Nanos,
) -> Result<Vec<Coverage>, Status> {
    let mut hours = range.hours();
    let until = hours.end.min(Hour(now.hour().0 + 1));
    let hours_in_range = u32::try_from(i64::from(until.0) - i64::from(hours.first.0)).unwrap_or(0);
    let mut counts: BTreeMap<MetricId, u32> = BTreeMap::new();
    loop {
        let entries = query.store.hours(permit, hours, Order::Ascending, INDEX_AT_ONCE).await.map_err(failed)?;
        for metric in entries.iter().flat_map(|entry| &entry.metrics) {
            if wanted.is_empty() || wanted.binary_search(metric).is_ok() {
                *counts.entry(*metric).or_default() += 1;
            }
        }
        let Some(last) = entries.last().filter(|_| entries.len() == INDEX_AT_ONCE) else { break };
        hours.first = Hour(last.hour.0 + 1);
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
