//! Messages as bytes: a batch is encoded once and kept as it goes out, so sending it again costs nothing.

use bytes::Bytes;
use prost::Message;
use proto::telemetry::v1::{Batch, Open, Reading, StreamReadingsRequest, stream_readings_request::Message as Sent};

/// The message that opens a stream.
pub(super) fn open(open: Open) -> Bytes {
    encode(Sent::Open(open))
}

/// The message of a batch.
pub(super) fn batch(sequence: u64, readings: Vec<Reading>) -> Bytes {
    encode(Sent::Batch(Batch { sequence, readings }))
}

fn encode(message: Sent) -> Bytes {
    StreamReadingsRequest { message: Some(message) }.encode_to_vec().into()
}
