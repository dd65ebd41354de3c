//! Writing rows: sorted by partition, cut into unlogged batches of one partition, many under way at once.

use super::{Inner, Store, connect::again, statements::MAX_BATCH_ROWS};
use crate::{Append, Error, metrics, payload, sheet, stretches::Entry};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Hour, MetricId, Nanos, PatientId, Row};
use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Most bytes in one batch, which is one mutation of one partition: far below what servers accept in one, and little
/// to send again.
const MAX_BATCH_BYTES: usize = 64 << 10;
/// What a row takes in a batch beside its payload: nine more values with their lengths, and the statement's id.
const ROW_OVERHEAD_BYTES: usize = 150;

/// A row as the statement takes it: bucket, day, patient, hour, device, stream, sequence, digest, payload, timestamp.
type Values = (i16, i32, Uuid, i32, Uuid, Uuid, i64, i64, Vec<u8>, i64);

/// What one request to the servers writes.
enum Work {
    /// Rows of one partition.
    Blocks(Vec<Values>),
    /// An entry of the index of sequences.
    Sequences(Entry),
    /// An entry of the hour index.
    Hour(PatientId, Hour, Vec<MetricId>),
    /// Late changes of one patient.
    Late(Vec<LateValues>),
    /// Hours of one bucket that are to be sealed.
    Unsealed(Vec<UnsealedValues>),
}

/// A late change: patient, hour, writer, change, timestamp.
type LateValues = (Uuid, i32, Uuid, i64, i64);

/// An hour to be sealed: bucket, hour, patient, writer, touched, timestamp.
type UnsealedValues = (i16, i32, Uuid, Uuid, i64, i64);

/// How long an hour must be over for a change to it to be a late one, which is noted: less than the time after which
/// hours are sealed, by as much as the clocks of two machines may differ.
const LATE_AFTER: Duration = Duration::from_secs(3_600);

#[async_trait]
impl Append for Store {
    async fn append(&self, rows: &[Row]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let inner = &*self.inner;
        let sequences = inner.indexed.missing(rows);
        if !sequences.is_empty() {
            // before the rows: what can be read is found by its identity
            inner.write_all(sequences.iter().copied().map(Work::Sequences).collect()).await?;
            inner.indexed.remember(sequences);
        }
        let missing = inner.known.missing(rows);
        let first_on_time = first_on_time(sheet::now());
        let mut work = batches(rows, inner.buckets);
        work.extend(missing.iter().map(|((patient, hour), metrics)| Work::Hour(*patient, *hour, metrics.clone())));
        let on_time = missing.keys().filter(|(_, hour)| *hour >= first_on_time).copied();
        work.extend(inner.unsealed(on_time));
        inner.write_all(work).await?;

        // from here on all rows are durable
        let first_on_time = first_on_time.max(self::first_on_time(sheet::now()));
        let late: BTreeSet<_> =
            rows.iter().filter(|row| row.hour < first_on_time).map(|row| (row.patient, row.hour)).collect();
        if !late.is_empty() {
            inner.write_all(inner.late(&late)).await?;
            inner.write_all(inner.unsealed(late)).await?;
        }
        let n_hours = missing.len();
        inner.known.remember(missing);
        metrics::appended("cql", rows.len(), n_hours, started);
        Ok(())
    }
}

impl Inner {
    async fn write_all(&self, work: Vec<Work>) -> Result<(), Error> {
        let writes = stream::iter(work).map(|work| self.write(work));
        writes.buffer_unordered(self.write_concurrency).try_collect().await
    }

    /// What notes a late change of these hours; call it when the rows are durable.
    fn late(&self, hours: &BTreeSet<(PatientId, Hour)>) -> Vec<Work> {
        // taken after the rows are durable: of two changes at once the later number stands, whoever writes last
        let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        let values = |(patient, hour): &(PatientId, Hour)| (patient.uuid(), hour.0, self.writer, change, change);
        let values: Vec<_> = hours.iter().map(values).collect();
        let patients = values.chunk_by(|a, b| a.0 == b.0);
        patients.flat_map(|values| values.chunks(MAX_BATCH_ROWS)).map(|values| Work::Late(values.to_vec())).collect()
    }

    /// What puts these hours on the list of those to be sealed.
    fn unsealed(&self, hours: impl IntoIterator<Item = (PatientId, Hour)>) -> Vec<Work> {
        let touched = self.touch();
        let bucket = |patient| super::bucket(patient, self.buckets);
        let values = |(patient, hour): (PatientId, Hour)| {
            (bucket(patient), hour.0, patient.uuid(), self.writer, touched, touched)
        };
        let mut values: Vec<_> = hours.into_iter().map(values).collect();
        values.sort_unstable();
        let buckets = values.chunk_by(|a, b| a.0 == b.0);
        buckets.flat_map(|values| values.chunks(MAX_BATCH_ROWS)).map(|values| Work::Unsealed(values.to_vec())).collect()
    }

    /// Microseconds by this machine's clock, but always more than before: what is touched again is not taken for what a
    /// sealer saw.
    fn touch(&self) -> i64 {
        let now = write_timestamp(sheet::now());
        let next = |last: i64| now.max(last + 1);
        // always given a value to store
        let last = self.touched.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }

