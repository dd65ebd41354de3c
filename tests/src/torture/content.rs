//! What devices send: each reading can be told from every other, and anyone can work out what it must be.

use crate::builders::reading;
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{Reading, StoredReading, stored_reading::Value};

/// Half a second between two pairs of readings.
const STEP_NS: i64 = Nanos::SECOND / 2;
/// Steps so large that a device's whole run stays well behind now.
const BEGAN_BEFORE_NS: i64 = 30 * Nanos::DAY;
/// One batch in so many is measured a day and a bit before its neighbours.
const LATE_EVERY: u64 = 10;
const LATE_NS: i64 = 26 * 3_600 * Nanos::SECOND + 1;
/// Metric, unit as sent, and the values it takes: from, and how many.
const METRICS: [(&str, &str, u64, u64); 2] = [("55423-8", "{steps}", 0, 200_000), ("8867-4", "bpm", 40, 160)];

/// What a run's devices send.
#[derive(Debug, Clone, Copy)]
pub struct Content {
    origin: Nanos,
    /// Readings in each batch.
    pub batch: u32,
}

impl Content {
    /// Batches of `batch` readings, the first measured a month before `now`.
    pub fn new(now: Nanos, batch: u32) -> Self {
        Self { origin: now.plus(-BEGAN_BEFORE_NS), batch }
    }

    /// A batch. The `last` one is never late, and so the newest of its device.
    pub fn readings(&self, device: u32, sequence: u64, last: bool) -> Vec<Reading> {
        (0..self.batch)
            .map(|index| {
                let (metric, unit, value) = value(device, sequence, index);
                reading(metric, unit, value, self.at(sequence, index, last))
            })
            .collect()
    }

    /// What is wrong with a reading that came back, if anything.
    pub fn fault(&self, device: u32, read: &StoredReading, last: bool) -> Option<String> {
        let (metric, _, value) = value(device, read.sequence, read.index);
        let at = self.at(read.sequence, read.index, last);
        let is = |what: &str, holds: bool| (!holds).then(|| format!("wrong {what}"));
        is("index", read.index < self.batch)
            .or_else(|| is("metric", read.metric == metric))
            .or_else(|| is("value", matches!(read.value, Some(Value::Number(number)) if number == value)))
            .or_else(|| is("time", read.measured_at == Some(convert::timestamp(at))))
            .or_else(|| is("flags", read.flags.is_empty()))
    }

    /// Readings 0 and 1 have the same time and metric, 2 and 3 the next time and the other metric, and so on.
    fn at(&self, sequence: u64, index: u32, last: bool) -> Nanos {
        let steps = sequence as i64 * i64::from(self.batch.div_ceil(2)) + i64::from(index / 2);
        let late = if sequence.is_multiple_of(LATE_EVERY) && !last { LATE_NS } else { 0 };
        self.origin.plus(steps * STEP_NS - late)
    }
}

fn value(device: u32, sequence: u64, index: u32) -> (&'static str, &'static str, f64) {
    let (metric, unit, from, n_values) = METRICS[(index / 2) as usize % METRICS.len()];
    let mixed = sequence.wrapping_mul(7_919).wrapping_add(u64::from(device) * 104_729 + u64::from(index) * 31);
    (metric, unit, (from + mixed % n_values) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sent: &Reading, sequence: u64, index: u32) -> StoredReading {
        let Some(proto::telemetry::v1::reading::Value::Number(number)) = sent.value else { panic!() };
        StoredReading {
            metric: sent.metric.clone(),
            measured_at: sent.measured_at,
            value: Some(Value::Number(number)),
            sequence,
            index,
            ..Default::default()
        }
    }

    #[test]
    fn what_was_sent_has_no_fault_and_anything_else_has() {
        let content = Content::new(Nanos(1_700_000_000 * Nanos::SECOND), 10);
        for sequence in 1..=20 {
            for (index, sent) in (0..).zip(content.readings(3, sequence, false)) {
                let read = stored(&sent, sequence, index);
                assert_eq!(content.fault(3, &read, false), None);
                assert!(content.fault(4, &read, false).is_some(), "another device's");
                assert!(content.fault(3, &stored(&sent, sequence + 1, index), false).is_some());
                let questionable = StoredReading { flags: vec![4], ..read };
                assert!(content.fault(3, &questionable, false).is_some());
            }
        }
    }
}
