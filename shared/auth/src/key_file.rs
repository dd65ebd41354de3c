//! Files that hold a private key.

use crate::Error;
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};
use uuid::Uuid;

/// What is in a file; when there is none, a new Ed25519 key (PKCS#8) is put there, readable by its owner only.
///
/// Of several that make it at once all get the same.
pub(crate) fn ed25519(path: &Path) -> Result<Vec<u8>, Error> {
    let file_error = |source| Error::File { path: path.to_owned(), source };
    match fs::read(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let no_randomness = |_| Error::Key { name: path.display().to_string(), what: "no randomness".to_owned() };
            let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(no_randomness)?;
            create(path, fresh.as_ref()).and_then(|()| fs::read(path)).map_err(file_error)
        }
        found => found.map_err(file_error),
    }
}

/// Makes a file, whole or not at all; one that somebody else made meanwhile stays.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mine = dir.join(format!(".{}", Uuid::new_v4()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&mine)?;
    let linked =
        file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| match fs::hard_link(&mine, path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    fs::remove_file(&mine)?;
    linked?;
    // the name, too: a key that signed must not be gone after a loss of power
    fs::File::open(dir)?.sync_all()
}
