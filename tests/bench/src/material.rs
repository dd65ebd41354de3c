//! Records as ingest makes them, for benchmarks that begin behind it: five metrics at 1 Hz, one after another.

use super::template::METRICS;
use model::{
    BatchId, Block, ClockQuality, Column, DeviceId, Factor, MetricId, Nanos, PatientId, Quality, Record, Slice,
    StreamId, Values,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// One device's batches, made one after another.
pub(super) struct Batches {
    patient: PatientId,
    device: DeviceId,
    stream: StreamId,
    metrics: Vec<MetricId>,
    n_readings: usize,
    /// Number of the next reading, from 0.
    next: usize,
    base_second: i64,
    random: StdRng,
}

impl Batches {
    /// Batches of `n_readings`, the first at `base_second`; a new stream for each `seed`.
    pub(super) fn new(
        identity: wardline::simulate::SimulatedDevice,
        n_readings: usize,
        base_second: i64,
        seed: u64,
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            patient: identity.patient,
            device: identity.device,
            stream: StreamId::from_bytes(random.random()),
            // all of them are in the catalogue, as a test says
            metrics: METRICS.iter().filter_map(|(code, ..)| Some(model::by_code(code)?.id)).collect(),
            n_readings,
            next: 0,
            base_second,
            random,
        }
    }

    /// The second of the next reading.
    pub(super) fn second(&self) -> i64 {
        self.base_second + (self.next / METRICS.len()) as i64
    }
}

impl Iterator for Batches {
    type Item = Record;

    /// A batch lies in one hour: it belongs to that of its first reading, and is cut where the hour ends.
    fn next(&mut self) -> Option<Record> {
        let hour = instant(self.second()).hour();
        let mut columns: Vec<Column> = Vec::with_capacity(METRICS.len());
        let first = self.next;
        while self.next < first + self.n_readings && instant(self.second()).hour() == hour {
            let place = self.next % METRICS.len();
            let (_, _, usual, step) = METRICS[place];
            let value = usual + f64::from(self.random.random_range(-3i32..=3)) * step;
            let value = (value * 10.0).round() / 10.0;
            let (at, index, metric) = (instant(self.second()), (self.next - first) as u32, self.metrics[place]);
            let known = columns.iter().position(|column| column.metric == metric).unwrap_or_else(|| {
                columns.push(column(metric));
                columns.len() - 1
            });
            columns[known].note(index, at, 0, Quality::GOOD);
            if let Values::Number(values) = &mut columns[known].values {
                values.push(value);
            }
            self.next += 1;
        }
        let mut block = Vec::new();
        Block { columns }.encode(hour, &mut block);
        let sequence = (first / self.n_readings) as u64 + 1;
        Some(Record {
            patient: self.patient,
            identity: BatchId {
                device: self.device,
                stream: self.stream,
                sequence,
                digest: sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            },
            received_at: instant(self.second()),
            clock: ClockQuality::Synchronized,
            acked_through: sequence - 1,
            slices: vec![Slice { hour, block: block.into() }],
        })
    }
}

fn instant(second: i64) -> Nanos {
    Nanos(second * Nanos::SECOND)
}

fn column(metric: MetricId) -> Column {
    Column {
        metric,
        unit: "".into(),
        factor: Factor::IDENTITY,
        index: Vec::new(),
        measured_at: Vec::new(),
        quality: Vec::new(),
        lasting: vec![],
        values: Values::Number(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_all_its_readings() {
        let batches = Batches::new(wardline::simulate::SimulatedDevice::new(1, 1), 50, 1_767_225_600, 1);
        let rows: Vec<_> = batches.take(8_640).flat_map(|record| record.rows().unwrap()).collect();
        assert_eq!(rows.len(), 8_640);
        let n_readings: usize = rows.iter().map(|row| Block::decode(row.hour, &row.block).unwrap().len()).sum();
        assert_eq!(n_readings, 86_400 * METRICS.len());
        let hours: std::collections::BTreeSet<_> = rows.iter().map(|row| row.hour).collect();
        assert_eq!(hours.len(), 24);
        assert!(rows.iter().all(|row| row.metrics.len() == METRICS.len()));
    }
}
