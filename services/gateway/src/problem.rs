//! Errors of the API: `application/problem+json` (RFC 9457), with the reason and the fields that gRPC's details name.

use super::compress;
use axum::{
    body::Body,
    http::{
        HeaderValue, Response, StatusCode,
        header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER, VARY, WWW_AUTHENTICATE},
    },
};
use guard::RequestId;
use serde::Serialize;
use std::{
    fmt::{self, Display, Write as _},
    time::Duration,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// When an answer without `RetryInfo` says "later": of all 409 only one that is to be sent again has a `Retry-After`.
const LATER: Duration = Duration::from_secs(1);
/// Fields at fault that are named; of more it is said how many.
const MAX_NAMED: usize = 20;
/// Longest name of a field and longest text that is answered, in bytes: callers can make up both.
const MAX_FIELD_BYTES: usize = 200;
const MAX_TEXT_BYTES: usize = 1_000;

/// What a caller did wrong, or what went wrong here.
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// UPPER_SNAKE_CASE, stable; may be empty.
    reason: String,
    detail: String,
    violations: Violations,
    /// What gRPC's details say besides, for those entitled to know why.
    why: Option<Box<Why>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the policy found and checked.
#[derive(Serialize)]
struct Why {
    denied: String,
    why: String,
}

/// A field at fault.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Violation {
    /// As in the body or the query: "readings[3].unit".
    pub(super) field: String,
    /// What is allowed and what to do.
    pub(super) description: String,
}

/// Fields at fault, as many as are named.
#[derive(Debug, Default)]
pub(super) struct Violations {
    named: Vec<Violation>,
    /// How many there are besides.
    n_more: usize,
}

impl Violations {
    /// One more. Where there are enough, `field` is not even written.
    pub(super) fn push(&mut self, field: impl Display, description: impl Into<String>) {
        if self.named.len() >= MAX_NAMED {
            self.n_more += 1;
            return;
        }
        let (field, mut description) = (Clipped::of(field), description.into());
        description.truncate(description.floor_char_boundary(MAX_TEXT_BYTES));
        self.named.push(Violation { field, description });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

/// Writes no more than a field's name may have.
struct Clipped(String);

impl Clipped {
    fn of(text: impl Display) -> String {
        let mut clipped = Self(String::new());
        match write!(clipped, "{text}") {
            Ok(()) => clipped.0,
            Err(_) => clipped.0 + "...",
        }
    }
}

impl fmt::Write for Clipped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_FIELD_BYTES - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    reason: &'a str,
    violations: &'a [Violation],
    #[serde(skip_serializing_if = "is_none")]
    more_violations: usize,
    request_id: String,
    #[serde(flatten)]
    why: Option<&'a Why>,
}

/// Whether there is nothing to say.
fn is_none(n: &usize) -> bool {
    *n == 0
}

impl Problem {
    /// An error of HTTP itself.
    pub(super) fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        let (reason, detail) = (reason.to_owned(), detail.into());
        Self { status, reason, detail, violations: Violations::default(), why: None, headers: Vec::new() }
    }

    /// 400: these fields are at fault.
    pub(super) fn fields(violations: Violations) -> Self {
        let lines = violations.named.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description));
        let more = (violations.n_more > 0).then(|| format!("and {} more", violations.n_more));
        let detail = lines.chain(more).collect::<Vec<_>>().join("; ");
        Self { violations, ..Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", detail) }
    }

    /// Status 405: the path exists and takes only these methods.
    pub(super) fn method(allowed: &[&str]) -> Self {
        let allowed = allowed.join(", ");
        let detail = format!("allowed here: {allowed}");
        let header = HeaderValue::from_str(&allowed).into_iter().map(|allowed| (ALLOW, allowed)).collect();
        Self { headers: header, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail) }
    }

    /// What an rpc answered. `body` is the field that the request's body was: callers know its fields without it.
    pub(super) fn of(status: &Status, body: Option<&str>) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
        let http = http_status(status.code(), &reason);
        let mut headers = Vec::new();
        if http == StatusCode::UNAUTHORIZED {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        let given = details.retry_info().and_then(|info| info.retry_delay);
        let retry = given.or_else(|| matches!(status.code(), Code::Unavailable | Code::Aborted).then_some(LATER));
        let retried = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Aborted);
        if let Some(delay) = retry.filter(|_| retried && http != StatusCode::PRECONDITION_FAILED) {
            // whole seconds, rather too late than too early
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            headers.push((RETRY_AFTER, HeaderValue::from(seconds.max(1))));
        }
        let named = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let without = |field: &str| {
            let inner = body.and_then(|body| field.strip_prefix(body)?.strip_prefix('.'));
            inner.unwrap_or(field).to_owned()
        };
        let mut violations = Violations::default();
        named.iter().for_each(|named| violations.push(without(&named.field), &*named.description));
        let said = |key: &str| details.error_info().and_then(|info| info.metadata.get(key)).cloned();
        let why = said("denied").zip(said("why")).map(|(denied, why)| Box::new(Why { denied, why }));
        Self { status: http, reason, detail: status.message().to_owned(), violations, why, headers }
    }

    /// The status that the rpc ends with which got no request for it; what is answered is this problem.
    pub(super) fn counted(&self) -> Status {
        let code = match self.status {
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            StatusCode::PRECONDITION_FAILED => Code::Aborted,
            status if status.is_server_error() => Code::Internal,
            _ => Code::InvalidArgument,
        };
        proto::problem::status(code, &self.reason, "")
    }

    /// The body of the answer: a JSON object as RFC 9457 describes it.
    pub(super) fn json(&self, id: RequestId) -> Vec<u8> {
        let shown = Shown {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            reason: &self.reason,
            violations: &self.violations.named,
            more_violations: self.violations.n_more,
            request_id: id.to_string(),
            why: self.why.as_deref(),
        };
        // strings and a number always become JSON
        serde_json::to_vec(&shown).unwrap_or_default()
    }

    /// The whole answer: status, headers and body.
    pub(super) fn response(&self, id: RequestId) -> Response<Body> {
        self.packed(id, false)
    }

    /// The same; `gzip`: for who accepts it compressed, when it is worth it.
    pub(super) fn packed(&self, id: RequestId, gzip: bool) -> Response<Body> {
        let json = self.json(id);
        let packed = if gzip && compress::is_worth_it(json.len()) { compress::gzip(&json).ok() } else { None };
        let coding = packed.is_some().then(|| HeaderValue::from_static("gzip"));
        let mut response = Response::new(Body::from(packed.unwrap_or(json)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.extend(coding.map(|coding| (CONTENT_ENCODING, coding)));
        headers.extend(self.headers.iter().cloned());
        response
    }
}

/// Whether an update was refused because another version is there than the one that it names.
pub(super) fn is_other_version(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "ETAG_MISMATCH")
}

