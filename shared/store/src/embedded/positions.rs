//! How far streams have come, and when devices were heard: hints, not synced.

use super::{Inner, Store, failed, keys};
use crate::{Error, Positions, Sighting};
use async_trait::async_trait;
use model::{DeviceId, Nanos, StreamId};

#[async_trait]
impl Positions for Store {
    async fn position(&self, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error> {
        self.blocking(move |inner| {
            let stored = inner.positions.get(keys::position(device, stream)).map_err(failed)?;
            stored.map(|bytes| keys::parse_position(&bytes)).transpose()
        })
        .await
    }

    async fn note(&self, streams: &[(DeviceId, StreamId, u64)]) -> Result<(), Error> {
        let mut streams = streams.to_vec();
        // of several sequences of one stream the largest comes last
        streams.sort_unstable();
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            let writing = inner.writing();
            let mut streams = streams.into_iter().peekable();
            while let Some((device, stream, sequence)) = streams.next() {
                if streams.peek().is_some_and(|next| (next.0, next.1) == (device, stream)) {
                    continue;
                }
                let key = keys::position(device, stream);
                let stored = inner.positions.get(key).map_err(failed)?;
                if stored.map(|bytes| keys::parse_position(&bytes)).transpose()?.is_none_or(|have| have < sequence) {
                    batch.insert(&inner.positions, key, sequence.to_be_bytes());
                }
            }
            // not synced: a position that is lost with the power is a hint that lags
            inner.commit(batch)?;
            drop(writing);
            Ok(())
        })
        .await
    }

    async fn last_seen(&self, devices: &[DeviceId]) -> Result<Vec<Option<Nanos>>, Error> {
        let devices = devices.to_vec();
        self.blocking(move |inner| {
            let seen = |device: &DeviceId| Ok(inner.sighting(*device)?.map(|(at, _)| at));
            devices.iter().map(seen).collect()
        })
        .await
    }

    async fn last_stream(&self, device: DeviceId) -> Result<Option<(StreamId, Nanos)>, Error> {
        self.blocking(move |inner| {
            let sighting = inner.sighting(device)?;
            Ok(sighting.and_then(|(at, stream)| Some((stream?, at))))
        })
        .await
    }

    async fn note_seen(&self, sightings: &[Sighting]) -> Result<(), Error> {
        let mut sightings = sightings.to_vec();
        // of several times of one device the latest comes last
        sightings.sort_unstable();
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            let writing = inner.writing();
            for Sighting { device, at, stream } in sightings {
                if inner.sighting(device)?.is_none_or(|(have, _)| have < at) {
                    batch.insert(&inner.positions, keys::sighting(device), keys::sighting_value(at, stream));
                }
            }
            inner.commit(batch)?;
            drop(writing);
            Ok(())
        })
        .await
    }
}

impl Inner {
    fn sighting(&self, device: DeviceId) -> Result<Option<(Nanos, Option<StreamId>)>, Error> {
        let stored = self.positions.get(keys::sighting(device)).map_err(failed)?;
        stored.map(|bytes| keys::parse_sighting(&bytes)).transpose()
    }
}
