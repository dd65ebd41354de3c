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
    /// `package.Service/Method`, a label of metrics; `unknown` for a path that nobody serves.
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

/// Counts and times one call, and names its request's id in the answer.
async fn observed(State(methods): State<Methods>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let id = RequestId::claim(&mut head.extensions, &head.headers);
    let request = Request::from_parts(head, body);
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
        let Self { body, call, .. } = this;
        let polled = call.span.in_scope(|| Pin::new(body).poll_frame(context));
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::HeaderValue};
    use futures::{StreamExt, stream};
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
    use std::{convert::Infallible, future::poll_fn};
    use tonic::codegen::Service;

    const STREAM: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";

    async fn ask(mut routes: Routes, path: &str) -> Response {
        routes.call(Request::post(path).body(Body::empty()).unwrap()).await.unwrap().map(Body::new)
    }

    /// A value of a series; `None`: there is no such series.
    fn shown(recorder: &PrometheusRecorder, series: &str) -> Option<f64> {
        let text = recorder.handle().render();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    #[tokio::test]
    async fn a_stream_is_open_until_it_ends_and_counted_then() {
        let recorder = PrometheusBuilder::new().set_buckets(&[1.0]).unwrap().build_recorder();
        let _recording = ::metrics::set_default_local_recorder(&recorder);
        let frames = || {
            let message = Frame::data(Bytes::from_static(b"a message"));
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            stream::iter([message, Frame::trailers(trailers)].map(Ok::<_, Infallible>))
        };
        let body = move || Body::new(http_body_util::StreamBody::new(frames().chain(stream::pending())));
        let routes = around(Routes::from(Router::new().fallback(async move || Response::new(body()))));
        let name = &STREAM[1..];
        let open = || shown(&recorder, &format!("wardline_rpcs_open{{method=\"{name}\"}}"));
        let counted =
            |code: &str| shown(&recorder, &format!("wardline_rpc_seconds_count{{method=\"{name}\",code=\"{code}\"}}"));
        let mut read = ask(routes.clone(), STREAM).await.into_body();
        let dropped = ask(routes.clone(), STREAM).await;
        assert_eq!((open(), counted("OK"), counted("CANCELLED")), (Some(2.0), None, None));
        drop(dropped);
        assert_eq!((open(), counted("OK"), counted("CANCELLED")), (Some(1.0), None, Some(1.0)));
        for _ in 0..2 {
            poll_fn(|context| Pin::new(&mut read).poll_frame(context)).await.unwrap().unwrap();
        }
        assert_eq!((open(), counted("OK"), counted("CANCELLED")), (Some(0.0), Some(1.0), Some(1.0)));
        drop(read);
        assert_eq!((open(), counted("CANCELLED")), (Some(0.0), Some(1.0)), "it had ended");
    }

    #[tokio::test]
    async fn a_refusal_is_counted_and_names_its_request() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let _recording = ::metrics::set_default_local_recorder(&recorder);
        let refused = || proto::problem::status(Code::PermissionDenied, "DEVICE_REVOKED", "claim it anew");
        let routes = around(Routes::from(Router::new().fallback(async move || refused().into_http::<Body>())));
        let answer = ask(routes.clone(), STREAM).await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!((status.code(), status.message()), (refused().code(), refused().message()));
        assert_eq!(status.get_details_error_info().unwrap().reason, "DEVICE_REVOKED");
        let id = status.get_details_request_info().unwrap().request_id;
        assert_eq!(answer.headers()[crate::request_id::HEADER], *id);
        // who reads timelines is no device, and a method that there is not is one for all
        for path in ["/wardline.telemetry.v1.TimelineService/ReadTimeline", "/no.Service/No", "/other.Service/No"] {
            ask(routes.clone(), path).await;
        }
        let refusals = shown(&recorder, "wardline_device_refusals_total{reason=\"DEVICE_REVOKED\"}");
        let unknown = "wardline_rpc_seconds_count{method=\"unknown\",code=\"PERMISSION_DENIED\"}";
        assert_eq!((refusals, shown(&recorder, unknown)), (Some(1.0), Some(2.0)));
    }
}
