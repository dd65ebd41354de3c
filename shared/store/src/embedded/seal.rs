//! Sealing hours, and unsealing those that are appended to.
//!
//! No clock decides whether a seal holds every row of its hour: an append that changes an hour removes its seal in the
//! same batch, and takes the ticket of whoever is just sealing it, so that this seal is not committed. Both happen
//! under the lock that all writing holds.
//!
//! A seal is not synced by itself. The engine recovers a prefix of what was committed (it syncs its journal before rows
//! go to files): a seal on disk has the rows it holds before it, and a crash that loses the removal of a seal loses
//! the rows of the same batch with it.

use super::{Inner, Store, failed, keys};
use crate::{
    Data, Error, HourData, HourRollups, Seal, Sealed, StoredRow, metrics, payload,
    sheet::{self, Amount, MAX_HOUR_BYTES},
};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::{OwnedWriteBatch, Readable, Snapshot};
use lru::LruCache;
use model::{ClockTolerance, Hour, Nanos, PatientId};
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

/// A key in `hours` and `seals`.
type HourKey = [u8; keys::HOUR];

/// Hours remembered as unsealed: 10,000 patients with some late hours each, about 100 bytes an entry.
const MAX_TOUCHED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// How often an hour that changes all the time has its entry in `unsealed` written: `quiet` is exact up to this.
const TOUCH_EVERY_NANOS: i64 = 60 * Nanos::SECOND;
/// Hours sealed in one batch: their sheets are held in memory until then, and a stop waits for one batch at most.
const HOURS_AT_ONCE: usize = 32;

/// What is known under the lock that all writing holds.
pub(super) struct Writing {
    /// Hours that have an entry in `unsealed` and no seal, and when that entry was written.
    touched: LruCache<HourKey, Nanos>,
    /// Hours being sealed, each with the ticket of who does; who changes an hour takes the ticket away.
    sealing: HashMap<HourKey, u64>,
    /// The last ticket given.
    ticket: u64,
}

impl Writing {
    pub(super) fn new() -> Self {
        Self { touched: LruCache::new(MAX_TOUCHED), sealing: HashMap::new(), ticket: 0 }
    }

    /// Remembers, after the commit, that these hours are unsealed.
    pub(super) fn remember(&mut self, touched: Vec<HourKey>, now: Nanos) {
        for hour in touched {
            self.touched.put(hour, now);
        }
    }
}

/// An hour on its way into a seal.
struct Candidate {
    hour: HourKey,
    ticket: u64,
}

/// Some hours on their way into seals.
struct Candidates {
    snapshot: Snapshot,
    hours: Vec<Candidate>,
    /// How many changed a short while ago.
    n_restless: u64,
    /// Where the list goes on, if it does.
    next: Option<HourKey>,
}

#[async_trait]
impl Seal for Store {
    async fn seal(&self, quiet: Duration) -> Result<Sealed, Error> {
        let mut total = Sealed::default();
        let tolerance = self.tolerance;
        let mut from = [0; keys::HOUR];
        loop {
            let (done, next) = self.blocking(move |inner| inner.seal_some(from, quiet, tolerance)).await?;
            total.hours += done.hours;
            total.waiting += done.waiting;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        metrics::sealed("embedded", total);
        Ok(total)
    }
}

impl Inner {
    /// The lock that all writing holds, from reading what is stored to committing what replaces it.
    pub(super) fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the batch what unseals these hours; returns those to [`Writing::remember`] once it is committed.
    pub(super) fn unseal(
        &self,
        writing: &mut Writing,
        batch: &mut OwnedWriteBatch,
        changed: &[HourKey],
        now: Nanos,
    ) -> Result<Vec<HourKey>, Error> {
        let mut touched = Vec::new();
        for hour in changed {
            writing.sealing.remove(hour);
            match writing.touched.get(hour) {
                Some(at) if (0..TOUCH_EVERY_NANOS).contains(&now.0.saturating_sub(at.0)) => continue,
                Some(_) => {}
                None if self.seals.contains_key(hour).map_err(failed)? => {
                    batch.remove(&self.seals, *hour);
                    batch.remove(&self.rollups, *hour);
                }
                None => {}
            }
            batch.insert(&self.unsealed, keys::unsealed(hour), now.0.to_be_bytes());
            touched.push(*hour);
        }
        Ok(touched)
    }

