//! How far a consumer group has come, asked by somebody who is not of the group.

use crate::{Error, NextOffset};
use async_trait::async_trait;
use model::PatientId;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// First and longest wait before it is asked again.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How far one group has come; belongs to who shows nothing before it is written.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Where the group goes on, and where the log ends, in the partition of records with `key`.
    ///
    /// # Errors
    /// `Unavailable` when the log does not answer.
    async fn progress(&self, key: PatientId) -> Result<(NextOffset, NextOffset), Error>;
}

/// Waits until the group has dealt with every record with `key` that is durable now; `false` when it has not within `limit`.
///
/// # Errors
/// As [`Progress::progress`].
pub async fn catches_up(group: &dyn Progress, key: PatientId, limit: Duration) -> Result<bool, Error> {
    let until = Instant::now() + limit;
    let (mut next, end) = group.progress(key).await?;
    let mut pause = ASK_AGAIN.0;
    while next < end {
        if Instant::now() + pause > until {
            return Ok(false);
        }
        sleep(pause).await;
        pause = ASK_AGAIN.1.min(pause * 2);
        next = group.progress(key).await?.0;
    }
    Ok(true)
}
