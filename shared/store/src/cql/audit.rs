//! The audit log: entries by writer, and where those of a patient and of an hour are.
//!
//! `append` first names the partitions that it is about to use, then writes the log, then the indexes. A process that dies
//! on the way leaves a log without a gap, for its batches are written one after the other, and perhaps an index that lacks
//! entries nobody was told are durable; never one that names what the log does not have.

use super::{Inner, Store, connect::again, seal::span, statements::MAX_BATCH_ROWS};
use crate::{Audit, AuditQuery, Error, FoundEntries, audit::Indexed, metrics};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use lru::LruCache;
use model::{Hour, Nanos, PatientId, WriterId, audit::Entry};
use scylla::{
    serialize::row::SerializeRow,
    statement::{batch::Batch, prepared::PreparedStatement},
};
use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Instant,
};
use uuid::Uuid;

/// Entries of one writer in a partition: a few megabytes at most.
const ENTRIES_A_CHUNK: u64 = 10_000;
/// The one partition of a list of partitions.
const PART: i8 = 0;
/// Partitions remembered as named: 60,000 patients' months, about 100 bytes each. Forgetting costs a write.
const MAX_NAMED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// An entry of the log: writer, chunk, sequence, entry.
type LogValues = (Uuid, i64, i64, Vec<u8>);
/// An entry of a patient's index: patient, span, at, writer, sequence.
type PatientValues = (Uuid, i32, i64, Vec<u8>, i64);
/// An entry of an hour's index: hour, at, writer, sequence.
type HourValues = (i32, i64, Vec<u8>, i64);

/// A partition that readers must know of to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Partition {
    Chunk(WriterId, i64),
    Span(PatientId, i32),
    Hour(i32),
}

/// Partitions that are known to be named, durably.
pub(super) struct Named(Mutex<LruCache<Partition, ()>>);

impl Named {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_NAMED)))
    }

    /// Those that are not known to be named.
    fn missing(&self, mut partitions: BTreeSet<Partition>) -> BTreeSet<Partition> {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.retain(|partition| named.get(partition).is_none());
        partitions
    }

    fn remember(&self, partitions: BTreeSet<Partition>) {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            named.put(partition, ());
        }
    }
}

#[async_trait]
impl Audit for Store {
    async fn append(&self, entries: &[Entry]) -> Result<(), Error> {
        let started = Instant::now();
        let inner = &*self.inner;
        inner.name_partitions(entries).await?;
        let log: Vec<_> = entries.iter().map(log_values).collect();
        for rows in log.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).flat_map(|rows| rows.chunks(MAX_BATCH_ROWS)) {
            inner.write_batch(&inner.statements.insert_audit, rows.to_vec()).await?;
        }
        let mut patients: Vec<_> = entries.iter().filter_map(patient_values).collect();
        let mut hours: Vec<_> = entries.iter().map(hour_values).collect();
        patients.sort_unstable();
        hours.sort_unstable();
        let patients = batches(&patients, |a, b| (a.0, a.1) == (b.0, b.1));
        let hours = batches(&hours, |a, b| a.0 == b.0);
        let statements = &inner.statements;
        future::try_join(
            inner.write_batches(&statements.insert_audit_by_patient, patients),
            inner.write_batches(&statements.insert_audit_by_hour, hours),
        )
        .await?;
        metrics::audited("cql", entries.len(), started);
        Ok(())
    }

    async fn entries(&self, writer: WriterId, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let inner = &*self.inner;
        // all that were ever written are below
        let Ok(first) = i64::try_from(from) else { return Ok(Vec::new()) };
        let mut chunks: Vec<i64> = Vec::new();
        let values = (PART, &writer.as_bytes()[..], chunk(from));
        inner
            .pages(&inner.statements.select_audit_chunks, values, |(chunk,)| {
                chunks.push(chunk);
                Ok(())
            })
            .await?;
        let mut entries = Vec::new();
        for chunk in chunks {
            let rest = limit - entries.len();
            if rest == 0 {
                break;
            }
            let values = (writer.uuid(), chunk, first, i32::try_from(rest).unwrap_or(i32::MAX));
            inner
                .pages(&inner.statements.select_audit, values, |(sequence, entry): (i64, Option<Bytes>)| {
                    // one whose bytes were taken away is there, and cannot be read
                    entries.push((sequence as u64, entry.unwrap_or_default()));
                    Ok(())
                })
                .await?;
        }
        Ok(entries)
    }

    async fn writers(&self) -> Result<Vec<WriterId>, Error> {
        let inner = &*self.inner;
        let mut writers = Vec::new();
        inner
            .pages(&inner.statements.select_audit_writers, (PART,), |(bytes,): (Bytes,)| {
                writers.push(writer(&bytes)?);
                Ok(())
            })
            .await?;
        writers.dedup();
        Ok(writers)
    }

    async fn search(&self, query: &AuditQuery) -> Result<FoundEntries, Error> {
        let mut found = FoundEntries::default();
        if query.from >= query.to || query.limit == 0 {
            return Ok(found);
        }
        let inner = &*self.inner;
        let mut named = inner.indexed(query).await?;
        named.truncate(query.limit);
        let entries = stream::iter(named).map(|indexed| inner.audit_entry(query, indexed));
        let mut entries = entries.buffered(inner.read_concurrency);
        while let Some(entry) = entries.next().await {
            found.take(entry)?;
        }
        Ok(found)
    }
}

