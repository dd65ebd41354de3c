//! The audit log: entries by writer and number, and two indexes that hold no more than where an entry is.
//!
//! Entries and what the indexes say of them are one batch, and synced before `append` returns.

use super::{Inner, Store, failed, keys};
use crate::{Audit, AuditQuery, Error, Found, audit::Indexed, measure};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::{Readable, Snapshot};
use model::{WriterId, audit::Entry};
use std::time::Instant;

#[async_trait]
impl Audit for Store {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let (started, n) = (Instant::now(), entries.len());
        let entries = entries.to_vec();
        self.blocking(move |inner| inner.append_audit(&entries)).await?;
        measure::audited("embedded", n, started);
        Ok(())
    }

    async fn entries(&self, writer: WriterId, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.blocking(move |inner| {
            let range = keys::audit(writer, from)..=keys::audit(writer, u64::MAX);
            let entry = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                Ok((keys::parse_audit(&key)?.1, Bytes::copy_from_slice(&value)))
            };
            inner.db.snapshot().range(&inner.audit, range).take(limit).map(entry).collect()
        })
        .await
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        self.blocking(Inner::audit_writers).await
    }

    async fn search(&self, query: &AuditQuery) -> Result<Found, Error> {
        let query = *query;
        self.blocking(move |inner| inner.search_audit(&query)).await
    }
}

impl Inner {
    fn append_audit(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut batch = self.db.batch();
        for entry in entries {
            let key = keys::audit(entry.writer, entry.sequence);
            batch.insert(&self.audit, key, entry.encode());
            batch.insert(&self.audit_by_time, keys::audit_index(None, entry.event.at, &key), []);
            if entry.event.patient.is_some() {
                let index = keys::audit_index(entry.event.patient, entry.event.at, &key);
                batch.insert(&self.audit_by_patient, index, []);
            }
        }
        let writing = self.writing();
        self.commit(batch)?;
        drop(writing);
        self.sync()
    }

    /// Leaps from each writer's first entry to the next writer's.
    fn audit_writers(&self) -> Result<Vec<WriterId>, Error> {
        let snapshot = self.db.snapshot();
        let mut writers = Vec::new();
        let mut from = vec![];
        while let Some(guard) = snapshot.range(&self.audit, from..).next() {
            let (writer, _) = keys::parse_audit(&guard.key().map_err(failed)?)?;
            writers.push(writer);
            // longer than any key of this writer, and before those of the next
            from = [&keys::audit(writer, u64::MAX)[..], &[0]].concat();
        }
        Ok(writers)
    }

    fn search_audit(&self, query: &AuditQuery) -> Result<Found, Error> {
        let mut found = Found::default();
        if query.from >= query.to {
            return Ok(found);
        }
        let snapshot = self.db.snapshot();
        let index = if query.patient.is_some() { &self.audit_by_patient } else { &self.audit_by_time };
        let bound = |at| keys::audit_index(query.patient, at, &[]);
        for guard in snapshot.range(index, bound(query.from)..bound(query.to)).rev().take(query.limit) {
            found.take(self.audit_entry(&snapshot, query, &guard.key().map_err(failed)?))?;
        }
        Ok(found)
    }

