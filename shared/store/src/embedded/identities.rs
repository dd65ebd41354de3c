//! What identities were used for: from the index of sequences to the keys of the rows.

use super::{Inner, Store, failed, keys};
use crate::{Error, Identities, Sought, stretches};
use async_trait::async_trait;
use fjall::{Readable, Snapshot};
use model::{DeviceId, Hour, PatientId, StreamId};
use std::collections::BTreeSet;

#[async_trait]
impl Identities for Store {
    async fn highest(&self, streams: &[(DeviceId, StreamId)]) -> Result<Vec<Option<u64>>, Error> {
        let streams = streams.to_vec();
        self.blocking(move |inner| {
            let snapshot = inner.db.snapshot();
            streams.iter().map(|(device, stream)| inner.highest(&snapshot, *device, *stream)).collect()
        })
        .await
    }

    async fn digests(&self, sought: &[Sought]) -> Result<Vec<Vec<u64>>, Error> {
        let sought = sought.to_vec();
        self.blocking(move |inner| {
            let snapshot = inner.db.snapshot();
            sought.iter().map(|sought| inner.digests(&snapshot, sought)).collect()
        })
        .await
    }
}

impl Inner {
    fn highest(&self, snapshot: &Snapshot, device: DeviceId, stream: StreamId) -> Result<Option<u64>, Error> {
        let noted = snapshot.get(&self.positions, keys::position(device, stream)).map_err(failed)?;
        let noted = noted.map(|bytes| keys::parse_position(&bytes)).transpose()?;
        let mut found: Option<(u64, u64)> = None;
        for guard in snapshot.prefix(&self.sequences, keys::position(device, stream)).rev() {
            let (stretch, patient, hour) = keys::parse_sequences(&guard.key().map_err(failed)?)?;
            // a stretch that has a row has the highest, wherever the row is
            if found.is_some_and(|(of, _)| of > stretch) {
                break;
            }
            let (first, last) = stretches::ends(stretch);
            let rows = keys::batches(patient, hour, device, stream, first)
                ..=keys::batches(patient, hour, device, stream, last.saturating_add(1));
            if let Some(guard) = snapshot.range(&self.blocks, rows).next_back() {
                let (_, identity) = keys::parse_block(&guard.key().map_err(failed)?)?;
                found = Some((stretch, identity.sequence.max(found.map_or(0, |(_, sequence)| sequence))));
            }
        }
        Ok(noted.max(found.map(|(_, sequence)| sequence)))
    }

    fn digests(&self, snapshot: &Snapshot, sought: &Sought) -> Result<Vec<u64>, Error> {
        let Sought { device, stream, sequence, near } = sought;
        let mut places: BTreeSet<(PatientId, Hour)> = near.iter().copied().collect();
        let stretch = stretches::stretch(*sequence);
        for guard in snapshot.prefix(&self.sequences, keys::stretch(*device, *stream, stretch)) {
            let (_, patient, hour) = keys::parse_sequences(&guard.key().map_err(failed)?)?;
            places.insert((patient, hour));
        }
        let mut digests = BTreeSet::new();
        for (patient, hour) in places {
            for guard in snapshot.prefix(&self.blocks, keys::batches(patient, hour, *device, *stream, *sequence)) {
                digests.insert(keys::parse_block(&guard.key().map_err(failed)?)?.1.digest);
            }
        }
        Ok(digests.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Append, Positions};
    use bytes::Bytes;
    use model::{BatchId, ClockQuality, Nanos, Row};

    #[tokio::test]
    async fn rows_from_before_the_index_are_found_where_a_batch_says_it_was_measured() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (patient, device, stream) =
            (PatientId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]), StreamId::from_bytes([3; 16]));
        let row = |sequence| Row {
            patient,
            hour: Hour(sequence as i32),
            identity: BatchId { device, stream, sequence, digest: sequence + 1 },
            received_at: Nanos(1),
            clock: ClockQuality::Free,
            metrics: Vec::new(),
            block: Bytes::from_static(b"block"),
        };
        store.append(&[row(4), row(5)]).await.unwrap();
        // as an older program has left it
        let index: Vec<_> = store.inner.sequences.iter().map(|guard| guard.key().unwrap()).collect();
        assert_eq!(index.len(), 2);
        index.into_iter().for_each(|key| store.inner.sequences.remove(key).unwrap());
        assert_eq!(store.highest(&[(device, stream)]).await.unwrap(), [None]);
        store.note(&[(device, stream, 4)]).await.unwrap();
        assert_eq!(store.highest(&[(device, stream)]).await.unwrap(), [Some(4)]);
        let sought = |near| Sought { device, stream, sequence: 4, near };
        let found = store.digests(&[sought(Vec::new()), sought(vec![(patient, Hour(4))])]).await.unwrap();
        assert_eq!(found, [vec![], vec![5]]);
    }
}
