//! Writing rows: sorted by partition, cut into unlogged batches of one partition, many under way at once.

use super::{Inner, Store, connect::again, statements::MAX_BATCH_ROWS};
use crate::{Append, Error, measure, payload};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use model::{Hour, MetricId, Nanos, PatientId, Row};
use std::time::Instant;
use uuid::Uuid;

/// Most bytes in one batch, which is one mutation of one partition: far below what servers accept in one, and little
/// to send again.
const MAX_BATCH_BYTES: usize = 64 << 10;
/// What a row takes in a batch beside its payload: nine more values with their lengths, and the statement's id.
const ROW_OVERHEAD_BYTES: usize = 150;

/// A row as the statement takes it: bucket, day, patient, hour, device, stream, sequence, digest, payload, timestamp.
type Values = (i16, i32, Uuid, i32, Uuid, Uuid, i64, i64, Vec<u8>, i64);

/// One request.
enum Work {
    /// Rows of one partition.
    Blocks(Vec<Values>),
    /// An entry of the hour index.
    Hour(PatientId, Hour, Vec<MetricId>),
}

#[async_trait]
impl Append for Store {
    async fn append(&self, rows: &[Row]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let inner = &*self.inner;
        let missing = inner.known.missing(rows);
        let mut work = batches(rows, inner.buckets);
        work.extend(missing.iter().map(|((patient, hour), metrics)| Work::Hour(*patient, *hour, metrics.clone())));
        stream::iter(work)
            .map(|work| inner.write(work))
            .buffer_unordered(inner.write_concurrency)
            .try_collect::<()>()
            .await?;
        let n_hours = missing.len();
        inner.known.remember(missing);
        measure::appended("cql", rows.len(), n_hours, started);
        Ok(())
    }
}

impl Inner {
    async fn write(&self, work: Work) -> Result<(), Error> {
        // never closed
        let _permit = self.writes.acquire().await.map_err(|cause| Error::Unavailable(Box::new(cause)))?;
        let statements = &self.statements;
        match work {
            Work::Blocks(rows) => {
                let batch = &statements.insert_blocks[rows.len() - 1];
                again(|| self.session.batch(batch, &rows)).await?;
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
        }
        Ok(())
    }
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
    use model::{ClockQuality, DeviceId, Identity, StreamId};

    fn row(patient: u8, hour: i32, bytes: usize) -> Row {
        let id = [patient; 16];
        let (device, stream) = (DeviceId::from_bytes(id), StreamId::from_bytes(id));
        Row {
            patient: PatientId::from_bytes(id),
            hour: Hour(hour),
            identity: Identity { device, stream, sequence: 1, digest: 1 },
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
            Work::Hour(..) => panic!("no hours asked for"),
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
