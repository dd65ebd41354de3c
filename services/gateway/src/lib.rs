//! The same API as JSON over HTTP: routes as the descriptors say, and one way from a request to an rpc and back for all of them.
//!
//! An rpc is called in this process with the caller's own token, so that auth layer, policy and audit log see it once, as if
//! it had come by gRPC. Streams are not offered. Paths hold ids of patients: they are logged nowhere.
//!
//! A body is read when the rpc reads its request, which is after the auth layer: from whom it may not come nothing is read.
//!
//! What is bounded: a request's body and what it becomes (`intake.rs`), its time ([`TIMEOUT`]), the answers that are turned
//! into JSON at once ([`TURNED_KIB`]: others wait, within their time), and those not yet taken ([`Bounds`]).

mod call;
mod intake;
mod json;
pub mod metrics;
pub mod openapi;
mod problem;
mod routes;
#[cfg(test)]
mod tests;
mod transcode;

use anyhow::Context;
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderValue, Request, Response, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
        uri::PathAndQuery,
    },
};
use futures::{StreamExt, future, stream};
use guard::{
    Caller, RequestId,
    access::OPENAPI,
    auth_layer::Named,
    bounds::{Bounds, InProcess, answer},
};
use intake::{Intake, Sent, refused};
use problem::Problem;
use proto::rpc::{self, Body as Holds};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use tonic::service::Routes;
use transcode::{Answer, Served};

/// How long a request may take, its body included.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// KiB of encoded answers that are turned into JSON at once: in between they take up to fifty times as much.
const TURNED_KIB: u32 = 2 << 10;
/// An encoded answer that is turned into JSON where it came: a millisecond's work.
const TURNED_INLINE_BYTES: usize = 64 << 10;

/// What a path says, by the name of its variable.
type Variables = Vec<(&'static str, String)>;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    rpcs: Routes,
    routes: Vec<(Arc<Served>, PathAndQuery)>,
    openapi: Bytes,
    turned: Semaphore,
    bounds: Bounds,
}

/// Every rpc that has a route.
pub(crate) fn served() -> anyhow::Result<Vec<Served>> {
    let pool = proto::pool().context("the descriptors")?;
    let routed = rpc::all().iter().filter_map(|rpc| Some((rpc, rpc.http.as_ref()?)));
    routed
        .map(|(rpc, route)| Served::new(pool, rpc, route).with_context(|| format!("{} has no descriptor", rpc.path)))
        .collect()
}

/// A refusal in the form of all errors of the API, of a request that was not looked at.
pub fn refusal(status: StatusCode, reason: &str, detail: impl Into<String>, id: RequestId) -> Response<Body> {
    Problem::new(status, reason, detail).response(id)
}

impl Gateway {
    /// Over the services of this node; the others' rpcs answer 501.
    pub fn new(rpcs: Routes, bounds: Bounds) -> anyhow::Result<Self> {
        let routes = served()?.into_iter().map(|served| {
            let path = served.rpc().path.parse()?;
            anyhow::Ok((Arc::new(served), path))
        });
        Ok(Self(Arc::new(Inner {
            rpcs,
            routes: routes.collect::<Result<_, _>>()?,
            openapi: openapi::document()?.into(),
            turned: Semaphore::new(TURNED_KIB as usize),
            bounds,
        })))
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let (mut parts, body) = request.into_parts();
        let given = parts.extensions.get::<RequestId>().copied();
        let id = given.unwrap_or_else(|| RequestId::of(&parts.headers));
        parts.extensions.insert(id);
        let mut route = "none";
        let answering = Arc::clone(&self.0).ask(parts, Body::new(body), &mut route);
        let answered = tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| {
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", "it took too long; ask for less, or again"))
        });
        let mut response = answered.unwrap_or_else(|problem| problem.response(id));
        // who is at the other end may have no leave to see it tomorrow
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        metrics::answered(route, response.status(), began.elapsed());
        response
    }
}

