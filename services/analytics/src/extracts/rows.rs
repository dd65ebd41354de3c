//! Rows of the archive as an extract reads them: its columns, by name.

use super::TABLE;
use crate::archive::columns::{COLUMNS, Kind};
use datafusion::arrow::{
    array::{
        Array, AsArray, Float64Array, Int32Array, Int64Array, PrimitiveArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};
use model::{Metric, Nanos, PatientId};

/// Rows, by column.
pub(super) struct Rows {
    pub metric: StringArray,
    pub measured_at: TimestampMicrosecondArray,
    pub measured_at_ns: Int32Array,
    pub measured_until: TimestampMicrosecondArray,
    pub value: Float64Array,
    pub comparator: StringArray,
    pub code: StringArray,
    pub absent_reason: StringArray,
    pub original_unit: StringArray,
    pub waveform: StructArray,
    pub quality: Int32Array,
    pub clock: StringArray,
    pub received_at: TimestampMicrosecondArray,
    pub device_id: StringArray,
    pub stream_id: StringArray,
    pub sequence: Int64Array,
    pub place: Int32Array,
}

/// A patient's readings that were measured, or began, from one instant until before another one, in the order of time.
pub(super) fn query(patient: PatientId, metrics: &[&Metric], (from, to): (Nanos, Nanos)) -> String {
    let columns: Vec<_> = COLUMNS.iter().map(|column| column.name).filter(|name| *name != "patient_id").collect();
    // keys of the catalogue have no quotes
    let keys: Vec<_> = metrics.iter().map(|metric| format!("'{}'", metric.key)).collect();
    let among = if keys.is_empty() { String::new() } else { format!(" AND metric IN ({})", keys.join(", ")) };
    let at = |at: Nanos| format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", at.0.div_euclid(1_000));
    format!(
        "SELECT {} FROM {TABLE} WHERE patient_id = '{}'{among} AND measured_at >= {} AND measured_at < {} ORDER BY \
         measured_at, measured_at_ns, metric, received_at, device_id, stream_id, sequence, place",
        columns.join(", "),
        patient.uuid(),
        at(from),
        at(to),
    )
}

impl Rows {
    pub(super) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let text = |name: &str| Ok::<_, ArrowError>(cast(column(batch, name)?, &DataType::Utf8)?.as_string().clone());
        let time = |name: &str| primitive::<TimestampMicrosecondType>(batch, name);
        Ok(Self {
            metric: text("metric")?,
            measured_at: time("measured_at")?,
            measured_at_ns: primitive::<Int32Type>(batch, "measured_at_ns")?,
            measured_until: time("measured_until")?,
            value: primitive::<Float64Type>(batch, "value")?,
            comparator: text("comparator")?,
            code: text("code")?,
            absent_reason: text("absent_reason")?,
            original_unit: text("original_unit")?,
            waveform: column(batch, "waveform")?.as_struct_opt().ok_or_else(|| other("waveform"))?.clone(),
            quality: primitive::<Int32Type>(batch, "quality")?,
            clock: text("clock")?,
            received_at: time("received_at")?,
            device_id: text("device_id")?,
            stream_id: text("stream_id")?,
            sequence: primitive::<Int64Type>(batch, "sequence")?,
            place: primitive::<Int32Type>(batch, "place")?,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.metric.len()
    }

    /// When a reading was measured, or began.
    pub(super) fn at(&self, row: usize) -> Nanos {
        Nanos(self.measured_at.value(row).saturating_mul(1_000)).plus(i64::from(self.measured_at_ns.value(row)))
    }

    /// When it was over, of what is not of an instant.
    pub(super) fn until(&self, row: usize) -> Option<Nanos> {
        if self.measured_until.is_valid(row) {
            return Some(Nanos(self.measured_until.value(row).saturating_mul(1_000)));
        }
        if self.waveform.is_null(row) {
            return None;
        }
        let period = self.waveform.column_by_name("period_ns")?.as_primitive_opt::<Int64Type>()?.value(row);
        let n_samples = self.waveform.column_by_name("samples")?.as_list_opt::<i32>()?.value_length(row);
        Some(self.at(row).plus(period.saturating_mul(i64::from(n_samples))))
    }

    /// A text, where there is one.
    pub(super) fn text(column: &StringArray, row: usize) -> Option<&str> {
        column.is_valid(row).then(|| column.value(row))
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array, ArrowError> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| other(name))
}

fn primitive<T: datafusion::arrow::datatypes::ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
) -> Result<PrimitiveArray<T>, ArrowError> {
    column(batch, name)?.as_primitive_opt::<T>().cloned().ok_or_else(|| other(name))
}

fn other(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the archive's column {name} is another one"))
}

/// What the columns of an extract say, where they are those of the archive.
pub(super) fn of_archive(name: &str) -> Option<(Kind, bool, &'static str)> {
    COLUMNS.iter().find(|column| column.name == name).map(|column| (column.kind, column.optional, column.about))
}
