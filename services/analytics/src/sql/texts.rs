//! Functions that make long texts out of short ones. The engine counts what its sorts and groups hold, and not what these make: so
//! each says how much that will be before it makes it.

use datafusion::arrow::datatypes::FieldRef;
use datafusion::{
    arrow::{
        array::{Array, AsArray},
        compute::cast,
        datatypes::{DataType, Int64Type},
    },
    common::ScalarValue,
    error::DataFusionError,
    execution::{FunctionRegistry, context::SessionContext},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};
use std::sync::Arc;

/// Most bytes that one makes of a batch of rows.
const BYTES: u64 = 64 << 20;
/// Those that are bounded, and those that are not there.
const BOUNDED: [&str; 7] = ["concat", "concat_ws", "repeat", "lpad", "rpad", "replace", "overlay"];

/// Puts bounds to the context's functions.
pub(super) fn bound(context: &SessionContext) {
    for name in BOUNDED {
        if let Ok(inner) = context.udf(name) {
            let aliases = inner.aliases().to_vec();
            context.register_udf(ScalarUDF::new_from_impl(Bounded { inner, aliases }));
        }
    }
}

/// A function that is asked first how much it would make.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    aliases: Vec<String>,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        self.inner.inner().coerce_types(arguments)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let made = made(self.name(), &args.args, args.number_rows)?;
        if made > BYTES {
            let text =
                format!("{} would make texts of {made} bytes at once, of which up to {BYTES} can be", self.name());
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        self.inner.invoke_with_args(args)
    }
}

/// Bytes that a function makes of these arguments at most.
fn made(name: &str, arguments: &[ColumnarValue], n_rows: usize) -> Result<u64, DataFusionError> {
    let is_scalar = arguments.iter().all(|one| matches!(one, ColumnarValue::Scalar(_)));
    let n_rows = if is_scalar { 1 } else { n_rows };
    let columns = arguments.iter().map(|one| Column::of(one, n_rows)).collect::<Result<Vec<_>, _>>()?;
    let lengths = |row: usize| columns.iter().map(move |column| column.length(row));
    let number = |at: usize, row: usize| columns.get(at).map_or(0, |column| column.number(row));
    let length = |at: usize, row: usize| columns.get(at).map_or(0, |column| column.length(row));
    let of_row = |row: usize| match name {
        "repeat" => length(0, row).saturating_mul(number(1, row)),
        // of up to four bytes each
        "lpad" | "rpad" => number(1, row).saturating_mul(4).saturating_add(length(0, row)),
        "replace" => length(0, row).saturating_add(1).saturating_mul(length(2, row).saturating_add(1)),
        "concat_ws" => {
            let separators = length(0, row).saturating_mul(columns.len() as u64);
            lengths(row).fold(separators, u64::saturating_add)
        }
        _ => lengths(row).fold(0, u64::saturating_add),
    };
    Ok((0..n_rows).map(of_row).fold(0, u64::saturating_add))
}

/// An argument: texts, of which the lengths count, or numbers.
enum Column {
    Texts(datafusion::arrow::array::StringArray, bool),
    Numbers(datafusion::arrow::array::Int64Array, bool),
}

impl Column {
    fn of(argument: &ColumnarValue, n_rows: usize) -> Result<Self, DataFusionError> {
        let (array, is_one) = match argument {
            ColumnarValue::Scalar(ScalarValue::Null) => (ScalarValue::Int64(None).to_array()?, true),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
            ColumnarValue::Array(array) => (Arc::clone(array), array.len() == 1 && n_rows != 1),
        };
        match array.data_type() {
            kind if kind.is_integer() => {
                Ok(Self::Numbers(cast(&array, &DataType::Int64)?.as_primitive::<Int64Type>().clone(), is_one))
            }
            _ => Ok(Self::Texts(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone(), is_one)),
        }
    }

    fn length(&self, row: usize) -> u64 {
        match self {
            Self::Texts(texts, is_one) => {
                let row = if *is_one { 0 } else { row };
                if texts.is_valid(row) { texts.value_length(row).unsigned_abs().into() } else { 0 }
            }
            // as digits
            Self::Numbers(..) => 20,
        }
    }

    fn number(&self, row: usize) -> u64 {
        match self {
            Self::Numbers(numbers, is_one) => {
                let row = if *is_one { 0 } else { row };
                if numbers.is_valid(row) { numbers.value(row).max(0).unsigned_abs() } else { 0 }
            }
            Self::Texts(..) => 0,
        }
    }
}
