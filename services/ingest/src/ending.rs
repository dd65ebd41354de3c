//! Why a stream ends, in the words of the API.

use crate::Ingest;
use proto::problem;
use tonic::Status;

pub(crate) fn superseded() -> Status {
    // not to be tried again: of two connections that take a stream from each other neither would ever send
    let text = "the stream was opened again elsewhere, which has it now; use one connection a stream";
    problem::status(tonic::Code::FailedPrecondition, "SUPERSEDED", text)
}

pub(crate) fn expired() -> Status {
    problem::unauthenticated("TOKEN_EXPIRED", "the token has expired; open the stream again with a new one")
}

pub(crate) fn idle() -> Status {
    problem::status(tonic::Code::DeadlineExceeded, "IDLE", "nothing came for too long; open the stream again")
}

pub(crate) fn unreadable(status: Status, ingest: &Ingest) -> Status {
    problem::unreadable(status, ingest.limits.max_message_bytes as usize)
        .unwrap_or_else(|| problem::status(tonic::Code::Cancelled, "CONNECTION_LOST", "the connection was lost"))
}
