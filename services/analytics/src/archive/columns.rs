//! The columns of an archived reading, for DuckDB, pandas and Spark alike: no unsigned numbers, no nanoseconds as a time.
//!
//! Columns are only ever added, at the end and nullable: a reader of many files takes them by name.

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Under which key a file says which version of these columns it has.
pub const VERSION_KEY: &str = "wardline.columns";
/// The version of these columns.
pub const VERSION: &str = "1";

/// A column of the archive: name, type, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name of the column in the Parquet file.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// Whether a reading may have none.
    pub optional: bool,
    /// What it says, with its unit.
    pub about: &'static str,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text in UTF-8.
    Text,
    /// Microseconds since 1970, UTC.
    Time,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A number of 64 bits.
    Number,
    /// True or false.
    Boolean,
    /// The samples of a waveform.
    Waveform,
}

const fn of(name: &'static str, kind: Kind, optional: bool, about: &'static str) -> Column {
    Column { name, kind, optional, about }
}

/// All columns, in their order. Rows are in the order of the first four, then device, stream, sequence and place.
pub const COLUMNS: &[Column] = &[
    of("patient_id", Kind::Text, false, "whose reading it is: a UUID"),
    of("metric", Kind::Text, false, "what was measured: a LOINC code, or mdc: or sct: and a code"),
    of("measured_at", Kind::Time, false, "when it was measured, or began, by the device's clock"),
    of("measured_at_ns", Kind::Integer, false, "nanoseconds after that microsecond, 0 to 999"),
    of("measured_until", Kind::Time, true, "when it was over, of what is not of an instant"),
    of("value", Kind::Number, true, "the number, in the metric's own unit; of a bound the number that it lies beyond"),
    of("unit", Kind::Text, true, "that unit, in UCUM; none for codes"),
    of("comparator", Kind::Text, true, "of a bound on which side the value lies: <, <=, >=, >"),
    of("code", Kind::Text, true, "the code, of a metric that has codes"),
    of("absent_reason", Kind::Text, true, "why there is no value: a code of FHIR's data-absent-reason"),
    of("original_value", Kind::Number, true, "the number as it was sent, where it was sent in another unit"),
    of("original_unit", Kind::Text, true, "the unit as it was sent, where that is another one"),
    of(
        "waveform",
        Kind::Waveform,
        true,
        "sample i is worth origin + samples[i] * scale, i * period_ns after measured_at",
    ),
    of(
        "quality",
        Kind::Integer,
        false,
        "flags as sent by the API: 1 implausible, 2 future, 4 ancient, 8 questionable, \
        32 suspect unit, 64 unset clock, 128 entered in error",
    ),
    of("good", Kind::Boolean, false, "whether nothing is known against it, and its device's clock was set"),
    of("clock", Kind::Text, false, "what the device says of its clock: unknown, synchronized, free, unset"),
    of("received_at", Kind::Time, false, "when it was accepted, by our clock"),
    of("device_id", Kind::Text, false, "the device that sent it: a UUID"),
    of("stream_id", Kind::Text, false, "the stream of batches in which it came: a UUID"),
    of("sequence", Kind::Long, false, "the batch's number in its stream, from 1"),
    of("place", Kind::Integer, false, "the reading's place in its batch, from 0"),
];

/// The columns as they are read.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema(DataType::Utf8));

/// The columns as they are written: texts that come again and again, by number.
pub(super) static WRITTEN: LazyLock<SchemaRef> =
    LazyLock::new(|| schema(DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into())));

fn schema(text: DataType) -> SchemaRef {
    let field = |column: &Column| {
        let kind = if column.kind == Kind::Text { text.clone() } else { column.kind.arrow() };
        Field::new(column.name, kind, column.optional)
    };
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// What a waveform has.
pub(super) static WAVEFORM: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("origin", DataType::Float64, false),
        Field::new("scale", DataType::Float64, false),
        Field::new("period_ns", DataType::Int64, false),
        Field::new("samples", DataType::List(Arc::clone(&SAMPLE)), false),
    ])
});

/// A sample; none where it is missing.
pub(super) static SAMPLE: LazyLock<Arc<Field>> =
    LazyLock::new(|| Arc::new(Field::new("element", DataType::Int32, true)));

impl Kind {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Waveform => DataType::Struct(WAVEFORM.clone()),
        }
    }
}
