//! Two small files beside a folder, which say what must be in it.
//!
//! `NAME.manifest`, rewritten as a whole when keyspaces come or go: which there must be, and what repairs left. `NAME.mark`,
//! written in place after each sync: the last durable batch and the journals. The mark costs no sync of its own: a killed
//! process loses nothing of it, and after a power cut it is a second old at most and only promises less.

use crate::Error;
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

const TITLE: &str = "wardline manifest 1";
const MAGIC: [u8; 8] = *b"WLMARK\0\x01";
/// Magic, count, oldest and newest journal, checksum.
const SLOT: usize = 8 + 3 * 8 + 8;
/// Apart, so that one write that is cut off cannot spoil both.
const SLOT_EVERY: u64 = 4096;

/// What must be in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Numbers of the keyspaces that must be there; 0, the engine's own, is not named.
    pub keyspaces: BTreeSet<u64>,
    /// Numbers of batches before which some are missing, because a repair could not save them.
    pub gaps: Vec<u64>,
}

impl Manifest {
    /// Reads that of a folder; `None` when there is none.
    ///
    /// # Errors
    /// `Damaged` when it is not what was written.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = beside(dir, "manifest");
        match fs::read_to_string(&path) {
            Ok(text) => match Self::parse(&text) {
                Some(manifest) => Ok(Some(manifest)),
                None => Err(Error::damaged(&path, None, "not what was written")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Error::damaged(&path, None, "not what was written"))
            }
            Err(error) => Err(Error::io(&path)(error)),
        }
    }

    /// Replaces that of a folder, durably.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = beside(dir, "manifest");
        replace(&path, self.text().as_bytes()).map_err(Error::io(&path))
    }

    fn text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        // writing to a string cannot fail
        for id in &self.keyspaces {
            let _ = writeln!(text, "keyspace {id}");
        }
        for count in &self.gaps {
            let _ = writeln!(text, "gap {count}");
        }
        let checksum = xxh3_64(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:016x}");
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, checksum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = format!("{body}\n");
        let checksum = u64::from_str_radix(checksum.strip_prefix("checksum ")?, 16).ok()?;
        let mut lines = body.lines();
        if checksum != xxh3_64(body.as_bytes()) || lines.next() != Some(TITLE) {
            return None;
        }
        let mut manifest = Self::default();
        for line in lines {
            match line.split_once(' ')? {
                ("keyspace", id) => manifest.keyspaces.extend([id.parse::<u64>().ok()?]),
                ("gap", count) => manifest.gaps.push(count.parse().ok()?),
                _ => return None,
            }
        }
        // as it would be written: nothing else in it
        (manifest.text() == text).then_some(manifest)
    }
}

/// How far a folder is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of the last batch that was synced; 0 before the first.
    pub count: u64,
    /// Number of the oldest journal when that was last noted; it may have gone since.
    pub oldest_journal: u64,
    /// Number of the newest journal when that was last noted; there may be newer ones.
    pub newest_journal: u64,
}

impl Mark {
    /// Reads that of a folder; `None` when there is none. Of its two copies one may be spoilt.
    ///
    /// # Errors
    /// `Damaged` when it is not what was written.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = beside(dir, "mark");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let slot = |at: u64| bytes.get(at as usize..)?.first_chunk().and_then(Self::decode);
        let marks = [slot(0), slot(SLOT_EVERY)];
        if marks.iter().any(Option::is_none) {
            tracing::warn!(path = %path.display(), "one of the two copies of the mark cannot be read; the other counts");
        }
        let newest = marks.into_iter().flatten().max_by_key(|mark| mark.count);
        newest.map(Some).ok_or_else(|| Error::damaged(&path, None, "neither of its two copies is what was written"))
    }

    fn encode(self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&MAGIC);
        for (number, place) in
            [self.count, self.oldest_journal, self.newest_journal].iter().zip(bytes[8..].chunks_exact_mut(8))
        {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[..SLOT - 8]);
        bytes[SLOT - 8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SLOT]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let whole = bytes[..8] == MAGIC && number(SLOT - 8)? == xxh3_64(&bytes[..SLOT - 8]);
        let mark = Self { count: number(8)?, oldest_journal: number(16)?, newest_journal: number(24)? };
        whole.then_some(mark)
    }
}

/// The file of a mark, open for writing.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    path: PathBuf,
    /// Which copy is written next: never the one that was written last.
    second: bool,
}

impl MarkFile {
    /// Opens that of a folder, or makes it, with both copies as given.
    pub fn open(dir: &Path, mark: Mark) -> Result<Self, Error> {
        let path = beside(dir, "mark");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let mut this = Self { file: open.map_err(Error::io(&path))?, path, second: false };
        this.write(mark)?;
        this.write(mark)?;
        this.sync()?;
        let folder = this.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
        Ok(this)
    }

    pub fn write(&mut self, mark: Mark) -> Result<(), Error> {
        let at = if self.second { SLOT_EVERY } else { 0 };
        self.file.write_all_at(&mark.encode(), at).map_err(Error::io(&self.path))?;
        self.second = !self.second;
        Ok(())
    }

    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

/// The file of that kind beside a folder.
pub(crate) fn beside(dir: &Path, kind: &str) -> PathBuf {
    let mut name = dir.file_name().map_or_else(|| OsString::from("engine"), OsString::from);
    name.push(".");
    name.push(kind);
    dir.with_file_name(name)
}

/// Replaces a file by another content, all of it or nothing, durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_and_a_changed_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let engine = dir.path().join("store");
        assert_eq!(Manifest::read(&engine).unwrap(), None);
        let manifest = Manifest { keyspaces: [1, 2, 30].into(), gaps: vec![7] };
        manifest.write(&engine).unwrap();
        assert_eq!(Manifest::read(&engine).unwrap(), Some(manifest));
        let path = beside(&engine, "manifest");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 4;
            fs::write(&path, &changed).unwrap();
            assert!(Manifest::read(&engine).is_err(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(Manifest::read(&engine).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_newest_mark_counts_and_one_spoilt_copy_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let engine = dir.path().join("log");
        assert_eq!(Mark::read(&engine).unwrap(), None);
        let mark = |count| Mark { count, oldest_journal: 1, newest_journal: 2 };
        let mut file = MarkFile::open(&engine, mark(3)).unwrap();
        for count in 4..9 {
            file.write(mark(count)).unwrap();
            assert_eq!(Mark::read(&engine).unwrap(), Some(mark(count)));
        }
        let path = beside(&engine, "mark");
        let whole = fs::read(&path).unwrap();
        for at in (0..SLOT).chain(SLOT_EVERY as usize..SLOT_EVERY as usize + SLOT) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(Mark::read(&engine).unwrap().is_some_and(|mark| mark.count >= 7), "byte {at}");
        }
        fs::write(&path, vec![0; whole.len()]).unwrap();
        assert!(matches!(Mark::read(&engine), Err(Error::Damaged(_))));
    }
}
