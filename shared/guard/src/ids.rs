//! Identifiers in requests.

use proto::problem;
use std::str::FromStr;
use tonic::Status;
use uuid::Uuid;

/// The identifier in a field, such as a `PatientId`.
///
/// # Errors
/// INVALID_ARGUMENT, when it is not written as [`model::uuid`] says.
pub fn id<T: FromStr<Err = model::NoId>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|wrong| invalid(field, wrong))
}

/// The same for what has no type of its own.
///
/// # Errors
/// As [`id`].
pub fn uuid(field: &str, text: &str) -> Result<Uuid, Status> {
    model::uuid(text).map_err(|wrong| invalid(field, wrong))
}

/// A ward, a study, a role: a word that people type.
///
/// # Errors
/// INVALID_ARGUMENT, when it is not written as [`model::word`] says.
pub fn word(field: &str, text: &str) -> Result<(), Status> {
    model::word(text).map_err(|allowed| problem::invalid("INVALID_FIELD", field, allowed.to_string()))
}

fn invalid(field: &str, wrong: model::NoId) -> Status {
    problem::invalid("INVALID_ID", field, wrong.to_string())
}