impl Inner {
    /// `label` becomes the route's path, as it is in the table.
    async fn ask(
        self: Arc<Self>,
        parts: Parts,
        body: Body,
        label: &mut &'static str,
    ) -> Result<Response<Body>, Problem> {
        if parts.uri.path() == OPENAPI {
            *label = OPENAPI;
            return match parts.method.as_str() {
                "GET" => Ok(json(self.openapi.clone())),
                _ => Err(Problem::method(&["GET"])),
            };
        }
        let (place, variables) = self.find(&parts)?;
        let (served, rpc) = &self.routes[place];
        *label = &served.route.path;
        let Parts { uri, headers, mut extensions, .. } = parts;
        let caller = InProcess::default();
        extensions.insert(caller.clone());
        if served.route.body != Holds::Nothing {
            extensions.insert(named(served, &variables));
        }
        let address = extensions.get::<Caller>().map(Caller::address);
        let query = uri.query().unwrap_or_default().to_owned();
        let sent = Sent { variables, query, headers: headers.clone(), address, caller: caller.clone() };
        let intake = Intake::new(body);
        let request = {
            let (gateway, intake) = (Arc::clone(&self), intake.clone());
            stream::once(async move { intake.request(&gateway, &gateway.routes[place].0, &sent).await })
        };
        let request = request.filter_map(future::ready);
        let answer = call::unary(self.rpcs.clone(), rpc.clone(), &headers, extensions, request).await;
        if let Some(problem) = intake.finish() {
            return Err(problem);
        }
        let body_field = match &served.route.body {
            Holds::Field(field) => Some(field.as_str()),
            Holds::Whole | Holds::Nothing => None,
        };
        let encoded = answer.map_err(|status| Problem::of(&status, body_field))?;
        self.answered(served, &caller, encoded).await
    }

    /// Which route a request is for, and what its path says.
    fn find(&self, parts: &Parts) -> Result<(usize, Variables), Problem> {
        let (path, mut allowed) = (parts.uri.path(), Vec::new());
        for (place, (served, _)) in self.routes.iter().enumerate() {
            let Some(variables) = served.path.matched(path) else { continue };
            if served.route.method == parts.method.as_str() {
                return Ok((place, variables));
            }
            allowed.push(served.route.method);
        }
        Err(match allowed.as_slice() {
            [] => Problem::new(
                StatusCode::NOT_FOUND,
                "NO_SUCH_PATH",
                format!("there is nothing here; {OPENAPI} says what there is"),
            ),
            allowed => Problem::method(allowed),
        })
    }

    /// The answer as JSON, when there is room for it, and held until it is taken.
    async fn answered(
        &self,
        served: &Arc<Served>,
        caller: &InProcess,
        encoded: Bytes,
    ) -> Result<Response<Body>, Problem> {
        let turned = self.turn(served, &encoded).await;
        drop(encoded);
        let Answer { json: text, etag } = turned.ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the answer could not be written as JSON")
        })?;
        // set aside before the call, but for rpcs that are open to all
        let permit = caller.answer().unwrap_or_else(|| self.bounds.answers.account(None, None).none());
        let n_bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let permit = permit.fitted(n_bytes, self.bounds.wait).await.map_err(refused)?;
        let body = answer::Answer::new(vec![text.into()], None, permit, &self.bounds.untaken);
        let mut response = json(Bytes::new()).map(|_| Body::new(body));
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok()) {
            response.headers_mut().insert(ETAG, etag);
        }
        Ok(response)
    }

    /// A large one on a thread of its own: others are not to wait for it.
    async fn turn(&self, served: &Arc<Served>, encoded: &Bytes) -> Option<Answer> {
        let kib = u32::try_from(encoded.len() >> 10).unwrap_or(u32::MAX).clamp(1, TURNED_KIB);
        let _room = self.turned.acquire_many(kib).await.ok()?;
        if encoded.len() <= TURNED_INLINE_BYTES {
            return served.answer(encoded);
        }
        let (served, encoded) = (Arc::clone(served), encoded.clone());
        tokio::task::spawn_blocking(move || served.answer(&encoded)).await.ok()?
    }
}

/// What a path says of whom the request is about.
fn named(served: &Served, variables: &[(&'static str, String)]) -> Named {
    let value = |name: &str| variables.iter().find(|(field, _)| routes::last(field) == name).map(|(_, value)| value);
    let writes = served.method.name() == "WriteReadings";
    Named {
        patient: value("patient_id").and_then(|id| id.parse().ok()),
        device: value("device_id").filter(|_| writes).cloned(),
    }
}

fn json(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
