//! The way in for jobs: who may, what fits, and the step that makes one.

use super::{
    board::SubmitError,
    job::Job,
    kinds::{Parameters, Unfit},
    orders::{ATTEMPTS, Orders},
    step::Submission,
    wire,
};
use crate::callers::caller_name;
use guard::{decisions::Decisions, errors, ids};
use model::access::Action;
use proto::{
    analytics::v1::{self as v1, SubmitJobRequest},
    problem,
};
use tonic::{Code, Extensions, Status};
use uuid::Uuid;

/// Most attempts that a caller may ask for.
const ATTEMPTS_MAX: u32 = 10;
/// Most jobs on which one depends.
const DEPENDS_MAX: usize = 32;
/// Most characters of an idempotency key.
const KEY_CHARS: usize = 128;

/// Submits jobs for callers. Clones are the same.
#[derive(Clone)]
pub struct Submit {
    /// Where they go, and what they can be.
    pub orders: Orders,
    /// Decides who may submit what, and writes it down.
    pub decisions: Decisions,
}

/// Whose jobs a caller may see.
pub(super) enum Sees {
    Own(String),
    All,
}

impl Sees {
    pub(super) fn has(&self, job: &Job) -> bool {
        match self {
            Self::Own(name) => job.submission.submitter == *name,
            Self::All => true,
        }
    }
}

impl Submit {
    /// Submits a job of a kind for a caller, who may.
    pub async fn for_caller(
        &self,
        extensions: &Extensions,
        kind: &str,
        parameters: &[(&str, &str)],
    ) -> Result<v1::Job, Status> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.submit(extensions, SubmitJobRequest { kind: kind.to_owned(), parameters, ..Default::default() }).await
    }

    /// Submits what a caller asks for, if that may be.
    pub(super) async fn submit(&self, extensions: &Extensions, request: SubmitJobRequest) -> Result<v1::Job, Status> {
        let caller = guard::principal(extensions)?;
        let kind = self.orders.kinds.find(&request.kind);
        let name = kind.as_ref().map_or("submit", |kind| kind.name()).to_owned();
        let may = |action| self.decisions.on_system(caller, action, None);
        may(Action::SubmitJobs).refusal_recorded(&name).await?;
        let kind = kind.map_err(unfit)?;
        may(kind.needs()).refusal_recorded(&name).await?;
        let parameters: Parameters = request.parameters.into_iter().collect();
        let (board, by) = (&self.orders.board, caller_name(caller));
        let submission = Submission {
            priority: wire::priority(request.priority)?,
            deadline: request.deadline.map(|after| wire::deadline(after, board.now())).transpose()?,
            max_attempts: attempts(request.max_attempts)?,
            notify: wire::notify(request.notify)?,
            depends_on: self.depends_on(&request.depends_on, &Sees::Own(by.clone())).await?,
            ..self.orders.of(kind.name(), &parameters, &by).map_err(unfit)?
        };
        kind.admits(caller, &submission.parameters, &name).await?;
        let key = Some(request.request_id.as_str()).filter(|key| !key.is_empty());
        let wrong = key.and_then(|key| model::line(key, KEY_CHARS).err());
        if let Some(allowed) = wrong {
            return Err(problem::invalid("INVALID_REQUEST_ID", "request_id", allowed.to_string()));
        }
        let id = board.id_for(&by, key).await.map_err(errors::store)?;
        let detail = format!("{name} {id}");
        may(Action::SubmitJobs).recorded(&detail).await?;
        if kind.needs() != Action::SubmitJobs {
            may(kind.needs()).recorded(&detail).await?;
        }
        let job = board.submit_as(id, submission, key).await.map_err(|error| match error {
            SubmitError::KeyTaken => {
                let text = "another job was submitted with it: take another one for each";
                problem::field(Code::AlreadyExists, "REQUEST_ID_TAKEN", "request_id", text)
            }
            SubmitError::Store(error) => errors::store(error),
        })?;
        Ok(wire::job(&job))
    }

    /// Jobs of the caller's, each of which is there.
    async fn depends_on(&self, sent: &[String], sees: &Sees) -> Result<Vec<Uuid>, Status> {
        if sent.len() > DEPENDS_MAX {
            return Err(problem::invalid("TOO_MANY", "depends_on", format!("at most {DEPENDS_MAX} jobs")));
        }
        let mut jobs = Vec::new();
        for (n, id) in sent.iter().enumerate() {
            let (field, id) = (format!("depends_on[{n}]"), ids::uuid(&format!("depends_on[{n}]"), id)?);
            let there = self.orders.board.get(id).await.map_err(errors::store)?.filter(|job| sees.has(job));
            there.ok_or_else(|| problem::field(Code::NotFound, "NOT_FOUND", &field, "there is no such job"))?;
            jobs.push(id);
        }
        Ok(jobs)
    }
}

/// Attempts that were asked for.
fn attempts(asked: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(ATTEMPTS),
        asked if asked <= ATTEMPTS_MAX => Ok(asked),
        _ => {
            let text = format!("0 (the default, {ATTEMPTS}) to {ATTEMPTS_MAX}");
            Err(problem::invalid("INVALID_MAX_ATTEMPTS", "max_attempts", text))
        }
    }
}

pub(crate) fn unfit(unfit: Unfit) -> Status {
    problem::invalid("INVALID_JOB", &unfit.field, unfit.text)
}

#[cfg(test)]
mod tests {
    use super::{DEPENDS_MAX, KEY_CHARS, attempts, wire};
    use proto::{
        prost_types::Duration,
        resource::{self, Limits},
    };

    fn limits(field: &str) -> Limits {
        let message = proto::pool().unwrap().get_message_by_name("wardline.analytics.v1.SubmitJobRequest").unwrap();
        resource::limits(&message.get_field_by_name(field).unwrap())
    }

    #[test]
    fn a_submission_has_its_ends_where_the_options_have_them() {
        let most = limits("max_attempts").most.unwrap() as u32;
        assert!(attempts(0).is_ok() && attempts(most).is_ok() && attempts(most + 1).is_err());
        let is_taken = |seconds| wire::deadline(Duration { seconds, nanos: 0 }, 0).is_ok();
        let deadline = limits("deadline");
        let (least, most) = (deadline.least.unwrap() as i64, deadline.most.unwrap() as i64);
        assert!(is_taken(least) && !is_taken(least - 1) && is_taken(most) && !is_taken(most + 1));
        let (jobs, characters) = (limits("depends_on").max_items as usize, limits("request_id").max_chars as usize);
        assert_eq!((jobs, characters), (DEPENDS_MAX, KEY_CHARS));
    }
}
