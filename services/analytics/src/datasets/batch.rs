//! Accepted rows on their way into an Arrow batch.

use std::sync::Arc;

use datafusion::arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, RecordBatch,
        RecordBatchOptions, StringBuilder,
    },
    datatypes::SchemaRef,
    error::ArrowError,
};

use super::{
    kind::{Kind, Type},
    value::Value,
};

enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
}

/// A batch that is being filled.
pub(super) struct Batch {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Values in each column, over all batches.
    pub(super) n_values: Vec<u64>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(kind: &Kind) -> Self {
        let builder = |kind: Type| match kind {
            Type::Text => Builder::Text(StringBuilder::new()),
            Type::Integer => Builder::Integer(Int64Builder::new()),
            Type::Decimal(digits, places) => Builder::Decimal(Decimal128Builder::new(), digits, places),
            Type::Double => Builder::Double(Float64Builder::new()),
            Type::Boolean => Builder::Boolean(BooleanBuilder::new()),
            Type::Date => Builder::Date(Date32Builder::new()),
        };
        let builders: Vec<Builder> = kind.columns.iter().map(|column| builder(column.kind)).collect();
        let n_values = vec![0; builders.len()];
        Self { schema: kind.schema(), builders, n_values, rows: 0, bytes: 0 }
    }

    /// Adds a row, in the order of the kind's columns.
    pub(super) fn push(&mut self, values: Vec<Value<'_>>) {
        for ((builder, value), n) in self.builders.iter_mut().zip(values).zip(&mut self.n_values) {
            *n += u64::from(value != Value::Null);
            self.bytes += 16;
            match (builder, value) {
                (Builder::Text(builder), Value::Text(text)) => {
                    self.bytes += text.len();
                    builder.append_value(text);
                }
                (Builder::Text(builder), _) => builder.append_null(),
                (Builder::Integer(builder), Value::Integer(number)) => builder.append_value(number),
                (Builder::Integer(builder), _) => builder.append_null(),
                (Builder::Decimal(builder, ..), Value::Decimal(number)) => builder.append_value(number),
                (Builder::Decimal(builder, ..), _) => builder.append_null(),
                (Builder::Double(builder), Value::Double(number)) => builder.append_value(number),
                (Builder::Double(builder), _) => builder.append_null(),
                (Builder::Boolean(builder), Value::Boolean(truth)) => builder.append_value(truth),
                (Builder::Boolean(builder), _) => builder.append_null(),
                (Builder::Date(builder), Value::Date(day)) => builder.append_value(day),
                (Builder::Date(builder), _) => builder.append_null(),
            }
        }
        self.rows += 1;
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that they take, at least.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The batch; the next begins.
    ///
    /// # Errors
    /// A column that is not as the schema says.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let array = |builder: &mut Builder| -> Result<ArrayRef, ArrowError> {
            Ok(match builder {
                Builder::Text(builder) => Arc::new(builder.finish()),
                Builder::Integer(builder) => Arc::new(builder.finish()),
                Builder::Decimal(builder, digits, places) => {
                    Arc::new(builder.finish().with_precision_and_scale(*digits, *places)?)
                }
                Builder::Double(builder) => Arc::new(builder.finish()),
                Builder::Boolean(builder) => Arc::new(builder.finish()),
                Builder::Date(builder) => Arc::new(builder.finish()),
            })
        };
        let columns = self.builders.iter_mut().map(array).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}
