//! Positions of streams, and records put aside.

use super::{Inner, Store, append::write_timestamp, connect::again};
use crate::{Error, LogPosition, Positions, Quarantine, Quarantined, Sighting};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use model::{DeviceId, Nanos, StreamId};
use uuid::Uuid;

/// Sequences above this share one write timestamp, and the larger value stands. ScyllaDB refuses timestamps that lie
/// in the future; this one, in microseconds, lies in 2005.
const MAX_POSITION_TIMESTAMP: u64 = 1 << 50;
/// Devices asked about at the same time.
const READ_CONCURRENCY: usize = 32;

#[async_trait]
impl Positions for Store {
    async fn position(&self, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error> {
        let mut found = None;
        let values = (device.uuid(), stream.uuid());
        let select = &self.inner.statements.select_position;
        self.inner
            .pages(select, values, |(sequence,): (i64,)| {
                found = Some(sequence as u64);
                Ok(())
            })
            .await?;
        Ok(found)
    }

    async fn note(&self, streams: &[(DeviceId, StreamId, u64)]) -> Result<(), Error> {
        let inner = &*self.inner;
        stream::iter(streams.to_vec())
            .map(|position| inner.note(position))
            .buffer_unordered(inner.write_concurrency)
            .try_collect()
            .await
    }

    async fn last_seen(&self, devices: &[DeviceId]) -> Result<Vec<Option<Nanos>>, Error> {
        let inner = &*self.inner;
        let one = |device| inner.last_seen(device);
        stream::iter(devices.to_vec()).map(one).buffered(READ_CONCURRENCY).try_collect().await
    }

    async fn last_stream(&self, device: DeviceId) -> Result<Option<(StreamId, Nanos)>, Error> {
        let mut found = None;
        let select = &self.inner.statements.select_last_stream;
        let take = |(stream, at): (Uuid, i64)| {
            found = Some((StreamId::new(stream), Nanos(at)));
            Ok(())
        };
        self.inner.pages(select, (device.uuid(),), take).await?;
        Ok(found)
    }

    async fn note_seen(&self, sightings: &[Sighting]) -> Result<(), Error> {
        let inner = &*self.inner;
        stream::iter(sightings.to_vec())
            .map(|sighting| inner.note_seen(sighting))
            .buffer_unordered(inner.write_concurrency)
            .try_collect()
            .await
    }
}

#[async_trait]
impl Quarantine for Store {
    async fn put_aside(&self, record: &Quarantined) -> Result<(), Error> {
        let LogPosition { topic, partition, offset } = &record.position;
        // of two reports of one record the later stands
        let timestamp = write_timestamp(record.at);
        let values = (topic, partition, offset, record.at.0, &record.reason, &record.payload, timestamp);
        let insert = &self.inner.statements.insert_quarantined;
        again(|| self.inner.session.execute_unpaged(insert, values)).await?;
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        let mut records = Vec::new();
        type Columns = (String, i32, i64, Option<i64>, Option<String>, Option<Bytes>, Option<i64>);
        self.inner
            .pages(&self.inner.statements.select_quarantine, (), |columns: Columns| {
                let (topic, partition, offset, at, reason, payload, replayed_at) = columns;
                // marked as replayed without ever having been put aside
                if let (Some(at), Some(reason), Some(payload)) = (at, reason, payload) {
                    let position = LogPosition { topic, partition, offset };
                    let replayed_at = replayed_at.map(Nanos);
                    records.push(Quarantined { position, at: Nanos(at), reason, payload, replayed_at });
                }
                Ok(())
            })
            .await?;
        records.sort_unstable_by(|a, b| a.position.cmp(&b.position));
        Ok(records)
    }

    async fn depth(&self) -> Result<u64, Error> {
        let mut n_records = 0;
        let select = &self.inner.statements.select_quarantine_times;
        self.inner
            .pages(select, (), |(put_at, replayed_at): (Option<i64>, Option<i64>)| {
                n_records += u64::from(put_at.is_some() && replayed_at.is_none());
                Ok(())
            })
            .await?;
        Ok(n_records)
    }

    async fn mark_replayed(&self, position: &LogPosition, at: Nanos) -> Result<(), Error> {
        let LogPosition { topic, partition, offset } = position;
        let mut put_aside = false;
        let select = &self.inner.statements.select_put_at;
        self.inner
            .pages(select, (topic, partition, offset), |(at,): (Option<i64>,)| {
                put_aside |= at.is_some();
                Ok(())
            })
            .await?;
        if put_aside {
            let values = (at.0, topic, partition, offset);
            let update = &self.inner.statements.mark_replayed;
            again(|| self.inner.session.execute_unpaged(update, values)).await?;
        }
        Ok(())
    }
}

impl Inner {
    async fn last_seen(&self, device: DeviceId) -> Result<Option<Nanos>, Error> {
        let mut found = None;
        self.pages(&self.statements.select_sighting, (device.uuid(),), |(at,): (i64,)| {
            found = Some(Nanos(at));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn note_seen(&self, Sighting { device, at, stream }: Sighting) -> Result<(), Error> {
        let values = (device.uuid(), at.0, write_timestamp(at));
        again(|| self.session.execute_unpaged(&self.statements.insert_sighting, values)).await?;
        let values = (device.uuid(), stream.uuid(), at.0, write_timestamp(at));
        again(|| self.session.execute_unpaged(&self.statements.insert_last_stream, values)).await?;
        Ok(())
    }

    async fn note(&self, (device, stream, sequence): (DeviceId, StreamId, u64)) -> Result<(), Error> {
        let timestamp = sequence.min(MAX_POSITION_TIMESTAMP) as i64;
        let values = (device.uuid(), stream.uuid(), sequence as i64, timestamp);
        again(|| self.session.execute_unpaged(&self.statements.insert_position, values)).await?;
        Ok(())
    }
}
