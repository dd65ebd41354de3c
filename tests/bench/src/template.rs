//! Messages made ahead: encoded once, and only sequence and times filled in, so that the generator costs next to
//! nothing beside what it loads.
//!
//! The readings are those of a monitor: five metrics at 1 Hz, one after another. A batch of ten is two seconds, one of
//! sixty is twelve; a batch of one has a single metric.

use bytes::Bytes;
use prost::Message;
use proto::{
    prost_types::Timestamp,
    telemetry::v1::{Reading, reading::Value},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{hint::black_box, time::Instant};

/// Heart rate, SpO2, respiratory rate, systolic blood pressure, temperature: code, unit, usual value, step.
pub(super) const METRICS: [(&str, &str, f64, f64); 5] = [
    ("8867-4", "/min", 78.0, 1.0),
    ("59408-5", "%", 97.0, 1.0),
    ("9279-1", "/min", 16.0, 1.0),
    ("8480-6", "mm[Hg]", 122.0, 1.0),
    ("8310-5", "Cel", 36.8, 0.1),
];
/// Different contents, a multiple of the metrics: the batch after the last has the first one's metrics again.
const N_CONTENTS: usize = 60;
/// A varint of five bytes: any second from 1978 to 3058.
const SECONDS: std::ops::Range<i64> = 1 << 28..1 << 35;
const SECONDS_BYTES: usize = 5;

/// Batches of one size.
pub(super) struct Templates {
    contents: Vec<Content>,
    n_readings: usize,
}

/// The readings of one batch.
struct Content {
    /// The `readings` of a `Batch`, encoded.
    bytes: Vec<u8>,
    /// Where each reading's second is.
    seconds_at: Vec<usize>,
}

impl Templates {
    /// Templates of batches with `n_readings` readings each.
    pub(super) fn new(n_readings: usize) -> Self {
        let mut random = StdRng::seed_from_u64(n_readings as u64);
        Self { contents: (0..N_CONTENTS).map(|k| content(k, n_readings, &mut random)).collect(), n_readings }
    }

    /// The `StreamReadingsRequest` of batch `sequence` (from 1) of a device whose first reading was at `base_second`.
    pub(super) fn message(&self, device: usize, sequence: u64, base_second: i64) -> Bytes {
        // devices begin at different contents
        let at = (sequence as usize + device * METRICS.len()) % N_CONTENTS;
        let content = &self.contents[at];
        let batch_bytes = 1 + varint_bytes(sequence) + content.bytes.len();
        let mut out = Vec::with_capacity(16 + batch_bytes);
        out.push(0x12); // StreamReadingsRequest.batch
        put_varint(&mut out, batch_bytes as u64);
        out.push(0x08); // Batch.sequence
        put_varint(&mut out, sequence);
        let start = out.len();
        out.extend_from_slice(&content.bytes);
        let first = sequence * self.n_readings as u64;
        for (reading, place) in (first..).zip(&content.seconds_at) {
            let second = base_second + (reading / METRICS.len() as u64) as i64;
            out[start + place..start + place + SECONDS_BYTES].copy_from_slice(&five_bytes(second));
        }
        out.into()
    }

    /// What making a message costs the generator, in nanoseconds.
    pub(super) fn cost_ns(&self) -> f64 {
        const N_MESSAGES: u64 = 20_000;
        let started = Instant::now();
        for sequence in 0..N_MESSAGES {
            black_box(self.message(0, sequence, SECONDS.start));
        }
        started.elapsed().as_nanos() as f64 / N_MESSAGES as f64
    }
}

fn content(k: usize, n_readings: usize, random: &mut StdRng) -> Content {
    let (mut bytes, mut seconds_at) = (Vec::new(), Vec::new());
    for reading in k * n_readings..(k + 1) * n_readings {
        let (metric, unit, usual, step) = METRICS[reading % METRICS.len()];
        let steps = f64::from(random.random_range(-3i32..=3));
        // tenths as a device would print them
        let value = ((usual + steps * step) * 10.0).round() / 10.0;
        let encoded = Reading {
            metric: metric.to_owned(),
            measured_at: Some(Timestamp { seconds: SECONDS.start, nanos: 0 }),
            unit: unit.to_owned(),
            value: Some(Value::Number(value)),
            questionable: false,
            entered_in_error: false,
            measured_until: None,
        }
        .encode_to_vec();
        bytes.push(0x12); // Batch.readings
        put_varint(&mut bytes, encoded.len() as u64);
        // tag and length of the metric, the metric, tag and length of the timestamp, tag of its seconds
        seconds_at.push(bytes.len() + 2 + metric.len() + 3);
        bytes.extend_from_slice(&encoded);
    }
    Content { bytes, seconds_at }
}

fn five_bytes(second: i64) -> [u8; SECONDS_BYTES] {
    let second = second.clamp(SECONDS.start, SECONDS.end - 1);
    std::array::from_fn(|i| {
        let more = if i + 1 < SECONDS_BYTES { 0x80 } else { 0 };
        (second >> (7 * i)) as u8 & 0x7f | more
    })
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::telemetry::v1::{StreamReadingsRequest, stream_readings_request::Message as Sent};

    #[test]
    fn a_message_is_what_a_device_sends() {
        const BASE: i64 = 1_790_000_000;
        for n_readings in [1, 10, 60] {
            let templates = Templates::new(n_readings);
            for sequence in [1, 2, 127, 128, 300_000] {
                let message = StreamReadingsRequest::decode(templates.message(3, sequence, BASE)).unwrap();
                let Some(Sent::Batch(batch)) = message.message else { panic!("a batch") };
                assert_eq!((batch.sequence, batch.readings.len()), (sequence, n_readings));
                for (i, reading) in batch.readings.iter().enumerate() {
                    let number = sequence as usize * n_readings + i;
                    let second = reading.measured_at.as_ref().unwrap().seconds;
                    assert_eq!(second, BASE + (number / METRICS.len()) as i64);
                    let (metric, unit, usual, _) = METRICS[number % METRICS.len()];
                    assert_eq!((reading.metric.as_str(), reading.unit.as_str()), (metric, unit));
                    let Some(Value::Number(value)) = reading.value else { panic!("a number") };
                    assert!((value - usual).abs() < 3.5, "{value}");
                }
            }
        }
    }
}
