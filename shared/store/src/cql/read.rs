//! Reading timelines: one query for each day, pages until there is no paging state.

use super::{Inner, Store, connect::again, unreadable};
use crate::{Error, HourEntry, Order, StoredRow, Timeline, measure, payload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use model::{DeviceId, Hour, HourRange, Identity, MetricId, PatientId, Permit, StreamId};
use scylla::{
    deserialize::row::DeserializeRow,
    response::{PagingState, query_result::QueryRowsResult},
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};
use std::{ops::ControlFlow, time::Instant};
use uuid::Uuid;

/// Up to so many days are simply asked for; for more, the hour index says which have rows.
const MAX_DAYS_UNASKED: i32 = 3;

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

    async fn rows(&self, permit: &Permit, hours: HourRange) -> Result<Vec<StoredRow>, Error> {
        let (patient, started) = (permit.patient(), Instant::now());
        let inner = &*self.inner;
        let days = inner.days(patient, hours).await?;
        let rows = stream::iter(days)
            .map(|day| inner.day(patient, day, hours))
            .buffered(inner.read_concurrency)
            .try_concat()
            .await?;
        measure::read("cql", rows.len(), started);
        Ok(rows)
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
            entries.push(HourEntry { hour: Hour(hour), metrics });
            Ok(())
        })
        .await?;
        Ok(entries)
    }

    /// The days of a range that may have rows, ascending.
    async fn days(&self, patient: PatientId, range: HourRange) -> Result<Vec<i32>, Error> {
        if range.first >= range.end {
            return Ok(Vec::new());
        }
        let (first, last) = (range.first.day(), Hour(range.end.0 - 1).day());
        if last - first < MAX_DAYS_UNASKED {
            return Ok((first..=last).collect());
        }
        let entries = self.hours(patient, range, Order::Ascending, usize::MAX).await?;
        let mut days: Vec<_> = entries.iter().map(|entry| entry.hour.day()).collect();
        days.dedup();
        Ok(days)
    }

    /// The rows of one day that lie in the range, in the contract's order.
    async fn day(&self, patient: PatientId, day: i32, range: HourRange) -> Result<Vec<StoredRow>, Error> {
        let bucket = super::bucket(patient, self.buckets);
        let values = (bucket, day, patient.uuid(), range.first.0, range.end.0);
        let mut rows = Vec::new();
        type Columns = (i32, Uuid, Uuid, i64, i64, Bytes);
        self.pages(&self.statements.select_blocks, values, |columns: Columns| {
            let (hour, device, stream, sequence, digest, payload) = columns;
            let (received_at, clock, block) = payload::decode(&payload)?;
            let identity = Identity {
                device: DeviceId::new(device),
                stream: StreamId::new(stream),
                sequence: sequence as u64,
                digest: digest as u64,
            };
            rows.push(StoredRow { hour: Hour(hour), identity, received_at, clock, block });
            Ok(())
        })
        .await?;
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
        let mut state = PagingState::start();
        loop {
            let page = || self.session.execute_single_page(statement, &values, state.clone());
            let (result, next) = again(page).await?;
            let rows: QueryRowsResult = result.into_rows_result().map_err(unreadable)?;
            for row in rows.rows::<R>().map_err(unreadable)? {
                each(row.map_err(unreadable)?)?;
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(next) => state = next,
            }
        }
    }
}
