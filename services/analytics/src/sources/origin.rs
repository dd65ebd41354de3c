//! What is remembered of a source, so that what has not changed is not imported again.

use crate::hexadecimal::hexadecimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// What a source had when a version was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the source.
    pub source: String,
    /// SHA-256 of where it was, in hexadecimal digits: a source that was moved has nothing in common with its old place.
    pub place: String,
    /// Version of the program that imported it: another one may read the same file otherwise.
    pub code_version: String,
    /// ETag of the file; of a bucket, SHA-256 of the list of its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the publisher says that it was changed last, as HTTP writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// What a source has.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The same as before.
    Unchanged,
    /// These files, in their order.
    Files(Vec<PathBuf>, Origin),
}

impl Origin {
    /// Of a source at a place, as this program reads it.
    pub(super) fn new(source: &str, place: &str) -> Self {
        Self {
            source: source.to_owned(),
            place: hexadecimal(Sha256::digest(place)),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            etag: None,
            last_modified: None,
        }
    }

    /// Whether both are of one source at one place, read by one program.
    pub fn is_of(&self, other: &Self) -> bool {
        (&self.source, &self.place, &self.code_version) == (&other.source, &other.place, &other.code_version)
    }
}