    /// The entry that a key of an index names.
    fn audit_entry(&self, snapshot: &Snapshot, query: &AuditQuery, index: &[u8]) -> Result<Entry, Error> {
        let (at, key) = keys::parse_audit_index(index)?;
        let (writer, sequence) = keys::parse_audit(&key)?;
        let stored = snapshot.get(&self.audit, key).map_err(failed)?;
        Indexed { at, writer, sequence }.entry(query, stored.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        Nanos, PatientId,
        access::Purpose,
        audit::{Chain, Checkpoint, Event, Outcome, Verifier},
    };

    fn event(patient: u8, at: i64) -> Event {
        Event {
            at: Nanos(at),
            subject: None,
            patient: Some(PatientId::from_bytes([patient; 16])),
            action: "readings.timeline".into(),
            purpose: Purpose::Treatment,
            outcome: Outcome::Allowed,
            detail: "".into(),
            request: [0; 16],
        }
    }

    /// What somebody does to the stored log, and how many entries cannot be read then.
    const EDITS: [(&str, usize); 7] = [
        ("nothing", 0),
        ("a hash changed", 0),
        ("an entry made unreadable", 1),
        ("one taken away", 1),
        ("two swapped", 2),
        ("the end cut off", 10),
        ("one of another writer", 1),
    ];

    fn edit(store: &Store, what: &str, writer: WriterId, other: &Entry) {
        let audit = &store.inner.audit;
        let get = |n: u64| audit.get(keys::audit(writer, n)).unwrap().unwrap().to_vec();
        let put = |n: u64, bytes: &[u8]| audit.insert(keys::audit(writer, n), bytes).unwrap();
        let remove = |n: u64| audit.remove(keys::audit(writer, n)).unwrap();
        match what {
            "nothing" => {}
            "a hash changed" => put(5, &{
                let mut bytes = get(5);
                bytes[20] ^= 1;
                bytes
            }),
            "an entry made unreadable" => put(5, &[&[9], &get(5)[1..]].concat()),
            "one taken away" => remove(5),
            "two swapped" => {
                let (five, nine) = (get(5), get(9));
                put(5, &nine);
                put(9, &five);
            }
            "the end cut off" => (31..=40).for_each(remove),
            _ => put(5, &other.encode()),
        }
    }

    #[tokio::test]
    async fn what_is_done_to_the_stored_log_is_found_and_the_rest_can_still_be_searched() {
        for (what, unreadable) in EDITS {
            let dir = tempfile::tempdir().unwrap();
            let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
            let writer = chain.writer();
            let all: Vec<_> = (1..=40).map(|n| chain.append(event(1, n))).collect();
            let other = Chain::new(WriterId::from_bytes([2; 16])).append(event(1, 5));
            let (sequence, hash) = (chain.sequence(), chain.last());
            let last = Checkpoint { writer, sequence, hash, at: Nanos(9), key_id: [1; 8], signature: [7; 64] };
            let store = Store::open(dir.path()).unwrap();
            store.append(&all).await.unwrap();
            edit(&store, what, writer, &other);
            drop(store);

            let store = Store::open(dir.path()).unwrap();
            let mut verifier = Verifier::new(writer, [last], |checkpoint| checkpoint.signature == [7; 64]);
            let stored = store.entries(writer, 1, 100).await.unwrap();
            stored.iter().for_each(|(sequence, bytes)| verifier.take(*sequence, bytes));
            assert_eq!(verifier.close().is_empty(), what == "nothing", "{what}");
            let patient = Some(PatientId::from_bytes([1; 16]));
            for patient in [patient, None] {
                let query = AuditQuery { patient, from: Nanos::MIN, to: Nanos::MAX, limit: 100 };
                let found = store.search(&query).await.unwrap();
                assert_eq!((found.entries.len(), found.unreadable), (40 - unreadable, unreadable), "{what}");
                assert!(found.entries.is_sorted_by(|a, b| a.event.at > b.event.at), "{what}");
            }
        }
    }

    #[tokio::test]
    async fn an_index_that_lies_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut chain = Chain::new(WriterId::from_bytes([1; 16]));
        store.append(&[chain.append(event(1, 7)), chain.append(event(2, 7))]).await.unwrap();
        let query =
            AuditQuery { patient: Some(PatientId::from_bytes([1; 16])), from: Nanos::MIN, to: Nanos::MAX, limit: 10 };
        let found = async || {
            let found = store.search(&query).await.unwrap();
            (found.entries.len(), found.unreadable)
        };
        assert_eq!(found().await, (1, 0));

        // another patient's entry, one that is not there, one of another time
        for (at, sequence) in [(7, 2), (7, 3), (8, 1)] {
            let key = keys::audit_index(query.patient, Nanos(at), &keys::audit(chain.writer(), sequence));
            store.inner.audit_by_patient.insert(&key, []).unwrap();
            assert_eq!(found().await, (1, 1), "{at} {sequence}");
            store.inner.audit_by_patient.remove(key).unwrap();
        }
        // bytes that were changed
        store.inner.audit.insert(keys::audit(chain.writer(), 1), [9]).unwrap();
        assert_eq!(found().await, (0, 1));
        assert_eq!(store.entries(chain.writer(), 1, 1).await.unwrap(), [(1, Bytes::from_static(&[9]))]);
    }
}
