//! Which versions of data sets there are, and which one counts.
//!
//! An import makes a version, which counts at once if it passed its checks, or if there is no other.

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
    /// Whether a sample is among its files whose numbers are made.
    #[serde(default)]
    pub made: bool,
    /// Share of rows that have a value, 0 to 1, by column.
    pub filled: BTreeMap<String, f64>,
    /// What its source had, if it was made of one of the settings'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// When a version is added, and when it counts from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adding {
    /// It counts although its checks failed and another version is in use.
    pub is_forced: bool,
    /// It is added although it is made of the same as one that there is.
    pub is_repeated: bool,
}

impl Adding {
    /// Whatever there is, and whatever it is like.
    pub const ANYHOW: Self = Self { is_forced: true, is_repeated: true };

    /// Versions because of which one that is made of the same is not added, the newest first: the one that counts, and those after
    /// it that do not because they failed their checks.
    pub fn compared(self, data_set: &DataSet) -> impl Iterator<Item = &Version> {
        let current = data_set.current().map(|version| version.id).filter(|_| !self.is_repeated);
        let since = data_set.versions.iter().skip_while(move |version| Some(version.id) != current);
        let is_meant = |version: &&Version| Some(version.id) == current || !version.passed && !self.is_forced;
        let meant: Vec<_> = since.filter(is_meant).collect();
        meant.into_iter().rev()
    }
}

impl Version {
    /// Whether it was made of these files of that source.
    pub fn is_made_of(&self, origin: Option<&Origin>, sha256: &str, files: &[String]) -> bool {
        let is_of_it = self.origin.as_ref().zip(origin).is_some_and(|(own, other)| own.is_of(other));
        is_of_it && self.source_sha256 == sha256 && self.source_files == files
    }

    /// Whether it was made of the same as another one, with the same outcome.
    pub fn is_same(&self, other: &Self) -> bool {
        self.passed == other.passed && self.is_made_of(other.origin.as_ref(), &other.source_sha256, &other.source_files)
    }
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

    /// Adds a version, whose files and report are durable already; it is not there afterwards where one is made of the same.
    pub async fn add(&self, kind: &str, version: Version, how: Adding) -> Result<DataSet, Error> {
        self.0
            .add(kind, version.id, |data_set| {
                if how.compared(data_set).any(|other| other.is_same(&version)) {
                    return Ok(None);
                }
                let is_used = version.passed || how.is_forced || data_set.current().is_none();
                Ok(Some((version.clone(), is_used)))
            })
            .await
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
            made: false,
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
            catalogue.add("sites", one.clone(), Adding::ANYHOW).await.unwrap();
            // an answer that was lost
            catalogue.add("sites", one.clone(), Adding::ANYHOW).await.unwrap();
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

    #[tokio::test]
    async fn what_failed_its_checks_counts_only_alone_or_when_forced_and_nothing_is_added_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(store::embedded::Store::open(dir.path().join("store")).unwrap());
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let catalogue = Catalogue::new(store, objects.clone(), guard::clock::now);
        let plain = Adding { is_forced: false, is_repeated: false };
        let origin = serde_json::json!({ "source": "hrsa", "place": "p", "code_version": "1" });
        let origin: Origin = serde_json::from_value(origin).unwrap();
        let made = |sha256: &str, passed| Version {
            source_sha256: sha256.to_owned(),
            origin: Some(origin.clone()),
            passed,
            ..version(&objects, 1)
        };
        // file, whether it passes, how it is added; versions afterwards, and whether it counts
        for (sha256, passed, how, n, counts) in [
            ("a", false, plain, 1, true),
            ("b", true, plain, 2, true),
            ("b", true, plain, 2, false),
            ("c", false, plain, 3, false),
            ("c", false, plain, 3, false),
            ("b", true, plain, 3, false),
            // it passes by now
            ("c", true, plain, 4, true),
            ("d", false, plain, 5, false),
            ("d", false, Adding { is_forced: true, ..plain }, 6, true),
            ("d", false, Adding { is_forced: true, ..plain }, 6, false),
            ("d", false, Adding { is_repeated: true, ..plain }, 7, false),
            ("e", true, plain, 8, true),
            // what counted before counts again
            ("b", true, plain, 9, true),
        ] {
            let one = made(sha256, passed);
            let data_set = catalogue.add("sites", one.clone(), how).await.unwrap();
            assert_eq!((data_set.versions.len(), data_set.current() == Some(&one)), (n, counts), "{sha256} {passed}");
        }
    }
}
