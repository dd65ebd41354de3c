//! Says in our words what was wrong with a request that could not be read.
//!
//! A single request is read before its handler runs, and tonic answers by itself when that fails: INTERNAL to broken framing
//! or compression, OUT_OF_RANGE or RESOURCE_EXHAUSTED to a large message. A device would take the first for a fault of ours
//! and send the same bytes for ever. Here it becomes what a stream ends with.

use proto::problem;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

/// A gRPC service whose unreadable requests are the caller's fault.
#[derive(Clone)]
pub struct Courteous<S> {
    inner: S,
    max_message_bytes: usize,
}

impl<S> Courteous<S> {
    /// Around a service that takes messages up to `max_message_bytes`.
    pub(crate) fn new(inner: S, max_message_bytes: usize) -> Self {
        Self { inner, max_message_bytes }
    }
}

impl<S: NamedService> NamedService for Courteous<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for Courteous<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (answering, max_message_bytes) = (self.inner.call(request), self.max_message_bytes);
        Box::pin(async move {
            let answer = answering.await?;
            // an answer of ours that is an error has details; one that is none has no status in its head
            let bare = Status::from_header_map(answer.headers()).filter(|status| status.details().is_empty());
            let better = bare.and_then(|status| problem::unreadable(status, max_message_bytes));
            Ok(better.map_or(answer, Status::into_http))
        })
    }
}
