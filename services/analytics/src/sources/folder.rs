//! A file or a folder of the worker's machine.

use super::trouble::Trouble;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Copies the file, or the files of the folder, to another folder: what is still being written there must not change while it is
/// read.
pub(super) fn copy(path: &Path, to: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let failed = |path: &Path, error: std::io::Error| {
        // the caller knows the source, and not where it is
        tracing::warn!(path = %path.display(), %error, "a source cannot be read");
        Trouble::again(format!("it cannot be read: {}", error.kind()))
    };
    let mut files = match path.is_dir() {
        true => {
            let listed = fs::read_dir(path).map_err(|error| failed(path, error))?;
            let entries: Result<Vec<_>, _> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
            entries.map_err(|error| failed(path, error))?
        }
        false => vec![path.to_owned()],
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
