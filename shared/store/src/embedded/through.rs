//! How far the log was read for what is in the store: written with the rows, and compared with what the log says at a start.

use super::{Inner, Store, failed};
use crate::Error;
use std::collections::BTreeMap;

/// Before the topic's name and the partition, in `meta`.
const PREFIX: &[u8] = b"through/";

/// Keys and values that go with rows.
pub(super) type Items = Vec<(Vec<u8>, [u8; 8])>;

/// What the store says of how far a log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Through {
    /// There are no rows, and nothing was ever noted.
    Empty,
    /// There are rows from before that was noted.
    Unknown,
    /// The next offset of each partition: of all records before it the rows are here. (Those that cannot be read are put
    /// aside after that, and before the log commits.)
    Next(BTreeMap<i32, i64>),
}

pub(super) fn items(topic: &str, read: &[(i32, i64)]) -> Items {
    read.iter().map(|(partition, next)| (key(topic, *partition), next.to_be_bytes())).collect()
}

fn key(topic: &str, partition: i32) -> Vec<u8> {
    [PREFIX, topic.as_bytes(), b"/", &partition.to_be_bytes()].concat()
}

impl Store {
    /// How far a topic was read for what is here.
    pub async fn through(&self, topic: &str) -> Result<Through, Error> {
        let prefix = [PREFIX, topic.as_bytes(), b"/"].concat();
        self.blocking(move |inner| {
            let mut next = BTreeMap::new();
            for guard in inner.meta.prefix(&prefix) {
                let (key, value) = guard.into_inner().map_err(failed)?;
                let partition = key.last_chunk().map(|bytes| i32::from_be_bytes(*bytes));
                let at = value.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
                let (partition, at) = partition.zip(at).ok_or_else(corrupt)?;
                next.insert(partition, at);
            }
            Ok(match (next.is_empty(), inner.is_empty()?) {
                (false, _) => Through::Next(next),
                (true, true) => Through::Empty,
                (true, false) => Through::Unknown,
            })
        })
        .await
    }

    /// Notes how far a topic was read, whatever was noted before.
    pub async fn set_through(&self, topic: &str, read: &[(i32, i64)]) -> Result<(), Error> {
        let items = items(topic, read);
        self.blocking(move |inner| {
            let mut batch = inner.db.batch();
            items.iter().for_each(|(key, next)| batch.insert(&inner.meta, &**key, *next));
            let writing = inner.writing();
            inner.commit(batch)?;
            drop(writing);
            inner.sync()
        })
        .await
    }
}

fn corrupt() -> Error {
    Error::Corrupt("how far the log was read".into())
}

impl Inner {
    /// Whether no record ever came here.
    fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.blocks.is_empty().map_err(failed)? && self.quarantine.is_empty().map_err(failed)?)
    }
}
