//! The directory of a running process: cheap to read, replaced as a whole when something changes.

use crate::{
    Directory, Error, files,
    registry::{Entry, State},
};
use model::Nanos;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// A directory that follows its folder and the registry. Clones share it.
#[derive(Clone)]
pub struct LiveDirectory {
    dir: PathBuf,
    now: Arc<RwLock<Arc<Directory>>>,
    /// What the files were like; held while a new directory is made, so that none is lost.
    seen: Arc<Mutex<files::Fingerprint>>,
    /// When the registry was last found to have no more changes than are known here.
    followed_at: Arc<AtomicI64>,
}

impl LiveDirectory {
    /// Reads the folder for the first time. Nothing of the registry is known yet.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let seen = Arc::new(Mutex::new(files::fingerprint(dir)?));
        let now = Arc::new(RwLock::new(Arc::new(Directory::read(dir)?)));
        let followed_at = Arc::new(AtomicI64::new(Nanos::MIN.0));
        Ok(Self { dir: dir.to_owned(), now, seen, followed_at })
    }

    /// All that was changed in the registry before this instant, by this process's clock, is known here.
    pub fn followed_at(&self) -> Nanos {
        Nanos(self.followed_at.load(Ordering::Acquire))
    }

    /// All that was changed in the registry before `at` is known now.
    pub(crate) fn followed(&self, at: Nanos) {
        // whatever it was before: a clock can be put back
        self.followed_at.store(at.0, Ordering::Release);
    }

    /// The directory as it is now.
    pub fn get(&self) -> Arc<Directory> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the folder again if a file changed; says whether it did. On an error the old directory stays.
    pub fn refresh(&self) -> Result<bool, Error> {
        let mut seen = self.changing();
        let found = files::fingerprint(&self.dir)?;
        if found == *seen {
            return Ok(false);
        }
        let files = Arc::new(files::read(&self.dir)?);
        let registry = Arc::clone(self.get().registry());
        self.set(Directory { files, registry });
        *seen = found;
        Ok(true)
    }

    /// Takes over changes of the registry, of which those that are known already are left out.
    ///
    /// # Errors
    /// [`Error::Registry`] when one is missing, cannot be read or cannot be applied: the old directory stays.
    pub fn follow<B: AsRef<[u8]>>(&self, changes: &[(u64, B)]) -> Result<(), Error> {
        let _changing = self.changing();
        let now = self.get();
        let known = now.registry().sequence();
        let mut news = changes.iter().filter(|(sequence, _)| *sequence > known).peekable();
        if news.peek().is_none() {
            return Ok(());
        }
        let mut state = State::clone(now.registry());
        for (sequence, bytes) in news {
            let unusable = |what| Error::Registry { sequence: *sequence, what };
            let entry = Entry::decode(bytes.as_ref()).map_err(unusable)?;
            state.follow(*sequence, &entry).map_err(unusable)?;
        }
        self.set(now.with_registry(state));
        Ok(())
    }

    /// Takes over the state of a draft that this process made and stored. Where it was followed in the meantime, that stays.
    pub fn adopt(&self, state: State) {
        let _changing = self.changing();
        let now = self.get();
        if now.registry().sequence() + 1 == state.sequence() {
            self.set(now.with_registry(state));
        }
    }

    fn changing(&self) -> MutexGuard<'_, files::Fingerprint> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, directory: Directory) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
    }
}