    /// Seals some hours of the list; returns where it goes on.
    fn seal_some(
        &self,
        from: HourKey,
        quiet: Duration,
        tolerance: ClockTolerance,
    ) -> Result<(Sealed, Option<HourKey>), Error> {
        let candidates = self.candidates(from, quiet)?;
        let seal = |candidate: &Candidate| {
            let (patient, hour) = keys::parse_patient_hour(&candidate.hour);
            let rows = self.rows(&candidates.snapshot, patient, hour, MAX_HOUR_BYTES);
            sheet::seal("embedded", hour, rows, tolerance)
        };
        let seals: Result<Vec<_>, Error> = candidates.hours.iter().map(seal).collect();

        let mut done = Sealed { hours: 0, waiting: candidates.n_restless };
        let mut batch = self.db.batch();
        let mut writing = self.writing();
        let unchanged: Vec<_> = candidates.hours.iter().map(|candidate| writing.give_back(candidate)).collect();
        for ((candidate, seal), unchanged) in candidates.hours.iter().zip(seals?).zip(unchanged) {
            if !unchanged {
                done.waiting += 1;
                continue;
            }
            // what cannot be sealed leaves the list too, until it changes
            writing.touched.pop(&candidate.hour);
            batch.remove(&self.unsealed, keys::unsealed(&candidate.hour));
            if let Some(Amount { seal, rollups }) = seal {
                batch.insert(&self.seals, candidate.hour, seal);
                batch.insert(&self.rollups, candidate.hour, rollups);
                done.hours += 1;
            }
        }
        self.commit(batch)?;
        Ok((done, candidates.next))
    }

    /// The next hours to seal, with what is stored of them, from a place in the list on.
    fn candidates(&self, from: HourKey, quiet: Duration) -> Result<Candidates, Error> {
        let now = sheet::now();
        let quiet_nanos = i64::try_from(quiet.as_nanos()).unwrap_or(i64::MAX);
        let end = keys::first_unsealed(sheet::first_open_hour(now));
        let mut writing = self.writing();
        // under the lock: whatever is committed later takes the tickets away
        let snapshot = self.db.snapshot();
        let mut hours = Vec::new();
        let mut n_restless = 0;
        let mut next = None;
        if from < end {
            for (n, guard) in snapshot.range(&self.unsealed, from..end).enumerate() {
                let (key, touched) = guard.into_inner().map_err(failed)?;
                let hour = keys::parse_unsealed(&key)?;
                if n == HOURS_AT_ONCE {
                    next = Some(keys::unsealed(&hour));
                    break;
                }
                if keys::parse_touched(&touched)?.plus(quiet_nanos) > now {
                    n_restless += 1;
                    continue;
                }
                hours.push(Candidate { hour, ticket: writing.give(hour) });
            }
        }
        drop(writing);
        Ok(Candidates { snapshot, hours, n_restless, next })
    }

    /// What there is of hours, all of one moment.
    pub(super) fn read(&self, patient: PatientId, hours: &[Hour]) -> Result<Vec<HourData>, Error> {
        let snapshot = self.db.snapshot();
        hours.iter().map(|hour| self.read_hour(&snapshot, patient, *hour)).collect()
    }

    fn read_hour(&self, snapshot: &Snapshot, patient: PatientId, hour: Hour) -> Result<HourData, Error> {
        let data = match snapshot.get(&self.seals, keys::hour(patient, hour)).map_err(failed)? {
            Some(seal) => Data::Sealed(sheet::open(&seal)?),
            None => Data::Rows(self.rows(snapshot, patient, hour, usize::MAX)?),
        };
        Ok(HourData { hour, data })
    }

    /// What hours come to, all of one moment. Those sealed by version 2 have seals and no rollups; those of version 3 were
    /// made under no rule for clocks that are ahead.
    pub(super) fn rollups(
        &self,
        patient: PatientId,
        hours: &[Hour],
        tolerance: ClockTolerance,
    ) -> Result<Vec<HourRollups>, Error> {
        let snapshot = self.db.snapshot();
        let of = |hour: &Hour| {
            let stored = snapshot.get(&self.rollups, keys::hour(patient, *hour)).map_err(failed)?;
            let stored = stored.map(|stored| sheet::stored_rollups(*hour, &stored, tolerance)).transpose()?;
            match stored.flatten() {
                Some(rollups) => Ok(rollups),
                None => sheet::roll_up(&self.read_hour(&snapshot, patient, *hour)?, tolerance),
            }
        };
        hours.iter().map(of).collect()
    }

    /// The rows of an hour, ascending by identity, up to the one with which they exceed so many bytes.
    fn rows(
        &self,
        snapshot: &Snapshot,
        patient: PatientId,
        hour: Hour,
        max_bytes: usize,
    ) -> Result<Vec<StoredRow>, Error> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        // all keys of the hour's rows start like its own
        for guard in snapshot.prefix(&self.blocks, keys::hour(patient, hour)) {
            let (key, value) = guard.into_inner().map_err(failed)?;
            let (hour, identity) = keys::parse_block(&key)?;
            let (received_at, clock, block) = payload::decode(&Bytes::copy_from_slice(&value))?;
            bytes += block.len();
            rows.push(StoredRow { hour, identity, received_at, clock, block });
            if bytes > max_bytes {
                break;
            }
        }
        Ok(rows)
    }
}

