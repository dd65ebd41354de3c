//! Files that somebody names: what a tool would wait for without end is refused, not opened.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// Where a shell puts what it has opened itself, as for `<(zcat people.csv.gz)`: somebody is at the other end.
const OPENED: [&str; 5] = ["/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd"];

/// Opens a file for reading.
///
/// # Errors
/// As [`check`]; and what the system says.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    check(path)?;
    File::open(path)
}

/// All that a file holds.
///
/// # Errors
/// As [`open`].
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file can be read: a pipe opens when somebody writes to it, and a device may have no end.
///
/// # Errors
/// It is no plain file, and no shell has opened it; or it is not there.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() || is_opened(path) {
        true => Ok(()),
        false => Err(refused("it is no plain file; give one, or what the shell opens: /dev/stdin, <(COMMAND)")),
    }
}

/// Creates a file, or empties the one that is there. A device takes what it gets; a pipe opens when somebody reads it.
///
/// # Errors
/// It is a pipe, and no shell has opened it; or what the system says.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let is_pipe = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    match is_pipe && !is_opened(path) {
        true => Err(refused("it is a pipe; give a plain file, or what the shell opens: /dev/stdout, >(COMMAND)")),
        false => File::create(path),
    }
}

fn is_opened(path: &Path) -> bool {
    OPENED.iter().any(|opened| path.starts_with(opened))
}

fn refused(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::fd::AsRawFd, path::PathBuf, process::Command};

    #[test]
    fn a_pipe_that_nobody_opened_is_refused_and_one_of_the_shells_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for unfit in [path("pipe"), PathBuf::from("/dev/zero"), dir.path().to_owned()] {
            for error in [open(&unfit).err(), read(&unfit).err(), check(&unfit).err()] {
                assert!(error.unwrap().to_string().starts_with("it is no plain file"), "{}", unfit.display());
            }
        }
        assert_eq!(open(&path("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(create(&path("pipe")).unwrap_err().to_string().starts_with("it is a pipe"));
        create(&path("file")).unwrap().write_all(b"text").unwrap();
        create(Path::new("/dev/null")).unwrap().write_all(b"text").unwrap();
        assert_eq!(read(&path("file")).unwrap(), b"text");
        // as of a shell
        let (reader, mut writer) = io::pipe().unwrap();
        let of_shell = |number: i32| PathBuf::from(format!("/dev/fd/{number}"));
        create(&of_shell(writer.as_raw_fd())).unwrap().write_all(b"te").unwrap();
        writer.write_all(b"xt").unwrap();
        let opened = open(&of_shell(reader.as_raw_fd())).unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(opened).unwrap(), "text");
    }
}
