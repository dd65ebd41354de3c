//! Answers that go on, as server-sent events (HTML, 9.2): each message of a stream is one event, its data the message as JSON.
//!
//! What is not said by an rpc's end is an event `error` with a problem. One message at a time is turned into JSON, when the one
//! before has been taken. While there is nothing to say, a comment is sent now and then, so that a peer that is gone is noticed.

use super::{call, problem::Problem, transcode::Served};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE, uri::PathAndQuery},
};
use futures::stream;
use guard::RequestId;
use prost_reflect::DescriptorPool;
use proto::rpc::{Body as Holds, Http, Quota, Rpc};
use std::{
    convert::Infallible,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::time::timeout;
use tonic::{Streaming, service::Routes};

/// How often something is said when there is nothing to say.
const QUIET: Duration = Duration::from_secs(15);
/// How a stream begins: when to come again after it has ended, in milliseconds.
const BEGINNING: &[u8] = b"retry: 2000\n\n";

/// The rpc of all processes that has a route: whether a service is there, now and whenever that changes.
static HEALTH: LazyLock<Option<(DescriptorPool, Rpc, Http)>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).ok()?;
    let rpc = Rpc {
        path: "/grpc.health.v1.Health/Watch".to_owned(),
        process: String::new(),
        streams: (false, true),
        http: Vec::new(),
        actions: Vec::new(),
        is_open: true,
        quota: Quota::Claims,
        max_bytes: None,
        answered_in: None,
        lasts: None,
        memory_bytes: 0,
        media_types: Vec::new(),
        makes: false,
    };
    let http = Http { method: "GET", path: guard::access::HEALTH.to_owned(), body: Holds::Nothing };
    Some((pool, rpc, http))
});

/// The route of that rpc.
pub(super) fn health() -> Option<Served> {
    let (pool, rpc, http) = HEALTH.as_ref()?;
    Served::new(pool, rpc, http)
}

/// Begins a stream; a call that fails at once is answered as any other.
pub(super) async fn answer(
    rpcs: Routes,
    rpc: PathAndQuery,
    served: &Arc<Served>,
    headers: &HeaderMap,
    extensions: axum::http::Extensions,
    request: Vec<u8>,
) -> Result<Response<Body>, Problem> {
    let id = extensions.get::<RequestId>().copied().unwrap_or_else(RequestId::current);
    let answers = call::streamed(rpcs, rpc, headers, extensions, request).await;
    let answers = answers.map_err(|status| Problem::of(&status, None))?;
    let body = stream::unfold(Some((Next::Beginning, answers, Arc::clone(served))), move |held| async move {
        let (next, mut answers, served) = held?;
        let (event, goes_on) = match next {
            Next::Beginning => (BEGINNING.to_vec(), true),
            Next::Message => message(&mut answers, &served, id).await?,
        };
        Some((Ok::<_, Infallible>(Bytes::from(event)), goes_on.then_some((Next::Message, answers, served))))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

enum Next {
    Beginning,
    Message,
}

/// The next event, and whether there may be more; `None` at the end.
async fn message(answers: &mut Streaming<Bytes>, served: &Served, id: RequestId) -> Option<(Vec<u8>, bool)> {
    let problem = match timeout(QUIET, answers.message()).await {
        Err(_) => return Some((b":\n\n".to_vec(), true)),
        Ok(Ok(None)) => return None,
        Ok(Ok(Some(message))) => match served.answer(&message) {
            // JSON has no line ends
            Some(answer) => return Some(([b"data: ", &answer.body[..], b"\n\n"].concat(), true)),
            None => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "a message could not be written as JSON")
            }
        },
        Ok(Err(status)) => Problem::of(&status, None),
    };
    Some(([b"event: error\ndata: ", problem.json(id).as_slice(), b"\n\n"].concat(), false))
}
