//! The protobuf codec, with one difference to tonic's: what cannot be decoded is the sender's fault.
//!
//! tonic answers INTERNAL to malformed protobuf; a device may take that for a fault of ours and retry for ever.

use crate::problem;
use prost::{
    Message,
    bytes::{Buf, BufMut},
};
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// From this size on a message is encoded beside the buffer it goes into: a page of a timeline is megabytes.
const LARGE_BYTES: usize = 64 << 10;

/// INVALID_ARGUMENT for what is no message of its type. prost's text names field and type, never a value.
pub(crate) fn malformed(error: &prost::DecodeError) -> Status {
    let text = format!("not a valid protobuf message of this type: {error}");
    problem::invalid("MALFORMED_MESSAGE", "message", text)
}

/// Encodes `T`, decodes `U`.
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = StrictCodec<T, ()>;
    type Decoder = StrictCodec<(), U>;

    fn encoder(&mut self) -> Self::Encoder {
        StrictCodec::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictCodec::default()
    }
}

impl<T: Message> Encoder for StrictCodec<T, ()> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if item.encoded_len() >= LARGE_BYTES {
            // numbers go into a plain vector at half the cost, and a growing buffer would copy itself again and again
            buffer.put_slice(&item.encode_to_vec());
            return Ok(());
        }
        item.encode(buffer).map_err(|_| Status::resource_exhausted("the answer does not fit into a message"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl<U: Message + Default> Decoder for StrictCodec<(), U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // the message lies there in one piece, and a plain slice is the quickest to read
        let length = buffer.remaining();
        let whole = buffer.chunk().len() == length;
        let decoded = if whole { U::decode(buffer.chunk()) } else { U::decode(&mut *buffer) };
        if whole {
            buffer.advance(length);
        }
        decoded.map(Some).map_err(|error| malformed(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
