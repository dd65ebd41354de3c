//! Why a source gives nothing.

use crate::jobs::kinds::Failure;
use std::time::Duration;

/// Why a source gives nothing, and what to do; the source is named by whoever knows it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better next time.
    Again {
        /// What happened.
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

    /// As the failure of a job.
    pub(super) fn of(self, source: &str) -> Failure {
        match self {
            Self::Again { text, .. } => Failure::Again(format!("the source {source}: {text}")),
            Self::Final(text) => Failure::Final(format!("the source {source}: {text}")),
        }
    }
}
