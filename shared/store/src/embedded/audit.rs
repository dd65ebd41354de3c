//! The audit log: entries by writer and number, and two indexes that hold no more than where an entry is.
//!
//! Entries and what the indexes say of them are one batch, and synced before `append` returns.

use super::{Inner, Store, failed, keys, on_disk};
use crate::{Audit, AuditQuery, Error, FoundEntries, audit::Indexed, metrics};
use async_trait::async_trait;
use bytes::Bytes;
use disk::Need;
use fjall::{Readable, Snapshot};
use model::{WriterId, audit::Entry};
use std::time::Instant;

/// Before a writer's id, in `meta`: up to which entry its chain was signed.
const SIGNED: &[u8] = b"signed/";

#[async_trait]
impl Audit for Store {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let (started, n) = (Instant::now(), entries.len());
        let entries = entries.to_vec();
        self.blocking(move |inner| inner.append_audit(&entries)).await?;
        metrics::audited("embedded", n, started);
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

    async fn note_signed(&self, writer: WriterId, sequence: u64) -> Result<(), Error> {
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            let key = [SIGNED, writer.as_bytes()].concat();
            batch.insert(&inner.meta, key, sequence.to_be_bytes());
            inner.chain.commit(batch, Need::Audit).map_err(on_disk)?;
            inner.sync()
        })
        .await
    }

    async fn signed(&self) -> Result<Vec<(WriterId, u64)>, Error> {
        self.blocking(|inner| {
            let one = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                let writer = key.last_chunk().map(|bytes| WriterId::from_bytes(*bytes));
                let sequence = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
                writer.zip(sequence).ok_or_else(|| Error::Corrupt("what was signed of the audit log".into()))
            };
            inner.meta.prefix(SIGNED).map(one).collect()
        })
        .await
    }

    async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
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
        self.chain.commit(batch, Need::Audit).map_err(on_disk)?;
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

    fn search_audit(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
        let mut found = FoundEntries::default();
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
        audit::{Chain, Event, Outcome},
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

    #[tokio::test]
    async fn an_index_that_lies_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
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
