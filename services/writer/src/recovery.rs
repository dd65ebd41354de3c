//! Whether the embedded log and the embedded store still go together.
//!
//! The log says how far its records were written to the store; the store says the same of itself, in the batch that holds
//! the rows. Where they differ, something was lost: what the log still has is written again, what nobody has refuses the
//! start (`wardline repair` says what can be done then).

use bus::{READINGS, embedded::Log};
use std::fmt;
use store::embedded::{Store, Through};

/// Why a node cannot start on a log and a store.
#[derive(Debug)]
pub enum Error {
    /// They do not go together: what is missing, and where.
    Apart(String),
    /// The log cannot be read or written.
    Log(bus::Error),
    /// The store cannot be read or written.
    Store(store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart(what) => write!(f, "{what}; `wardline repair` says what can be done"),
            Self::Log(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Apart(_) => None,
            Self::Log(error) => Some(error),
            Self::Store(error) => Some(error),
        }
    }
}

impl From<bus::Error> for Error {
    fn from(error: bus::Error) -> Self {
        Self::Log(error)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Compares what the log says was stored with what the store says it has; makes the writer read again what is missing.
///
/// # Errors
/// Rows are missing that the log no longer has, or the log lost records: names partition and offsets.
pub async fn compare(log: &Log, store: &Store, group: &str) -> Result<(), Error> {
    let standing = log.standing(group);
    let next = match store.through(READINGS).await? {
        Through::Next(next) => (0..).zip(&standing).map(|(p, _)| next.get(&p).copied().unwrap_or(0)).collect(),
        Through::Empty => vec![0; standing.len()],
        Through::Unknown => standing.iter().map(|[_, committed, _]| *committed).collect(),
    };
    let mut missing = 0;
    for (partition, ([low, committed, end], through)) in standing.iter().zip(&next).enumerate() {
        if through > end {
            return Err(Error::Apart(format!(
                "partition {partition} of the log ends at {end}, and the store was written from it up to {through}: the log \
                 lost records"
            )));
        }
        if through < committed && through < low {
            return Err(Error::Apart(format!(
                "the store lacks the rows of records {through} to {committed} of partition {partition}, and the log begins \
                 at {low}"
            )));
        }
        missing += (committed - through).max(0);
    }
    if missing > 0 {
        tracing::error!(
            records = missing,
            "the store lacks rows that it had: they are written again from the log, which has them"
        );
        log.rewind(group, &next)?;
    }
    Ok(store.set_through(READINGS, &(0..).zip(next).collect::<Vec<_>>()).await?)
}

/// Refuses a registry of which a change is missing: what came after it would be left out without a word.
///
/// # Errors
/// A change is missing: names it, and how many later ones are there.
pub async fn registry_is_whole(store: &Store) -> Result<(), Error> {
    match store.unfollowed().await? {
        None => Ok(()),
        Some((missing, later)) => {
            let n_later = later.len();
            Err(Error::Apart(format!(
                "change {missing} of the registry is missing, and {n_later} later ones are there"
            )))
        }
    }
}
