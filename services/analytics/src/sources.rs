//! Where data comes from by itself: sources of the settings, each for one kind.
//!
//! A source is a path of the worker's machine, an address of the web, or objects of a bucket. What it has is brought to a folder of
//! the import's; what it had when the current version was made of it ([`Origin`]) is compared first, so that nothing is brought,
//! or imported, twice.

mod address;
pub mod bucket;
mod folder;
mod held;
mod http;
mod name;
mod origin;
#[cfg(test)]
mod tests;
mod trouble;
pub mod web;

pub use self::origin::{Fetched, Origin};
use self::{bucket::Bucket, http::Pace, trouble::Trouble, web::Web};
use crate::jobs::{kinds::Failure, work::Work};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A source of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the source, unlike all others of its kind.
    pub name: String,
    /// The kind of data set that it has.
    pub kind: String,
    /// Where it is.
    pub place: SourceLocation,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// A file, or a folder of files, on the machine of the worker; and how long an attempt may take.
    Path(PathBuf, Duration),
    /// A file of a publisher.
    Web(Web),
    /// Objects of an object store.
    Bucket(Bucket),
}

/// All sources. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// Those of a kind, or all.
    pub fn of(&self, kind: Option<&str>) -> impl Iterator<Item = &Source> {
        self.0.iter().filter(move |source| kind.is_none_or(|kind| kind == source.kind))
    }

    /// Brings what a source has to a folder, and says which files these are, in their order; or that it is the same as `last`.
    ///
    /// # Errors
    /// There is no such source for the kind; it cannot be read, or has what it should not. It is named, and what to do.
    pub async fn fetch(
        &self,
        (name, kind): (&str, &str),
        last: Option<&Origin>,
        to: &Path,
        work: &Work,
    ) -> Result<Fetched, Failure> {
        let source = self.of(Some(kind)).find(|source| source.name == name);
        let source = source.ok_or_else(|| {
            let names: Vec<_> = self.of(Some(kind)).map(|source| source.name.as_str()).collect();
            Failure::Final(format!("source: must be one of the settings' for {kind}: {}", names.join(", ")))
        })?;
        let fetched = source.fetch(last, to, work).await.map_err(|trouble| trouble.of(name))?;
        match &fetched {
            Fetched::Unchanged => work.say(format!("the source {name} has not changed")),
            Fetched::Files(files, _) => work.say(format!("{} files of the source {name}", files.len())),
        }
        Ok(fetched)
    }
}

impl Source {
    async fn fetch(&self, last: Option<&Origin>, to: &Path, work: &Work) -> Result<Fetched, Trouble> {
        let pace = Pace::default();
        match &self.place {
            SourceLocation::Path(path, max_time) => {
                let origin = Origin::new(&self.name, &path.display().to_string());
                Ok(Fetched::Files(folder::copy(path, to, *max_time, work).await?, origin))
            }
            SourceLocation::Web(web) => web::fetch(web, (&self.name, last), to, &pace, work).await,
            SourceLocation::Bucket(bucket) => bucket::fetch(bucket, (&self.name, last), to, &pace, work).await,
        }
    }
}
