//! Everything that is written carries a number, so that nothing of it can be missing unnoticed.

use crate::{
    Error, Manifest, Mark, Need, Space,
    check::{EngineFiles, journal_files},
    link::{LINK_KEY, Link},
    manifest::{MarkFile, beside},
};
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// How often the mark is synced, and the journals are listed.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The one way in which an engine's folder is written.
pub struct Chain {
    dir: PathBuf,
    database: Database,
    keyspace: Keyspace,
    space: Space,
    /// The last batch's number; held from choosing the next to committing it.
    count: Mutex<u64>,
    /// Held during a sync.
    synced: Mutex<Synced>,
    manifest: Mutex<Manifest>,
    /// Why the engine takes nothing any more.
    failed: OnceLock<String>,
}

struct Synced {
    mark: Mark,
    file: MarkFile,
    noted_at: Instant,
    n_journals: usize,
}

impl Chain {
    /// Goes on with what [`crate::check`] has `found` in `dir`, now that the engine has opened it; numbers are kept in
    /// `keyspace`, and `keyspaces` are those that must be there from now on.
    ///
    /// # Errors
    /// `Damaged` when batches are missing that were durable.
    pub fn open(
        dir: &Path,
        database: Database,
        keyspace: Keyspace,
        keyspaces: &[&Keyspace],
        found: &EngineFiles,
        space: Space,
    ) -> Result<Self, Error> {
        let link = last_link(&keyspace)?;
        let count = link.map_or(0, |link| link.count);
        if found.manifest.is_none() && count > 0 {
            return Err(Error::damaged(&beside(dir, "manifest"), None, "it is missing"));
        }
        let before = found.mark.unwrap_or_default();
        if count < before.count {
            let what = format!("it ends with batch {count}, and batch {} was durable", before.count);
            return Err(Error::damaged(dir, None, what));
        }
        tables_go_on(dir, &keyspace, found)?;
        // what was read back may still be on its way to the disk
        database.persist(PersistMode::SyncAll)?;
        let mut mark = Mark { count, ..before };
        note_journals(dir, &mut mark)?;
        let file = MarkFile::open(dir, mark)?;
        let synced = Synced { mark, file, noted_at: Instant::now(), n_journals: database.journal_count() };
        let manifest = found.manifest.clone().unwrap_or_default();
        let this = Self {
            dir: dir.to_owned(),
            database,
            keyspace,
            space,
            count: count.into(),
            synced: synced.into(),
            manifest: manifest.into(),
            failed: OnceLock::new(),
        };
        this.must_hold(|ids| ids.extend(keyspaces.iter().map(|keyspace| keyspace.id())), found.manifest.is_none())?;
        Ok(this)
    }

