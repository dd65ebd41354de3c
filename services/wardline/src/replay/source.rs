//! PATH: a file, a folder or an archive, plain or compressed, as a row of named documents.

use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// First bytes of a zstd frame: files are judged by them, not by their name.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 * 1024;

/// Takes one document: its name for messages, and its text.
pub type Visit<'a> = dyn FnMut(&str, &mut dyn Read) -> Result<()> + 'a;

/// Calls `visit` for the file, or for each document of a folder or archive that `wanted` (lower-case file name without
/// `.zst`) wants, in the order of their names. Says what was expected when there is none.
pub fn each(path: &Path, wanted: &dyn Fn(&str) -> bool, expected: &str, visit: &mut Visit<'_>) -> Result<u64> {
    let about = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
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
        bail!("{}: there is no {expected} in it", path.display());
    }
    Ok(found)
}

fn document(path: &Path, visit: &mut Visit<'_>) -> Result<()> {
    let name = path.display().to_string();
    let mut reader = open(path)?;
    visit(&name, &mut reader)
}

fn archive(path: &Path, wanted: &dyn Fn(&str) -> bool, visit: &mut Visit<'_>) -> Result<u64> {
    let context = || format!("cannot read the archive {}", path.display());
    let mut archive = tar::Archive::new(open(path)?);
    let mut found = 0;
    for entry in archive.entries().with_context(context)? {
        let mut entry = entry.with_context(context)?;
        let inside = entry.path().with_context(context)?.into_owned();
        if !entry.header().entry_type().is_file() || !wanted(&plain_name(&inside)) {
            continue;
        }
        let name = format!("{}:{}", path.display(), inside.display());
        if inside.extension().is_some_and(|extension| extension == "zst") {
            visit(&name, &mut zstd::stream::read::Decoder::new(entry).with_context(|| name.clone())?)?;
        } else {
            visit(&name, &mut entry)?;
        }
        found += 1;
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    let context = || format!("cannot read {}", path.display());
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).with_context(context)?);
    let head = file.fill_buf().with_context(context)?;
    if head.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::stream::read::Decoder::with_buffer(file).with_context(context)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder)));
    }
    if path.extension().is_some_and(|extension| extension == "zst") {
        bail!("{}: not a zstd file, or one that was cut off", path.display());
    }
    Ok(Box::new(file))
}

/// All files below a folder, ascending.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot read the folder {}", folder.display());
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

/// Lower-case file name without `.zst`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.strip_suffix(".zst").map(str::to_owned).unwrap_or(name)
}
