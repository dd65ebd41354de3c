//! Who was entered, claimed or let in on another node a moment ago: what this process knows of the registry is up to a second
//! old, or older while the store does not answer. A refusal for who somebody is says never to try again, so nobody is
//! refused for what is not known yet: the registry is read first.
//!
//! One reading answers all who came before it began. Who waits holds a place, of which there are few, and not for long.

use super::refusals;
use directory::LiveDirectory;
use model::{
    Nanos,
    access::{Identity, Subject},
};
use std::{sync::Arc, time::Duration};
use store::Registry;
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep_until, timeout},
};
use tonic::Status;

/// How much newer a token may look than what is known here and be older all the same: a certificate says that it was issued five
/// minutes before, and clocks differ by half a minute.
const MARGIN: i64 = 330 * Nanos::SECOND;
/// How long somebody waits.
const WAIT: Duration = Duration::from_secs(2);
/// How many wait at once.
const WAITERS: usize = 256;
/// Between the beginnings of two readings, so that strangers cannot have the registry read all the time.
const GAP: Duration = Duration::from_millis(50);

/// Reads the registry for those who are not known yet. Clones are the same.
#[derive(Clone)]
pub(super) struct News(Arc<Inner>);

struct Inner {
    directory: LiveDirectory,
    registry: Arc<dyn Registry>,
    places: Semaphore,
    /// When the last reading that succeeded began; held while one is under way.
    read_at: Mutex<Option<Instant>>,
}

impl News {
    pub fn new(directory: LiveDirectory, registry: Arc<dyn Registry>) -> Self {
        Self(Arc::new(Inner { directory, registry, places: Semaphore::new(WAITERS), read_at: Mutex::new(None) }))
    }

    /// Whether somebody is to be refused by what is known here, and is newer than that.
    pub fn may_change(&self, identity: &Identity) -> bool {
        let directory = self.0.directory.get();
        let is_known = match identity.subject {
            Subject::Device(device) => directory.assignments(device, identity.issued_at).is_ok(),
            Subject::User(user) => directory.roles_of(user).next().is_some(),
        };
        // one that does not say how old it is may be new
        !is_known
            && (identity.issued_at == Nanos::MIN || identity.issued_at.plus(MARGIN) >= self.0.directory.followed_at())
    }

    /// Waits until all is known that was changed before this call.
    ///
    /// # Errors
    /// UNAVAILABLE: too many wait, or the registry does not answer.
    pub async fn known(&self) -> Result<(), Status> {
        let asked = Instant::now();
        let Ok(_place) = self.0.places.try_acquire() else { return Err(refusals::behind()) };
        timeout(WAIT, self.read_since(asked)).await.unwrap_or_else(|_| Err(refusals::behind()))
    }

    async fn read_since(&self, asked: Instant) -> Result<(), Status> {
        let mut read_at = self.0.read_at.lock().await;
        if let Some(last) = *read_at {
            if last >= asked {
                return Ok(());
            }
            sleep_until(last + GAP).await;
        }
        let begun = Instant::now();
        if let Err(error) = directory::follow(&self.0.directory, self.0.registry.as_ref()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "who is not known here cannot be looked for");
            return Err(refusals::behind());
        }
        *read_at = Some(begun);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
