//! The call of `StreamReadings`: `Open`, then what the window lets out, bytes as they are.

use crate::{Connection, Stream, connection::bearer, state::SessionState, wire};
use bytes::{BufMut, Bytes};
use proto::{
    codec::StrictCodec,
    telemetry::v1::{Open, StreamReadingsResponse},
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

const METHOD: &str = "/wardline.telemetry.v1.IngestService/StreamReadings";

/// Calls `StreamReadings`; answers when the server has answered with headers.
pub(super) async fn call(
    to: Connection,
    token: &str,
    stream: &Stream,
    shared: Arc<SessionState>,
    connection: u64,
) -> Result<Streaming<StreamReadingsResponse>, Status> {
    let open = Open {
        device_id: stream.device.to_string(),
        stream_id: stream.stream.to_string(),
        resume_after: shared.lock().window.progress().through,
        clock_quality: stream.clock.into(),
    };
    let outgoing = Outgoing { open: Some(wire::open(open)), shared, connection };
    let mut request = Request::new(outgoing);
    request.metadata_mut().insert("authorization", bearer(token)?);
    let mut client = Grpc::new(to);
    client.ready().await.map_err(Status::from_error)?;
    let method = PathAndQuery::from_static(METHOD);
    Ok(client.streaming(request, method, BytesCodec::default()).await?.into_inner())
}

/// The request's messages: `Open`, then batches from the window while there are credits.
struct Outgoing {
    open: Option<Bytes>,
    shared: Arc<SessionState>,
    connection: u64,
}

impl futures::Stream for Outgoing {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.open.take() {
            Some(open) => Poll::Ready(Some(open)),
            None => self.shared.lock().poll_outgoing(self.connection, context),
        }
    }
}

/// Sends bytes that are a message already.
#[derive(Default)]
struct BytesCodec(StrictCodec<(), StreamReadingsResponse>);

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = StreamReadingsResponse;
    type Encoder = BytesEncoder;
    type Decoder = <StrictCodec<(), StreamReadingsResponse> as Codec>::Decoder;

    fn encoder(&mut self) -> BytesEncoder {
        BytesEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        self.0.decoder()
    }
}

struct BytesEncoder;

impl Encoder for BytesEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
