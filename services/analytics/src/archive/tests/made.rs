//! Records of a log, and what an archive should have of them.

use super::super::{files::Files, generations::Archive};
use bus::{Delivery, Partition};
use bytes::Bytes;
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use model::{
    BatchId, Block, ClockQuality, Column, DeviceId, Factor, Hour, MetricId, Nanos, PatientId, Quality, Record, Slice,
    StreamId, Values,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::HashSet;

/// One reading as both sides say it: patient, stream, sequence, place, metric, microseconds, value.
pub(super) type Reading = (String, String, i64, i32, String, i64, String);

pub(super) const HOUR: Hour = Hour(495_000);

/// A batch of heart rates and saturations, a second apart.
pub(super) fn record(patient: u128, stream: u128, sequence: u64, n: u32) -> Record {
    let column = |metric: u16, unit: &str, value: f64| Column {
        metric: MetricId(metric),
        unit: unit.into(),
        factor: Factor::IDENTITY,
        index: (0..n).map(|at| at * 2 + u32::from(metric != 1)).collect(),
        measured_at: (0..n).map(|at| at_second(sequence * u64::from(n) + u64::from(at))).collect(),
        quality: vec![Quality::GOOD; n as usize],
        lasting: Vec::new(),
        values: Values::Number((0..n).map(|at| value + f64::from(at)).collect()),
    };
    record_of(patient, stream, sequence, vec![column(1, "", 60.0), column(5, "%", 90.0)])
}

pub(super) fn at_second(second: u64) -> Nanos {
    HOUR.start().plus(second as i64 % 3_600 * Nanos::SECOND)
}

pub(super) fn record_of(patient: u128, stream: u128, sequence: u64, columns: Vec<Column>) -> Record {
    let mut block = Vec::new();
    Block { columns }.encode(HOUR, &mut block);
    let id = |number: u128| uuid::Uuid::from_u128(number);
    Record {
        patient: PatientId::new(id(patient)),
        identity: BatchId {
            device: DeviceId::new(id(1_000 + stream)),
            stream: StreamId::new(id(2_000 + stream)),
            sequence,
            digest: sequence,
        },
        received_at: HOUR.start().plus(sequence as i64 * 1_000_001),
        clock: ClockQuality::Synchronized,
        acked_through: 0,
        slices: vec![Slice { hour: HOUR, block: block.into() }],
    }
}

pub(super) fn delivery(partition: i32, offset: i64, payload: Bytes) -> Delivery {
    Delivery { partition: Partition(partition), offset, payload }
}

/// What an archive of a partition's records should have: of a batch that comes again the first one.
pub(super) fn expected(payloads: &[Bytes]) -> Vec<Reading> {
    let (mut seen, mut readings) = (HashSet::new(), Vec::new());
    for record in payloads.iter().filter_map(|payload| Record::decode(payload).ok()) {
        let BatchId { device, stream, sequence, .. } = record.identity;
        if !seen.insert((record.patient, device, stream, sequence)) {
            continue;
        }
        for slice in &record.slices {
            let Ok(block) = Block::decode(slice.hour, &slice.block) else { continue };
            for column in &block.columns {
                let Values::Number(numbers) = &column.values else { continue };
                for (line, number) in numbers.iter().enumerate() {
                    readings.push((
                        record.patient.uuid().to_string(),
                        stream.uuid().to_string(),
                        sequence as i64,
                        column.index[line] as i32,
                        model::by_id(column.metric).unwrap().key.to_owned(),
                        column.measured_at[line].0 / 1_000,
                        number.to_string(),
                    ));
                }
            }
        }
    }
    readings.sort();
    readings
}

/// What a reader finds who lists the files of the generation that counts.
pub(super) async fn found(files: &dyn Files, archive: &Archive) -> Vec<Reading> {
    let folder = archive.generation().await.unwrap().folder;
    let mut readings = Vec::new();
    for object in files.list(&format!("readings/{folder}")).await.unwrap() {
        if object.key.ends_with(".parquet") {
            let bytes = files.get(&object.key).await.unwrap().unwrap();
            batches(bytes).iter().for_each(|batch| readings.extend(of(batch)));
        }
    }
    readings.sort();
    readings
}

pub(super) fn batches(bytes: Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

fn of(batch: &RecordBatch) -> Vec<Reading> {
    let text = |name: &str| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    let (patients, streams, metrics) = (text("patient_id"), text("stream_id"), text("metric"));
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let row = |row: usize| {
        (
            patients.as_string::<i32>().value(row).to_owned(),
            streams.as_string::<i32>().value(row).to_owned(),
            column("sequence").as_primitive::<Int64Type>().value(row),
            column("place").as_primitive::<Int32Type>().value(row),
            metrics.as_string::<i32>().value(row).to_owned(),
            column("measured_at").as_primitive::<TimestampMicrosecondType>().value(row),
            column("value").as_primitive::<Float64Type>().value(row).to_string(),
        )
    };
    (0..batch.num_rows()).map(row).collect()
}
