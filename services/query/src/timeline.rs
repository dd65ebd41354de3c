//! `ReadTimeline`: pages of readings, and how much of the range has data.

use crate::{
    HOURS_AT_ONCE, INDEX_AT_ONCE, Query,
    coverage::coverage,
    failed, metrics,
    page::{Cursor, Question},
    range,
    readings::{Key, Readings, Selection},
    series::pack,
    wants,
};
use guard::{errors, pages};
use model::{Hour, HourRange, Nanos, Permit, Quality, Reach, access::Principal};
use proto::{
    problem,
    telemetry::v1::{ReadTimelineRequest, ReadTimelineResponse, TimelineLayout},
};
use store::Order;
use tonic::Status;

/// Default and largest page, as readings. A default page fits into 4 MiB, which is what gRPC's clients take
/// when they are not told otherwise.
pub const PAGE_READINGS: (usize, usize) = (1_000, 10_000);
/// The same as columns.
pub const PAGE_COLUMNS: (usize, usize) = (50_000, 500_000);

pub(crate) async fn read(
    query: &Query,
    permit: &Permit,
    principal: &Principal,
    request: &ReadTimelineRequest,
) -> Result<ReadTimelineResponse, Status> {
    let now = query.decisions.now();
    let metrics = metrics(&request.metrics)?;
    let columns = in_columns(request.layout)?;
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
        let cursor = Cursor::decrypt(&request.page_token, &query.cipher, &context, now)?;
        (cursor.range, Some(cursor.after))
    };
    let mut response = ReadTimelineResponse::default();
    if after.is_none() {
        response.coverage = coverage(query, permit, range, &metrics, now).await?;
    }
    let mut page = Page::new(size);
    let directory = query.decisions.directory();
    let retractions = directory.retractions(permit.patient());
    // who asks up to now asks for the present
    let left_out = if request.end_time.is_none() { Quality::FUTURE } else { Quality::GOOD };
    let selection = Selection { range, after, metrics: &metrics, retractions, left_out, ended_before: None };
    let full = page.fill(query, permit, selection).await?;
    match columns {
        true => response.series = pack(&page.held),
        false => response.readings = page.held.iter().flat_map(Readings::each).collect(),
    }
    response.n_repeats = page.n_repeats();
    if let (true, Some(after)) = (full, page.last) {
        response.next_page_token = Cursor { range, after }.encrypt(&query.cipher, &context, now)?;
    }
    Ok(response)
}

