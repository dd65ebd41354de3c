//! An rpc in this process: through the same services, auth layer and policy as from outside, without a socket.

use axum::http::{Extensions, HeaderMap, HeaderValue, header::CONTENT_DISPOSITION, uri::PathAndQuery};
use bytes::{Buf, BufMut, Bytes};
use futures::Stream;
use std::convert::Infallible;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    service::Routes,
};

/// Headers that an rpc sees; nothing else goes through.
const PASSED: [&str; 2] = ["authorization", "purpose-of-use"];
/// Largest answer of an rpc: a page of a timeline at its largest.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Calls `/service/rpc` with an encoded request; the encoded responses, one after another.
pub(super) async fn streamed(
    routes: Routes,
    path: PathAndQuery,
    headers: &HeaderMap,
    extensions: Extensions,
    request: Vec<u8>,
) -> Result<Streaming<Bytes>, Status> {
    let mut client = ready(routes).await?;
    let request = Request::from_parts(metadata(headers), extensions, request);
    Ok(client.server_streaming(request, path, Encoded).await?.into_inner())
}

/// What an rpc answered.
pub(super) struct Called {
    /// The response, encoded.
    pub(super) message: Bytes,
    /// What the rpc says of a file that it answers with: its name.
    pub(super) disposition: Option<HeaderValue>,
}

/// Calls `/service/rpc` with an encoded request, which is asked for when the rpc reads it and not before; the encoded response.
/// `extensions` are the connection's: who is at its other end.
pub(super) async fn unary(
    routes: Routes,
    path: PathAndQuery,
    headers: &HeaderMap,
    extensions: Extensions,
    request: impl Stream<Item = Vec<u8>> + Send + 'static,
) -> Result<Called, Status> {
    let mut client = ready(routes).await?;
    let request = Request::from_parts(metadata(headers), extensions, request);
    let (metadata, message, _) = client.client_streaming(request, path, Encoded).await?.into_parts();
    Ok(Called { message, disposition: metadata.into_headers().remove(CONTENT_DISPOSITION) })
}

fn metadata(headers: &HeaderMap) -> MetadataMap {
    let mut passed = HeaderMap::new();
    for name in PASSED {
        for value in headers.get_all(name) {
            passed.append(name, value.clone());
        }
    }
    MetadataMap::from_headers(passed)
}

async fn ready(routes: Routes) -> Result<Grpc<Routes>, Status> {
    let mut client = Grpc::new(routes).max_decoding_message_size(MAX_ANSWER_BYTES);
    // always ready, and cannot fail
    client.ready().await.map_err(|never: Infallible| -> Status { match never {} })?;
    Ok(client)
}

/// Messages as bytes.
struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
