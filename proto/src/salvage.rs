//! A batch in which single readings cannot be read: each of those by itself, the others as they are.
//!
//! Where the lengths of a message hold, it is known where each reading begins and ends: one whose unit is no UTF-8, or whose
//! time is no message, is no reason to lose the others, nor the stream. Only what prost does not read comes this way.

use crate::{
    codec::{StrictCodec, malformed},
    telemetry::v1::{Batch, Bound, Reading, Waveform, WriteReadingsRequest, WriteReadingsResponse},
};
use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_types::Timestamp;
use std::borrow::Cow;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};

/// Most readings that are taken apart: more than any setting allows in a batch.
const MAX_READINGS: usize = 65_536;
/// `StreamReadingsRequest.batch`, `Batch.readings`, `WriteReadingsRequest.readings`.
const BATCH: u32 = 2;
const READINGS_OF_BATCH: u32 = 2;
const READINGS_OF_WRITE: u32 = 4;

/// A reading that cannot be read.
#[derive(Clone)]
pub struct Unreadable {
    /// Its bytes, as they came.
    pub bytes: Bytes,
    /// The field at fault; empty where none can be told.
    pub field: &'static str,
    /// What is wrong with it, without what it says.
    pub fault: &'static str,
}

/// The readings of a message, each as far as it can be read.
pub type Readings = Vec<Result<Reading, Unreadable>>;

/// A batch of which not all can be read: its number, and its readings. `None` when it is no such thing.
pub(crate) fn batch(message: &[u8]) -> Option<(u64, Readings)> {
    let (others, pieces) = apart(message, BATCH)?;
    if !others.is_empty() {
        return None;
    }
    // a message in several pieces is what they are together
    let whole: Cow<'_, [u8]> = if let [piece] = pieces[..] { piece.into() } else { pieces.concat().into() };
    let (others, readings) = apart(&whole, READINGS_OF_BATCH)?;
    let Batch { sequence, .. } = Batch::decode(&others[..]).ok()?;
    Some((sequence, readings.into_iter().map(reading).collect()))
}

/// A single request of which not all readings can be read.
fn write(message: &[u8]) -> Option<(WriteReadingsRequest, Readings)> {
    let (others, readings) = apart(message, READINGS_OF_WRITE)?;
    let request = WriteReadingsRequest::decode(&others[..]).ok()?;
    Some((request, readings.into_iter().map(reading).collect()))
}

/// The contents of a field of messages, and the bytes of all other fields; `None` when the lengths do not hold.
fn apart(message: &[u8], field: u32) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    let (mut rest, mut others, mut pieces) = (message, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let before = rest;
        let (tag, wire_type) = decode_key(&mut rest).ok()?;
        if tag == field {
            let length = (wire_type == WireType::LengthDelimited).then(|| decode_varint(&mut rest).ok())??;
            let (piece, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            pieces.push(piece);
            rest = after;
        } else {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
            others.extend_from_slice(&before[..before.len() - rest.len()]);
        }
        if pieces.len() > MAX_READINGS {
            return None;
        }
    }
    Some((others, pieces))
}

fn reading(bytes: &[u8]) -> Result<Reading, Unreadable> {
    Reading::decode(bytes).map_err(|_| {
        let (field, fault) = fault(bytes);
        Unreadable { bytes: Bytes::copy_from_slice(bytes), field, fault }
    })
}

/// The first field of a reading that cannot be read, and why.
fn fault(mut rest: &[u8]) -> (&'static str, &'static str) {
    const BROKEN: (&str, &str) = ("", "is no protobuf message of a reading");
    while !rest.is_empty() {
        let Ok((tag, wire_type)) = decode_key(&mut rest) else { return BROKEN };
        let before = rest;
        if skip_field(wire_type, tag, &mut rest, DecodeContext::default()).is_err() {
            return BROKEN;
        }
        let mut content = &before[..before.len() - rest.len()];
        let (field, expected) = match tag {
            1 => ("metric", WireType::LengthDelimited),
            2 => ("measured_at", WireType::LengthDelimited),
            3 => ("unit", WireType::LengthDelimited),
            4 => ("number", WireType::SixtyFourBit),
            5 => ("code", WireType::LengthDelimited),
            6 => ("waveform", WireType::LengthDelimited),
            7 => ("questionable", WireType::Varint),
            8 => ("bound", WireType::LengthDelimited),
            9 => ("absent_reason", WireType::Varint),
            10 => ("measured_until", WireType::LengthDelimited),
            11 => ("entered_in_error", WireType::Varint),
            _ => continue,
        };
        if wire_type != expected {
            return (field, "is of another type on the wire than the field has");
        }
        if wire_type == WireType::LengthDelimited && decode_varint(&mut content).is_err() {
            return BROKEN;
        }
        match field {
            "metric" | "unit" | "code" if std::str::from_utf8(content).is_err() => {
                return (field, "is no text: its bytes are not UTF-8");
            }
            "measured_at" | "measured_until" if Timestamp::decode(content).is_err() => {
                return (field, "is no message of google.protobuf.Timestamp");
            }
            "waveform" if Waveform::decode(content).is_err() => return (field, "is no message of Waveform"),
            "bound" if Bound::decode(content).is_err() => return (field, "is no message of Bound"),
            _ => {}
        }
    }
    BROKEN
}

/// A `WriteReadingsRequest` as it came.
pub struct ReceivedWrite {
    /// All but its readings.
    pub request: WriteReadingsRequest,
    /// Readings of the request in their order, each as far as it can be read.
    pub readings: Readings,
    /// Its bytes, after decompression.
    pub n_bytes: usize,
}

impl ReceivedWrite {
    fn whole(mut request: WriteReadingsRequest, n_bytes: usize) -> Self {
        let readings = std::mem::take(&mut request.readings).into_iter().map(Ok).collect();
        Self { request, readings, n_bytes }
    }
}

impl From<WriteReadingsRequest> for ReceivedWrite {
    fn from(request: WriteReadingsRequest) -> Self {
        let n_bytes = request.encoded_len();
        Self::whole(request, n_bytes)
    }
}

/// Encodes answers, gives single requests with what can be read of them.
#[derive(Default)]
pub struct WriteCodec(StrictCodec<WriteReadingsResponse, ()>);

impl Codec for WriteCodec {
    type Encode = WriteReadingsResponse;
    type Decode = ReceivedWrite;
    type Encoder = StrictCodec<WriteReadingsResponse, ()>;
    type Decoder = WriteDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        std::mem::take(&mut self.0)
    }

    fn decoder(&mut self) -> WriteDecoder {
        WriteDecoder
    }
}

/// Reads a single request.
pub struct WriteDecoder;

impl Decoder for WriteDecoder {
    type Item = ReceivedWrite;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ReceivedWrite>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let n_bytes = bytes.len();
        let received = match WriteReadingsRequest::decode(&bytes[..]) {
            Ok(request) => ReceivedWrite::whole(request, n_bytes),
            Err(error) => {
                let (request, readings) = write(&bytes).ok_or_else(|| malformed(&error))?;
                ReceivedWrite { request, readings, n_bytes }
            }
        };
        Ok(Some(received))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
