//! Whether the embedded log and the embedded store still go together.
//!
//! The log says how far its records were written to the store; the store says the same of itself, in the batch that holds
//! the rows. Where they differ, something was lost: what the log still has is written again, what nobody has refuses the
//! start (`wardline repair` says what can be done then).

use anyhow::{bail, ensure};
use bus::{READINGS, embedded::Log};
use store::embedded::{Store, Through};

/// Compares what the log says was stored with what the store says it has; makes the writer read again what is missing.
///
/// # Errors
/// Rows are missing that the log no longer has, or the log lost records: names partition and offsets.
pub async fn compare(log: &Log, store: &Store, group: &str) -> anyhow::Result<()> {
    let standing = log.standing(group);
    let next = match store.through(READINGS).await? {
        Through::Next(next) => (0..).zip(&standing).map(|(p, _)| next.get(&p).copied().unwrap_or(0)).collect(),
        Through::Empty => vec![0; standing.len()],
        Through::Unknown => standing.iter().map(|[_, committed, _]| *committed).collect(),
    };
    let mut missing = 0;
    for (partition, ([low, committed, end], through)) in standing.iter().zip(&next).enumerate() {
        ensure!(
            through <= end,
            "partition {partition} of the log ends at {end}, and the store was written from it up to {through}: the log \
             lost records; `wardline repair` says what can be done"
        );
        ensure!(
            through >= committed || through >= low,
            "the store lacks the rows of records {through} to {committed} of partition {partition}, and the log begins at \
             {low}; `wardline repair` says what can be done"
        );
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
pub async fn registry_is_whole(store: &Store) -> anyhow::Result<()> {
    match store.unfollowed().await? {
        None => Ok(()),
        Some((missing, later)) => bail!(
            "change {missing} of the registry is missing, and {} later ones are there; `wardline repair` says what can be done",
            later.len()
        ),
    }
}
