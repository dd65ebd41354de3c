//! Which versions of data sets there are, and which one counts.
//!
//! An import makes a version, which counts at once.

use crate::{
    objects::Objects,
    sources::Origin,
    versions::{History, Versioned, Versions},
};
use model::Clock;
use object_store::path::Path as Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use store::{Histories, ThingKind};
use uuid::Uuid;

pub use crate::versions::Error;

/// Names the ids of kinds.
const KINDS: Uuid = Uuid::from_u128(0x3b9f_66c1_77a4_4b0e_8f60_2d4b_91c7_5e13);
/// The name of an import's report among a version's files.
pub const REPORT: &str = "report.json";

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
    /// Rows of the version, those that were refused not counted.
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
    /// What its source had, if it was made of one of the settings'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Versioned for Version {
    fn id(&self) -> Uuid {
        self.id
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// A data set, as its steps left it.
pub type DataSet = History<Version>;

/// All data sets. Clones are the same.
#[derive(Clone)]
pub struct Catalogue(Versions<Version>);

impl Catalogue {
    /// Of what is in a store, with the files in `objects`.
    pub fn new(store: Arc<dyn Histories>, objects: Objects, clock: Clock) -> Self {
        Self(Versions::new(ThingKind::DataSet, KINDS, store, objects, clock))
    }

    /// Where the files are.
    pub fn objects(&self) -> &Objects {
        self.0.objects()
    }

    /// A kind's data set; one of which nothing was imported has no versions.
    pub async fn get(&self, kind: &str) -> Result<DataSet, store::Error> {
        self.0.get(kind).await
    }

    /// Adds a version, which counts from now on. Its files and its report are durable already.
    pub async fn add(&self, kind: &str, version: Version) -> Result<DataSet, Error> {
        self.0.add(kind, version.id, |_| Ok((version.clone(), true))).await
    }

    /// Makes a version that is kept the one that counts.
    pub async fn set_current(&self, kind: &str, version: Uuid, by: &str) -> Result<DataSet, Error> {
        self.0.set_current(kind, version, by).await
    }

    /// Deletes a version, and then its files. The one that counts goes only with `also_current`.
    pub async fn delete(&self, kind: &str, version: Uuid, by: &str, also_current: bool) -> Result<DataSet, Error> {
        self.0.delete(kind, version, by, also_current).await
    }

    /// The report that an import left.
    pub async fn report(&self, version: &Version) -> Result<Value, Error> {
        let bytes = self.0.object(version, REPORT).await?;
        let unreadable = |error| store::Error::Corrupt(format!("the report of version {}: {error}", version.id));
        Ok(serde_json::from_slice(&bytes).map_err(unreadable)?)
    }

    /// Files of a version on this disk.
    pub fn files(&self, version: &Version) -> Vec<PathBuf> {
        let prefix = Key::from(version.prefix.as_str());
        version.files.iter().map(|name| self.objects().path(&prefix.clone().join(name.as_str()))).collect()
    }
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
            origin: None,
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
