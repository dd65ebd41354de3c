//! Versions of a thing, of which one is in use: what data sets and models have in common.
//!
//! A version is never changed: whatever makes another one, its objects go by the attempt that made them. Which one is in use is a
//! step in the thing's history, so of two who change it at once one is told so, and thinks again.

use crate::{
    objects::{self, Objects},
    objects_failed, steps,
};
use bytes::Bytes;
use guard::errors;
use model::Clock;
use object_store::path::Path as Key;
use proto::problem;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::{Histories, Thing, ThingKind};
use tonic::{Code, Status};
use uuid::Uuid;

/// What there are versions of.
pub trait Versioned: Clone + Serialize + DeserializeOwned + Send + Sync {
    /// Ascending with the time at which it was made.
    fn id(&self) -> Uuid;

    /// Where its objects are.
    fn prefix(&self) -> &str;
}

/// A step in the history of a thing.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step<V> {
    /// A version is there; if it is current, it is in use from now on.
    Added { version: Box<V>, current: bool },
    /// A version that was there is in use from now on.
    Current { version: Uuid, at: i64, by: String },
    /// A version is not there any more.
    Deleted { version: Uuid, at: i64, by: String },
}

/// The versions of a thing, as its steps left them.
#[derive(Debug, Clone, PartialEq)]
pub struct History<V> {
    number: u32,
    /// Versions that are kept, the oldest first.
    pub versions: Vec<V>,
    current: Option<Uuid>,
}

impl<V> Default for History<V> {
    fn default() -> Self {
        Self { number: 0, versions: Vec::new(), current: None }
    }
}

impl<V: Versioned> History<V> {
    /// The version that is in use; `None`: there is none.
    pub fn current(&self) -> Option<&V> {
        self.current.and_then(|id| self.version(id))
    }

    /// A version that is kept.
    pub fn version(&self, id: Uuid) -> Option<&V> {
        self.versions.iter().find(|version| version.id() == id)
    }

    fn apply(&mut self, step: Step<V>) {
        self.number += 1;
        match step {
            Step::Added { version, current } => {
                self.current = if current { Some(version.id()) } else { self.current };
                self.versions.push(*version);
            }
            Step::Current { version, .. } => self.current = Some(version),
            Step::Deleted { version, .. } => {
                self.versions.retain(|kept| kept.id() != version);
                self.current = self.current.filter(|current| *current != version);
            }
        }
    }
}

/// Why versions cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The history could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The objects of a version could not be read, put or removed.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// There is no such version.
    #[error("there is no such version")]
    NoVersion,
    /// It is the one that is in use.
    #[error("it is the current version; make another one current first")]
    IsCurrent,
    /// Another version is in use by now than the one that was thought about.
    #[error("another version is in use by now")]
    Changed,
}

impl Error {
    /// What it is to a caller.
    pub(crate) fn status(self) -> Status {
        let text = self.to_string();
        match self {
            Self::Store(error) => errors::store(error),
            Self::Objects(error) => objects_failed(&error),
            Self::NoVersion => no_version("version_id"),
            Self::IsCurrent => problem::field(Code::FailedPrecondition, "IS_CURRENT", "version_id", &text),
            Self::Changed => problem::status(Code::Aborted, "CHANGED", text),
        }
    }
}

/// NOT_FOUND: what `field` names is no version.
pub(crate) fn no_version(field: &str) -> Status {
    problem::field(Code::NotFound, "NO_SUCH_VERSION", field, "there is no such version")
}

/// All things of a kind, by name. Clones are the same.
#[derive(Clone)]
pub struct Versions<V> {
    kind: ThingKind,
    /// Names the ids of the things.
    names: Uuid,
    store: Arc<dyn Histories>,
    objects: Objects,
    clock: Clock,
    /// As far as this process has read: what was put is never changed.
    known: Arc<Mutex<HashMap<String, History<V>>>>,
}

