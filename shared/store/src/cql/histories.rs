//! Histories: a step takes its number with a lightweight transaction, as a change of the registry does.

use super::{
    Inner, Settings, Store,
    connect::again,
    statements::{one, serial},
    took_effect,
};
use crate::{Error, Histories, Thing, ThingKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use model::spread;
use scylla::{client::session::Session, statement::prepared::PreparedStatement};
use uuid::Uuid;

const INSERT_STEP: &str = "INSERT INTO KS.steps (kind, thing, number, step) VALUES (?, ?, ?, ?) IF NOT EXISTS";
const SELECT_STEP: &str = "SELECT step FROM KS.steps WHERE kind = ? AND thing = ? AND number = ?";
const SELECT_STEPS: &str = "SELECT number, step FROM KS.steps WHERE kind = ? AND thing = ? AND number >= ? LIMIT ?";
const DELETE_STEP: &str = "DELETE FROM KS.steps WHERE kind = ? AND thing = ? AND number = ? IF EXISTS";
const INSERT_THING: &str = "INSERT INTO KS.things (kind, part, thing, number) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const SELECT_THINGS: &str = "SELECT thing, number FROM KS.things WHERE kind = ? AND part = ?";
const DELETE_THING: &str = "DELETE FROM KS.things USING TIMESTAMP ? WHERE kind = ? AND part = ? AND thing = ?";

/// Partitions of the list of things of a kind.
const PARTS: u32 = 16;

/// Every statement, prepared once.
pub(super) struct StepStatements {
    insert_step: PreparedStatement,
    select_step: PreparedStatement,
    select_steps: PreparedStatement,
    delete_step: PreparedStatement,
    insert_thing: PreparedStatement,
    select_things: PreparedStatement,
    delete_thing: PreparedStatement,
}

impl StepStatements {
    pub(super) async fn prepare(session: &Session, settings: &Settings) -> Result<Self, Error> {
        let read = async |text: &str| one(session, settings, text, settings.read_timeout).await;
        let write = async |text: &str| one(session, settings, text, settings.write_timeout).await;
        Ok(Self {
            insert_step: write(INSERT_STEP).await?,
            select_step: serial(session, settings, SELECT_STEP).await?,
            select_steps: read(SELECT_STEPS).await?,
            delete_step: write(DELETE_STEP).await?,
            insert_thing: write(INSERT_THING).await?,
            select_things: read(SELECT_THINGS).await?,
            delete_thing: write(DELETE_THING).await?,
        })
    }
}

#[async_trait]
impl Histories for Store {
    async fn put_step(&self, thing: Thing, number: u32, step: &[u8]) -> Result<bool, Error> {
        let inner = &*self.inner;
        let values = (thing.kind.code(), thing.id, i64::from(number), step);
        let answer = again(|| inner.session.execute_unpaged(&inner.statements.steps.insert_step, values)).await?;
        if took_effect(answer)? {
            return Ok(true);
        }
        Ok(inner.step(thing, number).await?.is_some_and(|there| *there == *step))
    }

    async fn steps(&self, thing: Thing, from: u32, limit: usize) -> Result<Vec<Bytes>, Error> {
        let inner = &*self.inner;
        let mut seen = Vec::new();
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        if limit > 0 {
            let values = (thing.kind.code(), thing.id, i64::from(from), limit);
            inner
                .pages(&inner.statements.steps.select_steps, values, |(number, step): (i64, Bytes)| {
                    seen.push((number, step));
                    Ok(())
                })
                .await?;
        }
        let in_order = seen.into_iter().zip(i64::from(from)..).take_while(|((number, _), due)| number == due);
        Ok(in_order.map(|((_, step), _)| step).collect())
    }

    async fn announce(&self, thing: Thing, number: u32) -> Result<(), Error> {
        let inner = &*self.inner;
        // the higher number stands, whichever is written last
        let values = (thing.kind.code(), part(thing.id), thing.id, i64::from(number), i64::from(number));
        again(|| inner.session.execute_unpaged(&inner.statements.steps.insert_thing, values)).await?;
        Ok(())
    }

    async fn announced(&self, kind: ThingKind) -> Result<Vec<(Uuid, u32)>, Error> {
        let inner = &*self.inner;
        let listing = (0..PARTS as i8).map(|part| async move {
            let mut found = Vec::new();
            inner
                .pages(&inner.statements.steps.select_things, (kind.code(), part), |(id, number): (Uuid, i64)| {
                    let number = u32::try_from(number);
                    found.push((id, number.map_err(|_| Error::Corrupt("a number of a step below 0".into()))?));
                    Ok(())
                })
                .await?;
            Ok::<_, Error>(found)
        });
        let parts: Vec<_> = stream::iter(listing).buffered(inner.read_concurrency).try_collect().await?;
        let mut all: Vec<_> = parts.into_iter().flatten().collect();
        all.sort_unstable();
        Ok(all)
    }

    async fn forget(&self, thing: Thing, last: u32) -> Result<(), Error> {
        let inner = &*self.inner;
        // as steps are put: transactions and plain deletes would be ordered by other clocks
        for number in (1..=last).rev() {
            let values = (thing.kind.code(), thing.id, i64::from(number));
            again(|| inner.session.execute_unpaged(&inner.statements.steps.delete_step, values)).await?;
        }
        let values = (i64::from(u32::MAX), thing.kind.code(), part(thing.id), thing.id);
        again(|| inner.session.execute_unpaged(&inner.statements.steps.delete_thing, values)).await?;
        Ok(())
    }
}

impl Inner {
    /// What has the number, as those who take part in a lightweight transaction know it.
    async fn step(&self, thing: Thing, number: u32) -> Result<Option<Bytes>, Error> {
        let mut found = None;
        let values = (thing.kind.code(), thing.id, i64::from(number));
        self.pages(&self.statements.steps.select_step, values, |(step,): (Bytes,)| {
            found = Some(step);
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// The partition of the list in which a thing is.
fn part(id: Uuid) -> i8 {
    // below 16
    spread(id.as_bytes(), PARTS as u16) as i8
}
