//! The same API as JSON over HTTP: routes as the descriptors say, and one way from a request to an rpc and back for all of them.
//!
//! An rpc is called in this process with the caller's own token, so that auth layer, policy and audit log see it once, as if
//! it had come by gRPC. Answers that go on are server-sent events (`events.rs`); pages may call by grpc-web (`web.rs`), too. Paths hold ids of patients: they are logged nowhere.
//!
//! A body is read when the rpc reads its request, which is after the auth layer: from whom it may not come nothing is read.
//!
//! What is bounded: a request's body and what it becomes (`intake.rs`), its time ([`TIMEOUT`]), the answers that are turned
//! into JSON at once (`TURNED_KIB`: others wait, within their time), and those not yet taken ([`Bounds`]).

mod answering;
mod call;
pub mod cluster;
mod compress;
mod conditions;
mod events;
mod files;
pub mod health;
mod intake;
mod json;
pub mod metrics;
pub mod openapi;
mod origins;
mod page;
mod places;
mod problem;
mod routes;
#[cfg(test)]
mod tests;
mod transcode;
mod web;

pub use origins::Origins;

use answering::{TURNED_KIB, Wanted};
use anyhow::Context;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{
        HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, X_CONTENT_TYPE_OPTIONS},
        request::Parts,
        uri::PathAndQuery,
    },
};
use conditions::Condition;
use futures::{StreamExt, future, stream};
use guard::{
    Caller, RequestId,
    access::OPENAPI,
    auth_layer::Named,
    bounds::{Bounds, InProcess},
    ids,
};
use intake::{Intake, Sent};
use problem::Problem;
use proto::rpc::{self, Body as Holds};
use std::{cmp::Reverse, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use tonic::service::Routes;
use transcode::{Asked, Served};

/// How long a request may take, its body included.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What a path says, by the name of its variable.
type Variables = Vec<(&'static str, String)>;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

/// What a gateway is told besides what it stands before.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The origins whose pages may call.
    pub origins: Origins,
    /// Of which processes the document tells, by their names (`wardline run --service`): of this one, or of the cluster's.
    pub processes: Vec<String>,
}

struct Inner {
    rpcs: Routes,
    /// Those with more literal segments first.
    routes: Vec<(Arc<Served>, PathAndQuery)>,
    openapi: page::Page,
    turned: Semaphore,
    bounds: Bounds,
    settings: Settings,
}

/// Every route of an rpc.
pub(crate) fn served() -> anyhow::Result<Vec<Served>> {
    let pool = proto::pool().context("the descriptors")?;
    let routed = rpc::all().iter().flat_map(|rpc| rpc.http.iter().map(move |route| (rpc, route)));
    let all: Result<Vec<_>, _> = routed
        .map(|(rpc, route)| Served::new(pool, rpc, route).with_context(|| format!("{} has no descriptor", rpc.path)))
        .collect();
    let mut all = all?;
    transcode::find_places(&mut all);
    all.extend(events::health());
    Ok(all)
}

impl Gateway {
    /// Over the services of this node; the others' rpcs answer 501.
    pub fn new(rpcs: Routes, bounds: Bounds, settings: Settings) -> anyhow::Result<Self> {
        let mut served = served()?;
        served.sort_by_key(|served| Reverse(served.path.n_literals()));
        let routes = served.into_iter().map(|served| {
            let path = served.rpc().path.parse()?;
            anyhow::Ok((Arc::new(served), path))
        });
        Ok(Self(Arc::new(Inner {
            rpcs,
            routes: routes.collect::<Result<_, _>>()?,
            openapi: page::Page::new(&settings.processes)?,
            turned: Semaphore::new(TURNED_KIB as usize),
            bounds,
            settings,
        })))
    }

    /// Answers one request of the JSON API or of grpc-web.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let began = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = RequestId::claim(&mut parts.extensions, &parts.headers);
        let (page, is_head) = (parts.headers.get(origins::ASKING).cloned(), parts.method == Method::HEAD);
        let gzip = compress::is_accepted(&parts.headers);
        let mut route = "none";
        let answered = if web::is_asked(&parts.method, &parts.headers) {
            route = "grpc-web";
            // each rpc has a time of its own
            web::answer(self.0.rpcs.clone(), Request::from_parts(parts, Body::new(body))).await
        } else {
            let answering = Arc::clone(&self.0).ask(parts, Body::new(body), &mut route);
            tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| {
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", "it took too long; ask for less, or again"))
            })
        };
        let mut response = answered.unwrap_or_else(|problem| problem.packed(id, gzip));
        if is_head {
            response = without_body(response);
        }
        self.finish(page.as_ref(), response.headers_mut());
        metrics::answered(route, response.status(), began.elapsed());
        response
    }

    /// Refuses a request that was not read, in the form of all errors of the API; `request` are its headers, as far as they came.
    pub fn refuse(
        &self,
        (status, reason): (StatusCode, &str),
        detail: impl Into<String>,
        id: RequestId,
        request: &HeaderMap,
    ) -> Response<Body> {
        let mut response = Problem::new(status, reason, detail).response(id);
        self.finish(request.get(origins::ASKING), response.headers_mut());
        response
    }

    /// What every answer has; `page`: the origin of the page that asks, if one does.
    fn finish(&self, page: Option<&HeaderValue>, headers: &mut HeaderMap) {
        // who is at the other end may have no permission to see it tomorrow
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.0.settings.origins.open(page, headers);
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
        if parts.method == Method::OPTIONS {
            return self.options(&parts);
        }
        if parts.uri.path() == OPENAPI {
            *label = OPENAPI;
            return match parts.method {
                Method::GET | Method::HEAD => self.openapi.answer(&parts.headers),
                _ => Err(Problem::method(&self.allowed(OPENAPI))),
            };
        }
        let (place, variables) = self.find(&parts)?;
        let (served, rpc) = &self.routes[place];
        *label = &served.route.path;
        let Parts { uri, headers, mut extensions, .. } = parts;
        if served.rpc().streams.1 {
            // events have no entity tag
            conditions::require(Condition::of(&headers, &IF_MATCH)?.as_ref(), None)?;
            let query = uri.query().unwrap_or_default();
            let request = served.request(&Asked { variables: &variables, query, if_match: None, body: b"" })?;
            return events::answer(self.rpcs.clone(), rpc.clone(), served, &headers, extensions, request).await;
        }
        let wanted = Wanted::new(uri.path(), served, &headers)?;
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
        let (rpcs, again) = (self.rpcs.clone(), extensions.clone());
        let mut answer = call::unary(rpcs, rpc.clone(), &headers, extensions, request).await;
        for request in intake.others(served) {
            if !answer.as_ref().is_err_and(problem::is_other_version) {
                break;
            }
            let request = stream::once(future::ready(request));
            answer = call::unary(self.rpcs.clone(), rpc.clone(), &headers, again.clone(), request).await;
        }
        if let Some(problem) = intake.finish() {
            return Err(problem);
        }
        let body_field = match &served.route.body {
            Holds::Field(field) => Some(field.as_str()),
            Holds::Whole | Holds::Nothing => None,
        };
        let called = answer.map_err(|status| Problem::of(&status, body_field))?;
        self.answered(served, &caller, called, &wanted).await
    }

    /// What may be done at a path, for whoever asks; and whether a page of another origin may (a preflight).
    fn options(&self, parts: &Parts) -> Result<Response<Body>, Problem> {
        let allowed = self.allowed(parts.uri.path());
        if allowed.is_empty() {
            return Err(nothing_here());
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
            self.settings.origins.preflight(&parts.headers, &allowed, response.headers_mut());
            response.headers_mut().insert(ALLOW, allowed);
        }
        Ok(response)
    }

    /// The routes of a path, and what it says to each: where a variable could stand for what another route has literally, that
    /// other one alone. Found as they are asked for.
    fn at(&self, path: &str) -> impl Iterator<Item = (usize, Variables)> {
        let matching = self.routes.iter().enumerate();
        let matching = matching.filter_map(move |(place, (served, _))| {
            Some((place, served.path.n_literals(), served.path.matched(path)?))
        });
        // routes with more of them come first
        let mut most = None;
        let matching = matching.take_while(move |(_, literals, _)| most.get_or_insert(*literals) == literals);
        matching.map(|(place, _, variables)| (place, variables))
    }

    /// The methods of a path, ascending; none: there is nothing.
    fn allowed(&self, path: &str) -> Vec<&'static str> {
        let mut allowed: Vec<_> = self.at(path).map(|(place, _)| self.routes[place].0.route.method).collect();
        if path == OPENAPI {
            allowed.push("GET");
        }
        if web::is_rpc(path) {
            allowed.push("POST");
        }
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        if !allowed.is_empty() {
            allowed.push("OPTIONS");
        }
        allowed.sort_unstable();
        allowed
    }

    /// Which route a request is for, and what its path says.
    fn find(&self, parts: &Parts) -> Result<(usize, Variables), Problem> {
        let method = if parts.method == Method::HEAD { "GET" } else { parts.method.as_str() };
        let found = self.at(parts.uri.path()).find(|(place, _)| self.routes[*place].0.route.method == method);
        found.ok_or_else(|| match self.allowed(parts.uri.path()).as_slice() {
            [] => nothing_here(),
            _ if web::is_rpc(parts.uri.path()) && parts.method == Method::POST => web::unknown_kind(),
            allowed => Problem::method(allowed),
        })
    }
}

