//! Every call as it is seen from outside: counted and timed by method and code, and its errors named by its request's id.
//!
//! Around everything else of the way in, so that what is refused there is counted, too. A call ends with its last answer: a
//! stream when it does, and one whose caller goes away first as `CANCELLED`.

use crate::{
    methods::FOREIGN,
    metrics::{self, OTHER},
    request_id::RequestId,
};
use ::metrics::{Gauge, Histogram};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::HeaderMap,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use proto::rpc::{self, Quota};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tokio::time::Instant;
use tonic::{Code, Status, service::Routes};
use tonic_types::StatusExt;
use tracing::Span;

/// As google.rpc.Code names them, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Puts itself around services and all that stands before them.
pub fn around(routes: Routes) -> Routes {
    Routes::from(routes.into_axum_router().layer(from_fn_with_state(Methods::new(), observed)))
}

/// Every method that may be called.
#[derive(Clone)]
struct Methods(Arc<HashMap<&'static str, Arc<Method>>>, Arc<Method>);

/// A method, with its handles: they are looked up once, not for each call.
struct Method {
    /// `package.Service/Method`.
    name: &'static str,
    is_for_devices: bool,
    open: Gauge,
    /// By code; made when one is first answered.
    seconds: [OnceLock<Histogram>; CODES.len()],
}

impl Methods {
    fn new() -> Self {
        let for_devices = |quota| matches!(quota, Quota::Claims | Quota::DeviceCalls | Quota::Batches);
        let ours = rpc::all().iter().map(|rpc| (rpc.path.as_str(), for_devices(rpc.quota)));
        let all = ours.chain(FOREIGN.iter().map(|foreign| (foreign.path, false)));
        let all = all.map(|(path, is_for_devices)| (path, Arc::new(Method::new(&path[1..], is_for_devices))));
        Self(Arc::new(all.collect()), Arc::new(Method::new("unknown", false)))
    }

    fn find(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.0.get(path).unwrap_or(&self.1))
    }
}

impl Method {
    fn new(name: &'static str, is_for_devices: bool) -> Self {
        let (open, seconds) = (metrics::open_rpcs(name), [const { OnceLock::new() }; CODES.len()]);
        Self { name, is_for_devices, open, seconds }
    }
}

/// A call under way; one that is dropped was given up by its caller.
struct Call {
    method: Arc<Method>,
    began: Instant,
    span: Span,
    has_ended: bool,
}

impl Call {
    fn begin(method: Arc<Method>, span: Span) -> Self {
        method.open.increment(1.0);
        Self { method, began: Instant::now(), span, has_ended: false }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let (Method { name: method, open, seconds, .. }, took) = (&*self.method, self.began.elapsed());
        // there are as many codes as names
        let index = (code as i32 as usize).min(CODES.len() - 1);
        let code = CODES[index];
        open.decrement(1.0);
        seconds[index].get_or_init(|| metrics::rpc_seconds(method, code)).record(took);
        tracing::debug!(parent: &self.span, method, code, seconds = took.as_secs_f64(), "a call has ended");
    }

    /// Ends with the status in these headers or trailers, and names the request in it.
    fn end_with(&mut self, status: &Status, id: RequestId, headers: &mut HeaderMap) {
        self.end(status.code());
        if status.code() == Code::Ok {
            return;
        }
        if self.method.is_for_devices && matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
            let info = status.get_details_error_info();
            metrics::device_refused(info.as_ref().map_or(OTHER, |info| &info.reason));
        }
        // what a service wrote fits, and this is short
        let _ = id.named(status).add_header(headers);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// One call.
async fn observed(State(methods): State<Methods>, mut request: Request, next: Next) -> Response {
    let given = request.extensions().get::<RequestId>().copied();
    let id = given.unwrap_or_else(|| RequestId::of(request.headers()));
    request.extensions_mut().insert(id);
    let mut call = Call::begin(methods.find(request.uri().path()), Span::current());
    let mut response = id.within(next.run(request)).await;
    id.put(response.headers_mut());
    if let Some(status) = Status::from_header_map(response.headers()) {
        call.end_with(&status, id, response.headers_mut());
        return response;
    }
    response.map(|body| Body::new(Answers { body, call, id }))
}

/// The answers of a call, until its status.
struct Answers {
    body: Body,
    call: Call,
    id: RequestId,
}

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let span = this.call.span.clone();
        let polled = span.in_scope(|| Pin::new(&mut this.body).poll_frame(context));
        polled.map(|polled| match polled {
            Some(Ok(frame)) => Some(Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    if let Some(status) = Status::from_header_map(&trailers) {
                        this.call.end_with(&status, this.id, &mut trailers);
                    }
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            })),
            Some(Err(error)) => {
                this.call.end(Code::Unknown);
                Some(Err(error))
            }
            None => {
                // an answer without a status is none of gRPC
                this.call.end(Code::Unknown);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
