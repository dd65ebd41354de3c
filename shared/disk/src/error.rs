//! What can be wrong with a folder, by file and byte.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Path of the damaged file or folder.
    pub path: PathBuf,
    /// The first byte that is wrong, where one can be named.
    pub offset: Option<u64>,
    /// Description of the damage, for operators.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files are not what was written.
    #[error("damaged: {0}; nothing was changed: `wardline repair` says what can be saved")]
    Damaged(Damage),
    /// Another process has it open.
    #[error("{} is open already, perhaps in another process", .0.display())]
    Locked(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder that cannot be read or written.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk has less than the reserve: nothing is written until there is more.
    #[error("no space: {free_bytes} bytes are free in {}, and {reserve_bytes} are kept in reserve; make room, or set data.reserve_mib", .dir.display())]
    NoSpace {
        /// The folder whose disk is full.
        dir: PathBuf,
        /// How much there is.
        free_bytes: u64,
        /// How much must be.
        reserve_bytes: u64,
    },
    /// The engine failed.
    #[error("the engine: {0}")]
    Engine(#[source] fjall::Error),
}

impl Error {
    pub(crate) fn damaged(path: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self::Damaged(Damage { path: path.to_owned(), offset: offset.into(), what: what.into() })
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<fjall::Error> for Error {
    fn from(cause: fjall::Error) -> Self {
        Self::Engine(cause)
    }
}