/// Whether the layout that was asked for is that of columns.
fn in_columns(sent: i32) -> Result<bool, Status> {
    match TimelineLayout::try_from(sent) {
        Ok(TimelineLayout::Unspecified | TimelineLayout::Readings) => Ok(false),
        Ok(TimelineLayout::Columns) => Ok(true),
        Err(_) => {
            let text = "must be readings (1) or columns (2), or 0 for readings";
            Err(problem::invalid("INVALID_LAYOUT", "layout", text))
        }
    }
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

    /// How many readings of its hours were left out as repeats.
    pub(crate) fn n_repeats(&self) -> u64 {
        self.held.iter().map(|readings| readings.n_repeats).sum()
    }

    /// Adds hours until the page is full; says whether there is more.
    pub(crate) async fn fill(
        &mut self,
        query: &Query,
        permit: &Permit,
        selection: Selection<'_>,
    ) -> Result<bool, Status> {
        let mut hours = selection.range.hours();
        let first = selection.after.map(|after| after.at.hour());
        let from = first.unwrap_or(Reach::before(hours.first).first);
        let begun_before = HourRange { first: from, end: hours.first };
        if self.fill_from_before(query, permit, selection, begun_before).await? {
            return Ok(true);
        }
        hours.first = hours.first.max(from);
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

    /// Adds what has begun in these hours and reaches into the first one of the range; says whether there is more.
    async fn fill_from_before(
        &mut self,
        query: &Query,
        permit: &Permit,
        selection: Selection<'_>,
        hours: HourRange,
    ) -> Result<bool, Status> {
        if hours.first >= hours.end {
            return Ok(false);
        }
        let mut entries = query.store.hours(permit, hours, Order::Ascending, INDEX_AT_ONCE).await.map_err(failed)?;
        entries.retain(|entry| entry.reach.reaches(entry.hour, hours.end) && wants(entry, selection.metrics));
        for entry in &entries {
            for data in query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)? {
                let readings = Readings::new(&data, selection, query.tolerance);
                if self.add(readings.map_err(|error| errors::unreadable(&error))?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
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
            if readings.last().is_none() {
                return true; // the next page begins with it, and tells of its repeats
            }
        }
        self.taken += readings.weight();
        self.last = readings.last().or(self.last);
        self.held.push(readings);
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::convert;
    use proto::telemetry::v1::{Original, Series, StoredReading, Waveform, stored_reading::Value};

    /// What gRPC's clients take of one message, when they are not told otherwise.
    const MESSAGE_BYTES: usize = 4 << 20;
    /// Room for what is on a first page besides: the coverage of all metrics, and a token.
    const BESIDE_BYTES: usize = 64 << 10;

    /// A waveform of so many samples, none of which is short.
    fn wave(n_samples: usize) -> Waveform {
        Waveform {
            origin: 1.1,
            period_ns: i64::MAX,
            scale: 0.1,
            width: 2,
            samples: vec![i32::MIN; n_samples],
            missing: Vec::new(),
        }
    }

    /// Those of the shapes that a waveform can have which take the most for their weight.
    const SAMPLES: [usize; 4] = [7, 8, 15, 16];

    #[test]
    fn a_default_page_of_columns_fits_into_what_clients_take() {
        let n = PAGE_COLUMNS.0;
        let numbers = Series {
            measured_at_delta_ticks: vec![i64::MIN; n],
            numbers: vec![0.1; n],
            original_numbers: vec![0.1; n],
            flags: vec![u8::MAX; n],
            ..Default::default()
        };
        let of_waves = |n_samples: usize| {
            let n = n / (1 + n_samples / 8);
            let (times, flags) = (vec![i64::MIN; n], vec![u8::MAX; n]);
            Series { measured_at_delta_ticks: times, flags, waveforms: vec![wave(n_samples); n], ..Default::default() }
        };
        for series in SAMPLES.map(of_waves).into_iter().chain([numbers]) {
            let n_bytes = proto::n_bytes(&ReadTimelineResponse { series: vec![series], ..Default::default() });
            assert!(n_bytes + BESIDE_BYTES < MESSAGE_BYTES, "{n_bytes}");
        }
    }

    #[test]
    fn every_page_of_readings_fits_into_what_clients_take() {
        let at = Some(convert::timestamp(Nanos::MIN));
        let reading = |value: Value| StoredReading {
            metric: "sct:1104051000000101".into(),
            measured_at: at,
            unit: "L/(min.m2)".into(),
            value: Some(value),
            // the longest unit that is taken
            original: Some(Original { number: 0.1, unit: "x".repeat(64) }),
            flags: (1..=8).collect(),
            device_id: "9fc9151b-a5c2-5138-abc7-db04232ac801".into(),
            stream_id: "9fc9151b-a5c2-5138-abc7-db04232ac801".into(),
            sequence: i64::MAX as u64,
            index: 65_535,
            received_at: at,
            clock_quality: 3,
            measured_until: at,
        };
        let waves = SAMPLES.map(|n_samples| (Value::Waveform(wave(n_samples)), 1 + n_samples / 8));
        for (value, weight) in waves.into_iter().chain([(Value::Number(0.1), 1)]) {
            let n_bytes = proto::n_bytes(&ReadTimelineResponse {
                readings: vec![reading(value); PAGE_READINGS.1 / weight],
                ..Default::default()
            });
            assert!(n_bytes + BESIDE_BYTES < MESSAGE_BYTES, "{n_bytes}");
        }
    }
}
