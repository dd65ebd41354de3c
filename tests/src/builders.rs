//! Messages in one line.

use crate::Bed;
use guard::convert;
use model::{Block, Column, Factor, MetricId, Nanos, Quality, Values};
use proto::telemetry::v1::{
    Batch, Open, ReadTimelineRequest, Reading, StreamReadingsRequest, WriteReadingsRequest, reading::Value,
    stream_readings_request::Message,
};

/// A number with its unit.
pub fn reading(metric: &str, unit: &str, number: f64, at: Nanos) -> Reading {
    Reading {
        metric: metric.into(),
        measured_at: Some(convert::timestamp(at)),
        unit: unit.into(),
        value: Some(Value::Number(number)),
        questionable: false,
        entered_in_error: false,
        measured_until: None,
    }
}

/// A reading of the heart rate, in beats a minute.
pub fn pulse(number: f64, at: Nanos) -> Reading {
    reading("8867-4", "bpm", number, at)
}

/// A block of one number, as a program wrote it that saw nothing against it, and the number of its metric.
pub fn block_of(metric: &str, number: f64, at: Nanos) -> (MetricId, Vec<u8>) {
    let metric = model::by_code(metric).expect("in the catalogue").id;
    let column = Column {
        metric,
        unit: "".into(),
        factor: Factor::IDENTITY,
        index: vec![0],
        measured_at: vec![at],
        quality: vec![Quality::GOOD],
        lasting: vec![],
        values: Values::Number(vec![number]),
    };
    let mut block = Vec::new();
    Block { columns: vec![column] }.encode(at.hour(), &mut block);
    (metric, block)
}

/// The first message of a stream.
pub fn open(bed: &Bed, resume_after: u64) -> StreamReadingsRequest {
    let open = Open {
        device_id: bed.device.uuid().to_string(),
        stream_id: bed.stream.uuid().to_string(),
        resume_after,
        clock_quality: 1,
    };
    StreamReadingsRequest { message: Some(Message::Open(open)) }
}

/// Any other message of a stream.
pub fn batch(sequence: u64, readings: Vec<Reading>) -> StreamReadingsRequest {
    StreamReadingsRequest { message: Some(Message::Batch(Batch { sequence, readings })) }
}

/// A batch of a bed, for `WriteReadings`.
pub fn write(bed: &Bed, sequence: u64, readings: Vec<Reading>) -> WriteReadingsRequest {
    WriteReadingsRequest {
        device_id: bed.device.uuid().to_string(),
        stream_id: bed.stream.uuid().to_string(),
        sequence,
        readings,
        clock_quality: 1,
    }
}

/// All of a patient's readings, as one page of readings.
pub fn everything(bed: &Bed) -> ReadTimelineRequest {
    ReadTimelineRequest {
        patient_id: bed.patient.uuid().to_string(),
        start_time: Some(convert::timestamp(Nanos(i64::MIN + Nanos::SECOND))),
        end_time: Some(convert::timestamp(Nanos(i64::MAX - Nanos::SECOND))),
        page_size: 10_000,
        ..Default::default()
    }
}
