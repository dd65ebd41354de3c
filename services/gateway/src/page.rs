//! The OpenAPI document as it is served: also compressed, and with an entity tag.

use super::{
    compress,
    conditions::{self, Condition},
    json, openapi,
    problem::Problem,
};
use anyhow::Context;
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY},
    },
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Its two forms, each with its own entity tag.
pub(super) struct Page {
    plain: (Bytes, HeaderValue),
    packed: (Bytes, HeaderValue),
}

impl Page {
    /// Of what these processes serve.
    pub(super) fn new(processes: &[String]) -> anyhow::Result<Self> {
        let text = openapi::document_of(|process| processes.iter().any(|served| served == process))?;
        let packed = compress::gzip(text.as_bytes())?;
        let tag = |name: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            conditions::quoted(&format!("{:016x}{name}", hasher.finish())).context("an entity tag")
        };
        let (plain_tag, packed_tag) = (tag("")?, tag("-gzip")?);
        Ok(Self { plain: (text.into(), plain_tag), packed: (packed.into(), packed_tag) })
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Result<Response<Body>, Problem> {
        let is_packed = compress::is_accepted(headers);
        let (bytes, tag) = if is_packed { &self.packed } else { &self.plain };
        let unless = Condition::of(headers, &IF_NONE_MATCH)?;
        let held = tag.to_str().unwrap_or_default().trim_matches('"');
        let mut response = json(bytes.clone());
        if unless.is_some_and(|unless| unless.lists(held)) {
            response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if is_packed {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response.headers_mut().insert(ETAG, tag.clone());
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        Ok(response)
    }
}
