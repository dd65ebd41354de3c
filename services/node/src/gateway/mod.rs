//! The same API as JSON over HTTP: a table of routes, and one way from a request to an rpc and back for all of them.
//!
//! An rpc is called in this process with the caller's own token, so that gate, policy and audit log see it once, as if
//! it had come by gRPC. Streams are not offered. Paths hold ids of patients: they are logged nowhere.
//!
//! What is bounded: a request's body ([`MAX_BODY_BYTES`]), its time ([`TIMEOUT`]), the answers that are turned into JSON
//! at once ([`TURNED_KIB`]: others wait, within their time). A body is read before the token is checked: it is small, and
//! the gate is in one place.

mod call;
mod json;
pub mod openapi;
mod problem;
pub(crate) mod routes;
mod serve;
#[cfg(test)]
mod tests;
mod transcode;

pub use serve::Listen;
pub(crate) use serve::{listen, run};
pub(crate) use transcode::Served;

use anyhow::Context;
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Request, Response, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, X_CONTENT_TYPE_OPTIONS,
        },
        request::Parts,
        uri::PathAndQuery,
    },
};
use futures::StreamExt;
use metrics::histogram;
use problem::Problem;
use prost_reflect::DescriptorPool;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use tonic::service::Routes;
use transcode::{Answer, Asked};

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 1 << 20;
/// So much of a larger one is read and thrown away: who is still sending could not read the answer.
const MAX_DISCARDED_BYTES: usize = 8 << 20;
/// How long a request may take, its body included.
const TIMEOUT: Duration = Duration::from_secs(30);
/// KiB of encoded answers that are turned into JSON at once: in between they take up to fifty times as much.
const TURNED_KIB: u32 = 4 << 10;
/// Where the document is, open to all.
pub(crate) const OPENAPI: &str = "/v1/openapi.json";

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    rpcs: Routes,
    routes: Vec<(Served, PathAndQuery)>,
    openapi: Bytes,
    turned: Arc<Semaphore>,
}

/// Every route of the table, found in the descriptors.
pub(crate) fn served() -> anyhow::Result<Vec<Served>> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).context("the descriptors")?;
    let found = |(service, route)| {
        Served::new(&pool, service, route).with_context(|| format!("{} has no rpc {}", service, route.rpc))
    };
    routes::all().map(found).collect()
}

impl Gateway {
    /// Over the services of this node; the others' rpcs answer 501.
    pub(crate) fn new(rpcs: Routes) -> anyhow::Result<Self> {
        let routes = served()?.into_iter().map(|served| {
            let path = served.rpc().parse()?;
            anyhow::Ok((served, path))
        });
        Ok(Self(Arc::new(Inner {
            rpcs,
            routes: routes.collect::<Result<_, _>>()?,
            openapi: openapi::document()?.into(),
            turned: Arc::new(Semaphore::new(TURNED_KIB as usize)),
        })))
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let mut route = "none";
        let answering = self.0.ask(parts, Body::new(body), &mut route);
        let answered = tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| {
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", "it took too long; ask for less, or again"))
        });
        let mut response = answered.unwrap_or_else(|problem| problem.response());
        // who is at the other end may have no leave to see it tomorrow
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let status = response.status().as_str().to_owned();
        histogram!("wardline_api_request_seconds", "route" => route, "status" => status).record(began.elapsed());
        response
    }
}

impl Inner {
    /// `label` becomes the route's path, as it is in the table.
    async fn ask(&self, mut parts: Parts, body: Body, label: &mut &'static str) -> Result<Response<Body>, Problem> {
        let path = parts.uri.path();
        if path == OPENAPI {
            *label = OPENAPI;
            return match parts.method.as_str() {
                "GET" => Ok(json(self.openapi.clone())),
                _ => Err(Problem::method(&["GET"])),
            };
        }
        let here: Vec<_> =
            self.routes.iter().filter_map(|(served, rpc)| Some((served, rpc, served.path.matched(path)?))).collect();
        let allowed: Vec<_> = here.iter().map(|(served, ..)| served.route.method).collect();
        let found = here.into_iter().find(|(served, ..)| served.route.method == parts.method.as_str());
        let Some((served, rpc, variables)) = found else {
            return Err(match allowed.as_slice() {
                [] => Problem::new(
                    StatusCode::NOT_FOUND,
                    "NO_SUCH_PATH",
                    format!("there is nothing here; {OPENAPI} says what there is"),
                ),
                allowed => Problem::method(allowed),
            });
        };
        *label = served.route.path;
        let body = whole(&parts.headers, body).await?;
        let if_match = single(&parts.headers)?;
        let query = parts.uri.query().unwrap_or_default();
        let request = served.request(&Asked { variables, query, if_match, body: &body })?;
        drop(body);
        let extensions = std::mem::take(&mut parts.extensions);
        let answer = call::unary(self.rpcs.clone(), rpc.clone(), &parts.headers, extensions, request).await;
        let body_field = match served.route.body {
            routes::Body::Field(field) => Some(field),
            routes::Body::Whole | routes::Body::Nothing => None,
        };
        let encoded = answer.map_err(|status| Problem::of(&status, body_field))?;
        let Answer { json: text, etag } = self.turn(served, &encoded).await.ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the answer could not be written as JSON")
        })?;
        let mut response = json(text.into());
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok()) {
            response.headers_mut().insert(ETAG, etag);
        }
        Ok(response)
    }

    /// The answer as JSON, when there is room for it.
    async fn turn(&self, served: &Served, encoded: &[u8]) -> Option<Answer> {
        let kib = u32::try_from(encoded.len() >> 10).unwrap_or(u32::MAX).clamp(1, TURNED_KIB);
        let _room = self.turned.acquire_many(kib).await.ok()?;
        served.answer(encoded)
    }
}

fn json(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The one `If-Match`, if there is one.
fn single(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(tag)), None) => Ok(Some(tag)),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", "If-Match: only one, in ASCII")),
    }
}

/// All of a body, if it is JSON and not too large.
async fn whole(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("a body has at most {MAX_BODY_BYTES} bytes; send less at once");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_DISCARDED_BYTES as u64) {
        return Err(too_large());
    }
    let mut data = body.into_data_stream();
    let (mut whole, mut n_bytes) = (Vec::new(), 0);
    while let Some(piece) = data.next().await {
        let Ok(piece) = piece else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "BODY_INCOMPLETE", "the body ended before its end"));
        };
        n_bytes += piece.len();
        match n_bytes {
            ..=MAX_BODY_BYTES => whole.extend_from_slice(&piece),
            n if n <= MAX_DISCARDED_BYTES => whole = Vec::new(),
            _ => break,
        }
    }
    if n_bytes > MAX_BODY_BYTES {
        return Err(too_large());
    }
    if !whole.is_empty() && !is_json(headers) {
        let detail = "send `content-type: application/json`, in UTF-8 and without content-encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
    }
    Ok(whole)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json && parts.all(is_utf8) && !headers.contains_key(CONTENT_ENCODING)
}

fn is_utf8(parameter: &str) -> bool {
    let charset = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charset.is_none_or(|(_, name)| name.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}