impl Writing {
    fn give(&mut self, hour: HourKey) -> u64 {
        self.ticket += 1;
        self.sealing.insert(hour, self.ticket);
        self.ticket
    }

    /// Whether nothing took the ticket away: the hour is as it was when it was given.
    fn give_back(&mut self, candidate: &Candidate) -> bool {
        let ours = self.sealing.get(&candidate.hour) == Some(&candidate.ticket);
        if ours {
            self.sealing.remove(&candidate.hour);
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Append, Rollups, Timeline};
    use model::{
        BatchId, Block, ClockQuality, Column, DeviceId, Factor, HourRange, MetricId, Permit, Quality, Rollup, Row,
        StreamId, Summary, UserId, Values, access,
    };

    fn permit(patient: PatientId) -> Permit {
        let subject = access::Subject::User(UserId::from_bytes([1; 16]));
        let doctor = access::Principal::everywhere(subject, &[access::Permission::ReadReadings], Nanos::MAX);
        let relation = access::Relation { kind: access::RelationKind::CareTeam, from: Nanos::MIN, to: Nanos::MAX };
        let facts = access::Facts { relations: vec![relation], ..access::Facts::default() };
        access::decide(&doctor, access::Action::ReadTimeline, patient, &facts, Nanos(0)).unwrap()
    }

    fn row(patient: PatientId, hour: Hour, value: f64) -> Row {
        let column = Column {
            metric: MetricId(3),
            unit: "".into(),
            factor: Factor::IDENTITY,
            index: vec![0],
            // two values of one instant would be one and its correction
            measured_at: vec![hour.start().plus(value as i64)],
            quality: vec![Quality::GOOD],
            lasting: vec![],
            values: Values::Number(vec![value]),
        };
        let mut block = Vec::new();
        Block { columns: vec![column] }.encode(hour, &mut block);
        let (device, stream) = (DeviceId::from_bytes([2; 16]), StreamId::from_bytes([3; 16]));
        Row {
            patient,
            hour,
            identity: BatchId { device, stream, sequence: value as u64, digest: 1 },
            received_at: hour.start(),
            clock: ClockQuality::Free,
            metrics: vec![MetricId(3)],
            block: block.into(),
        }
    }

    #[tokio::test]
    async fn rollups_go_with_their_seal_and_an_older_seal_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let (patient, hour) = (PatientId::from_bytes([9; 16]), Hour(470_000));
        let permit = permit(patient);
        let found = async || {
            let entries = store.hours(&permit, HourRange::one(hour), crate::Order::Ascending, 1).await.unwrap();
            store.rollups(&permit, &entries).await.unwrap()
        };
        let of = |good| {
            vec![HourRollups {
                hour,
                rollups: vec![Rollup {
                    metric: MetricId(3),
                    n_doubtful: 0,
                    n_repeats: 0,
                    n_bounded: 0,
                    n_absent: 0,
                    good: Some(good),
                }],
            }]
        };
        let key = keys::hour(patient, hour);
        store.append(&[row(patient, hour, 4.0)]).await.unwrap();
        store.seal(Duration::ZERO).await.unwrap();
        let one = of(Summary { n: 1, min: 4.0, max: 4.0, sum: 4.0 });
        assert_eq!(found().await, one);

        // stored ones are read
        store.inner.rollups.insert(key, Rollup::encode(&[], ClockTolerance::default())).unwrap();
        assert_eq!(found().await, [HourRollups { hour, rollups: Vec::new() }]);
        // those of version 3 are made again
        store.inner.rollups.insert(key, [1, 0]).unwrap();
        assert_eq!(found().await, one);
        // a seal of version 2
        store.inner.rollups.remove(key).unwrap();
        assert_eq!(found().await, one);
        // damage is said
        store.inner.rollups.insert(key, [9]).unwrap();
        let entries = store.hours(&permit, HourRange::one(hour), crate::Order::Ascending, 1).await.unwrap();
        assert!(matches!(store.rollups(&permit, &entries).await, Err(Error::Corrupt(_))));

        store.append(&[row(patient, hour, 6.0)]).await.unwrap();
        assert!(store.inner.rollups.get(key).unwrap().is_none());
        assert_eq!(found().await, of(Summary { n: 2, min: 4.0, max: 6.0, sum: 10.0 }));
    }
}