fn http_status(code: Code, reason: &str) -> StatusCode {
    match code {
        Code::FailedPrecondition | Code::Aborted if reason == "ETAG_MISMATCH" => StatusCode::PRECONDITION_FAILED,
        Code::FailedPrecondition if reason == "ETAG_REQUIRED" => StatusCode::PRECONDITION_REQUIRED,
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        // what is there stands against it: the same request is right when that has changed
        Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::problem;

    #[test]
    fn each_code_has_its_status_and_says_what_to_do() {
        let of = |code, reason| Problem::of(&problem::status(code, reason, "text"), None).status.as_u16();
        let expected = [
            (Code::Unauthenticated, 401),
            (Code::PermissionDenied, 403),
            (Code::NotFound, 404),
            (Code::InvalidArgument, 400),
            (Code::FailedPrecondition, 409),
            (Code::Aborted, 409),
            (Code::AlreadyExists, 409),
            (Code::ResourceExhausted, 429),
            (Code::Unavailable, 503),
            (Code::DeadlineExceeded, 504),
            (Code::Unimplemented, 501),
            (Code::DataLoss, 500),
            (Code::Internal, 500),
        ];
        for (code, status) in expected {
            assert_eq!(of(code, "X"), status, "{code:?}");
        }
        assert_eq!([of(Code::Aborted, "ETAG_MISMATCH"), of(Code::FailedPrecondition, "ETAG_MISMATCH")], [412, 412]);
        assert_eq!(of(Code::FailedPrecondition, "ETAG_REQUIRED"), 428);

        let id = RequestId::current();
        let answer = Problem::of(&problem::unavailable("LOG_FULL", "full", Duration::from_millis(1_200)), None);
        assert_eq!(answer.response(id).headers()[RETRY_AFTER], "2");
        let again = |reason| Problem::of(&problem::status(Code::Aborted, reason, "x"), None).response(id);
        assert!(again("ABORTED").headers().contains_key(RETRY_AFTER));
        assert!(!again("ETAG_MISMATCH").headers().contains_key(RETRY_AFTER));
        let plain = Problem::of(&problem::status(Code::ResourceExhausted, "QUOTA", "no more"), None).response(id);
        assert!(!plain.headers().contains_key(RETRY_AFTER), "without RetryInfo it must not be tried again");
        let nobody = Problem::of(&problem::unauthenticated("NO_TOKEN", "send one"), None).response(id);
        assert_eq!(nobody.headers()[WWW_AUTHENTICATE], "Bearer");
        let wrong = Problem::of(&problem::invalid("BAD", "user.contact.phone", "too long"), Some("user"));
        assert_eq!(
            wrong.violations.named,
            [Violation { field: "contact.phone".into(), description: "too long".into() }]
        );
    }

    #[test]
    fn no_more_than_twenty_fields_are_named_and_no_text_is_long() {
        let mut wrong = Violations::default();
        (0..524_288).for_each(|index| wrong.push(format_args!("readings[{index}]"), "must be an object"));
        let answer = Problem::fields(wrong);
        assert_eq!((answer.violations.named.len(), answer.violations.n_more), (20, 524_268));
        assert!(answer.detail.ends_with("readings[19]: must be an object; and 524268 more"), "{}", answer.detail);
        let mut wrong = Violations::default();
        wrong.push("\u{e9}".repeat(1 << 20), "\u{e9}".repeat(1 << 20));
        let Violation { field, description } = &wrong.named[0];
        assert_eq!((field.len(), description.len()), (203, 1_000));
        assert!(field.ends_with("\u{e9}..."));
    }
}
