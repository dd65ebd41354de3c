//! The archive in a bucket of an object store.

use super::files::{Error, Files, Object};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path as Key};
use std::sync::Arc;
use uuid::Uuid;

/// Objects of an object store that creates only what is not there.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
}

impl Bucket {
    /// For who only reads, or for one that was tried.
    pub fn trusted(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Opens it, and tries whether it keeps to what is asked: some stores write over what should only be created.
    ///
    /// # Errors
    /// The store does not answer, or a second `create` succeeds.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, Error> {
        let bucket = Self::trusted(store);
        let key = format!("readings/_probes/{}", Uuid::new_v4());
        let created = (bucket.create(&key, Bytes::new()).await?, bucket.create(&key, Bytes::new()).await?);
        bucket.remove(&key).await?;
        match created {
            (true, false) => Ok(bucket),
            _ => Err(Error::Promise(
                "the object store writes over what should only be created (it ignores If-None-Match): use another one"
                    .to_owned(),
            )),
        }
    }
}

#[async_trait]
impl Files for Bucket {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool, Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&Key::from(key), PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        self.store.put(&Key::from(key), PutPayload::from_bytes(bytes)).await?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.store.get(&Key::from(key)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn list(&self, below: &str) -> Result<Vec<Object>, Error> {
        let listed = self.store.list(Some(&Key::from(below)));
        let object = |about: object_store::ObjectMeta| Object { key: about.location.to_string(), bytes: about.size };
        let mut objects: Vec<_> = listed.map_ok(object).try_collect().await?;
        objects.sort_unstable();
        Ok(objects)
    }

    /// What can be seen is durable.
    async fn hold(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// Nothing is seen before it is finished.
    async fn sweep(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        self.store.copy(&Key::from(from), &Key::from(to)).await?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
