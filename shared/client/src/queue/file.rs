//! Files and folders that only their owner may read, and what the disk is asked to be sure of.

use super::Error;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

/// Makes a folder and those above it.
pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|cause| Error::disk(dir, cause))
}

/// Opens a file to read and write; makes it when it is not there.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|cause| Error::disk(path, cause))
}

/// Makes sure of a folder's entries. Where a folder cannot be opened, the system keeps them with the file.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| Error::disk(dir, cause))?;
    let _ = dir;
    Ok(())
}

/// Why something could not be appended.
pub(super) struct NotAppended {
    pub(super) cause: io::Error,
    /// What the file ends with now is not known.
    pub(super) is_unknown: bool,
}

/// Appends to a file of `end` bytes and makes sure of it; a part that was written is taken away again.
pub(super) fn append(file: &mut File, end: u64, bytes: &[u8]) -> Result<(), NotAppended> {
    let written = file.seek(SeekFrom::Start(end)).and_then(|_| file.write_all(bytes));
    if let Err(cause) = written {
        let is_unknown = file.set_len(end).is_err();
        return Err(NotAppended { cause, is_unknown });
    }
    // after a failure the system may have forgotten what it could not write
    file.sync_data().map_err(|cause| NotAppended { cause, is_unknown: true })
}
