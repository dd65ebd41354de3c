//! The registry's changes, and what is known of people.
//!
//! A change takes its place with a lightweight transaction: of several that want the same, one gets it. After an answer that
//! did not come it is asked again, and what is there then says who got it. Reads stop before a place that they do not see:
//! changes are put one after the other, so that a later one is never read without those before it.

use super::{Inner, Store, connect::again, took_effect};
use crate::{Error, Profiles, Registry, Revision};
use async_trait::async_trait;
use bytes::Bytes;
use model::UserId;
use uuid::Uuid;

/// Changes in a partition: a few megabytes, of imports some tens.
const CHANGES_A_CHUNK: u64 = 1_000;

#[async_trait]
impl Profiles for Store {
    async fn profile(&self, user: UserId, revision: Revision) -> Result<Option<Bytes>, Error> {
        let inner = &*self.inner;
        let mut found = None;
        let values = (user.uuid(), Uuid::from_bytes(revision));
        inner
            .pages(&inner.statements.select_profile, values, |(profile,): (Bytes,)| {
                found = Some(profile);
                Ok(())
            })
            .await?;
        Ok(found)
    }
}

#[async_trait]
impl Registry for Store {
    async fn put_change(&self, sequence: u64, change: &[u8]) -> Result<bool, Error> {
        let inner = &*self.inner;
        let values = (chunk(sequence), sequence as i64, change);
        let answer = again(|| inner.session.execute_unpaged(&inner.statements.insert_change, values)).await?;
        if took_effect(answer)? {
            return Ok(true);
        }
        Ok(inner.change(sequence).await?.is_some_and(|there| *there == *change))
    }

    async fn changes(&self, from: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let inner = &*self.inner;
        let (mut changes, mut next) = (Vec::new(), from);
        // all that were ever written are below
        while changes.len() < limit && i64::try_from(next).is_ok() {
            let rest = i32::try_from(limit - changes.len()).unwrap_or(i32::MAX);
            let mut seen = Vec::new();
            let values = (chunk(next), next as i64, rest);
            inner
                .pages(&inner.statements.select_changes, values, |(sequence, change): (i64, Bytes)| {
                    seen.push((sequence as u64, change));
                    Ok(())
                })
                .await?;
            let n = seen.iter().zip(next..).take_while(|((sequence, _), expected)| sequence == expected).count();
            let at_its_end = n > 0 && (next + n as u64).is_multiple_of(CHANGES_A_CHUNK);
            next += n as u64;
            changes.extend(seen.into_iter().take(n));
            if !at_its_end {
                break;
            }
        }
        Ok(changes)
    }

    async fn put_profile(&self, user: UserId, revision: Revision, profile: &[u8]) -> Result<(), Error> {
        let inner = &*self.inner;
        let values = (user.uuid(), Uuid::from_bytes(revision), profile);
        again(|| inner.session.execute_unpaged(&inner.statements.insert_profile, values)).await?;
        Ok(())
    }
}

impl Inner {
    /// What has the place, as those who take part in a lightweight transaction know it.
    async fn change(&self, sequence: u64) -> Result<Option<Bytes>, Error> {
        let mut found = None;
        let values = (chunk(sequence), sequence as i64);
        self.pages(&self.statements.select_change, values, |(change,): (Bytes,)| {
            found = Some(change);
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// The partition of a change.
fn chunk(sequence: u64) -> i64 {
    // a 1,000th fits
    (sequence / CHANGES_A_CHUNK) as i64
}
