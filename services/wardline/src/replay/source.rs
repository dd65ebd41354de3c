//! PATH: a file, a folder or an archive, plain or compressed, as a row of named documents.

use crate::{opening, operator::spelled};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// First bytes of a zstd frame and of a gzip file: files are judged by them, not by their name.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 256 * 1024;

/// Takes one document: its name for messages, and its text.
pub type Visit<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<()> + 'a;

/// Calls `visit` for the file, or for each document of a folder or archive that `wanted` (lower-case file name without
/// `.zst` or `.gz`) wants, in the order of their names. Says what was expected when there is none.
pub fn each(path: &Path, wanted: &dyn Fn(&str) -> bool, expected: &str, visit: &mut Visit<'_>) -> Result<u64> {
    let about = fs::metadata(path).with_context(|| format!("cannot read {}", spelled(path)))?;
    let mut found = 0;
    if about.is_dir() {
        for file in walk(path)? {
            let name = plain_name(&file);
            if name.ends_with(".tar") {
                found += archive(&file, wanted, visit)?;
            } else if wanted(&name) {
                document(&file, visit)?;
                found += 1;
            }
        }
    } else if plain_name(path).ends_with(".tar") {
        found = archive(path, wanted, visit)?;
    } else {
        // named by hand: taken whatever it is called
        document(path, visit)?;
        found = 1;
    }
    if found == 0 {
        bail!("{}: there is no {expected} in it", spelled(path));
    }
    Ok(found)
}

fn document(path: &Path, visit: &mut Visit<'_>) -> Result<()> {
    let name = spelled(path);
    let mut reader = open(path)?;
    visit(&name, &mut reader)
}

fn archive(path: &Path, wanted: &dyn Fn(&str) -> bool, visit: &mut Visit<'_>) -> Result<u64> {
    let context = || format!("cannot read the archive {}", spelled(path));
    let mut archive = tar::Archive::new(open(path)?);
    let mut found = 0;
    for entry in archive.entries().with_context(context)? {
        let entry = entry.with_context(context)?;
        let inside = entry.path().with_context(context)?.into_owned();
        if !entry.header().entry_type().is_file() || !wanted(&plain_name(&inside)) {
            continue;
        }
        let name = format!("{}:{}", spelled(path), spelled(&inside));
        visit(&name, &mut unpacked(BufReader::with_capacity(BUFFER_BYTES, entry), &name, &inside)?)?;
        found += 1;
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = opening::open(path).with_context(|| format!("cannot read {}", spelled(path)))?;
    unpacked(BufReader::with_capacity(BUFFER_BYTES, file), &spelled(path), path)
}

/// The text of what may be compressed; `path` says by its ending what it should be.
fn unpacked<'a>(mut packed: impl BufRead + 'a, name: &str, path: &Path) -> Result<Box<dyn Read + 'a>> {
    let context = || format!("cannot read {name}");
    let head = packed.fill_buf().with_context(context)?;
    if head.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::stream::read::Decoder::with_buffer(packed).with_context(context)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    if head.starts_with(&GZIP_MAGIC) {
        // a file may be several, one after the other
        let decoder = flate2::bufread::MultiGzDecoder::new(packed);
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("zst") => bail!("{name}: not a zstd file, or one that was cut off"),
        Some("gz") => bail!("{name}: not a gzip file, or one that was cut off"),
        _ => Ok(Box::new(packed)),
    }
}

/// All files below a folder, ascending.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot read the folder {}", spelled(&folder));
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            // a link to a folder is not followed: it may lead back here
            if entry.file_type().with_context(context)?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lower-case file name without `.zst` or `.gz`; `.tgz` is `.tar`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    if let Some(archive) = name.strip_suffix(".tgz") {
        return format!("{archive}.tar");
    }
    name.strip_suffix(".zst").or_else(|| name.strip_suffix(".gz")).map(str::to_owned).unwrap_or(name)
}
