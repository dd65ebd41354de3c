//! Reads a folder's files before the engine does, which would cut off or remove what it cannot read.

use crate::{
    Error, Manifest, Mark,
    journal::{Batch, Journal, Stop},
    tree,
};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What the version file of an fjall folder begins with: `FJL`, and version 3.
pub(crate) const VERSION: &[u8] = b"FJL\x03";
/// Without links in it, nothing a killed process leaves looks like that.
const LOST: &str = "what follows the last whole batch cannot be read, and is more than a write that was cut off";

/// The files of an engine's folder that was checked and is whole.
#[derive(Debug, Clone, Default)]
pub struct EngineFiles {
    /// What must be in it; `None` in a folder that has none yet.
    pub manifest: Option<Manifest>,
    /// How far the journal is known to be durable; `None`: there is no mark.
    pub mark: Option<Mark>,
    /// Number of the oldest journal.
    pub oldest_journal: Option<u64>,
    /// The first batch in its journals that has a number, and its journal.
    pub(crate) first: Option<(PathBuf, Batch)>,
}

/// Reads all journals, versions and small tables of the folder `dir`, which the engine is about to open, and the tables of
/// contents of large ones; `whole`: those to the last byte, too. Cuts off what a killed process left behind the last
/// durable batch, and says so: the engine would refuse some of it.
///
/// # Errors
/// `Damaged` with file and byte when anything is not what was written, or missing. Nothing was changed then.
pub fn check(dir: &Path, whole: bool) -> Result<EngineFiles, Error> {
    let manifest = Manifest::read(dir)?;
    let mark = Mark::read(dir)?;
    let is_new = manifest.is_none();
    match (&manifest, &mark) {
        (Some(_), None) => return Err(Error::damaged(&crate::manifest::beside(dir, "mark"), None, "it is missing")),
        (None, Some(mark)) if mark.count > 0 => {
            return Err(Error::damaged(&crate::manifest::beside(dir, "manifest"), None, "it is missing"));
        }
        _ => {}
    }
    if !dir.try_exists().map_err(Error::io(dir))? {
        return match is_new {
            true => Ok(EngineFiles::default()),
            false => Err(Error::damaged(dir, None, "the folder is missing")),
        };
    }
    let version = dir.join("version");
    match fs::read(&version) {
        Ok(bytes) if bytes == VERSION => {}
        // the engine has not finished making it
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => return Ok(EngineFiles::default()),
        Ok(bytes) if bytes.is_empty() && is_new => return Ok(EngineFiles::default()),
        Ok(_) => return Err(Error::damaged(&version, 0, "not the version of the engine's files")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::damaged(&version, None, "it is missing"));
        }
        Err(error) => return Err(Error::io(&version)(error)),
    }
    // whoever holds it may write at this moment
    let _lock = lock(dir)?;
    let journals = journals(dir, manifest.as_ref(), mark)?;
    keyspaces(dir, manifest.as_ref(), whole)?;
    if let Some(last) = journals.last() {
        tail(last, mark)?;
    }
    Ok(EngineFiles {
        manifest,
        mark,
        oldest_journal: journals.first().map(|journal| journal.id),
        first: journals.iter().find_map(|journal| Some((journal.path.clone(), journal.first?))),
    })
}

/// Holds the engine's own lock; one that was lost is made anew, for it holds nothing.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// The journals' numbers and files, ascending.
pub(crate) fn journal_files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jnl")) {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            found.push((number.ok_or_else(|| Error::damaged(&path, None, "not the name of a journal"))?, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads all journals.
fn journals(dir: &Path, manifest: Option<&Manifest>, mark: Option<Mark>) -> Result<Vec<Journal>, Error> {
    let files = journal_files(dir)?;
    let missing = |id: u64| Error::damaged(&dir.join(format!("{id}.jnl")), None, "it is missing");
    if let Some(mark) = mark
        && files.last().is_none_or(|(newest, _)| *newest < mark.newest_journal)
    {
        return Err(missing(files.last().map_or(mark.newest_journal, |(newest, _)| newest + 1)));
    }
    if let Some(pair) = files.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1) {
        return Err(missing(pair[0].0 + 1));
    }
    let gaps = manifest.map_or(&[][..], |manifest| &manifest.gaps);
    let mut journals: Vec<Journal> = Vec::with_capacity(files.len());
    for (id, path) in &files {
        let journal = Journal::read(*id, path, journals.last(), gaps).map_err(Error::io(path))?;
        if let Some((offset, what)) = &journal.broken {
            return Err(Error::damaged(path, *offset, what.clone()));
        }
        // only the newest is being written
        let newest = files.last().is_some_and(|(newest, _)| newest == id);
        if !newest && (journal.has_tail() || journal.stop == Stop::Torn) {
            return Err(Error::damaged(path, journal.end, LOST));
        }
        journals.push(journal);
    }
    Ok(journals)
}

/// Judges what lies behind the last whole batch of the newest journal.
fn tail(journal: &Journal, mark: Option<Mark>) -> Result<(), Error> {
    let durable = mark.map_or(0, |mark| mark.count);
    let path = &journal.path;
    if let Some(link) = journal.last_link
        && link.count < durable
    {
        let what = format!("the last whole batch is number {}, and number {durable} was durable", link.count);
        return Err(Error::damaged(path, journal.end, what));
    }
    if !journal.has_tail() {
        return Ok(());
    }
    if let Some(batch) = journal.beyond().map_err(Error::io(path))? {
        let what = format!("what follows cannot be read, and at byte {} a whole batch follows that", batch.offset);
        return Err(Error::damaged(path, journal.end, what));
    }
    // with a link all that was promised is before it; without one nothing but its contents tell
    if journal.last_link.is_none() && matches!(journal.stop, Stop::Bad(_) | Stop::Blank) {
        let what = match journal.stop {
            Stop::Bad(what) => what,
            _ => LOST,
        };
        return Err(Error::damaged(path, journal.end, what));
    }
    let n_bytes = journal.used - journal.end;
    tracing::warn!(
        file = %path.display(), offset = journal.end, n_bytes, number = journal.last_link.map(|link| link.count),
        "an unfinished batch at the end of the journal is cut off: it was never acknowledged"
    );
    let cut = |file: File| file.set_len(journal.end).and_then(|()| file.sync_all());
    OpenOptions::new().write(true).open(path).and_then(cut).map_err(Error::io(path))
}

/// Checks all keyspaces' files.
fn keyspaces(dir: &Path, manifest: Option<&Manifest>, whole: bool) -> Result<(), Error> {
    let folder = dir.join("keyspaces");
    let mut must = manifest.map_or_else(BTreeSet::new, |manifest| manifest.keyspaces.clone());
    must.insert(0);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && manifest.is_none() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::damaged(&folder, None, "the folder is missing"));
        }
        Err(error) => return Err(Error::io(&folder)(error)),
    };
    let mut there = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(Error::io(&folder))?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok()) else {
            return Err(Error::damaged(&path, None, "not a keyspace"));
        };
        // another one was being made, or removed
        if must.contains(&id) && manifest.is_some() || manifest.is_none() && path.join("current").exists() {
            tree::check(&path, whole)?;
        }
        there.insert(id);
    }
    match must.difference(&there).next() {
        Some(id) if manifest.is_some() => {
            Err(Error::damaged(&folder.join(id.to_string()), None, "the keyspace is missing"))
        }
        _ => Ok(()),
    }
}
