//! A device's message, read where it lies: no text of a reading is copied before the reading has been judged.
//!
//! [`Received::read`] walks over the bytes of a batch as every encoder writes it. Whatever else protobuf allows (unknown
//! fields, a field twice, padding) goes the general way, through prost: the two cannot differ in what they take. What prost
//! does not take is read reading by reading, if it is a batch ([`crate::salvage`]).

use crate::{
    codec::{StrictCodec, malformed},
    salvage::{self, Readings, Unreadable},
    telemetry::v1::{Bound, Reading, StreamReadingsRequest, StreamReadingsResponse, Waveform, reading::Value},
};
use bytes::{Buf, Bytes};
use prost::Message as _;
use prost_types::Timestamp;
use std::borrow::Cow;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// `IngestService` whose stream gives messages as [`Received`]. Same name, same routes as the generated one.
#[allow(missing_docs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/wardline.telemetry.v1.IngestService.rs"));
}
pub use generated::ingest_service_server;

/// First allocation of a stream's buffers, one each way; tonic's 8 KiB are more than an idle stream should cost.
const BUFFER_BYTES: usize = 512;
/// Answers collected for one frame: tonic's own number.
const YIELD_BYTES: usize = 32 * 1024;

/// The bytes of a `StreamReadingsRequest`.
pub struct Received(Bytes);

/// A received message: a batch, or anything else.
pub enum Message<'a> {
    /// A batch of readings, still in the bytes that were received.
    Batch {
        /// Sequence number of the batch in its stream, as the device wrote it: 1 for the first.
        sequence: u64,
        /// Readings of the batch, in the order in which the device sent them.
        readings: Vec<ReadingView<'a>>,
    },
    /// A batch in which not every reading can be read.
    Damaged {
        /// Sequence number of the batch in its stream, as the device wrote it: 1 for the first.
        sequence: u64,
        /// Readings of the batch in their order; of one that cannot be read, its bytes and why.
        readings: Readings,
    },
    /// Anything else, or a batch in an unusual form.
    Other(StreamReadingsRequest),
}

/// A [`Reading`] whose texts are still in the bytes of the request.
#[derive(Clone, Default)]
pub struct ReadingView<'a> {
    /// Key of the metric, as the device wrote it: a LOINC code, `mdc:...` or `sct:...`.
    pub metric: &'a str,
    /// When it was measured, by the device's clock; `None` when the device sent no time.
    pub measured_at: Option<Timestamp>,
    /// Unit as the device writes it.
    pub unit: &'a str,
    /// The value; `None` when the device sent none.
    pub value: Option<ValueView<'a>>,
    /// Whether the device itself doubts it.
    pub questionable: bool,
    /// Whether it must not count, nor what came before it of its metric and instant.
    pub entered_in_error: bool,
    /// When it was over; `None` for what is of an instant.
    pub measured_until: Option<Timestamp>,
    /// Why it could not be read; then there is nothing else of it.
    pub unreadable: Option<&'a Unreadable>,
}

/// The value of a [`ReadingView`].
#[derive(Clone)]
pub enum ValueView<'a> {
    /// A number in the reading's unit; may be NaN or infinite.
    Number(f64),
    /// A code of the metric's value set.
    Code(&'a str),
    /// A block of samples.
    Waveform(Cow<'a, Waveform>),
    /// A number beyond which the value lies; may be NaN or infinite, its comparator any number.
    Bound(Bound),
    /// Why there is none: any number.
    Absent(i32),
}

impl Received {
    /// A message of which the bytes are known.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Its bytes, after decompression.
    pub fn n_bytes(&self) -> usize {
        self.0.len()
    }

    /// The message, with a batch's readings still encoded.
    ///
    /// # Errors
    /// INVALID_ARGUMENT: it is no `StreamReadingsRequest`, and no batch of which the readings can be told apart.
    pub fn read(&self) -> Result<Message<'_>, Status> {
        if let Some((sequence, readings)) = batch(&self.0) {
            return Ok(Message::Batch { sequence, readings });
        }
        StreamReadingsRequest::decode(&self.0[..]).map(Message::Other).or_else(|error| {
            let (sequence, readings) = salvage::batch(&self.0).ok_or_else(|| malformed(&error))?;
            Ok(Message::Damaged { sequence, readings })
        })
    }
}

impl<'a> From<&'a Reading> for ReadingView<'a> {
    fn from(reading: &'a Reading) -> Self {
        let value = reading.value.as_ref().map(|value| match value {
            Value::Number(number) => ValueView::Number(*number),
            Value::Code(code) => ValueView::Code(code),
            Value::Waveform(wave) => ValueView::Waveform(Cow::Borrowed(wave)),
            Value::Bound(bound) => ValueView::Bound(*bound),
            Value::AbsentReason(reason) => ValueView::Absent(*reason),
        });
        Self {
            metric: &reading.metric,
            measured_at: reading.measured_at,
            unit: &reading.unit,
            value,
            questionable: reading.questionable,
            entered_in_error: reading.entered_in_error,
            measured_until: reading.measured_until,
            unreadable: None,
        }
    }
}

