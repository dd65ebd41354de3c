//! gRPC for pages (grpc-web): the same rpcs, with HTTP/1.1 and trailers at the end of the body.
//!
//! `tonic-web` translates frame by frame and keeps none; what stands before the rpcs (limits, auth layer, budgets, audit log) sees
//! a call as if it had come on the gRPC port.

use super::problem::Problem;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE},
};
use guard::methods::Foreign;
use hyper::body::{Body as HttpBody, Frame};
use proto::rpc;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{
    body::Body as RpcBody,
    codegen::Service,
    service::{LayerExt, Routes},
};
use tonic_web::GrpcWebLayer;

/// How the content types of grpc-web begin: in binary, and in base64.
const KIND: &str = "application/grpc-web";

/// Whether a request says that it is one. Any other method than POST is answered as the path answers it without.
pub(super) fn is_asked(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::POST && headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(KIND.as_bytes()))
}

/// Whether a path is that of an rpc, `/package.Service/Method`.
pub(super) fn is_rpc(path: &str) -> bool {
    rpc::find(path).is_some() || Foreign::find(path).is_some()
}

/// Answers a request of grpc-web.
pub(super) async fn answer(rpcs: Routes, request: Request<Body>) -> Result<Response<Body>, Problem> {
    if !is_rpc(request.uri().path()) {
        return Err(super::nothing_here());
    }
    let mut service = GrpcWebLayer::new().named_layer(Calls(rpcs));
    let response = service.call(request).await.unwrap_or_else(|never: Infallible| match never {});
    if response.status() == StatusCode::BAD_REQUEST {
        return Err(unknown_kind());
    }
    Ok(response.map(Body::new))
}

/// 415: what is sent to an rpc's path.
pub(super) fn unknown_kind() -> Problem {
    let detail = format!("send `content-type: {KIND}+proto` (or {KIND}-text); JSON has paths of its own");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail)
}

/// The rpcs; their answers do not say how long they are, as trailers become a part of them.
#[derive(Clone)]
struct Calls(Routes);

impl tonic::server::NamedService for Calls {
    const NAME: &'static str = "";
}

impl Service<Request<RpcBody>> for Calls {
    type Response = Response<Unmeasured>;
    type Error = Infallible;
    type Future = futures::future::MapOk<
        <Routes as Service<Request<RpcBody>>>::Future,
        fn(Response<RpcBody>) -> Response<Unmeasured>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Routes as Service<Request<RpcBody>>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<RpcBody>) -> Self::Future {
        let unmeasured: fn(Response<RpcBody>) -> Response<Unmeasured> = |response| response.map(Unmeasured);
        futures::TryFutureExt::map_ok(self.0.call(request), unmeasured)
    }
}

/// A body without its length.
struct Unmeasured(RpcBody);

impl HttpBody for Unmeasured {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}
