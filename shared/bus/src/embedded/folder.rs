//! The folder that a log lives in: one process at a time, and never a folder that is something else.
//!
//! `lock` is held while the log is open; `log` is the database; `new` is one being made, which becomes `log` by
//! a rename, so that a process that dies while making one leaves nothing half-made behind. Beside `log` lies what must be
//! in it; beside the folder itself, that there was one.

use super::{
    Settings,
    layout::{self, SegmentEntry},
    on_disk,
    segments::{Segment, name, now_ms, options},
    unreadable, unwritable,
};
use crate::Error;
use disk::{Chain, Manifest, Space, private};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

const LOCK: &str = "lock";
const DATABASE: &str = "log";
const UNFINISHED: &str = "new";

/// How much is read again at most when the log is opened.
const JOURNALS_BYTES: u64 = 128 << 20;
/// Records are read in order and mostly once: little to gain from keeping them.
const CACHE_BYTES: u64 = 8 << 20;
/// The open database of an embedded log, and the keyspaces in it.
pub(super) struct Folder {
    pub database: Database,
    pub meta: Keyspace,
    /// Everything is written through it.
    pub chain: Chain,
    /// Unlocked when dropped: after the database.
    _lock: File,
}

/// Opens the log in `dir`, making it if there is none.
pub(super) fn open(dir: &Path, settings: &Settings, space: Space) -> Result<Folder, Error> {
    refuse_foreign(dir)?;
    let path = dir.join(DATABASE);
    let was_made = Manifest::read(dir).map_err(on_disk)?.is_some();
    let is_there = path.try_exists().map_err(io_error)?;
    if was_made && !is_there {
        let path = path.display();
        return Err(Error::Fatal(format!(
            "damaged: {path}: the folder is missing; `wardline repair` begins a new one"
        )));
    }
    private::create_dir_all(dir).map_err(io_error)?;
    let lock = lock(dir)?;
    // where there is a manifest there was a log: it is not made anew
    let mut found = disk::check(&path, false).map_err(on_disk)?;
    if !is_there {
        make(dir, settings)?;
        found = disk::check(&path, false).map_err(on_disk)?;
    }
    private::tighten(dir).map_err(io_error)?;
    let (database, meta) = database(&path)?;
    let stored = meta.get(layout::PARTITIONS).map_err(unreadable)?;
    let Some(partitions) = stored.as_deref().and_then(|v| Some(u16::from_be_bytes(v.try_into().ok()?))) else {
        return Err(Error::Fatal("the log's files do not say how many partitions it has".into()));
    };
    if partitions != settings.partitions {
        return Err(Error::Config(format!(
            "the log has {partitions} partitions, not {}: their number cannot change, keys would move",
            settings.partitions
        )));
    }
    let chain = Chain::open(&path, database.clone(), meta.clone(), &[&meta], &found, space).map_err(on_disk)?;
    if !was_made {
        Manifest::default().write(dir).map_err(on_disk)?;
    }
    Ok(Folder { database, meta, chain, _lock: lock })
}

fn make(dir: &Path, settings: &Settings) -> Result<(), Error> {
    let unfinished = dir.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        _ => {}
    }
    let (database, meta) = database(&unfinished)?;
    let starts = vec![0; settings.partitions.into()];
    let first = SegmentEntry { number: 0, since_ms: now_ms(), bytes: 0, starts };
    meta.insert(layout::segment(0), first.value()).map_err(unwritable)?;
    drop(Segment::open(&database, first).map_err(unwritable)?);
    meta.insert(layout::PARTITIONS, settings.partitions.to_be_bytes()).map_err(unwritable)?;
    database.persist(PersistMode::SyncAll).map_err(unwritable)?;
    drop((meta, database));
    fs::rename(&unfinished, dir.join(DATABASE)).map_err(io_error)?;
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(io_error)
}

fn database(path: &Path) -> Result<(Database, Keyspace), Error> {
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES)
        // Chunks would be compressed while publishers wait for them.
        .journal_compression(CompressionType::None)
        // With more, one of them spins for as long as another compacts (fjall 3.1). There is nothing to compact.
        .worker_threads(1)
        .open()
        .map_err(unreadable)?;
    let meta = database.keyspace(layout::META, KeyspaceCreateOptions::default).map_err(unreadable)?;
    Ok((database, meta))
}

fn refuse_foreign(dir: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::Config(format!("{} is not a folder", dir.display())));
        }
        Err(error) => return Err(io_error(error)),
    };
    for entry in entries {
        let name = entry.map_err(io_error)?.file_name();
        let kept = format!("{DATABASE}.");
        let is_ours = [LOCK, DATABASE, UNFINISHED].iter().any(|ours| name == *ours);
        if !is_ours && !name.to_str().is_some_and(|name| name.starts_with(&kept)) {
            return Err(Error::Config(format!("{} holds something that is not a log", dir.display())));
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, Error> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Config(format!("the log in {} is open already, perhaps in another process", dir.display())))
        }
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

fn io_error(error: io::Error) -> Error {
    Error::Unavailable(Box::new(error))
}

/// Reads back what the folder holds, dropping segments of which only the keyspace is left.
pub(super) fn recover(folder: &Folder, partitions: usize) -> Result<Vec<Segment>, Error> {
    let Folder { database, meta, chain, .. } = folder;
    let mut segments = Vec::new();
    for entry in layout::segments(meta)? {
        if entry.starts.len() != partitions || !database.keyspace_exists(&name(entry.number)) {
            return Err(Error::Fatal(format!("segment {} of the log is damaged", entry.number)));
        }
        let segment = Segment::open(database, entry).map_err(unreadable)?;
        chain.keep(&segment.records).map_err(on_disk)?;
        segments.push(segment);
    }
    let first = segments.first().map_or(0, |segment: &Segment| segment.number);
    for number in (0..first).rev().take_while(|number| database.keyspace_exists(&name(*number))) {
        let left = database.keyspace(&name(number), options).map_err(unreadable)?;
        chain.forget(&left).map_err(on_disk)?;
        database.delete_keyspace(left).map_err(unreadable)?;
    }
    Ok(segments)
}