impl Inner {
    /// Names the partitions that these entries are in, where that is not known to be done.
    async fn name_partitions(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut partitions = BTreeSet::new();
        for entry in entries {
            let hour = entry.event.at.hour();
            partitions.insert(Partition::Chunk(entry.writer, chunk(entry.sequence)));
            partitions.insert(Partition::Hour(hour.0));
            partitions.extend(entry.event.patient.map(|patient| Partition::Span(patient, span(hour))));
        }
        let missing = self.audit_named.missing(partitions);
        let names = stream::iter(missing.clone()).map(|partition| self.name(partition));
        names.buffer_unordered(self.write_concurrency).try_collect::<()>().await?;
        self.audit_named.remember(missing);
        Ok(())
    }

    async fn name(&self, partition: Partition) -> Result<(), Error> {
        let statements = &self.statements;
        match partition {
            Partition::Chunk(writer, chunk) => {
                self.write_one(&statements.insert_audit_chunk, (PART, &writer.as_bytes()[..], chunk)).await
            }
            Partition::Span(patient, span) => {
                self.write_one(&statements.insert_audit_span, (patient.uuid(), span)).await
            }
            Partition::Hour(hour) => self.write_one(&statements.insert_audit_hour, (PART, hour)).await,
        }
    }

    async fn write_one(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<(), Error> {
        // never closed
        let _permit = self.writes.acquire().await.map_err(|cause| Error::Unavailable(Box::new(cause)))?;
        again(|| self.session.execute_unpaged(statement, &values)).await?;
        Ok(())
    }

    async fn write_batches<V: SerializeRow>(&self, statement: &[Batch], batches: Vec<Vec<V>>) -> Result<(), Error> {
        let writes = stream::iter(batches).map(|rows| self.write_batch(statement, rows));
        writes.buffer_unordered(self.write_concurrency).try_collect().await
    }

    /// Writes rows of one partition, at most [`MAX_BATCH_ROWS`], with the batch of that length.
    async fn write_batch<V: SerializeRow>(&self, batches: &[Batch], rows: Vec<V>) -> Result<(), Error> {
        let _permit = self.writes.acquire().await.map_err(|cause| Error::Unavailable(Box::new(cause)))?;
        again(|| self.session.batch(&batches[rows.len() - 1], &rows)).await?;
        Ok(())
    }

    /// Where the entries are, newest first, at least as many as asked for if there are.
    async fn indexed(&self, query: &AuditQuery) -> Result<Vec<Indexed>, Error> {
        let partitions = self.audit_partitions(query).await?;
        let mut parts = stream::iter(partitions)
            .map(|partition| self.audit_index(query, partition))
            .buffered(self.read_concurrency);
        let mut found = Vec::new();
        while found.len() < query.limit {
            match parts.try_next().await? {
                Some(more) => found.extend(more),
                None => break,
            }
        }
        Ok(found)
    }

    /// The spans of the patient, or the hours, that may have such entries: newest first.
    async fn audit_partitions(&self, query: &AuditQuery) -> Result<Vec<i32>, Error> {
        let mut partitions = Vec::new();
        let each = |(partition,): (i32,)| {
            partitions.push(partition);
            Ok(())
        };
        let (first, last) = (query.from.hour(), Nanos(query.to.0 - 1).hour());
        match query.patient {
            Some(patient) => {
                let values = (patient.uuid(), span(first), span(last));
                self.pages(&self.statements.select_audit_spans, values, each).await?;
            }
            None => self.pages(&self.statements.select_audit_hours, (PART, first.0, last.0), each).await?,
        }
        Ok(partitions)
    }

    /// What one partition of an index has, newest first.
    async fn audit_index(&self, query: &AuditQuery, partition: i32) -> Result<Vec<Indexed>, Error> {
        let mut found = Vec::new();
        let each = |(at, bytes, sequence): (i64, Bytes, i64)| {
            found.push(Indexed { at: Nanos(at), writer: writer(&bytes)?, sequence: sequence as u64 });
            Ok(())
        };
        let (from, to) = (query.from.0, query.to.0);
        let limit = i32::try_from(query.limit).unwrap_or(i32::MAX);
        match query.patient {
            Some(patient) => {
                let values = (patient.uuid(), partition, from, to, limit);
                self.pages(&self.statements.select_audit_by_patient, values, each).await?;
            }
            None => {
                self.pages(&self.statements.select_audit_by_hour, (partition, from, to, limit), each).await?;
            }
        }
        Ok(found)
    }

    async fn audit_entry(&self, query: &AuditQuery, indexed: Indexed) -> Result<Entry, Error> {
        let values = (indexed.writer.uuid(), chunk(indexed.sequence), indexed.sequence as i64);
        let mut stored = None;
        self.pages(&self.statements.select_audit_entry, values, |(entry,): (Option<Bytes>,)| {
            stored = entry;
            Ok(())
        })
        .await?;
        indexed.entry(query, stored.as_deref())
    }
}

/// The partition of an entry, with its writer.
fn chunk(sequence: u64) -> i64 {
    // a 10,000th fits
    (sequence / ENTRIES_A_CHUNK) as i64
}

fn writer(bytes: &[u8]) -> Result<WriterId, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("a writer of {} bytes", bytes.len())))?;
    Ok(WriterId::from_bytes(bytes))
}

fn log_values(entry: &Entry) -> LogValues {
    (entry.writer.uuid(), chunk(entry.sequence), entry.sequence as i64, entry.encode())
}

fn patient_values(entry: &Entry) -> Option<PatientValues> {
    let patient = entry.event.patient?.uuid();
    let (hour, at, writer, sequence) = hour_values(entry);
    Some((patient, span(Hour(hour)), at, writer, sequence))
}

fn hour_values(entry: &Entry) -> HourValues {
    let at = entry.event.at;
    (at.hour().0, at.0, entry.writer.as_bytes().to_vec(), entry.sequence as i64)
}

/// Cuts sorted rows into batches of one partition.
fn batches<V: Clone>(rows: &[V], same_partition: impl Fn(&V, &V) -> bool) -> Vec<Vec<V>> {
    rows.chunk_by(same_partition).flat_map(|rows| rows.chunks(MAX_BATCH_ROWS)).map(<[V]>::to_vec).collect()
}
