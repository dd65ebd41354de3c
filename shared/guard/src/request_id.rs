//! Which request an answer, a log line and an entry of the audit log belong to.

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use tonic::Status;
use tonic_types::StatusExt;
use tracing::Span;
use uuid::Uuid;

/// Where callers may give an id of their own, and where every answer has the one that counts.
pub const HEADER: &str = "x-request-id";

/// Length of an id as it is written: a UUID in lower case, with hyphens.
const TEXT_BYTES: usize = 36;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of a request, the same wherever the request leaves a trace. A stream has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Uuid);

impl RequestId {
    /// The caller's own, if it is a UUID with hyphens, else a new one: what callers make up is in no log.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).filter(|text| text.len() == TEXT_BYTES);
        let given = given.and_then(|text| Uuid::try_parse_ascii(text.as_bytes()).ok());
        Self(given.unwrap_or_else(Uuid::new_v4))
    }

    /// That of a request which may have been given one already, where its head was read; it has one from here on.
    pub fn claim(extensions: &mut Extensions, headers: &HeaderMap) -> Self {
        *extensions.get_or_insert_with(|| Self::of(headers))
    }

    /// That of the request which this task answers; a new one where there is none.
    pub fn current() -> Self {
        CURRENT.try_with(|current| *current).unwrap_or_else(|_| Self(Uuid::new_v4()))
    }

    /// Runs what answers the request: [`RequestId::current`] within it is this one.
    pub(crate) fn within<F: Future>(self, answering: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, answering)
    }

    /// As the audit log kept it.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// As the audit log keeps it.
    pub fn into_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// What every log line of the request is in. On at every level, or errors would miss it; the formatter writes no line
    /// of its own for it ([`SPAN`]).
    pub fn span(self) -> Span {
        tracing::error_span!(target: SPAN, "request", request_id = %self)
    }

    /// Sets the answer's header `x-request-id`.
    pub fn put(self, headers: &mut HeaderMap) {
        let mut text = [0; TEXT_BYTES];
        let text = self.0.hyphenated().encode_lower(&mut text);
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(HEADER), value);
        }
    }

    /// An error with a `google.rpc.RequestInfo` beside its other details.
    pub fn named(self, status: &Status) -> Status {
        let mut details = status.get_error_details();
        details.set_request_info(self.to_string(), "");
        Status::with_error_details(status.code(), status.message(), details)
    }
}

/// The target of the span of a request.
pub const SPAN: &str = "request";

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_callers_own_id_counts_when_it_is_a_uuid_and_nothing_else_does() {
        let of = |text: &str| {
            RequestId::of(&HeaderMap::from_iter([(HeaderName::from_static(HEADER), text.parse().unwrap())])).to_string()
        };
        let given = "0E605B33-5b83-571d-b438-24e18dbf8ff3";
        assert_eq!(of(given), given.to_lowercase());
        let (name, urn) = ("x".repeat(TEXT_BYTES), format!("urn:uuid:{given}"));
        for wrong in ["", "jane-doe-1950", "0e605b335b83571db43824e18dbf8ff3", &name, &urn, &format!("{given} ")[1..]] {
            assert_ne!(of(wrong), wrong);
            assert_ne!(of(wrong), of(wrong), "a new one each time");
        }
        let id = RequestId::of(&HeaderMap::new());
        let mut headers = HeaderMap::new();
        id.put(&mut headers);
        assert_eq!(RequestId::of(&headers), id);
        assert_eq!(id.within(async { RequestId::current() }).await, id);
        assert_ne!(RequestId::current(), id);
    }
}
