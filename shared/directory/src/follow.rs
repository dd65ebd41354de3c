//! How a process comes to what the registry knows: its changes, read on from the last one known.

use crate::{Error, LiveDirectory};
use model::Nanos;
use std::time::SystemTime;

/// Changes read at once.
const CHANGES_A_READ: usize = 1_000;

/// Why a process could not follow the registry's changes.
#[derive(Debug, thiserror::Error)]
pub enum Behind {
    /// The store did not answer; it may work later.
    #[error("the registry's changes could not be read")]
    Store(#[from] store::Error),
    /// A change cannot be read or applied.
    #[error("the registry's changes could not be followed")]
    Change(#[from] Error),
}

/// Takes over all that was changed since `directory` followed last.
pub async fn follow(directory: &LiveDirectory, store: &dyn store::Registry) -> Result<(), Behind> {
    let begun = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let begun = Nanos(i64::try_from(begun.as_nanos()).unwrap_or(i64::MAX));
    loop {
        let from = directory.get().registry().sequence() + 1;
        let changes = store.changes(from, CHANGES_A_READ).await?;
        directory.follow(&changes)?;
        if changes.len() < CHANGES_A_READ {
            directory.followed(begun);
            return Ok(());
        }
    }
}
