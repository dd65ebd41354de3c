//! Sealing hours. Why a seal that is used never lacks a row that `append` had returned for:
//!
//! - A change to an hour that is over for more than `LATE_AFTER` is a late one: when its rows are durable, and before
//!   `append` returns, the writer notes a larger number in its own row of `late`. The hour's *version* is a hash of the
//!   numbers of all writers.
//! - The sealer reads `late` before it reads the rows: a version that includes a change has a seal that includes its
//!   rows.
//! - A reader takes a seal only when its version is that of the index entry it read, which includes every late change
//!   whose `append` had returned. Version and sheet are one column. Rollups are written before the seal and have a
//!   version of their own: what holds for seals holds for them.
//! - Changes that are not late came more than `SEAL_AFTER` - `LATE_AFTER` = 2 h before any sealing by one clock: the
//!   clocks of two machines may differ by that much, and nothing else depends on a clock.
//! - No writer from before migration 3 may run beside one that seals: it would note nothing.
//! - A writer that dies between rows and `late` has not committed the record: the next appends it again, and notes it.
//!
//! Of two seals of an hour the one with the larger sum of numbers stands (its write timestamp), which is the one whose
//! sealer saw more. Entries of `unsealed` are written after `late`, and deleted with the time at which they were
//! touched, so that what is touched meanwhile stays on the list and is sealed by the next call.

use super::{Inner, Store, connect::again, statements::MAX_BATCH_ROWS};
use crate::{
    Error, Seal, Sealed, metrics,
    sheet::{self, Amount, MAX_HOUR_BYTES},
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Hour, HourRange, PatientId};
use scylla::response::PagingState;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Hours sealed at once: each takes a few times its rows, which are 8 MiB at most and a hundredth of that mostly.
const HOURS_AT_ONCE: usize = 4;
const VERSION_BYTES: usize = 8;
/// Days in a partition of rollups.
const DAYS_A_SPAN: i32 = 32;

/// Which late changes of an hour there are.
#[derive(Default)]
pub(super) struct Version {
    /// Stands for the numbers of all writers; 0 when no change was late.
    pub(super) id: u64,
    /// The sum of the numbers: grows with each change.
    sum: i64,
}

/// An hour on the list, once for each writer that touched it.
#[derive(Clone, Copy)]
struct Entry {
    hour: Hour,
    patient: Uuid,
    writer: Uuid,
    /// When that writer touched it last: microseconds since 1970 by its clock, more with each touch.
    touched: i64,
}

#[async_trait]
impl Seal for Store {
    async fn seal(&self, quiet: Duration) -> Result<Sealed, Error> {
        let inner = &*self.inner;
        let mut total = Sealed::default();
        // anywhere: several sealers then seldom do the same
        let start = super::bucket(PatientId::new(Uuid::new_v4()), inner.buckets);
        for bucket in (start..inner.buckets).chain(0..start) {
            inner.seal_bucket(bucket, quiet, &mut total).await?;
        }
        metrics::sealed("cql", total);
        Ok(total)
    }
}

impl Inner {
    async fn seal_bucket(&self, bucket: i16, quiet: Duration, total: &mut Sealed) -> Result<(), Error> {
        let values = (bucket, sheet::first_open_hour(sheet::now()).0);
        let mut state = Some(PagingState::start());
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(page) = state {
            let each = |(hour, patient, writer, touched): (i32, Uuid, Uuid, Option<i64>)| {
                entries.push(Entry { hour: Hour(hour), patient, writer, touched: touched.unwrap_or(0) });
                Ok(())
            };
            state = self.page(&self.statements.select_unsealed, &values, page, each).await?;
            // the last hour's other entries may be on the next page
            let whole = match (&state, entries.last()) {
                (Some(_), Some(last)) => {
                    entries.partition_point(|entry| (entry.hour, entry.patient) != (last.hour, last.patient))
                }
                _ => entries.len(),
            };
            let rest = entries.split_off(whole);
            let hours = entries.chunk_by(|a, b| (a.hour, a.patient) == (b.hour, b.patient));
            let hours: Vec<_> = hours.map(<[Entry]>::to_vec).collect();
            let done: Vec<_> = stream::iter(hours)
                .map(|entries| self.seal_hour(bucket, entries, quiet))
                .buffer_unordered(HOURS_AT_ONCE)
                .try_collect()
                .await?;
            for one in done {
                total.hours += one.hours;
                total.waiting += one.waiting;
            }
            entries = rest;
        }
        Ok(())
    }

