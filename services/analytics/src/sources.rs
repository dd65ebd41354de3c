//! Where data comes from by itself: sources of the settings, each for one kind.

use crate::jobs::{kinds::Failure, work::Work};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A source of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The kind of data set that it has.
    pub kind: String,
    /// A file, or a folder of files, on the machine of the worker.
    pub path: PathBuf,
}

/// All sources. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Those of a kind, or all.
    pub fn of(&self, kind: Option<&str>) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(move |source| kind.is_none_or(|kind| kind == source.kind))
    }

    /// Brings what a source has to a folder, and says which files these are, in their order.
    ///
    /// # Errors
    /// There is no such source for the kind; it cannot be read.
    pub async fn fetch(&self, name: &str, kind: &str, to: &Path, work: &Work) -> Result<Vec<PathBuf>, Failure> {
        let source = self.of(Some(kind)).find(|source| source.name == name);
        let source = source.cloned().ok_or_else(|| {
            let names: Vec<_> = self.of(Some(kind)).map(|source| source.name.as_str()).collect();
            Failure::Final(format!("source: must be one of the settings' for {kind}: {}", names.join(", ")))
        })?;
        let to = to.to_owned();
        let copying = tokio::task::spawn_blocking(move || copy(&source, &to));
        let files = copying.await.map_err(|error| Failure::Again(error.to_string()))??;
        work.say(format!("{} files of the source {name}", files.len()));
        Ok(files)
    }
}

/// A file that is still being written there must not change while it is read: it is copied first.
fn copy(source: &Source, to: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        // the caller knows the source, and not where it is
        tracing::warn!(path = %path.display(), %error, "a source cannot be read");
        Failure::Again(format!("the source {} cannot be read: {}", source.name, error.kind()))
    };
    let path = &source.path;
    let mut files = match path.is_dir() {
        true => {
            let listed = fs::read_dir(path).map_err(|error| failed(path, error))?;
            let entries: Result<Vec<_>, _> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
            entries.map_err(|error| failed(path, error))?
        }
        false => vec![path.clone()],
    };
    files.retain(|file| !file.is_dir());
    files.sort_unstable();
    let mut copies = Vec::new();
    for file in files {
        let copy = to.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &copy).map_err(|error| failed(&file, error))?;
        copies.push(copy);
    }
    Ok(copies)
}
