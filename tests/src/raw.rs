//! gRPC below the generated client: bytes of any kind over HTTP/2, as a broken or hostile device would send them.

use crate::wait::PATIENCE;
use anyhow::Context;
use futures::{StreamExt, future, stream};
use std::{convert::Infallible, future::poll_fn, pin::Pin};
use tonic::{
    Status,
    body::Body,
    codegen::{Body as _, Service, http},
    transport::Channel,
};

/// An answer of gRPC: its status and its frames.
pub struct Answer {
    /// How it ended; `Ok` for success.
    pub status: Status,
    /// The frames of the answer.
    pub bytes: Vec<u8>,
}

/// One frame of gRPC: flag, length, message.
pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    // a test's message is shorter than 4 GiB
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Sends `body` in one piece to `path` (`/package.Service/Method`) and reads all of the answer.
pub async fn call(
    channel: &mut Channel,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> anyhow::Result<Answer> {
    send(channel, path, headers, axum::body::Body::from(body)).await
}

/// The same with a request that never ends: `body`, and then nothing.
pub async fn call_unfinished(
    channel: &mut Channel,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> anyhow::Result<Answer> {
    let begun = stream::once(future::ready(Ok::<_, Infallible>(body))).chain(stream::pending());
    let answering = send(channel, path, headers, axum::body::Body::from_stream(begun));
    tokio::time::timeout(PATIENCE, answering).await.with_context(|| format!("{path} waits for the rest"))?
}

async fn send(
    channel: &mut Channel,
    path: &str,
    headers: &[(&str, &str)],
    body: axum::body::Body,
) -> anyhow::Result<Answer> {
    let mut request = http::Request::post(format!("http://sandbox{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(body))?;
    poll_fn(|context| channel.poll_ready(context)).await?;
    let response = channel.call(request).await?;
    let (head, mut body) = response.into_parts();
    let mut status = Status::from_header_map(&head.headers);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = match frame {
            Ok(frame) => frame,
            // the server cut the rest after it had answered
            Err(_) if status.is_some() => break,
            Err(error) => return Err(error.into()),
        };
        match frame.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    status = Status::from_header_map(&trailers);
                }
            }
        }
    }
    Ok(Answer { status: status.context("an answer without grpc-status")?, bytes })
}
