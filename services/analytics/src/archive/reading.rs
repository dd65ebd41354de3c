//! The archive as tables of reports.

use super::{Error, audit_counts, columns::SCHEMA, generations::Archive, names};
use crate::reports::TableFiles;
use object_store::{ObjectStore, path::Path as Key};
use std::sync::Arc;

/// The name of the table of readings.
pub const TABLE: &str = "readings";
/// All tables of the archive.
pub const TABLES: [&str; 2] = [TABLE, audit_counts::TABLE];

/// The archive, and the same files as the engine reads them.
#[derive(Clone)]
pub struct Readings {
    archive: Archive,
    store: Arc<dyn ObjectStore>,
}

impl Readings {
    /// Of an archive whose objects have the same keys in `store`.
    pub fn new(archive: Archive, store: Arc<dyn ObjectStore>) -> Self {
        Self { archive, store }
    }

    /// One of [`TABLES`] as it is now, and what names that: its folder, and how many files it has.
    ///
    /// # Errors
    /// The files cannot be listed.
    pub async fn table(&self, name: &str) -> Result<(TableFiles, String), Error> {
        let (folder, below, columns) = if name == audit_counts::TABLE {
            (name.to_owned(), name.to_owned(), &*audit_counts::SCHEMA)
        } else {
            let folder = self.archive.generation().await?.folder;
            let below = names::generation_folder(&folder);
            (folder, below, &*SCHEMA)
        };
        let objects = self.archive.files.list(&below).await?;
        let files: Vec<_> = objects
            .iter()
            .filter(|object| object.key.ends_with(".parquet"))
            .map(|object| Key::from(&*object.key))
            .collect();
        let version = format!("{folder}:{}", files.len());
        Ok((TableFiles::chosen(Arc::clone(&self.store), files, Arc::clone(columns)), version))
    }
}
