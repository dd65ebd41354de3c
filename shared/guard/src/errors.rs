//! What errors of engines, refused changes and refusals of the policy are to a caller: one place for all services.

use directory::{Behind, registry::Refused};
use model::{
    Nanos,
    access::{Action, Denied, Facts, Principal, decide_system, why},
};
use proto::problem;
use std::{collections::HashMap, error::Error, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// When to try again.
const RETRY: Duration = Duration::from_secs(1);

/// Of the store: UNAVAILABLE with `RetryInfo` while it does not answer or has no space, DATA_LOSS for what cannot be read,
/// INTERNAL where its settings or tables are wrong.
pub fn store(error: store::Error) -> Status {
    match &error {
        store::Error::Unavailable(_) => {
            tracing::warn!(error = &error as &dyn Error, "the store did not answer");
            problem::unavailable("STORE_UNAVAILABLE", "the store did not answer; try again", RETRY)
        }
        store::Error::NoSpace(_) => problem::no_space(),
        store::Error::Corrupt(_) => unreadable(&error),
        store::Error::Config(_) => {
            tracing::error!(error = &error as &dyn Error, "the store cannot be used");
            let text = "the store's settings or tables are wrong; tell the operators";
            problem::status(Code::Internal, "STORE_MISCONFIGURED", text)
        }
    }
}

/// DATA_LOSS: stored bytes that nobody can read are never left out of an answer without a word.
pub fn unreadable(error: &(dyn Error + 'static)) -> Status {
    tracing::error!(error, "what is stored cannot be read");
    problem::status(Code::DataLoss, "STORED_ROWS_UNREADABLE", "what is stored cannot be read; tell the operators")
}

/// DATA_LOSS: what is kept of a person is missing or cannot be read; it is not shown as if nothing were known.
pub fn profile_unreadable() -> Status {
    tracing::error!("what is kept of a person cannot be read");
    problem::status(Code::DataLoss, "PROFILE_UNREADABLE", "what is kept of the person cannot be read")
}

/// Of the log: UNAVAILABLE with `RetryInfo`, but for a record that it never takes. What was not acknowledged is to be sent again.
pub fn log(error: &bus::Error) -> Status {
    match error {
        bus::Error::NoSpace(_) => problem::no_space(),
        bus::Error::TooLarge { .. } => problem::status(Code::ResourceExhausted, "RECORD_TOO_LARGE", error.to_string()),
        bus::Error::Unavailable(_) | bus::Error::Fatal(_) | bus::Error::Config(_) => {
            tracing::warn!(error = error as &dyn Error, "the log took nothing");
            let text = format!("what was not acknowledged must be sent again: {error}");
            problem::unavailable("LOG_UNAVAILABLE", &text, RETRY / 2)
        }
    }
}

/// Of a registry that cannot be followed: as [`store()`], or DATA_LOSS for a change that cannot be read.
pub fn behind(cause: Behind) -> Status {
    match cause {
        Behind::Store(error) => store(error),
        Behind::Change(error) => {
            tracing::error!(error = &error as &dyn Error, "a change of the registry cannot be followed");
            problem::status(Code::DataLoss, "REGISTRY_UNREADABLE", "the registry cannot be read; tell the operators")
        }
    }
}

/// Of a change that does not fit: ALREADY_EXISTS for what another has, NOT_FOUND for what it names, FAILED_PRECONDITION for what
/// has to be done before, else INVALID_ARGUMENT; with the field at fault.
pub fn change(refused: &Refused) -> Status {
    let code = match refused.reason {
        "MAC_TAKEN"
        | "ALREADY_GRANTED"
        | "RELATION_EXISTS"
        | "ALREADY_BARRED"
        | "PATIENT_TAKEN"
        | "USER_GONE"
        | "ID_TAKEN"
        | "ASSIGNMENT_OVERLAPS" => Code::AlreadyExists,
        "ROLE_IN_USE" | "BUILT_IN_ROLE" | "LAST_ADMINISTRATOR" | "RETIRED" => Code::FailedPrecondition,
        reason if reason.starts_with("NO_SUCH_") => Code::NotFound,
        _ => Code::InvalidArgument,
    };
    problem::field(code, refused.reason, refused.field, &refused.text)
}

/// Of the audit log: UNAVAILABLE, whatever it was, for nothing is shown or done that is not written down.
pub fn unaudited(error: store::Error) -> Status {
    tracing::error!(error = &error as &dyn Error, "nothing is shown: the audit log did not answer");
    problem::unaudited()
}

/// A refusal of the policy. What must be hidden answers as a patient who does not exist.
pub fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Expired => problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; get a new one"),
        denied if denied.hides() => problem::status(Code::NotFound, "NOT_FOUND", "no such patient"),
        denied => problem::status(Code::PermissionDenied, "NOT_PERMITTED", denied.to_string()),
    }
}

