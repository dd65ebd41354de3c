//! Why a queue on the disk cannot go on.

use super::MAX_BYTES_LEAST;
#[cfg(doc)]
use super::{Options, WhenFull};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;

/// Why a queue cannot go on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk does not do what it should. After a failed `fdatasync` every call fails until the queue is opened again.
    #[error("{}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// A file is not what was written. Set the folder aside and open a new one: that begins a stream of its own.
    #[error("{} is damaged at byte {byte}: {what}", .path.display())]
    Damaged {
        /// The file of the queue that is damaged.
        path: PathBuf,
        /// Offset in that file, in bytes from 0, at which the damage begins.
        byte: u64,
        /// What is damaged there.
        what: String,
    },
    /// [`WhenFull::Refuse`]: the batch does not fit, and was not stored.
    #[error("the queue is full: {bytes} of {max_bytes} bytes")]
    Full {
        /// Bytes of its files.
        bytes: u64,
        /// Most bytes that the files may have: [`Options::max_bytes`].
        max_bytes: u64,
    },
    /// The batch alone is larger than the queue may be, and was not stored.
    #[error("the batch has {bytes} bytes, the queue holds {max_bytes}")]
    TooLarge {
        /// Bytes of the batch, with what surrounds it on the disk.
        bytes: u64,
        /// Most bytes that the files may have: [`Options::max_bytes`].
        max_bytes: u64,
    },
    /// [`Options::max_bytes`] is less than [`MAX_BYTES_LEAST`].
    #[error("a queue of {max_bytes} bytes is too small: give at least {MAX_BYTES_LEAST}")]
    Bound {
        /// As it was given.
        max_bytes: u64,
    },
    /// It is open already, here or in another process.
    #[error("{} is in use", .path.display())]
    InUse {
        /// Folder of the queue that is open already.
        path: PathBuf,
    },
    /// The queue's folder belongs to another device.
    #[error("{} holds the batches of device {device}", .path.display())]
    OtherDevice {
        /// Folder of the queue that was to be opened.
        path: PathBuf,
        /// UUID of the device whose queue it is.
        device: Uuid,
    },
    /// The server has sequences of this stream that the queue has not given out: the folder was put back from an older copy.
    /// Its numbers would stand for other readings; set it aside and open a new one.
    #[error("the server has batches up to {durable}, the queue has given out {known}: it is an older copy of itself")]
    Behind {
        /// The last sequence that the server has.
        durable: u64,
        /// The last sequence that the queue has given out.
        known: u64,
    },
}

impl Error {
    pub(crate) fn disk(path: &Path, cause: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), cause: Arc::new(cause) }
    }

    pub(crate) fn damaged(path: &Path, byte: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), byte, what: what.into() }
    }
}
