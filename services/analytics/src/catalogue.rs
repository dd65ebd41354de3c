//! Which versions of data sets there are, and which one counts.
//!
//! A version is never changed: an import makes a new one, and its files go by the attempt that made them. Which one counts is a
//! step in the data set's history, so of two who change it at once one is told so.

use crate::objects::{self, Objects};
use model::Clock;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use store::{Histories, Thing, ThingKind};
use uuid::Uuid;

/// Names the ids of kinds.
const KINDS: Uuid = Uuid::from_u128(0x3b9f_66c1_77a4_4b0e_8f60_2d4b_91c7_5e13);
/// Steps that are read at once.
const STEPS: usize = 256;

/// What one import made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Ascending with the time of the import.
    pub id: Uuid,
    /// When it was made, in nanoseconds since 1970.
    pub at: i64,
    /// Who submitted the import, as in a job's submission.
    pub by: String,
    /// The job that made it.
    pub job: Uuid,
    /// Names of its files below [`Version::prefix`], in order.
    pub files: Vec<String>,
    /// Where its files are.
    pub prefix: String,
    /// Rows.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// SHA-256 of what was imported, in hexadecimal digits.
    pub source_sha256: String,
    /// Names of the files that were imported.
    pub source_files: Vec<String>,
    /// Whether the checks of quality passed.
    pub passed: bool,
    /// Share of rows that have a value, 0 to 1, by column.
    pub filled: BTreeMap<String, f64>,
}

/// A step in the history of a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    /// A version is there; it counts from now on.
    Imported(Box<Version>),
    /// A version that was there counts from now on.
    Current { version: Uuid, at: i64, by: String },
    /// A version is not there any more.
    Deleted { version: Uuid, at: i64, by: String },
}

/// A data set, as its steps left it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSet {
    number: u32,
    /// Oldest first.
    pub versions: Vec<Version>,
    current: Option<Uuid>,
}

impl DataSet {
    /// The version that counts; `None`: nothing was imported.
    pub fn current(&self) -> Option<&Version> {
        self.current.and_then(|id| self.version(id))
    }

    /// A version that is kept.
    pub fn version(&self, id: Uuid) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    fn apply(&mut self, step: Step) {
        self.number += 1;
        match step {
            Step::Imported(version) => {
                self.current = Some(version.id);
                self.versions.push(*version);
            }
            Step::Current { version, .. } => self.current = Some(version),
            Step::Deleted { version, .. } => {
                self.versions.retain(|kept| kept.id != version);
                self.current = self.current.filter(|current| *current != version);
            }
        }
    }
}

/// Why a data set cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// There is no such version.
    #[error("there is no such version")]
    NoVersion,
    /// It is the one that counts.
    #[error("it is the current version; make another one current first")]
    IsCurrent,
}

/// All data sets. Clones are the same.
#[derive(Clone)]
pub struct Catalogue {
    store: Arc<dyn Histories>,
    objects: Objects,
    clock: Clock,
}

impl Catalogue {
    /// Of what is in a store, with the files in `objects`.
    pub fn new(store: Arc<dyn Histories>, objects: Objects, clock: Clock) -> Self {
        Self { store, objects, clock }
    }

    /// Where the files are.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// A kind's data set; one of which nothing was imported has no versions.
    pub async fn get(&self, kind: &str) -> Result<DataSet, store::Error> {
        let mut data_set = DataSet::default();
        loop {
            let steps = self.store.steps(thing(kind), data_set.number + 1, STEPS).await?;
            for bytes in &steps {
                let step = serde_json::from_slice(bytes);
                let unreadable = |error| store::Error::Corrupt(format!("a step of the data set {kind}: {error}"));
                data_set.apply(step.map_err(unreadable)?);
            }
            if steps.len() < STEPS {
                return Ok(data_set);
            }
        }
    }

    /// Adds a version, which counts from now on. Its files and its report are durable already.
    pub async fn add(&self, kind: &str, version: Version) -> Result<DataSet, Error> {
        self.change(kind, |data_set| match data_set.version(version.id) {
            // this very version, by a call whose answer was lost
            Some(_) => Ok(None),
            None => Ok(Some(Step::Imported(Box::new(version.clone())))),
        })
        .await
    }

    /// Makes a version that is kept the one that counts.
    pub async fn set_current(&self, kind: &str, version: Uuid, by: &str) -> Result<DataSet, Error> {
        let at = (self.clock)().0;
        self.change(kind, |data_set| {
            data_set.version(version).ok_or(Error::NoVersion)?;
            let step = Step::Current { version, at, by: by.to_owned() };
            Ok(Some(step).filter(|_| data_set.current != Some(version)))
        })
        .await
    }