impl<'a> From<&'a Result<Reading, Unreadable>> for ReadingView<'a> {
    fn from(reading: &'a Result<Reading, Unreadable>) -> Self {
        match reading {
            Ok(reading) => reading.into(),
            Err(unreadable) => Self { unreadable: Some(unreadable), ..Self::default() },
        }
    }
}

/// Number and readings of a message that is a batch in the usual form; `None` for any other.
fn batch(message: &[u8]) -> Option<(u64, Vec<ReadingView<'_>>)> {
    let mut message = message;
    (key(&mut message)? == 0x12).then_some(())?; // StreamReadingsRequest.batch
    let mut batch = piece(&mut message)?;
    message.is_empty().then_some(())?;
    let (mut sequence, mut readings) = (0, Vec::new());
    while !batch.is_empty() {
        match key(&mut batch)? {
            0x08 => sequence = varint(&mut batch)?,
            0x12 => {
                let bytes = piece(&mut batch)?;
                if readings.capacity() == 0 {
                    // readings of one batch are of much the same length
                    readings.reserve(2 + batch.len() / (bytes.len() + 2).max(MIN_READING_BYTES));
                }
                readings.push(reading(bytes)?);
            }
            _ => return None,
        }
    }
    Some((sequence, readings))
}

/// Bytes of a reading with a code, a time and a number: bounds what is set aside for a batch at first.
const MIN_READING_BYTES: usize = 24;

fn reading(mut bytes: &[u8]) -> Option<ReadingView<'_>> {
    let mut view = ReadingView::default();
    while !bytes.is_empty() {
        match key(&mut bytes)? {
            0x0a => view.metric = text(&mut bytes)?,
            0x12 if view.measured_at.is_none() => view.measured_at = Some(timestamp(piece(&mut bytes)?)?),
            0x1a => view.unit = text(&mut bytes)?,
            0x21 if view.value.is_none() => {
                let (number, rest) = bytes.split_first_chunk::<8>()?;
                view.value = Some(ValueView::Number(f64::from_le_bytes(*number)));
                bytes = rest;
            }
            0x2a if view.value.is_none() => view.value = Some(ValueView::Code(text(&mut bytes)?)),
            0x32 if view.value.is_none() => {
                let wave = Waveform::decode(piece(&mut bytes)?).ok()?;
                view.value = Some(ValueView::Waveform(Cow::Owned(wave)));
            }
            0x38 => view.questionable = varint(&mut bytes)? != 0,
            0x58 => view.entered_in_error = varint(&mut bytes)? != 0,
            0x42 if view.value.is_none() => {
                view.value = Some(ValueView::Bound(Bound::decode(piece(&mut bytes)?).ok()?));
            }
            // an enum travels as its 64-bit pattern
            0x48 if view.value.is_none() => view.value = Some(ValueView::Absent(varint(&mut bytes)? as i32)),
            0x52 if view.measured_until.is_none() => {
                view.measured_until = Some(timestamp(piece(&mut bytes)?)?);
            }
            _ => return None,
        }
    }
    Some(view)
}

fn timestamp(mut bytes: &[u8]) -> Option<Timestamp> {
    let mut at = Timestamp::default();
    while !bytes.is_empty() {
        // signed numbers travel as their 64-bit pattern
        match key(&mut bytes)? {
            0x08 => at.seconds = varint(&mut bytes)? as i64,
            0x10 => at.nanos = varint(&mut bytes)? as i32,
            _ => return None,
        }
    }
    Some(at)
}

/// Field number and wire type, when they take one byte.
fn key(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(piece(bytes)?).ok()
}

/// A length and so many bytes.
fn piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (piece, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(piece)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Some(value);
        }
    }
    // ten bytes: a negative number
    let (&last, rest) = bytes.get(9..)?.split_first()?;
    *bytes = rest;
    (last < 2).then_some(value | u64::from(last) << 63)
}

/// Encodes answers, gives requests as they came.
#[derive(Default)]
pub struct ReceivedCodec(AnswerEncoder);

impl Codec for ReceivedCodec {
    type Encode = StreamReadingsResponse;
    type Decode = Received;
    type Encoder = AnswerEncoder;
    type Decoder = ReceivedDecoder;

    fn encoder(&mut self) -> AnswerEncoder {
        std::mem::take(&mut self.0)
    }

    fn decoder(&mut self) -> ReceivedDecoder {
        ReceivedDecoder
    }
}

/// As [`StrictCodec`]'s, with less memory.
#[derive(Default)]
pub struct AnswerEncoder(StrictCodec<StreamReadingsResponse, ()>);

impl Encoder for AnswerEncoder {
    type Item = StreamReadingsResponse;
    type Error = Status;

    fn encode(&mut self, item: StreamReadingsResponse, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.0.encode(item, buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// Cuts a message out of what was received.
pub struct ReceivedDecoder;

impl Decoder for ReceivedDecoder {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        Ok(Some(Received(buffer.copy_to_bytes(buffer.remaining()))))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
