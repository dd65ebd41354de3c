//! What a submission says, whoever submits it: a kind that there is, its parameters, and how often it is tried.

use super::{
    board::Board,
    kinds::{Kinds, Parameters, Unfit, checked},
    step::{Notify, Priority, Submission},
};

/// Attempts that a job has if nobody says otherwise.
pub const ATTEMPTS: u32 = 3;

/// Where jobs go, and what they can be. Clones are the same.
#[derive(Clone)]
pub struct Orders {
    /// Where they go.
    pub board: Board,
    /// What they can do.
    pub kinds: Kinds,
    /// How long after a failure the next attempt begins.
    pub pause_seconds: u32,
}

impl Orders {
    /// A job of a kind with its parameters, the rest as it is if nobody says otherwise.
    ///
    /// # Errors
    /// There is no such kind, or it takes something else.
    pub fn of(&self, kind: &str, given: &Parameters, submitter: &str) -> Result<Submission, Unfit> {
        let kind = self.kinds.find(kind)?;
        let parameters = checked(&kind.parameters(), given)?;
        kind.fits(&parameters)?;
        Ok(Submission { kind: kind.name().to_owned(), parameters, ..self.plain(submitter) })
    }

    /// What a submission says about everything but its kind, if nobody says otherwise.
    pub(crate) fn plain(&self, submitter: &str) -> Submission {
        Submission {
            kind: String::new(),
            parameters: Parameters::new(),
            submitter: submitter.to_owned(),
            at: self.board.now(),
            priority: Priority::Normal,
            deadline: None,
            max_attempts: ATTEMPTS,
            pause_seconds: self.pause_seconds,
            pause_doubles: false,
            depends_on: Vec::new(),
            after: Vec::new(),
            notify: Notify::Never,
            run: None,
            date: None,
            key: None,
        }
    }
}