    /// Writes a batch, visible at once and durable after the next [`Chain::sync`]. Nothing happens when there is no space.
    pub fn commit(&self, mut batch: OwnedWriteBatch, need: Need) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.space.check(need)?;
        let mut count = lock(&self.count);
        let link = Link { count: *count + 1, floor: self.database.seqno() };
        batch.insert(&self.keyspace, LINK_KEY, link.encode());
        batch.commit().map_err(|cause| self.fail(cause))?;
        *count += 1;
        Ok(())
    }

    /// Returns when everything committed before the call is on disk; one sync serves all who wait for it.
    pub fn sync(&self) -> Result<(), Error> {
        let wanted = *lock(&self.count);
        let mut synced = lock(&self.synced);
        if synced.mark.count < wanted {
            let through = *lock(&self.count);
            let n_journals = self.database.journal_count();
            let is_due = n_journals != synced.n_journals || synced.noted_at.elapsed() >= NOTE_EVERY;
            if is_due {
                // before the sync, which waits for a journal that is being made: then its name is durable, too
                note_journals(&self.dir, &mut synced.mark)?;
                (synced.n_journals, synced.noted_at) = (n_journals, Instant::now());
            }
            self.database.persist(PersistMode::SyncData).map_err(|cause| self.fail(cause))?;
            synced.mark.count = through;
            let mark = synced.mark;
            synced.file.write(mark)?;
            if is_due {
                synced.file.sync()?;
            }
        }
        Ok(())
    }

    /// A keyspace that was just made must be there from now on.
    pub fn keep(&self, keyspace: &Keyspace) -> Result<(), Error> {
        self.must_hold(|ids| ids.extend([keyspace.id()]), false)
    }

    /// A keyspace need not be there any more: call it before the engine removes it.
    pub fn forget(&self, keyspace: &Keyspace) -> Result<(), Error> {
        self.must_hold(|ids| ids.retain(|id| *id != keyspace.id()), false)
    }

    /// How much space there is, and must be.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Why nothing can be written any more, if so: only opening the folder anew tells what is on the disk.
    pub fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }

    fn fail(&self, cause: fjall::Error) -> Error {
        // the first reason stands
        let _ = self.failed.set(cause.to_string());
        Error::Engine(cause)
    }

    fn must_hold(&self, change: impl FnOnce(&mut BTreeSet<u64>), always: bool) -> Result<(), Error> {
        let mut manifest = lock(&self.manifest);
        let mut ids = manifest.keyspaces.clone();
        change(&mut ids);
        if always || ids != manifest.keyspaces {
            let changed = Manifest { keyspaces: ids, gaps: manifest.gaps.clone() };
            changed.write(&self.dir)?;
            *manifest = changed;
        }
        Ok(())
    }
}

/// The number of the last batch in a folder that the engine has open.
pub(crate) fn last_link(keyspace: &Keyspace) -> Result<Option<Link>, Error> {
    let stored = keyspace.get(LINK_KEY)?;
    let link = stored.map(|bytes| <&[u8; Link::BYTES]>::try_from(&*bytes).map(Link::decode).ok());
    match link {
        Some(None) => Err(Error::damaged(keyspace.path(), None, "the number of the last batch is none")),
        Some(link) => Ok(link),
        None => Ok(None),
    }
}

/// What comes before the first batch in the journals may be gone from them because the engine has it in its tables; the
/// keyspace of the links has a part in each batch.
pub(crate) fn tables_go_on(dir: &Path, keyspace: &Keyspace, found: &EngineFiles) -> Result<(), Error> {
    let (Some(mark), Some(oldest), Some((path, first))) = (found.mark, found.oldest_journal, &found.first) else {
        return Ok(());
    };
    let Some(link) = first.link else { return Ok(()) };
    let tables = keyspace.tree.get_highest_persisted_seqno();
    let before = keyspace.tree.get(LINK_KEY, first.seqno).map_err(fjall::Error::from)?;
    let before = before.and_then(|bytes| <&[u8; Link::BYTES]>::try_from(&*bytes).map(Link::decode).ok());
    let follows = before.is_some_and(|before| before.count + 1 == link.count)
        || found.manifest.as_ref().is_some_and(|manifest| manifest.gaps.contains(&link.count));
    if follows || link.count == 1 || tables.is_some_and(|seqno| seqno >= first.seqno) {
        return Ok(());
    }
    if oldest > mark.oldest_journal {
        let what = "it is missing, and what was in it is not in the tables";
        return Err(Error::damaged(&dir.join(format!("{}.jnl", oldest - 1)), None, what));
    }
    let what = format!("the batches before number {} are missing, and are not in the tables", link.count);
    Err(Error::damaged(path, first.offset, what))
}

/// Notes which journals there are.
fn note_journals(dir: &Path, mark: &mut Mark) -> Result<(), Error> {
    let files = journal_files(dir)?;
    if let (Some((oldest, _)), Some((newest, _))) = (files.first(), files.last()) {
        (mark.oldest_journal, mark.newest_journal) = (*oldest, *newest);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
