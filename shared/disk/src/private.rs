//! Files for the owner alone: 0600 in folders 0700.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;

/// From now on this process makes files for its user alone, whoever makes them. Once, at its start.
pub fn umask() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Makes a folder, and those above it that are missing, for the owner alone.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Takes what is in a folder, and the folder itself, from everybody but the owner: earlier versions left it open.
/// Symbolic links are not followed.
///
/// # Errors
/// The folder's own mode may belong to somebody else (a volume's root): that alone is no error.
pub fn tighten(dir: &Path) -> io::Result<()> {
    if let Err(error) = tighten_one(dir, FOLDER)
        && error.kind() != io::ErrorKind::PermissionDenied
    {
        return Err(error);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // files may go while this reads them
        let done = match entry.file_type() {
            Ok(kind) if kind.is_dir() => tighten(&entry.path()),
            Ok(kind) if kind.is_file() => tighten_one(&entry.path(), FILE),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            done => done?,
        }
    }
    Ok(())
}

fn tighten_one(path: &Path, mode: u32) -> io::Result<()> {
    let is = fs::metadata(path)?.permissions().mode();
    match is & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(is & mode | is & 0o7000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_to_all_is_the_owners() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let file = inner.join("file");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        tighten(dir.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&inner)), (0o600, 0o700));
        let made = dir.path().join("c/d");
        create_dir_all(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
    }
}