fn nothing_here() -> Problem {
    let text = format!("there is nothing here; {OPENAPI} says what there is");
    Problem::new(StatusCode::NOT_FOUND, "NO_SUCH_PATH", text)
}

/// The head of an answer, which says how long the body would have been.
fn without_body(response: Response<Body>) -> Response<Body> {
    let n_bytes = response.body().size_hint().exact();
    let mut response = response.map(|_| Body::empty());
    if let Some(n_bytes) = n_bytes.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(n_bytes));
    }
    response
}

/// What a path says of whom the request is about.
fn named(served: &Served, variables: &[(&'static str, String)]) -> Named {
    let value = |name: &str| variables.iter().find(|(field, _)| routes::last(field) == name).map(|(_, value)| value);
    let writes = served.method.name() == "WriteReadings";
    // anything may stand in a path: what can be no id is not written down
    let thing = |(field, value): &(&'static str, String)| match routes::last(field) {
        "patient_id" => None,
        "role_id" => ids::word(field, value).ok().map(|()| format!("role {value}")),
        _ => ids::uuid(field, value).ok().map(|id| id.to_string()),
    };
    Named {
        thing: variables.iter().find_map(thing),
        patient: value("patient_id").and_then(|id| id.parse().ok()),
        device: value("device_id").filter(|_| writes).cloned(),
    }
}

fn json(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
