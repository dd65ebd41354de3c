//! The registry's changes by number, and what is known of people by person and revision.

use super::{Inner, Store, failed, keys};
use crate::{Error, Profiles, Registry, Revision};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::Readable;
use model::UserId;

#[async_trait]
impl Profiles for Store {
    async fn profile(&self, user: UserId, revision: Revision) -> Result<Option<Bytes>, Error> {
        self.blocking(move |inner| {
            let stored = inner.profiles.get(keys::profile(user, revision)).map_err(failed)?;
            Ok(stored.map(|bytes| Bytes::copy_from_slice(&bytes)))
        })
        .await
    }
}

#[async_trait]
impl Registry for Store {
    async fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error> {
        let change = change.to_vec();
        self.blocking(move |inner| inner.put_change(sequence, &change)).await
    }

    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        self.blocking(move |inner| {
            let change = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                Ok((keys::parse_change(&key)?, Bytes::copy_from_slice(&value)))
            };
            let range = inner.db.snapshot().range(&inner.registry_changes, keys::change(from)..);
            let stored: Vec<_> = range.take(limit).map(change).collect::<Result<_, _>>()?;
            Ok(stored.into_iter().zip(from..).take_while(|((n, _), due)| n == due).map(|(change, _)| change).collect())
        })
        .await
    }

    async fn put_profile(&self, user: UserId, revision: Revision, profile: &[u8]) -> Result<(), Error> {
        let profile = profile.to_vec();
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            batch.insert(&inner.profiles, keys::profile(user, revision), profile);
            let writing = inner.writing();
            inner.commit(batch)?;
            drop(writing);
            inner.sync()
        })
        .await
    }
}

impl Store {
    /// The first change that is missing although there are later ones, which nobody follows then; and these.
    pub async fn unfollowed(&self) -> Result<Option<(u64, Vec<u64>)>, Error> {
        self.blocking(|inner| {
            let number = |guard: fjall::Guard| keys::parse_change(&guard.key().map_err(failed)?);
            let all: Vec<u64> = inner.registry_changes.iter().map(number).collect::<Result<_, _>>()?;
            let gap = all.iter().zip(1..).position(|(number, due)| *number != due);
            Ok(gap.map(|at| (at as u64 + 1, all[at..].to_vec())))
        })
        .await
    }

    /// Removes changes that nobody follows, because one before them is missing; returns what they were.
    pub async fn give_up(&self, numbers: Vec<u64>) -> Result<Vec<Bytes>, Error> {
        self.blocking(move |inner| {
            let (mut batch, mut were) = (inner.db.batch(), Vec::new());
            let writing = inner.writing();
            for number in numbers {
                let key = keys::change(number);
                were.extend(inner.registry_changes.get(key).map_err(failed)?.map(|was| Bytes::copy_from_slice(&was)));
                batch.remove(&inner.registry_changes, key);
            }
            inner.commit(batch)?;
            drop(writing);
            inner.sync()?;
            Ok(were)
        })
        .await
    }
}

impl Inner {
    fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error> {
        let key = keys::change(sequence);
        let writing = self.writing();
        let taken = self.registry_changes.get(key).map_err(failed)?;
        let ours = taken.as_deref().is_none_or(|there| there == change);
        if taken.is_none() {
            let mut batch = self.db.batch();
            batch.insert(&self.registry_changes, key, change);
            self.commit(batch)?;
        }
        drop(writing);
        self.sync()?;
        Ok(ours)
    }
}