    /// Seals an hour, of which these are all entries.
    async fn seal_hour(&self, bucket: i16, entries: Vec<Entry>, quiet: Duration) -> Result<Sealed, Error> {
        let Some(Entry { hour, patient, .. }) = entries.first() else { return Ok(Sealed::default()) };
        let (hour, patient) = (*hour, PatientId::new(*patient));
        let touched = entries.iter().map(|entry| entry.touched).max().unwrap_or(0);
        let quiet = i64::try_from(quiet.as_micros()).unwrap_or(i64::MAX);
        if touched.saturating_add(quiet) > super::append::write_timestamp(sheet::now()) {
            return Ok(Sealed { hours: 0, waiting: 1 });
        }
        // in this order
        let version = self.versions(patient, HourRange::one(hour)).await?.remove(&hour).unwrap_or_default();
        let rows = self.rows(patient, HourRange::one(hour), MAX_HOUR_BYTES).await;
        let tolerance = self.tolerance;
        let sealed = tokio::task::spawn_blocking(move || sheet::seal("cql", hour, rows, tolerance));
        let sealed = sealed.await.map_err(|cause| Error::Unavailable(Box::new(cause)))??;
        let hours = u64::from(sealed.is_some());
        if let Some(Amount { seal, rollups }) = sealed {
            let versioned = |bytes: &[u8]| [&version.id.to_be_bytes(), bytes].concat();
            let values = (patient.uuid(), span(hour), hour.0, versioned(&rollups), version.sum);
            again(|| self.session.execute_unpaged(&self.statements.insert_rollups, &values)).await?;
            let values = (patient.uuid(), hour.day(), hour.0, versioned(&seal), version.sum);
            again(|| self.session.execute_unpaged(&self.statements.insert_seal, &values)).await?;
        }
        // what cannot be sealed leaves the list too, until it changes
        for entries in entries.chunks(MAX_BATCH_ROWS) {
            let values = |entry: &Entry| (entry.touched, bucket, hour.0, entry.patient, entry.writer);
            let values: Vec<_> = entries.iter().map(values).collect();
            let delete = &self.statements.delete_unsealed[entries.len() - 1];
            again(|| self.session.batch(delete, &values)).await?;
        }
        Ok(Sealed { hours, waiting: 0 })
    }

    /// The versions of those hours of a patient that have late changes.
    pub(super) async fn versions(
        &self,
        patient: PatientId,
        range: HourRange,
    ) -> Result<BTreeMap<Hour, Version>, Error> {
        let mut changes: BTreeMap<Hour, Vec<(Uuid, i64)>> = BTreeMap::new();
        let values = (patient.uuid(), range.first.0, range.end.0);
        self.pages(&self.statements.select_late, values, |(hour, writer, change): (i32, Uuid, Option<i64>)| {
            changes.entry(Hour(hour)).or_default().push((writer, change.unwrap_or(0)));
            Ok(())
        })
        .await?;
        Ok(changes.into_iter().map(|(hour, changes)| (hour, Version::new(changes))).collect())
    }
}

impl Version {
    /// From the number of each writer.
    fn new(mut changes: Vec<(Uuid, i64)>) -> Self {
        changes.sort_unstable();
        let mut bytes = Vec::with_capacity(changes.len() * 24);
        for (writer, change) in &changes {
            bytes.extend_from_slice(writer.as_bytes());
            bytes.extend_from_slice(&change.to_be_bytes());
        }
        let sum = changes.iter().fold(0, |sum: i64, (_, change)| sum.saturating_add(*change));
        Self { id: xxh3_64(&bytes), sum }
    }
}

/// The partition of an hour's rollups.
pub(super) fn span(hour: Hour) -> i32 {
    hour.day().div_euclid(DAYS_A_SPAN)
}

/// The version in a column `seal` or `rollups`, and what was derived from the rows.
pub(super) fn derived(column: &[u8]) -> Result<(u64, &[u8]), Error> {
    let short = || Error::Corrupt(format!("a seal of {} bytes", column.len()));
    let (version, rest) = column.split_first_chunk::<VERSION_BYTES>().ok_or_else(short)?;
    Ok((u64::from_be_bytes(*version), rest))
}
