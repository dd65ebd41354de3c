//! The archive in a folder of this disk: everything is on the disk itself, names included, when a call returns.

use super::files::{Error, Files, Object};
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a file system is asked for. What is not synced may be gone after a power cut: a file's bytes, and a folder's names.
pub trait Disk: Send + Sync + 'static {
    /// Writes a new file, or over an old one.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Brings the bytes of a file, or the names in a folder, to the disk itself.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Gives a file a name, in the place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, too; an error of the kind `AlreadyExists` where that name is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes a folder and those above it.
    fn make_folders(&self, path: &Path) -> io::Result<()>;
    /// Reads a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// All files below a folder, with their sizes.
    fn walk(&self, path: &Path) -> io::Result<Vec<(PathBuf, u64)>>;
    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy)]
pub struct ThisDisk;

impl Disk for ThisDisk {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn make_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn walk(&self, path: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
        let (mut folders, mut files) = (vec![path.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(about) if about.is_dir() => folders.push(entry.path()),
                    Ok(about) => files.push((entry.path(), about.len())),
                    // it was removed meanwhile
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(files)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Whether more may be written; an error says why not.
pub type HasRoom = dyn Fn() -> io::Result<()> + Send + Sync;

/// Objects as files of a folder.
#[derive(Clone)]
pub struct Folder {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    has_room: Arc<HasRoom>,
    /// Tells apart files that are being written by this process; the process's number tells it from others.
    made: Arc<AtomicU64>,
}

/// How files that are being written begin: no reader takes one for a file of rows.
const UNFINISHED: &str = "_unfinished-";

impl Folder {
    /// In a folder, which is made when it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        disk.make_folders(root).map_err(of(root))?;
        // its own name, and those of the folders above, any of which may be new
        for above in root.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match disk.sync(above) {
                // one that is not ours was there
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                synced => synced.map_err(of(above))?,
            }
        }
        Ok(Self { root: root.to_owned(), disk, has_room: Arc::new(|| Ok(())), made: Arc::default() })
    }

    /// The same, which asks before each file whether there is room: others on the same disk may need it more.
    pub fn within(mut self, has_room: Arc<HasRoom>) -> Self {
        self.has_room = has_room;
        self
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &str) -> PathBuf {
        key.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Writes beside the place of an object.
    fn unfinished(&self, to: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
        (self.has_room)().map_err(of(to))?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let folder = to.parent().unwrap_or(&self.root);
        let path = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        self.disk.make_folders(folder).map_err(of(folder))?;
        self.disk.write(&path, bytes).and_then(|()| self.disk.sync(&path)).map_err(of(&path))?;
        Ok(path)
    }

    /// The names in the object's folder and in those above it: any of them may be new.
    fn sync_names(&self, path: &Path) -> Result<(), Error> {
        let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
        above.into_iter().try_for_each(|folder| self.disk.sync(folder).map_err(of(folder)))
    }

    fn create_now(&self, key: &str, bytes: &[u8]) -> Result<bool, Error> {
        let to = self.path(key);
        let from = self.unfinished(&to, bytes)?;
        let linked = self.disk.link(&from, &to);
        self.disk.remove(&from).map_err(of(&from))?;
        let created = match linked {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(source) => return Err(Error::Disk { path: to, source }),
        };
        // of one that was there, too: who made it may not have come so far
        self.sync_names(&to)?;
        Ok(created)
    }

    fn put_now(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let to = self.path(key);
        let from = self.unfinished(&to, bytes)?;
        self.disk.rename(&from, &to).map_err(of(&to))?;
        self.sync_names(&to)
    }

    fn walk(&self, below: &str) -> Result<Vec<(PathBuf, u64)>, Error> {
        let root = self.path(below);
        match self.disk.walk(&root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            walked => walked.map_err(of(&root)),
        }
    }

    fn remove_now(&self, path: &Path) -> Result<(), Error> {
        match self.disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(of(path)),
        }
    }

    fn sweep_now(&self, below: &str) -> Result<(), Error> {
        let is_unfinished = |path: &Path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(UNFINISHED))
        };
        let files = self.walk(below)?.into_iter().map(|(path, _)| path);
        files.filter(|path| is_unfinished(path)).try_for_each(|path| self.remove_now(&path))
    }

    fn list_now(&self, below: &str) -> Result<Vec<Object>, Error> {
        let files = self.walk(below)?;
        let object = |(path, bytes): (PathBuf, u64)| {
            let parts: Option<Vec<_>> = path.strip_prefix(&self.root).ok()?.iter().map(|part| part.to_str()).collect();
            let key = parts?.join("/");
            let is_one = !super::names::last(&key).starts_with(UNFINISHED);
            is_one.then_some(Object { key, bytes })
        };
        let mut objects: Vec<_> = files.into_iter().filter_map(object).collect();
        objects.sort_unstable();
        Ok(objects)
    }

    fn copy_now(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.path(from), self.path(to));
        let folder = to.parent().unwrap_or(&self.root);
        self.disk.make_folders(folder).map_err(of(folder))?;
        match self.disk.link(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Disk { path: to, source }),
        }
        self.sync_names(&to)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.unwrap_or_else(|cause| Err(Error::Disk { path: self.root.clone(), source: io::Error::other(cause) }))
    }
}

fn of(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Disk { path, source }
}

#[async_trait]
impl Files for Folder {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        let key = key.to_owned();
        self.blocking(move |this| this.create_now(&key, &bytes)).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let key = key.to_owned();
        self.blocking(move |this| this.put_now(&key, &bytes)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let path = self.path(key);
        self.blocking(move |this| match this.disk.read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Disk { path, source }),
        })
        .await
    }

    async fn list(&self, below: &str) -> Result<Vec<Object>, Error> {
        let below = below.to_owned();
        self.blocking(move |this| this.list_now(&below)).await
    }

    async fn hold(&self, below: &str) -> Result<(), Error> {
        // a file's bytes are synced before it has a name
        let name = self.path(below).join(UNFINISHED);
        self.blocking(move |this| match this.sync_names(&name) {
            Err(Error::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            held => held,
        })
        .await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.blocking(move |this| this.copy_now(&from, &to)).await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key);
        self.blocking(move |this| this.remove_now(&path)).await
    }

    async fn sweep(&self, below: &str) -> Result<(), Error> {
        let below = below.to_owned();
        self.blocking(move |this| this.sweep_now(&below)).await
    }
}
