//! Readings of which each names its owner: no value is there twice, whoever's it is.

use super::world::{HOUR, MIDDLE, World, id, one};
use model::{
    BatchId, Block, ClockQuality, Column, DeviceId, Factor, Hour, Nanos, PatientId, Quality, Row, StreamId, Values,
    by_code,
};
use proto::telemetry::v1::{StoredReading, stored_reading::Value};
use rand::{Rng, rngs::StdRng};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is measured, ascending by key.
pub const METRICS: [&str; 3] = ["40443-4", "8867-4", "8889-8"];
/// Hours around the middle in which something is measured: some lie more than a day ahead.
const HOURS: std::ops::Range<i64> = -40..34;
const N_BATCHES: std::ops::Range<u64> = 3..9;

/// One reading of one patient.
#[derive(Debug, Clone)]
pub struct Reading {
    pub metric: &'static str,
    pub at: i64,
    pub value: f64,
    pub device: Uuid,
    pub stream: Uuid,
    pub sequence: u64,
    pub index: u32,
    /// The device does not doubt it.
    pub good: bool,
}

impl Reading {
    /// By time, then by what makes it itself.
    pub fn order(&self) -> (i64, Uuid, Uuid, u64, u32) {
        (self.at, self.device, self.stream, self.sequence, self.index)
    }

    /// As a text; `packed`: what a column shows of it.
    pub fn line(&self, packed: bool) -> String {
        let Self { metric, at, value, device, stream, sequence, index, .. } = self;
        match packed {
            true => format!("{metric} at {at} = {value}"),
            false => format!("{metric} at {at} = {value} by {device} {stream} {sequence}.{index}"),
        }
    }
}

/// The same text of a reading that was shown.
pub fn line_of(shown: &StoredReading) -> String {
    let StoredReading { metric, device_id, stream_id, sequence, index, .. } = shown;
    let at = shown.measured_at.as_ref().and_then(guard::convert::nanos).map_or(0, |at| at.0);
    let value = match shown.value {
        Some(Value::Number(number)) => number,
        _ => f64::NAN,
    };
    format!("{metric} at {at} = {value} by {device_id} {stream_id} {sequence}.{index}")
}

/// Readings for each patient of a world, and the rows in which they are stored. `last` is the last value given out.
pub fn random(world: &World, last: &mut u64, random: &mut StdRng) -> (Vec<Vec<Reading>>, Vec<Row>) {
    let (mut readings, mut rows) = (Vec::new(), Vec::new());
    for patient in &world.patients {
        let stream = id(random);
        let mut own: Vec<Reading> = Vec::new();
        for sequence in 1..random.random_range(N_BATCHES) {
            let hour = MIDDLE / HOUR + random.random_range(HOURS);
            let batch: Vec<_> = (0..random.random_range(1..7))
                .map(|index| {
                    *last += 1;
                    let at = hour * HOUR + random.random_range(0..120) * HOUR / 120;
                    let (metric, value) = (*one(&METRICS, random), *last as f64);
                    let good = random.random_bool(0.9);
                    Reading { metric, at, value, device: patient.device, stream, sequence, index, good }
                })
                .collect();
            rows.push(row(PatientId::new(patient.id), Hour(hour as i32), &batch));
            own.extend(batch);
        }
        readings.push(own);
    }
    (readings, rows)
}

/// A batch of one hour as the writer would store it.
fn row(patient: PatientId, hour: Hour, batch: &[Reading]) -> Row {
    let mut columns: BTreeMap<&str, Column> = BTreeMap::new();
    for reading in batch {
        let metric = by_code(reading.metric).expect("in the catalogue").id;
        let column = columns.entry(reading.metric).or_insert_with(|| Column {
            metric,
            unit: "".into(),
            factor: Factor::IDENTITY,
            index: vec![],
            measured_at: vec![],
            quality: vec![],
            lasting: vec![],
            values: Values::Number(vec![]),
        });
        column.index.push(reading.index);
        column.measured_at.push(Nanos(reading.at));
        column.quality.push(if reading.good { Quality::GOOD } else { Quality::QUESTIONABLE });
        if let Values::Number(values) = &mut column.values {
            values.push(reading.value);
        }
    }
    let first = &batch[0];
    let identity = BatchId {
        device: DeviceId::new(first.device),
        stream: StreamId::new(first.stream),
        sequence: first.sequence,
        digest: first.sequence,
    };
    let mut metrics: Vec<_> = columns.values().map(|column| column.metric).collect();
    metrics.sort_unstable();
    let mut block = Vec::new();
    Block { columns: columns.into_values().collect() }.encode(hour, &mut block);
    // no reading is ahead of its receipt
    let received_at = hour.end();
    Row { patient, hour, identity, received_at, clock: ClockQuality::Synchronized, metrics, block: block.into() }
}
