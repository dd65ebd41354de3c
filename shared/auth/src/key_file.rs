//! Files that are made once and then stay: private keys, and what belongs to them.

use crate::Error;
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};
use uuid::Uuid;

/// For its owner only.
const PRIVATE: u32 = 0o600;
/// For everybody to read.
const PUBLIC: u32 = 0o644;

/// What is in a file; when there is none, a new Ed25519 key (PKCS#8) is put there, readable by its owner only.
///
/// Of several that make it at once all get the same.
pub(crate) fn ed25519(path: &Path) -> Result<Vec<u8>, Error> {
    private(path, || {
        let no_randomness = |_| Error::Key { name: path.display().to_string(), what: "no randomness".to_owned() };
        let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(no_randomness)?;
        Ok(fresh.as_ref().to_vec())
    })
}

/// What is in a file; when there is none, what `make` makes is put there, readable by its owner only.
///
/// Of several that make it at once all get the same.
pub(crate) fn private(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    made_once(path, PRIVATE, make)
}

/// As [`private`], readable by everybody.
pub(crate) fn public(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    made_once(path, PUBLIC, make)
}

/// Replaces a file, whole or not at all; everybody may read it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    put(path, PUBLIC, content, |mine| fs::rename(mine, path))
        .map_err(|source| Error::File { path: path.to_owned(), source })
}

fn made_once(path: &Path, mode: u32, make: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    let file_error = |source| Error::File { path: path.to_owned(), source };
    match fs::read(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let fresh = make()?;
            create(path, mode, &fresh).and_then(|()| fs::read(path)).map_err(file_error)
        }
        found => found.map_err(file_error),
    }
}

/// Makes a file, whole or not at all; one that somebody else made meanwhile stays.
fn create(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    put(path, mode, content, |mine| {
        let linked = match fs::hard_link(mine, path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        fs::remove_file(mine)?;
        linked
    })
}

/// Writes a file beside `path` and has it put into its place by `place`, which leaves nothing behind.
fn put(path: &Path, mode: u32, content: &[u8], place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mine = dir.join(format!(".{}", Uuid::new_v4()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&mine)?;
    if let Err(cause) = file.write_all(content).and_then(|()| file.sync_all()) {
        fs::remove_file(&mine)?;
        return Err(cause);
    }
    place(&mine)?;
    // the name, too: a key that signed must not be gone after a loss of power
    fs::File::open(dir)?.sync_all()
}
