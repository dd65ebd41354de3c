//! Errors on the wire: `google.rpc.Status` with `ErrorInfo`, and what the caller can do about it.
//!
//! Retry UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED and CANCELLED, and RESOURCE_EXHAUSTED when it carries `RetryInfo`;
//! nothing else (the contract that OTLP publishes).

use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error of ours.
pub const DOMAIN: &str = "wardline";

/// How to send what a device shows in place of a number: for whoever sent that as if it were one.
pub const NO_NUMBER: &str = "where the device shows no number but LO, HI or <40, send bound with COMPARATOR_LESS or \
                             COMPARATOR_GREATER and the limit of its range; where it shows nothing, absent_reason";

/// An error with a stable reason (UPPER_SNAKE_CASE) and a text without patient data.
pub fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// INVALID_ARGUMENT: `field` is at fault, `description` says what is allowed and what to do.
pub fn invalid(reason: &str, field: &str, description: impl Into<String>) -> Status {
    self::field(Code::InvalidArgument, reason, field, &description.into())
}

/// Another code for which `field` is at fault.
pub fn field(code: Code, reason: &str, field: &str, description: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, description);
    Status::with_error_details(code, format!("{field}: {description}"), details)
}

/// UNIMPLEMENTED: an rpc or a service of rpcs that `process` serves, asked of a process that runs the services `here`.
pub fn not_served_here(name: &str, process: &str, here: &[&str]) -> Status {
    let text = if here.contains(&process) {
        format!("{name} is not offered: a setting that it needs is missing")
    } else {
        format!("{name} is served by `{process}`, not by this process ({})", here.join(", "))
    };
    status(Code::Unimplemented, "NOT_SERVED_HERE", text)
}

/// INVALID_ARGUMENT: all these fields are at fault, each with what is allowed.
pub fn invalid_fields(reason: &str, fields: &[(String, String)]) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    for (field, description) in fields {
        details.add_bad_request_violation(field, description);
    }
    let lines: Vec<_> = fields.iter().map(|(field, description)| format!("{field}: {description}")).collect();
    Status::with_error_details(Code::InvalidArgument, lines.join("; "), details)
}

/// UNAVAILABLE: try again after `retry_after`.
pub fn unavailable(reason: &str, message: &str, retry_after: Duration) -> Status {
    retried(Code::Unavailable, reason, message, HashMap::new(), retry_after)
}

/// RESOURCE_EXHAUSTED: over a rate; try again after `retry_after`. `limit` is the setting that says how much `a_second` may be;
/// it is in `ErrorInfo.metadata`, too, with its value.
pub fn rate_limited(limit: &str, a_second: u64, retry_after: Duration) -> Status {
    let metadata =
        HashMap::from([("limit".to_owned(), limit.to_owned()), ("limit_value".to_owned(), a_second.to_string())]);
    let text = format!("more than {limit} ({a_second}) for too long; try again in {} ms", retry_after.as_millis() + 1);
    retried(Code::ResourceExhausted, "RATE_LIMITED", &text, metadata, retry_after)
}

/// UNAVAILABLE: the disk is full. What is there can be read; what is sent is to be sent again.
pub fn no_space() -> Status {
    let text = "the disk is full, and nothing new is taken until there is space again; reading goes on";
    unavailable("NO_SPACE", text, Duration::from_secs(10))
}

/// RESOURCE_EXHAUSTED: a limit of the caller's or of the node is used up; try again after `retry_after`.
pub fn exhausted(reason: &str, message: &str, retry_after: Duration) -> Status {
    retried(Code::ResourceExhausted, reason, message, HashMap::new(), retry_after)
}

/// An error that a client is to try again, after so long.
fn retried(
    code: Code,
    reason: &str,
    message: &str,
    metadata: HashMap<String, String>,
    retry_after: Duration,
) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(code, message, details)
}

/// UNAVAILABLE: what cannot be written down in the audit log is neither shown nor done.
pub fn unaudited() -> Status {
    let text = "the audit log did not answer, so nothing is shown or done; try again";
    unavailable("AUDIT_UNAVAILABLE", text, Duration::from_secs(1))
}

/// What went wrong while the caller's message was read (too large, bad frame, bad compression, none at all): the caller's
/// fault, whatever code the transport gave it. `None` when the connection just went away.
pub fn unreadable(status: Status, max_message_bytes: usize) -> Option<Status> {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => Some(invalid(
            "MESSAGE_TOO_LARGE",
            "message",
            format!("larger than {max_message_bytes} bytes (after decompression); send less at once"),
        )),
        Code::Internal => {
            Some(invalid("MALFORMED_MESSAGE", "message", "not a valid gRPC message; check framing and compression"))
        }
        Code::Unimplemented => unsupported_encoding(&status),
        Code::InvalidArgument => Some(status),
        _ => None,
    }
}

/// UNIMPLEMENTED: a `grpc-encoding` that is not taken. The transport names those that are, and clients look for them there.
fn unsupported_encoding(status: &Status) -> Option<Status> {
    const TAKEN: &str = "grpc-accept-encoding";
    let taken = status.metadata().get(TAKEN)?;
    let names = taken.to_str().ok()?;
    let text = format!("must be one of those that this rpc takes ({names}); left out, nothing is compressed");
    let mut said = field(Code::Unimplemented, "UNSUPPORTED_ENCODING", "grpc-encoding", &text);
    said.metadata_mut().insert(TAKEN, taken.clone());
    Some(said)
}

/// The bearer token of a request, if it has one.
pub fn bearer(metadata: &tonic::metadata::MetadataMap) -> Option<&str> {
    let (scheme, token) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// UNAUTHENTICATED with a reason that does not help an attacker.
pub fn unauthenticated(reason: &str, message: &str) -> Status {
    status(Code::Unauthenticated, reason, message)
}