    async fn write(&self, work: Work) -> Result<(), Error> {
        // never closed
        let _permit = self.writes.acquire().await.map_err(|cause| Error::Unavailable(Box::new(cause)))?;
        let statements = &self.statements;
        match work {
            Work::Blocks(rows) => {
                let batch = &statements.insert_blocks[rows.len() - 1];
                again(|| self.session.batch(batch, &rows)).await?;
            }
            Work::Sequences(Entry { device, stream, stretch, patient, hour }) => {
                let values = (device.uuid(), stream.uuid(), stretch as i64, patient.uuid(), hour.0);
                again(|| self.session.execute_unpaged(&statements.insert_sequences, values)).await?;
            }
            Work::Hour(patient, hour, metrics) if metrics.is_empty() => {
                let values = (patient.uuid(), hour.0);
                again(|| self.session.execute_unpaged(&statements.insert_hour, values)).await?;
            }
            Work::Hour(patient, hour, metrics) => {
                let metrics: Vec<_> = metrics.iter().map(|m| m.0 as i16).collect();
                let values = (metrics, patient.uuid(), hour.0);
                again(|| self.session.execute_unpaged(&statements.add_metrics, &values)).await?;
            }
            Work::Late(rows) => {
                let batch = &statements.insert_late[rows.len() - 1];
                again(|| self.session.batch(batch, &rows)).await?;
            }
            Work::Unsealed(rows) => {
                let batch = &statements.insert_unsealed[rows.len() - 1];
                again(|| self.session.batch(batch, &rows)).await?;
            }
        }
        Ok(())
    }
}

/// The first hour whose changes are not late.
fn first_on_time(now: Nanos) -> Hour {
    // an hour fits
    now.plus(-(LATE_AFTER.as_nanos() as i64)).hour()
}

/// Cuts rows into batches of one partition.
fn batches(rows: &[Row], buckets: i16) -> Vec<Work> {
    let mut values: Vec<_> = rows.iter().map(|row| values(row, buckets)).collect();
    // by partition, then by clustering key
    values.sort_unstable_by_key(|row| (row.0, row.1, row.2, row.3));
    let mut batches = Vec::new();
    let mut batch: Vec<Values> = Vec::new();
    let mut bytes = 0;
    for row in values {
        let more = row.8.len() + ROW_OVERHEAD_BYTES;
        let same_partition = batch.last().is_some_and(|last| (last.0, last.1) == (row.0, row.1));
        if !batch.is_empty() && (!same_partition || batch.len() == MAX_BATCH_ROWS || bytes + more > MAX_BATCH_BYTES) {
            batches.push(Work::Blocks(std::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += more;
        batch.push(row);
    }
    batches.push(Work::Blocks(batch));
    batches
}

fn values(row: &Row, buckets: i16) -> Values {
    let identity = &row.identity;
    (
        super::bucket(row.patient, buckets),
        row.hour.day(),
        row.patient.uuid(),
        row.hour.0,
        identity.device.uuid(),
        identity.stream.uuid(),
        identity.sequence as i64,
        identity.digest as i64,
        payload::encode(row),
        write_timestamp(row.received_at),
    )
}

/// Microseconds: of two versions of a row the later stands; within one microsecond the larger payload, which starts
/// with the time in nanoseconds.
pub(super) fn write_timestamp(at: Nanos) -> i64 {
    at.0.div_euclid(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{BatchId, ClockQuality, DeviceId, StreamId};

    fn row(patient: u8, hour: i32, bytes: usize) -> Row {
        let id = [patient; 16];
        let (device, stream) = (DeviceId::from_bytes(id), StreamId::from_bytes(id));
        Row {
            patient: PatientId::from_bytes(id),
            hour: Hour(hour),
            identity: BatchId { device, stream, sequence: 1, digest: 1 },
            received_at: Nanos(-1),
            clock: ClockQuality::Free,
            metrics: vec![],
            block: vec![0; bytes].into(),
        }
    }

    fn sizes(rows: &[Row]) -> Vec<usize> {
        let size = |work: &Work| match work {
            Work::Blocks(rows) => {
                assert!(rows.iter().all(|r| (r.0, r.1) == (rows[0].0, rows[0].1)), "one partition");
                rows.len()
            }
            _ => panic!("only rows asked for"),
        };
        batches(rows, 64).iter().map(size).collect()
    }

    #[test]
    fn batches_have_one_partition_and_a_bound() {
        let many: Vec<_> = (0..120).map(|i| row(1, i % 24, 10)).collect();
        assert_eq!(sizes(&many), [50, 50, 20]);
        let days: Vec<_> = (0..4).map(|i| row(1, i * 12 - 24, 10)).collect();
        assert_eq!(sizes(&days), [2, 2]);
        let large: Vec<_> = (0..3).map(|_| row(1, 0, 40_000)).collect();
        assert_eq!(sizes(&large), [1, 1, 1]);
        assert_eq!(sizes(&[row(1, 0, 1_000_000)]), [1], "a large row goes alone");
    }

    #[test]
    fn timestamps_round_down() {
        assert_eq!([-1, 0, 999, 1_000].map(|n| write_timestamp(Nanos(n))), [-1, 0, 0, 1]);
    }
}