/// A refusal of an action on a patient. Code and text are those of [`denied`]; who may ask why is told, too: in
/// `ErrorInfo.metadata`, what the policy found (`denied`) and checked (`why`).
pub fn refused(principal: &Principal, action: Action, facts: &Facts, denied: Denied, now: Nanos) -> Status {
    let plain = self::denied(denied);
    if decide_system(principal, Action::ExplainAccess, now).is_err() {
        return plain;
    }
    let reason = if denied.hides() { "NOT_FOUND" } else { "NOT_PERMITTED" };
    let why = shortened(&why(principal, action, facts, now).join("; "));
    let metadata = HashMap::from([("denied".to_owned(), denied.code().to_owned()), ("why".to_owned(), why)]);
    let details = ErrorDetails::with_error_info(reason, problem::DOMAIN, metadata);
    Status::with_error_details(plain.code(), plain.message(), details)
}

/// What is sent beside a refusal must fit into a header.
fn shortened(text: &str) -> String {
    const MAX: usize = 1_500;
    if text.chars().count() <= MAX { text.to_owned() } else { text.chars().take(MAX).chain(" ...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_says_when_and_what_never_will_does_not() {
        let lost = || "away".into();
        for (status, code, reason, retried) in [
            (store(store::Error::Unavailable(lost())), Code::Unavailable, "STORE_UNAVAILABLE", true),
            (store(store::Error::NoSpace("full".into())), Code::Unavailable, "NO_SPACE", true),
            (store(store::Error::Corrupt("x".into())), Code::DataLoss, "STORED_ROWS_UNREADABLE", false),
            (store(store::Error::Config("x".into())), Code::Internal, "STORE_MISCONFIGURED", false),
            (log(&bus::Error::Unavailable(lost())), Code::Unavailable, "LOG_UNAVAILABLE", true),
            (log(&bus::Error::NoSpace("full".into())), Code::Unavailable, "NO_SPACE", true),
            (
                log(&bus::Error::TooLarge { bytes: 2, limit: Some(1) }),
                Code::ResourceExhausted,
                "RECORD_TOO_LARGE",
                false,
            ),
            (behind(Behind::Store(store::Error::NoSpace("full".into()))), Code::Unavailable, "NO_SPACE", true),
            (change(&Refused::new("MAC_TAKEN", "mac", "x")), Code::AlreadyExists, "MAC_TAKEN", false),
            (change(&Refused::new("NO_SUCH_ROLE", "role_id", "x")), Code::NotFound, "NO_SUCH_ROLE", false),
            (change(&Refused::new("BUILT_IN_ROLE", "role_id", "x")), Code::FailedPrecondition, "BUILT_IN_ROLE", false),
            (unaudited(store::Error::Corrupt("x".into())), Code::Unavailable, "AUDIT_UNAVAILABLE", true),
        ] {
            assert_eq!((status.code(), &*status.get_details_error_info().unwrap().reason), (code, reason));
            assert_eq!(status.get_details_retry_info().is_some(), retried, "{reason}");
        }
    }
}
