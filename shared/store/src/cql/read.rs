//! Reading timelines: for each day its seals, and the rows of hours that have none of the right version; rollups in the
//! same way; pages until there is no paging state.

use super::{
    Inner, Store,
    connect::again,
    seal::{Version, derived, span},
    unreadable,
};
use crate::{
    Data, Error, HourData, HourEntry, HourRollups, Order, Rollups, StoredRow, Timeline, metrics, payload, sheet,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use model::{BatchId, DeviceId, Hour, HourRange, MetricId, PatientId, Permit, StreamId};
use scylla::{
    deserialize::row::DeserializeRow,
    response::{PagingState, query_result::QueryRowsResult},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};
use std::{collections::BTreeMap, ops::ControlFlow, time::Instant};
use uuid::Uuid;

/// Up to so many hours are asked for their index entries and their late changes at once; of a longer range only those
/// that the index names are, when it has answered: a patient's late changes of years are many.
const MAX_HOURS_AT_ONCE: i64 = 24 * 31;

#[async_trait]
impl Timeline for Store {
    async fn hours(
        &self,
        permit: &Permit,
        hours: HourRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<HourEntry>, Error> {
        self.inner.hours(permit.patient(), hours, order, limit).await
    }

    async fn read(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourData>, Error> {
        let (patient, started) = (permit.patient(), Instant::now());
        let inner = &*self.inner;
        let mut days: BTreeMap<i32, BTreeMap<Hour, u64>> = BTreeMap::new();
        for entry in hours {
            days.entry(entry.hour.day()).or_default().insert(entry.hour, entry.version);
        }
        let mut found: BTreeMap<Hour, Data> = stream::iter(days)
            .map(|(day, versions)| inner.day(patient, day, versions))
            .buffer_unordered(inner.read_concurrency)
            .try_concat()
            .await?
            .into_iter()
            .collect();
        let mut data = |hour| found.remove(&hour).unwrap_or(Data::Rows(Vec::new()));
        let hours: Vec<_> = hours.iter().map(|e| HourData { hour: e.hour, data: data(e.hour) }).collect();
        metrics::read("cql", &hours, started);
        Ok(hours)
    }
}

/// Hours without rollups of the right version whose readings are in memory at once.
const HOURS_ROLLED_UP: usize = 24;

#[async_trait]
impl Rollups for Store {
    async fn rollups(&self, permit: &Permit, hours: &[HourEntry]) -> Result<Vec<HourRollups>, Error> {
        let inner = &*self.inner;
        let first_open = sheet::first_open_hour(sheet::now());
        let mut spans: BTreeMap<i32, Vec<Hour>> = BTreeMap::new();
        for entry in hours.iter().filter(|entry| entry.hour < first_open) {
            spans.entry(span(entry.hour)).or_default().push(entry.hour);
        }
        let stored: BTreeMap<Hour, Bytes> = stream::iter(spans)
            .map(|(span, hours)| inner.stored_rollups(permit.patient(), span, hours))
            .buffer_unordered(inner.read_concurrency)
            .try_concat()
            .await?
            .into_iter()
            .collect();
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for entry in hours {
            match stored.get(&entry.hour).map(|column| derived(column)).transpose()? {
                Some((version, bytes)) if version == entry.version => {
                    match sheet::stored_rollups(entry.hour, bytes, inner.tolerance)? {
                        Some(rollups) => drop(found.insert(entry.hour, rollups)),
                        None => missing.push(entry.clone()),
                    }
                }
                _ => missing.push(entry.clone()),
            }
        }
        for entries in missing.chunks(HOURS_ROLLED_UP) {
            let data = self.read(permit, entries).await?;
            let tolerance = inner.tolerance;
            let roll_up = move |data: &HourData| sheet::roll_up(data, tolerance);
            let span = tracing::Span::current();
            let work = move || span.in_scope(|| data.iter().map(roll_up).collect());
            let rolled_up = tokio::task::spawn_blocking(work);
            let rolled_up: Result<Vec<_>, Error> =
                rolled_up.await.map_err(|cause| Error::Unavailable(Box::new(cause)))?;
            found.extend(rolled_up?.into_iter().map(|one| (one.hour, one)));
        }
        // each was asked for once
        Ok(hours.iter().filter_map(|entry| found.remove(&entry.hour)).collect())
    }
}

impl Inner {
    async fn hours(
        &self,
        patient: PatientId,
        range: HourRange,
        order: Order,
        limit: usize,
    ) -> Result<Vec<HourEntry>, Error> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        if range.first >= range.end || limit == 0 {
            return Ok(Vec::new());
        }
        if i64::from(range.end.0) - i64::from(range.first.0) <= MAX_HOURS_AT_ONCE {
            let (mut entries, versions) =
                future::try_join(self.index(patient, range, order, limit), self.versions(patient, range)).await?;
            give(&mut entries, &versions);
            return Ok(entries);
        }
        let mut entries = self.index(patient, range, order, limit).await?;
        let hours = || entries.iter().map(|entry| entry.hour);
        if let (Some(first), Some(last)) = (hours().min(), hours().max()) {
            let versions = self.versions(patient, HourRange { first, end: Hour(last.0 + 1) }).await?;
            give(&mut entries, &versions);
        }
        Ok(entries)
    }

    /// The entries of the hour index, without versions.
    async fn index(
        &self,
        patient: PatientId,
        range: HourRange,
        order: Order,
        limit: i32,
    ) -> Result<Vec<HourEntry>, Error> {
        let statement = match order {
            Order::Ascending => &self.statements.hours_ascending,
            Order::Descending => &self.statements.hours_descending,
        };
        let values = (patient.uuid(), range.first.0, range.end.0, limit);
        let mut entries = Vec::new();
        self.pages(statement, values, |(hour, metrics): (i32, Option<Vec<i16>>)| {
            let mut metrics: Vec<_> = metrics.unwrap_or_default().into_iter().map(|m| MetricId(m as u16)).collect();
            // the set is sorted as signed numbers
            metrics.sort_unstable();
            entries.push(HourEntry::stored(Hour(hour), metrics));
            Ok(())
        })
        .await?;
        Ok(entries)
    }

    /// What there is of some hours of one day, each with the version that a seal must have.
    async fn day(
        &self,
        patient: PatientId,
        day: i32,
        versions: BTreeMap<Hour, u64>,
    ) -> Result<Vec<(Hour, Data)>, Error> {
        let first_open = sheet::first_open_hour(sheet::now());
        let (over, open): (Vec<_>, Vec<_>) = versions.keys().copied().partition(|hour| *hour < first_open);
        let (seals, mut data) = future::try_join(self.seals(patient, day, &over), self.runs(patient, &open)).await?;
        let mut unsealed = over;
        for (hour, seal) in seals {
            let (version, sheet) = derived(&seal)?;
            if versions.get(&hour) == Some(&version) {
                data.push((hour, Data::Sealed(sheet::open(sheet)?)));
                unsealed.retain(|other| *other != hour);
            }
        }
        data.extend(self.runs(patient, &unsealed).await?);
        Ok(data)
    }

    /// The seals there are of some hours of one day, ascending, whatever their versions.
    async fn seals(&self, patient: PatientId, day: i32, hours: &[Hour]) -> Result<Vec<(Hour, Bytes)>, Error> {
        let mut seals = Vec::new();
        if let ([first, ..], [.., last]) = (hours, hours) {
            let values = (patient.uuid(), day, first.0, last.0 + 1);
            self.pages(&self.statements.select_seals, values, |(hour, seal): (i32, Option<Bytes>)| {
                seals.extend(seal.map(|seal| (Hour(hour), seal)));
                Ok(())
            })
            .await?;
        }
        Ok(seals)
    }

    /// The rollups stored of some hours of one span of days, whatever their versions.
    async fn stored_rollups(
        &self,
        patient: PatientId,
        span: i32,
        hours: Vec<Hour>,
    ) -> Result<Vec<(Hour, Bytes)>, Error> {
        let mut stored = Vec::new();
        if let (Some(first), Some(last)) = (hours.iter().min(), hours.iter().max()) {
            let values = (patient.uuid(), span, first.0, last.0 + 1);
            self.pages(&self.statements.select_rollups, values, |(hour, rollups): (i32, Option<Bytes>)| {
                stored.extend(rollups.map(|rollups| (Hour(hour), rollups)));
                Ok(())
            })
            .await?;
        }
        Ok(stored)
    }

    /// The rows of some hours of one day, ascending: one query for each run of hours that follow each other.
    async fn runs(&self, patient: PatientId, hours: &[Hour]) -> Result<Vec<(Hour, Data)>, Error> {
        let mut data = Vec::new();
        for run in hours.chunk_by(|a, b| a.0 + 1 == b.0) {
            let range = HourRange { first: run[0], end: Hour(run[run.len() - 1].0 + 1) };
            let mut rows = self.rows(patient, range, usize::MAX).await?.into_iter().peekable();
            while let Some(hour) = rows.peek().map(|row| row.hour) {
                data.push((hour, Data::Rows(std::iter::from_fn(|| rows.next_if(|row| row.hour == hour)).collect())));
            }
        }
        Ok(data)
    }

    /// The rows of hours of one day, ascending by hour and identity, up to the page with which they exceed so many
    /// bytes.
    pub(super) async fn rows(
        &self,
        patient: PatientId,
        hours: HourRange,
        max_bytes: usize,
    ) -> Result<Vec<StoredRow>, Error> {
        let bucket = super::bucket(patient, self.buckets);
        let values = (bucket, hours.first.day(), patient.uuid(), hours.first.0, hours.end.0);
        let mut rows = Vec::new();
        let mut bytes = 0;
        let mut state = Some(PagingState::start());
        while let Some(page) = state.take().filter(|_| bytes <= max_bytes) {
            type Columns = (i32, Uuid, Uuid, i64, i64, Bytes);
            let each = |columns: Columns| {
                let (hour, device, stream, sequence, digest, payload) = columns;
                let (received_at, clock, block) = payload::decode(&payload)?;
                let identity = BatchId {
                    device: DeviceId::new(device),
                    stream: StreamId::new(stream),
                    sequence: sequence as u64,
                    digest: digest as u64,
                };
                bytes += block.len();
                rows.push(StoredRow { hour: Hour(hour), identity, received_at, clock, block });
                Ok(())
            };
            state = self.page(&self.statements.select_blocks, &values, page, each).await?;
        }
        // the server sorts UUIDs by their version and numbers by their sign; nearly sorted, this costs little
        rows.sort_by_key(|row| (row.hour, row.identity));
        Ok(rows)
    }

    /// Reads all pages of a query; an empty one does not end it.
    pub(super) async fn pages<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
        mut each: impl FnMut(R) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        R: for<'a> DeserializeRow<'a, 'a>,
    {
        let mut state = Some(PagingState::start());
        while let Some(page) = state {
            state = self.page(statement, &values, page, &mut each).await?;
        }
        Ok(())
    }

    /// Reads one page of a query; returns where the next starts.
    pub(super) async fn page<R>(
        &self,
        statement: &PreparedStatement,
        values: &(impl SerializeRow + Sync),
        state: PagingState,
        mut each: impl FnMut(R) -> Result<(), Error>,
    ) -> Result<Option<PagingState>, Error>
    where
        R: for<'a> DeserializeRow<'a, 'a>,
    {
        let page = || self.session.execute_single_page(statement, values, state.clone());
        let (result, next) = again(page).await?;
        let rows: QueryRowsResult = result.into_rows_result().map_err(unreadable)?;
        for row in rows.rows::<R>().map_err(unreadable)? {
            each(row.map_err(unreadable)?)?;
        }
        Ok(match next.into_paging_control_flow() {
            ControlFlow::Break(()) => None,
            ControlFlow::Continue(next) => Some(next),
        })
    }
}

/// Notes in index entries what changed late.
fn give(entries: &mut [HourEntry], versions: &BTreeMap<Hour, Version>) {
    for entry in entries {
        entry.version = versions.get(&entry.hour).map_or(0, |version| version.id);
    }
}
