//! Why a source gives nothing.

use crate::jobs::kinds::Failure;
use std::{io, time::Duration};
use tokio::time;

/// Longest pause before a job's next attempt that another side can ask for: none puts a job off for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a source gives nothing, and what to do; the source is named by whoever knows it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better next time.
    Again {
        /// What happened, for the error of the job.
        text: String,
        /// How long the other side asks to wait.
        after: Option<Duration>,
    },
    /// It would be so again.
    Final(String),
}

impl Trouble {
    /// It may go better next time.
    pub(super) fn again(text: impl Into<String>) -> Self {
        Self::Again { text: text.into(), after: None }
    }

    /// It was replaced between two looks at it.
    pub(super) fn changed() -> Self {
        Self::again("it has changed while it was read")
    }

    /// This disk does not take it.
    pub(super) fn unwritten(error: io::Error) -> Self {
        Self::again(format!("the file cannot be written here: {}", error.kind()))
    }

    /// What happened, alone.
    pub(super) fn text(self) -> String {
        match self {
            Self::Again { text, .. } | Self::Final(text) => text,
        }
    }

    /// As the failure of a job.
    pub(super) fn of(self, source: &str) -> Failure {
        match self {
            Self::Again { text, after: None } => Failure::Again(format!("the source {source}: {text}")),
            Self::Again { text, after: Some(after) } => {
                let text = format!("the source {source}: {text}, and asks for a pause of {} s", after.as_secs());
                Failure::Later { text, after: after.min(LONGEST_PAUSE) }
            }
            Self::Final(text) => Failure::Final(format!("the source {source}: {text}")),
        }
    }
}

/// What `bringing` comes to, if it takes no longer than an attempt may.
pub(super) async fn within<T>(
    most: Duration,
    bringing: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = |_| Trouble::again(format!("it takes longer than {} s (max_minutes)", most.as_secs()));
    time::timeout(most, bringing).await.map_err(late)?
}
