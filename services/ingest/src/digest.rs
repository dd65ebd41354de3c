//! What a batch says, in 64 bits: the same sequence with another digest is another batch.

use proto::in_place::{ReadingView, ValueView};
use std::cell::Cell;
use xxhash_rust::xxh3::xxh3_64;

/// Input of the hash that is kept per thread for the next batch.
const KEPT_BYTES: usize = 64 * 1_024;

thread_local! {
    static CONTENT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The content of a batch as the device sent it, in 64 bits.
pub(crate) fn digest(readings: &[ReadingView<'_>]) -> u64 {
    let mut text = CONTENT.take();
    text.clear();
    let put = |text: &mut Vec<u8>, part: &str| {
        text.extend_from_slice(&(part.len() as u32).to_le_bytes());
        text.extend_from_slice(part.as_bytes());
    };
    for reading in readings {
        if let Some(unreadable) = reading.unreadable {
            text.push(u8::MAX);
            text.extend_from_slice(&(unreadable.bytes.len() as u32).to_le_bytes());
            text.extend_from_slice(&unreadable.bytes);
            continue;
        }
        put(&mut text, reading.metric);
        put(&mut text, reading.unit);
        if let Some(at) = &reading.measured_at {
            text.extend_from_slice(&at.seconds.to_le_bytes());
            text.extend_from_slice(&at.nanos.to_le_bytes());
        }
        text.push(u8::from(reading.questionable) | u8::from(reading.entered_in_error) << 1);
        match &reading.value {
            None => text.push(0),
            Some(ValueView::Number(number)) => {
                text.push(1);
                text.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Some(ValueView::Code(code)) => {
                text.push(2);
                put(&mut text, code);
            }
            Some(ValueView::Waveform(wave)) => {
                text.push(3);
                text.extend_from_slice(&wave.origin.to_bits().to_le_bytes());
                text.extend_from_slice(&wave.period_ns.to_le_bytes());
                text.extend_from_slice(&wave.scale.to_bits().to_le_bytes());
                text.extend_from_slice(&wave.width.to_le_bytes());
                text.extend_from_slice(&(wave.samples.len() as u32).to_le_bytes());
                wave.samples.iter().for_each(|s| text.extend_from_slice(&s.to_le_bytes()));
                if !wave.missing.is_empty() {
                    // after so many samples: what has none missing says what it always said
                    wave.missing.iter().for_each(|place| text.extend_from_slice(&place.to_le_bytes()));
                    text.extend_from_slice(&(wave.missing.len() as u32).to_le_bytes());
                }
            }
            Some(ValueView::Bound(bound)) => {
                text.push(4);
                text.extend_from_slice(&bound.comparator.to_le_bytes());
                bound.number.iter().for_each(|number| text.extend_from_slice(&number.to_bits().to_le_bytes()));
            }
            Some(ValueView::Absent(reason)) => {
                text.push(5);
                text.extend_from_slice(&reason.to_le_bytes());
            }
        }
        if let Some(until) = &reading.measured_until {
            text.push(6);
            text.extend_from_slice(&until.seconds.to_le_bytes());
            text.extend_from_slice(&until.nanos.to_le_bytes());
        }
    }
    let digest = xxh3_64(&text);
    if text.capacity() <= KEPT_BYTES {
        CONTENT.set(text);
    }
    digest
}
