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
        put(&mut text, reading.metric);
        put(&mut text, reading.unit);
        if let Some(at) = &reading.measured_at {
            text.extend_from_slice(&at.seconds.to_le_bytes());
            text.extend_from_slice(&at.nanos.to_le_bytes());
        }
        text.push(u8::from(reading.questionable));
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
            }
        }
    }
    let digest = xxh3_64(&text);
    if text.capacity() <= KEPT_BYTES {
        CONTENT.set(text);
    }
    digest
}
