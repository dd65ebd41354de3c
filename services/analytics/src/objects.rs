//! Where files rest that are too large for the store: data sets, models, results. A folder, or an object store.
//!
//! A file that was put is durable when the call returns, and is never changed: its name says which attempt made it.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, local::LocalFileSystem, path::Path as Key,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Objects in a folder.
#[derive(Clone)]
pub struct Objects {
    root: PathBuf,
    store: Arc<dyn ObjectStore>,
}

/// Why an object cannot be put, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store.
    #[error("objects: {0}")]
    Store(#[from] object_store::Error),
    /// A folder or a file of the objects, on this disk.
    #[error("objects in {path}: {source}")]
    Folder {
        /// Which folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Objects {
    /// In a folder, which is made when it is missing.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Folder { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(&root)?.with_automatic_cleanup(true));
        Ok(Self { root, store })
    }

    /// Puts an object that was not there, durably.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(key, PutPayload::from_bytes(bytes), options).await?;
        self.settle(key).await
    }

    /// Takes over a file that was written elsewhere on this disk, durably; its old name is gone then.
    pub async fn adopt(&self, key: &Key, file: PathBuf) -> Result<(), Error> {
        let to = self.path(key);
        let moved = move || {
            let failed = |path: &Path| {
                let path = path.to_owned();
                move |source| Error::Folder { path, source }
            };
            let folder = to.parent().unwrap_or(&to);
            fs::create_dir_all(folder).map_err(failed(folder))?;
            fs::File::open(&file).and_then(|file| file.sync_all()).map_err(failed(&file))?;
            fs::rename(&file, &to).map_err(failed(&to))
        };
        blocking(moved).await?;
        self.settle(key).await
    }

    /// Reads an object whole.
    pub async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        Ok(self.store.get(key).await?.bytes().await?)
    }

    /// Reads the bytes from an offset on, at most so many; also how many there are in all.
    pub async fn get_part(&self, key: &Key, offset: u64, most: u64) -> Result<(Bytes, u64), Error> {
        let all = self.store.head(key).await?.size;
        let end = offset.saturating_add(most).min(all);
        if offset >= end {
            return Ok((Bytes::new(), all));
        }
        Ok((self.store.get_range(key, offset..end).await?, all))
    }

    /// The objects right below a key, by their names: how many bytes each has.
    pub async fn sizes(&self, below: &Key) -> Result<BTreeMap<String, u64>, Error> {
        let listed = self.store.list_with_delimiter(Some(below)).await?;
        let one = |meta: ObjectMeta| Some((meta.location.filename()?.to_owned(), meta.size));
        Ok(listed.objects.into_iter().filter_map(one).collect())
    }

    /// The folders right below a key.
    pub async fn folders(&self, below: &Key) -> Result<Vec<String>, Error> {
        let listed = self.store.list_with_delimiter(Some(below)).await?;
        Ok(listed.common_prefixes.iter().filter_map(|key| key.filename().map(str::to_owned)).collect())
    }

    /// Removes all objects below a key; what is gone already is no error.
    pub async fn remove_all(&self, below: &Key) -> Result<(), Error> {
        let keys: Vec<_> = self.store.list(Some(below)).map_ok(|meta| meta.location).try_collect().await?;
        let removed = self.store.delete_stream(futures::stream::iter(keys.into_iter().map(Ok)).boxed());
        let outcome: Vec<_> = removed.collect().await;
        for one in outcome {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Where an object lies on this disk.
    pub fn path(&self, key: &Key) -> PathBuf {
        // a key has no `..` in it: its parts are escaped
        key.parts().fold(self.root.clone(), |path, part| path.join(part.as_ref()))
    }

    /// The folder of objects that are being made: on the same disk.
    pub fn scratch(&self) -> Result<tempfile::TempDir, Error> {
        let scratch = self.root.join("scratch");
        let made = fs::create_dir_all(&scratch).and_then(|()| tempfile::tempdir_in(&scratch));
        made.map_err(|source| Error::Folder { path: scratch, source })
    }

    /// The object store writes through a file of another name, and leaves it to the system when that is on disk.
    async fn settle(&self, key: &Key) -> Result<(), Error> {
        let (path, root) = (self.path(key), self.root.clone());
        blocking(move || {
            let sync = |path: &Path| {
                let synced = fs::File::open(path).and_then(|file| file.sync_all());
                synced.map_err(|source| Error::Folder { path: path.to_owned(), source })
            };
            // the folders above, too: any of them may be new
            path.ancestors().take_while(|above| above.starts_with(&root)).try_for_each(sync)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|cause| Err(Error::Folder { path: PathBuf::new(), source: io::Error::other(cause) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_is_there_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(&dir.path().join("objects")).unwrap();
        let key = Key::from("datasets/sites/1/part-0.parquet");
        objects.put(&key, Bytes::from_static(b"rows")).await.unwrap();
        assert!(objects.put(&key, Bytes::from_static(b"others")).await.is_err(), "nothing is written over");
        assert_eq!(objects.get(&key).await.unwrap(), "rows");
        assert_eq!(fs::read(objects.path(&key)).unwrap(), b"rows");
        let scratch = objects.scratch().unwrap();
        let made = scratch.path().join("made");
        fs::write(&made, b"more rows").unwrap();
        let second = Key::from("datasets/sites/1/part-1.parquet");
        objects.adopt(&second, made.clone()).await.unwrap();
        assert!(!made.exists() && objects.get(&second).await.unwrap() == "more rows");
        for _ in 0..2 {
            objects.remove_all(&Key::from("datasets/sites/1")).await.unwrap();
            assert!(objects.get(&key).await.is_err() && objects.get(&second).await.is_err());
        }
        // whatever a name holds, it stays below the folder
        let sly = Key::from_iter(["datasets", "../../sly"]);
        assert!(objects.path(&sly).starts_with(dir.path().canonicalize().unwrap().join("objects")));
    }
}
