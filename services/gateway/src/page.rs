//! The OpenAPI document as it is served: also compressed, and with an entity tag.

use super::{
    answering::headed,
    compress,
    conditions::{self, Condition},
    json, openapi,
    problem::Problem,
};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{CONTENT_ENCODING, ETAG, IF_MATCH, IF_NONE_MATCH, VARY},
    },
};

/// Its two forms, each with its own entity tag.
pub(super) struct Page {
    plain: (Bytes, String),
    packed: (Bytes, String),
}

impl Page {
    /// The document of the rpcs that `processes` serve, as text and compressed.
    ///
    /// # Errors
    /// An rpc has no descriptor, or compression failed.
    pub(super) fn new(processes: &[String]) -> anyhow::Result<Self> {
        let text = openapi::document_of(|process| processes.iter().any(|served| served == process))?;
        let packed = compress::gzip(text.as_bytes())?;
        let tag = conditions::tag_of(text.as_bytes());
        Ok(Self { packed: (packed.into(), conditions::gzip_tag(&tag)), plain: (text.into(), tag) })
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
        let is_packed = compress::is_accepted(headers);
        let (bytes, tag) = if is_packed { &self.packed } else { &self.plain };
        let always = [(ETAG, conditions::quoted(tag)), (VARY, Some(HeaderValue::from_static("accept-encoding")))];
        conditions::require(Condition::of(headers, &IF_MATCH)?.as_ref(), Some(tag))?;
        if let Some(held) = Condition::of(headers, &IF_NONE_MATCH)?.as_ref().and_then(|unless| unless.listed(tag)) {
            let [_, vary] = always;
            let same = [(ETAG, conditions::quoted(held)), vary];
            return Ok(headed(Response::new(Body::empty()), StatusCode::NOT_MODIFIED, same));
        }
        let coding = is_packed.then(|| HeaderValue::from_static("gzip"));
        let response = headed(json(bytes.clone()), StatusCode::OK, always);
        Ok(headed(response, StatusCode::OK, [(CONTENT_ENCODING, coding)]))
    }
}
