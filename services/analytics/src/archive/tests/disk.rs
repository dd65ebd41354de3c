//! A disk that forgets what was not synced, and that stops at a chosen step.

use super::super::folder::Disk;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// What was written under some name, and how much of it is on the disk itself.
#[derive(Clone)]
struct Content {
    bytes: Vec<u8>,
    synced: Option<Vec<u8>>,
}

type Names = BTreeMap<PathBuf, usize>;

struct State {
    contents: Vec<Content>,
    names: Names,
    folders: BTreeSet<PathBuf>,
    /// Names and folders on the disk itself.
    synced_names: Names,
    synced_folders: BTreeSet<PathBuf>,
    /// Steps until it stops; `None`: it does not.
    left: Option<u32>,
    rng: StdRng,
}

/// A disk that loses what was not synced.
pub(super) struct SimulatedDisk(Mutex<State>);

/// How it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The process is gone, what it wrote is there.
    Killed,
    /// What was not synced may be there or not.
    PowerCut,
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        let (contents, rng) = (Vec::new(), StdRng::seed_from_u64(seed));
        let root = BTreeSet::from([PathBuf::from("/")]);
        Self(Mutex::new(State {
            contents,
            names: Names::new(),
            folders: root.clone(),
            synced_names: Names::new(),
            synced_folders: root,
            left: None,
            rng,
        }))
    }

    /// Stops at the step after so many others.
    pub(super) fn stop_after(&self, steps: u32) {
        self.0.lock().unwrap().left = Some(steps);
    }

    /// Starts again after it has stopped.
    pub(super) fn start(&self, stop: Stop) {
        let mut state = self.0.lock().unwrap();
        state.left = None;
        if stop == Stop::PowerCut {
            state.forget();
        }
    }

    fn step<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        match state.left {
            Some(0) => Err(io::Error::other("the disk is gone")),
            Some(1) => {
                state.left = Some(0);
                // the last step is done or not; nobody learns which
                if state.rng.random() {
                    act(&mut state)?;
                }
                Err(io::Error::other("the disk is gone"))
            }
            left => {
                state.left = left.map(|left| left - 1);
                act(&mut state)
            }
        }
    }
}

impl State {
    /// A power cut: of what was not synced some is there, as chance has it.
    fn forget(&mut self) {
        let Self { contents, names, folders, synced_names, synced_folders, rng, .. } = self;
        let mut kept_folders = synced_folders.clone();
        for folder in folders.iter() {
            if folder.parent().is_some_and(|above| kept_folders.contains(above)) && rng.random() {
                kept_folders.insert(folder.clone());
            }
        }
        let mut kept = synced_names.clone();
        for path in names.keys().chain(synced_names.keys()) {
            let (now, then) = (names.get(path), synced_names.get(path));
            if now != then && rng.random() {
                match now {
                    Some(content) => drop(kept.insert(path.clone(), *content)),
                    None => drop(kept.remove(path)),
                }
            }
        }
        kept.retain(|path, _| path.ancestors().skip(1).all(|above| kept_folders.contains(above)));
        for content in contents.iter_mut() {
            let written = content.bytes.len();
            // what was not synced is cut off somewhere
            content.bytes = match content.synced.take() {
                Some(synced) => synced,
                None => content.bytes[..rng.random_range(0..=written)].to_vec(),
            };
            content.synced = Some(content.bytes.clone());
        }
        (*names, *folders) = (kept.clone(), kept_folders.clone());
        (*synced_names, *synced_folders) = (kept, kept_folders);
    }

    fn content(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn in_a_folder(&self, path: &Path) -> io::Result<()> {
        let is = path.parent().is_some_and(|folder| self.folders.contains(folder));
        is.then_some(()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(|state| {
            state.in_a_folder(path)?;
            state.contents.push(Content { bytes: bytes.to_vec(), synced: None });
            let content = state.contents.len() - 1;
            state.names.insert(path.to_owned(), content);
            Ok(())
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            if let Some(content) = state.names.get(path) {
                let content = &mut state.contents[*content];
                content.synced = Some(content.bytes.clone());
                return Ok(());
            }
            if !state.folders.contains(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let is_in = |name: &PathBuf| name.parent() == Some(path);
            state.synced_names.retain(|name, _| !is_in(name));
            let now = state.names.iter().filter(|(name, _)| is_in(name)).map(|(name, at)| (name.clone(), *at));
            state.synced_names.extend(now);
            let folders = state.folders.iter().filter(|folder| is_in(folder)).cloned();
            state.synced_folders.extend(folders);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            state.in_a_folder(to)?;
            let content = state.content(from)?;
            state.names.remove(from);
            state.names.insert(to.to_owned(), content);
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            state.in_a_folder(to)?;
            let content = state.content(from)?;
            if state.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.insert(to.to_owned(), content);
            Ok(())
        })
    }

    fn make_folders(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.folders.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.step(|state| Ok(state.contents[state.content(path)?].bytes.clone()))
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
        self.step(|state| {
            if !state.folders.contains(path) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let below = state.names.iter().filter(|(name, _)| name.starts_with(path));
            Ok(below.map(|(name, at)| (name.clone(), state.contents[*at].bytes.len() as u64)).collect())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

/// A number below `end`, by chance.
pub(super) fn chance(rng: &mut impl Rng, end: u32) -> u32 {
    rng.random_range(0..end)
}
