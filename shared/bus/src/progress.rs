//! How far a consumer group has come, asked by somebody who is not of the group.

use crate::{Error, NextOffset};
use async_trait::async_trait;
use model::PatientId;
use std::time::Duration;
use tokio::time::{sleep, timeout};

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

    /// The same, for who asks several times in a row, when that needs something to be opened: it is held as long as this is.
    fn opened(&self) -> Option<Box<dyn Progress>> {
        None
    }
}

/// Waits until the group has dealt with every record with `key` that is durable now; `false` when it has not within `limit`, and
/// when there is no answer within that.
///
/// # Errors
/// As [`Progress::progress`].
pub async fn catches_up(group: &dyn Progress, key: PatientId, limit: Duration) -> Result<bool, Error> {
    let opened = group.opened();
    let waited = async {
        let group = opened.as_deref().unwrap_or(group);
        let (mut next, end) = group.progress(key).await?;
        let mut pause = ASK_AGAIN.0;
        while next < end {
            sleep(pause).await;
            pause = ASK_AGAIN.1.min(pause * 2);
            next = group.progress(key).await?.0;
        }
        Ok(true)
    };
    timeout(limit, waited).await.unwrap_or(Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    use tokio::time::Instant;
    use uuid::Uuid;

    const KEY: PatientId = PatientId::new(Uuid::nil());
    const LIMIT: Duration = Duration::from_secs(5);

    /// A group one behind, that catches up with a number of questions of one line; each is answered after a while.
    #[derive(Clone)]
    struct Group {
        answers_after: Duration,
        caught_up_after: u32,
        n_asked: Arc<AtomicU32>,
        n_opened: Arc<AtomicU32>,
    }

    fn group(answers_after: Duration, caught_up_after: u32) -> Group {
        Group { answers_after, caught_up_after, n_asked: Arc::default(), n_opened: Arc::default() }
    }

    #[async_trait]
    impl Progress for Group {
        async fn progress(&self, _: PatientId) -> Result<(NextOffset, NextOffset), Error> {
            sleep(self.answers_after).await;
            let n = self.n_asked.fetch_add(1, Ordering::SeqCst) + 1;
            Ok((NextOffset::at(i64::from(n >= self.caught_up_after)), NextOffset::at(1)))
        }

        fn opened(&self) -> Option<Box<dyn Progress>> {
            self.n_opened.fetch_add(1, Ordering::SeqCst);
            Some(Box::new(Self { n_asked: Arc::default(), ..self.clone() }))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_its_limit_however_long_an_answer_takes() {
        for answers_after in [Duration::from_secs(3), Duration::from_secs(60)] {
            let begun = Instant::now();
            assert!(!catches_up(&group(answers_after, 3), KEY, LIMIT).await.unwrap());
            let took = begun.elapsed();
            assert!((LIMIT..LIMIT + Duration::from_millis(10)).contains(&took), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_questions_of_a_wait_are_asked_with_what_was_opened_for_it() {
        let group = group(Duration::from_millis(1), 4);
        for n_waits in 1..=2 {
            assert!(catches_up(&group, KEY, LIMIT).await.unwrap());
            assert_eq!(group.n_opened.load(Ordering::SeqCst), n_waits);
            assert_eq!(group.n_asked.load(Ordering::SeqCst), 0);
        }
    }
}
