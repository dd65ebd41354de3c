//! Histories: steps by thing and number, and which things there are.

use super::{Inner, Store, failed, keys};
use crate::{Error, Histories, Thing, ThingKind};
use async_trait::async_trait;
use bytes::Bytes;
use fjall::Readable;
use uuid::Uuid;

#[async_trait]
impl Histories for Store {
    async fn put_step(&self, thing: Thing, number: u32, step: &[u8]) -> Result<bool, Error> {
        let step = step.to_vec();
        self.blocking(move |inner| inner.put_step(thing, number, &step)).await
    }

    async fn steps(&self, thing: Thing, from: u32, limit: usize) -> Result<Vec<Bytes>, Error> {
        self.blocking(move |inner| {
            let range = keys::step(thing, from)..=keys::step(thing, u32::MAX);
            let step = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                Ok((keys::parse_step(&key)?, Bytes::copy_from_slice(&value)))
            };
            let stored = inner.db.snapshot().range(&inner.steps, range).take(limit).map(step);
            let stored: Vec<_> = stored.collect::<Result<_, Error>>()?;
            Ok(stored.into_iter().zip(from..).take_while(|((n, _), due)| n == due).map(|((_, step), _)| step).collect())
        })
        .await
    }

    async fn announce(&self, thing: Thing, number: u32) -> Result<(), Error> {
        self.blocking(move |inner| {
            let key = keys::thing(thing);
            let writing = inner.writing();
            let known = inner.things.get(key).map_err(failed)?.map(|bytes| keys::parse_number(&bytes)).transpose()?;
            if known.is_none_or(|known| known < number) {
                let mut batch = inner.db.batch();
                batch.insert(&inner.things, key, number.to_be_bytes());
                inner.commit(batch)?;
            }
            drop(writing);
            // durable with the step that is put next
            Ok(())
        })
        .await
    }

    async fn announced(&self, kind: ThingKind) -> Result<Vec<(Uuid, u32)>, Error> {
        self.blocking(move |inner| {
            let [first, last] = [Uuid::nil(), Uuid::max()].map(|id| keys::thing(Thing { kind, id }));
            let one = |guard: fjall::Guard| {
                let (key, value) = guard.into_inner().map_err(failed)?;
                Ok((keys::parse_thing(&key)?, keys::parse_number(&value)?))
            };
            inner.db.snapshot().range(&inner.things, first..=last).map(one).collect()
        })
        .await
    }

    async fn forget(&self, thing: Thing, last: u32) -> Result<(), Error> {
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            for number in 1..=last {
                batch.remove(&inner.steps, keys::step(thing, number));
            }
            batch.remove(&inner.things, keys::thing(thing));
            let writing = inner.writing();
            inner.commit(batch)?;
            drop(writing);
            inner.sync()
        })
        .await
    }
}

impl Inner {
    fn put_step(&self, thing: Thing, number: u32, step: &[u8]) -> Result<bool, Error> {
        let key = keys::step(thing, number);
        let writing = self.writing();
        let taken = self.steps.get(key).map_err(failed)?;
        let ours = taken.as_deref().is_none_or(|there| there == step);
        if taken.is_none() {
            let mut batch = self.db.batch();
            batch.insert(&self.steps, key, step);
            self.commit(batch)?;
        }
        drop(writing);
        self.sync()?;
        Ok(ours)
    }
}