impl<V: Versioned> Versions<V> {
    /// Of what is in a store under `kind`, with ids that `names` makes of names; what belongs to versions is in `objects`.
    pub fn new(kind: ThingKind, names: Uuid, store: Arc<dyn Histories>, objects: Objects, clock: Clock) -> Self {
        Self { kind, names, store, objects, clock, known: Arc::default() }
    }

    /// Where objects are.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// One of a version's objects, whole.
    pub async fn object(&self, version: &V, name: &str) -> Result<Bytes, objects::Error> {
        self.objects.get(&Key::from(version.prefix()).join(name)).await
    }

    /// The versions of a thing; one of which nothing was made has none.
    pub async fn get(&self, name: &str) -> Result<History<V>, store::Error> {
        let mut history = self.known().get(name).cloned().unwrap_or_default();
        let known = history.number;
        for bytes in steps::all(&*self.store, self.thing(name), known + 1).await? {
            let step = serde_json::from_slice(&bytes);
            let unreadable = |error| store::Error::Corrupt(format!("a step of the versions of {name}: {error}"));
            history.apply(step.map_err(unreadable)?);
        }
        if history.number > known {
            self.known().insert(name.to_owned(), history.clone());
        }
        Ok(history)
    }

    /// Adds the version of this id that `make` gives for the history as it stands, and whether it is in use from now on; `None`:
    /// none is needed. What belongs to it is durable already. It is there already: by this very call, whose answer was lost.
    pub async fn add(
        &self,
        name: &str,
        id: Uuid,
        make: impl Fn(&History<V>) -> Result<Option<(V, bool)>, Error>,
    ) -> Result<History<V>, Error> {
        self.change(name, |history| {
            if history.version(id).is_some() {
                return Ok(None);
            }
            Ok(make(history)?.map(|(version, current)| Step::Added { version: Box::new(version), current }))
        })
        .await
    }

    /// Makes a version that is kept the one that is in use.
    pub async fn set_current(&self, name: &str, version: Uuid, by: &str) -> Result<History<V>, Error> {
        let at = (self.clock)().0;
        self.change(name, |history| {
            history.version(version).ok_or(Error::NoVersion)?;
            let step = Step::Current { version, at, by: by.to_owned() };
            Ok(Some(step).filter(|_| history.current != Some(version)))
        })
        .await
    }

    /// Deletes a version, and then its objects. The one that is in use goes only with `also_current`.
    pub async fn delete(&self, name: &str, version: Uuid, by: &str, also_current: bool) -> Result<History<V>, Error> {
        let at = (self.clock)().0;
        let before = self.get(name).await?;
        let prefix = before.version(version).ok_or(Error::NoVersion)?.prefix().to_owned();
        let history = self
            .change(name, |history| {
                if history.current == Some(version) && !also_current {
                    return Err(Error::IsCurrent);
                }
                let step = Step::Deleted { version, at, by: by.to_owned() };
                Ok(history.version(version).map(|_| step))
            })
            .await?;
        self.objects.remove_all(&Key::from(prefix)).await?;
        Ok(history)
    }

    /// Puts the next step as long as others put theirs; `None` from `step`: it is so already.
    async fn change(
        &self,
        name: &str,
        step: impl Fn(&History<V>) -> Result<Option<Step<V>>, Error>,
    ) -> Result<History<V>, Error> {
        loop {
            let mut history = self.get(name).await?;
            let Some(step) = step(&history)? else { return Ok(history) };
            // names, numbers and ids: nothing that JSON cannot hold
            let bytes = serde_json::to_vec(&step).unwrap_or_default();
            if self.store.put_step(self.thing(name), history.number + 1, &bytes).await? {
                history.apply(step);
                return Ok(history);
            }
        }
    }

    fn thing(&self, name: &str) -> Thing {
        Thing { kind: self.kind, id: Uuid::new_v5(&self.names, name.as_bytes()) }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, History<V>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
