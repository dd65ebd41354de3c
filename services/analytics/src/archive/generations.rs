//! Which generation of files counts: the last one that was named. Naming one is creating an object: of two that would be the next
//! one, one is.

use super::{
    Error,
    files::Files,
    names::{self, Offsets},
};
use bus::Partition;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use uuid::Uuid;

/// A generation of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number; they are counted up.
    pub number: u64,
    /// The folder of its files, below `readings`.
    pub folder: String,
}

#[derive(Serialize, Deserialize)]
struct Named {
    folder: String,
}

#[derive(Serialize, Deserialize)]
struct Intent {
    to: i64,
}

/// The archive's files, as objects.
#[derive(Clone)]
pub struct Archive {
    pub(super) files: Arc<dyn Files>,
    /// The last generation whose name stays.
    held: Arc<AtomicU64>,
}

/// What is there of a partition, in a generation.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The files' ranges and sizes, ascending.
    pub files: BTreeMap<Offsets, u64>,
    /// The offset up to which an object says what was seen, if there is one.
    pub seen_to: Option<i64>,
}

impl Held {
    /// Up to which offset the files have all: they follow each other.
    pub(super) fn end(&self) -> i64 {
        self.files.keys().map(|file| file.to).max().unwrap_or(0)
    }
}

impl Archive {
    /// In these files.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, held: Arc::default() }
    }

    /// The generation that counts; the first one is named when there is none.
    ///
    /// # Errors
    /// The files, or a name that cannot be read.
    pub async fn generation(&self) -> Result<Generation, Error> {
        loop {
            let named = self.files.list(&names::generations()).await?;
            let Some(last) = named.last() else {
                self.name(1, &new_folder(1)).await?;
                continue;
            };
            let number = names::last(&last.key).parse();
            let number = number.map_err(|_| damaged(&last.key, "its name is no number of a generation"))?;
            // a name that was taken away meanwhile is not the last one any more
            let Some(folder) = self.folder(&last.key).await? else { continue };
            if self.held.load(Ordering::Relaxed) < number {
                self.files.hold(&names::generations()).await?;
                self.held.store(number, Ordering::Relaxed);
            }
            return Ok(Generation { number, folder });
        }
    }

    /// Names a generation; `false`: another one has that number.
    pub(super) async fn name(&self, number: u64, folder: &str) -> Result<bool, Error> {
        let named = Named { folder: folder.to_owned() };
        Ok(self.files.create(&names::generation(number), written(&named)).await?)
    }

    /// What a generation has, by partition.
    ///
    /// # Errors
    /// The files.
    pub(super) async fn held(&self, folder: &str) -> Result<BTreeMap<Partition, Held>, Error> {
        let mut all: BTreeMap<Partition, Held> = BTreeMap::new();
        for object in self.files.list(&names::generation_folder(folder)).await? {
            let part = object.key.rsplit('/').nth(1).and_then(names::partition_of);
            let Some(partition) = part else { continue };
            all.entry(partition).or_default().take(&object.key, object.bytes);
        }
        Ok(all)
    }

    /// The folder that a name of a generation is about; `None`: the name is gone.
    pub(super) async fn folder(&self, key: &str) -> Result<Option<String>, Error> {
        let Some(bytes) = self.files.get(key).await? else { return Ok(None) };
        Ok(Some(read::<Named>(key, &bytes)?.folder))
    }

    /// An object that was listed. It may be gone by now, with its generation: whoever asks again finds the next one.
    pub(super) async fn there(&self, key: &str) -> Result<Bytes, Error> {
        self.files.get(key).await?.ok_or_else(|| damaged(key, "it is gone"))
    }

    /// What a generation has of one partition, and keeps.
    pub(super) async fn held_of(&self, folder: &str, partition: Partition) -> Result<Held, Error> {
        let (mut held, below) = (Held::default(), names::partition(folder, partition));
        for object in self.files.list(&below).await? {
            held.take(&object.key, object.bytes);
        }
        self.files.hold(&below).await?;
        Ok(held)
    }

    /// Where the range ends that somebody has begun behind `end`, up to which all is in files; `None`: nobody has.
    pub(super) async fn begun(&self, partition: Partition, end: i64) -> Result<Option<i64>, Error> {
        let intents = self.files.list(&names::log(partition)).await?;
        let Some(last) = intents.last() else { return Ok(None) };
        let from = names::last(&last.key).parse();
        let from = from.map_err(|_| damaged(&last.key, "its name is no offset"))?;
        // whoever began it did not come to its end
        Ok(self.intent(partition, from).await?.filter(|to| *to > end))
    }

    /// Where a range ends that begins here: as somebody has said before, or as is said now.
    pub(super) async fn begin(&self, partition: Partition, range: Offsets) -> Result<i64, Error> {
        loop {
            let key = names::intent(partition, range.from);
            if self.files.create(&key, written(&Intent { to: range.to })).await? {
                return Ok(range.to);
            }
            if let Some(to) = self.intent(partition, range.from).await? {
                return Ok(to);
            }
        }
    }

    async fn intent(&self, partition: Partition, from: i64) -> Result<Option<i64>, Error> {
        let key = names::intent(partition, from);
        let Some(bytes) = self.files.get(&key).await? else { return Ok(None) };
        let Intent { to } = read(&key, &bytes)?;
        if to <= from {
            return Err(damaged(&key, "the range ends before it begins"));
        }
        Ok(Some(to))
    }

    /// Puts the file of a range into the generation that counts, if it is in none of that one's files.
    pub(super) async fn settle(&self, partition: Partition, range: Offsets, file: &Bytes) -> Result<(), Error> {
        let mut generation = self.generation().await?;
        loop {
            if self.held_of(&generation.folder, partition).await?.end() < range.to {
                let below = names::partition(&generation.folder, partition);
                self.files.put(&names::file(&below, range), file.clone()).await?;
            }
            let now = self.generation().await?;
            if now == generation {
                return Ok(());
            }
            generation = now;
        }
    }
}

impl Held {
    fn take(&mut self, key: &str, bytes: u64) {
        if let Some(range) = names::range(key) {
            self.files.insert(range, bytes);
        }
        self.seen_to = self.seen_to.max(names::seen_to(key));
    }
}

/// A folder that no other attempt has.
pub(super) fn new_folder(number: u64) -> String {
    format!("g{number:010}-{}", Uuid::new_v4().simple())
}

fn written<T: Serialize>(value: &T) -> Bytes {
    // texts and numbers become JSON
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn read<T: for<'a> Deserialize<'a>>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| damaged(key, &error.to_string()))
}

pub(super) fn damaged(key: &str, what: &str) -> Error {
    Error::Damaged { key: key.to_owned(), what: what.to_owned() }
}
