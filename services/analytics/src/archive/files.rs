//! Where the files of the archive are: a folder or an object store, by the few things that both can promise.

use async_trait::async_trait;
use bytes::Bytes;
use std::path::PathBuf;

/// Objects by key (parts joined with `/`), durable when a call returns.
#[async_trait]
pub trait Files: Send + Sync {
    /// Puts an object that was not there. `false`: it was, and is as before.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error>;

    /// Puts an object, in the place of one that was there; nobody sees a part of it.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error>;

    /// Reads an object; `None`: there is none.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// All objects whose keys begin with `below` and a `/`, ascending by key.
    async fn list(&self, below: &str) -> Result<Vec<Object>, Error>;

    /// Makes sure that the objects right below a key stay: who put them may have been killed before they were durable.
    async fn hold(&self, below: &str) -> Result<(), Error>;

    /// Puts the object of one key under another one, too.
    async fn copy(&self, from: &str, to: &str) -> Result<(), Error>;

    /// Removes what was never finished. Whoever is at it just now is told that it failed, and does it again.
    async fn sweep(&self, below: &str) -> Result<(), Error>;

    /// Removes an object; one that is gone already is no error.
    async fn remove(&self, key: &str) -> Result<(), Error>;
}

/// What a list says of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// The whole key.
    pub key: String,
    /// Bytes of it.
    pub bytes: u64,
}

/// Why an object cannot be put, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store.
    #[error("{0}")]
    Store(#[from] object_store::Error),
    /// The disk did not do what it was asked for.
    #[error("{path}: {source}")]
    Disk {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The object store does not keep to what is asked of it.
    #[error("{0}")]
    Promise(String),
}
