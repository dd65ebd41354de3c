//! The archive as a table of reports.

use super::{Error, columns::SCHEMA, generations::Archive, names};
use crate::reports::TableFiles;
use object_store::{ObjectStore, path::Path as Key};
use std::sync::Arc;

/// The name of the table.
pub const TABLE: &str = "readings";

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

    /// The table as it is now, and what names that: the generation, and how many files it has.
    ///
    /// # Errors
    /// The files cannot be listed.
    pub async fn table(&self) -> Result<(TableFiles, String), Error> {
        let folder = self.archive.generation().await?.folder;
        let objects = self.archive.files.list(&names::generation_folder(&folder)).await?;
        let files: Vec<_> = objects
            .iter()
            .filter(|object| object.key.ends_with(".parquet"))
            .map(|object| Key::from(&*object.key))
            .collect();
        let version = format!("{folder}:{}", files.len());
        Ok((TableFiles::chosen(Arc::clone(&self.store), files, Arc::clone(&SCHEMA)), version))
    }
}
