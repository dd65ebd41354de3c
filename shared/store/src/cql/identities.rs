//! What identities were used for: from the index of sequences to the keys of the rows.
//!
//! An entry of the index is durable before the rows that need it are written: whatever dies between the two, a row that can
//! be read is found by its identity.

use super::{Inner, Store};
use crate::{
    Error, Identities, Positions, Sought,
    stretches::{ends, stretch},
};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use model::{DeviceId, Hour, PatientId, StreamId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Streams or batches asked about at the same time.
const READ_CONCURRENCY: usize = 32;
/// Hours of one of them that are read at the same time.
const HOURS_AT_ONCE: usize = 4;

#[async_trait]
impl Identities for Store {
    async fn highest(&self, streams: &[(DeviceId, StreamId)]) -> Result<Vec<Option<u64>>, Error> {
        let one = async |(device, stream)| {
            let noted = self.position(device, stream).await?;
            Ok(noted.max(self.inner.highest(device, stream).await?))
        };
        stream::iter(streams.to_vec()).map(one).buffered(READ_CONCURRENCY).try_collect().await
    }

    async fn digests(&self, sought: &[Sought]) -> Result<Vec<Vec<u64>>, Error> {
        let inner = &*self.inner;
        stream::iter(sought.to_vec()).map(|one| inner.digests(one)).buffered(READ_CONCURRENCY).try_collect().await
    }
}

impl Inner {
    /// The highest sequence of the last stretch that has a row.
    async fn highest(&self, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error> {
        let mut below = i64::MAX;
        loop {
            let mut last = None;
            let values = (device.uuid(), stream.uuid(), below);
            let each = |(stretch,): (i64,)| {
                last = Some(stretch);
                Ok(())
            };
            self.pages(&self.statements.select_last_stretch, values, each).await?;
            let Some(stretch) = last else { return Ok(None) };
            let places = self.places(device, stream, stretch as u64).await?;
            let found = self.identities(device, stream, places, ends(stretch as u64)).await?;
            if let Some((sequence, _)) = found.last() {
                return Ok(Some(*sequence));
            }
            below = stretch;
        }
    }

    async fn digests(&self, sought: Sought) -> Result<Vec<u64>, Error> {
        let Sought { device, stream, sequence, near } = sought;
        let mut places = self.places(device, stream, stretch(sequence)).await?;
        places.extend(near);
        let found = self.identities(device, stream, places, (sequence, sequence)).await?;
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }

    /// Where the rows of a stretch may be.
    async fn places(
        &self,
        device: DeviceId,
        stream: StreamId,
        stretch: u64,
    ) -> Result<BTreeSet<(PatientId, Hour)>, Error> {
        let mut places = BTreeSet::new();
        let values = (device.uuid(), stream.uuid(), stretch as i64);
        self.pages(&self.statements.select_sequences, values, |(patient, hour): (Uuid, i32)| {
            places.insert((PatientId::new(patient), Hour(hour)));
            Ok(())
        })
        .await?;
        Ok(places)
    }

    /// Sequences and digests of a stream's rows in some hours, from a first sequence to a last, ascending.
    async fn identities(
        &self,
        device: DeviceId,
        stream: StreamId,
        places: BTreeSet<(PatientId, Hour)>,
        (first, last): (u64, u64),
    ) -> Result<BTreeSet<(u64, u64)>, Error> {
        let one = async |(patient, hour): (PatientId, Hour)| {
            let bucket = super::bucket(patient, self.buckets);
            let (device, stream, patient) = (device.uuid(), stream.uuid(), patient.uuid());
            // sequences stay below 2^63
            let (first, last) = (first as i64, i64::try_from(last).unwrap_or(i64::MAX));
            let values = (bucket, hour.day(), patient, hour.0, device, stream, first, last);
            let mut found = BTreeSet::new();
            self.pages(&self.statements.select_identities, values, |(sequence, digest): (i64, i64)| {
                found.insert((sequence as u64, digest as u64));
                Ok(())
            })
            .await?;
            Ok(found)
        };
        let found: Vec<BTreeSet<_>> =
            stream::iter(places).map(one).buffer_unordered(HOURS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}