    /// Deletes a version, and then its files. The one that counts goes only with `also_current`.
    pub async fn delete(&self, kind: &str, version: Uuid, by: &str, also_current: bool) -> Result<DataSet, Error> {
        let at = (self.clock)().0;
        let before = self.get(kind).await?;
        let prefix = before.version(version).ok_or(Error::NoVersion)?.prefix.clone();
        let data_set = self
            .change(kind, |data_set| {
                if data_set.current == Some(version) && !also_current {
                    return Err(Error::IsCurrent);
                }
                let step = Step::Deleted { version, at, by: by.to_owned() };
                Ok(data_set.version(version).map(|_| step))
            })
            .await?;
        self.objects.remove_all(&Key::from(prefix)).await?;
        Ok(data_set)
    }

    /// The report that an import left.
    pub async fn report(&self, version: &Version) -> Result<Value, Error> {
        let bytes = self.objects.get(&Key::from(version.prefix.as_str()).join(REPORT)).await?;
        let unreadable = |error| store::Error::Corrupt(format!("the report of version {}: {error}", version.id));
        Ok(serde_json::from_slice(&bytes).map_err(unreadable)?)
    }

    /// Files of a version on this disk.
    pub fn files(&self, version: &Version) -> Vec<PathBuf> {
        let prefix = Key::from(version.prefix.as_str());
        version.files.iter().map(|name| self.objects.path(&prefix.clone().join(name.as_str()))).collect()
    }

    /// Puts the next step as long as others put theirs; `None` from `step`: it is so already.
    async fn change(
        &self,
        kind: &str,
        step: impl Fn(&DataSet) -> Result<Option<Step>, Error>,
    ) -> Result<DataSet, Error> {
        loop {
            let mut data_set = self.get(kind).await?;
            let Some(step) = step(&data_set)? else { return Ok(data_set) };
            // names, numbers and ids: nothing that JSON cannot hold
            let bytes = serde_json::to_vec(&step).unwrap_or_default();
            if self.store.put_step(thing(kind), data_set.number + 1, &bytes).await? {
                data_set.apply(step);
                return Ok(data_set);
            }
        }
    }
}

/// The name of an import's report among a version's files.
pub const REPORT: &str = "report.json";

fn thing(kind: &str) -> Thing {
    Thing { kind: ThingKind::DataSet, id: Uuid::new_v5(&KINDS, kind.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn version(objects: &Objects, rows: u64) -> Version {
        let id = Uuid::now_v7();
        let prefix = format!("datasets/sites/{id}");
        assert!(objects.path(&Key::from(prefix.as_str())).ends_with(&prefix));
        Version {
            id,
            at: 1,
            by: "user:a".to_owned(),
            job: id,
            files: vec!["part-0.parquet".to_owned()],
            prefix,
            rows,
            bytes: 4,
            source_sha256: String::new(),
            source_files: vec!["sites.csv".to_owned()],
            passed: true,
            filled: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn versions_are_added_rolled_back_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let catalogue = Catalogue::new(store, objects.clone(), guard::clock::now);
        assert_eq!(catalogue.get("sites").await.unwrap(), DataSet::default());
        let (first, second) = (version(&objects, 1), version(&objects, 2));
        for one in [&first, &second] {
            let key = Key::from(one.prefix.as_str());
            objects.put(&key.clone().join("part-0.parquet"), Bytes::from_static(b"rows")).await.unwrap();
            objects.put(&key.join(REPORT), Bytes::from_static(b"{\"read\":1}")).await.unwrap();
            catalogue.add("sites", one.clone()).await.unwrap();
            // an answer that was lost
            catalogue.add("sites", one.clone()).await.unwrap();
        }
        let data_set = catalogue.get("sites").await.unwrap();
        assert_eq!((data_set.versions.len(), data_set.current()), (2, Some(&second)));
        assert_eq!(catalogue.get("hospitals").await.unwrap(), DataSet::default());
        let data_set = catalogue.set_current("sites", first.id, "user:b").await.unwrap();
        assert_eq!(data_set.current(), Some(&first));
        assert_eq!(std::fs::read(&catalogue.files(&first)[0]).unwrap(), b"rows");
        assert_eq!(catalogue.report(&first).await.unwrap(), serde_json::json!({ "read": 1 }));
        let refused = catalogue.delete("sites", first.id, "user:b", false).await;
        assert!(matches!(refused, Err(Error::IsCurrent)));
        let data_set = catalogue.delete("sites", second.id, "user:b", false).await.unwrap();
        assert_eq!(data_set.versions, std::slice::from_ref(&first));
        assert!(!catalogue.files(&second)[0].exists());
        assert!(matches!(catalogue.set_current("sites", second.id, "user:b").await, Err(Error::NoVersion)));
        let data_set = catalogue.delete("sites", first.id, "user:b", true).await.unwrap();
        assert_eq!((data_set.current(), data_set.versions.len()), (None, 0));
    }
}
