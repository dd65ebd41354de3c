//! Functions that make long texts out of short ones. The engine counts what its sorts and groups hold, and not what these make: so
//! each says how much that will be before it makes it.

use datafusion::{
    arrow::{
        array::AsArray,
        compute::cast,
        datatypes::{DataType, FieldRef, Int64Type},
    },
    error::DataFusionError,
    execution::{FunctionRegistry, context::SessionContext},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};
use std::sync::Arc;

/// Most bytes that one makes of a batch of rows.
const BYTES: u64 = 64 << 20;
/// The functions, by name; one that the engine was built without is passed over.
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
    // what a position or a length says is no text
    let n_texts = if name == "overlay" { 2 } else { arguments.len() };
    let columns = arguments.iter().map(sizes).collect::<Result<Vec<_>, _>>()?;
    let size = |at: usize, row: usize| columns.get(at).map_or(0, |sizes| sizes[row % sizes.len()]);
    let texts = |row: usize| (0..n_texts).map(|at| size(at, row)).fold(0, u64::saturating_add);
    let of_row = |row: usize| match name {
        "repeat" => size(0, row).saturating_mul(size(1, row)),
        // of up to four bytes each
        "lpad" | "rpad" => size(1, row).saturating_mul(4).saturating_add(size(0, row)),
        "replace" => size(0, row).saturating_add(1).saturating_mul(size(2, row).saturating_add(1)),
        "concat_ws" => size(0, row).saturating_mul(arguments.len() as u64).saturating_add(texts(row)),
        _ => texts(row),
    };
    Ok((0..n_rows).map(of_row).fold(0, u64::saturating_add))
}

/// What each row of an argument is: of a text how many bytes, of a number that number; 0 of nothing. One, if all are the same.
fn sizes(argument: &ColumnarValue) -> Result<Vec<u64>, DataFusionError> {
    let array = match argument {
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
        ColumnarValue::Array(array) => Arc::clone(array),
    };
    if array.data_type().is_integer() {
        let numbers = cast(&array, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>().iter();
        return Ok(numbers.map(|number| number.unwrap_or(0).max(0).unsigned_abs()).collect());
    }
    let texts = cast(&array, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.map_or(0, str::len) as u64).collect())
}
