//! A keyspace's files (lsm-tree 3.1): `current` names the version in force and its XXH3-128, which the engine does not look
//! at; the version names the tables and their XXH3-128; a table's blocks have checksums that are verified when they are read.

use crate::Error;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};
use xxhash_rust::xxh3::xxh3_128;

/// Version, its checksum, kind of checksum.
const CURRENT_BYTES: usize = 8 + 16 + 1;
/// `SFA!`, version, kind of checksum, the contents' checksum, place and length.
const TRAILER_BYTES: usize = 4 + 1 + 1 + 16 + 8 + 8;
/// Tables up to this size are read as a whole at each start; of larger ones the table of contents, and each block when it
/// is asked for.
const READ_WHOLE_BYTES: u64 = 1 << 20;
/// More contents than a table has.
const CONTENTS_BYTES_MAX: usize = 64 << 10;

/// A table, as its version names it.
struct Table {
    id: u64,
    checksum: u128,
}

/// Checks a keyspace's folder, which must be there; `whole`: each table to its last byte.
pub(crate) fn check(dir: &Path, whole: bool) -> Result<(), Error> {
    let current = dir.join("current");
    let bytes = read(&current)?;
    if bytes.len() != CURRENT_BYTES || bytes[CURRENT_BYTES - 1] != 0 {
        return Err(Error::damaged(&current, None, "not a version's number and checksum"));
    }
    let number = u64_at(&bytes, 0).unwrap_or_default();
    let path = dir.join(format!("v{number}"));
    let version = read(&path)?;
    if Some(xxh3_128(&version)) != u128_at(&bytes, 8) {
        return Err(Error::damaged(&path, None, "not what `current` beside it says"));
    }
    let Some(tables) = tables(&version) else {
        return Err(Error::damaged(&path, None, "names no tables"));
    };
    for Table { id, checksum } in tables {
        check_table(&dir.join("tables").join(id.to_string()), checksum, whole)?;
    }
    Ok(())
}

/// What `current` must say of a version's file, if that is one.
pub(crate) fn current_of(number: u64, version: &[u8]) -> Option<Vec<u8>> {
    tables(version)?;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(xxh3_128(version).to_le_bytes());
    bytes.push(0);
    Some(bytes)
}

fn check_table(path: &Path, checksum: u128, whole: bool) -> Result<(), Error> {
    let file = File::open(path).map_err(missing(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    if whole || length <= READ_WHOLE_BYTES {
        return match xxh3_128(&read(path)?) == checksum {
            true => Ok(()),
            false => Err(Error::damaged(path, None, "not what its version says")),
        };
    }
    // its contents: whatever the engine believes before it checks a block's checksum
    let from = length - TRAILER_BYTES as u64;
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, from).map_err(Error::io(path))?;
    let contents = || -> Option<io::Result<bool>> {
        let (toc_at, toc_bytes) = (u64_at(&trailer, 22)?, u64_at(&trailer, 30)?);
        let sound = trailer.starts_with(b"SFA!\x01\0") && toc_at.checked_add(toc_bytes)? == from;
        let mut toc = vec![0; usize::try_from(toc_bytes).ok().filter(|n| sound && *n <= CONTENTS_BYTES_MAX)?];
        let read = file.read_exact_at(&mut toc, toc_at);
        Some(read.map(|()| Some(xxh3_128(&toc)) == u128_at(&trailer, 6)))
    };
    match contents() {
        Some(Ok(true)) => Ok(()),
        Some(Err(error)) => Err(Error::io(path)(error)),
        Some(Ok(false)) | None => Err(Error::damaged(path, from, "its contents are not what was written")),
    }
}

/// The tables of a version's file; its checksum has been seen to be right.
fn tables(version: &[u8]) -> Option<Vec<Table>> {
    let trailer = version.last_chunk::<TRAILER_BYTES>()?;
    let toc_at = usize::try_from(u64_at(trailer, 22)?).ok()?;
    let mut toc = version.get(toc_at..)?.strip_prefix(b"TOC!")?;
    let n_sections = u32::from_le_bytes(take(&mut toc)?);
    for _ in 0..n_sections {
        let at = usize::try_from(u64::from_le_bytes(take(&mut toc)?)).ok()?;
        let length = usize::try_from(u64::from_le_bytes(take(&mut toc)?)).ok()?;
        let name_bytes = u16::from_le_bytes(take(&mut toc)?);
        let (name, rest) = toc.split_at_checked(name_bytes.into())?;
        toc = rest;
        if name == b"tables" {
            return levels(version.get(at..at.checked_add(length)?)?);
        }
    }
    None
}

fn levels(mut section: &[u8]) -> Option<Vec<Table>> {
    let mut tables = Vec::new();
    let section = &mut section;
    for _ in 0..take::<1>(section)?[0] {
        for _ in 0..take::<1>(section)?[0] {
            for _ in 0..u32::from_le_bytes(take(section)?) {
                let id = u64::from_le_bytes(take(section)?);
                let _kind: [u8; 1] = take(section)?;
                let checksum = u128::from_le_bytes(take(section)?);
                let _seqno: [u8; 8] = take(section)?;
                tables.push(Table { id, checksum });
            }
        }
    }
    Some(tables)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().map(|bytes| u128::from_le_bytes(*bytes))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(missing(path))
}

/// A file that must be there.
fn missing(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| match error.kind() {
        io::ErrorKind::NotFound => Error::damaged(&path, None, "it is missing"),
        _ => Error::io(&path)(error),
    }
}
