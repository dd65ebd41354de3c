//! What a stream says to its device.

use proto::telemetry::v1::{StreamReadingsResponse, stream_readings_response::Message};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

/// A message, or the status that ends the stream.
pub(crate) struct Answer {
    pub(crate) message: Result<StreamReadingsResponse, Status>,
    /// For its refusals; given back when it is encoded.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// A message that holds no room.
pub(crate) fn answer(message: Message) -> Answer {
    Answer { message: Ok(StreamReadingsResponse { message: Some(message) }), _room: None }
}
