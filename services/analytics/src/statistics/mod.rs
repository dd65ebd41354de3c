//! Statistics of columns with missing values: correlations, intervals, and p-values of many tests together.
//!
//! Every answer says how many values it rests on and how many were missing. A tail of a distribution is always asked
//! for directly (`sf`), never as one minus the other: at t = 8.94 with 4,231 degrees of freedom that difference is 0.

mod correlation;
mod intervals;
mod many;

pub use correlation::{Correlation, Method, Tested, Untested, correlate, correlation_table};
pub(crate) use intervals::t_97_5;
pub use intervals::{Interval, Mean, Share, mean, wilson};
pub use many::{Correction, benjamini_hochberg, holm};

/// Why a statistic cannot be had of these values.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Two columns of one table have different lengths.
    #[error("columns of {left} and {right} rows cannot be compared row by row")]
    Lengths {
        /// Rows of the first column.
        left: usize,
        /// Rows of the second column.
        right: usize,
    },
    /// Too few values are there.
    #[error("{found} values are too few, {needed} are needed")]
    TooFew {
        /// Values (or pairs) that are there.
        found: usize,
        /// The least number that is needed.
        needed: usize,
    },
    /// One of the columns has the same value everywhere.
    #[error("all {n} values are the same: nothing varies")]
    Constant {
        /// Values that are there.
        n: usize,
    },
    /// A value is NaN or infinite: neither a number nor missing.
    #[error("the value at row {row} is {value}, not a finite number; what is missing must be given as missing")]
    NotFinite {
        /// Index of the row, from 0.
        row: usize,
        /// What stands there.
        value: f64,
    },
    /// A p-value is outside 0 to 1.
    #[error("p-value {value} at index {index} is not between 0 and 1")]
    NotAProbability {
        /// Index of the value, from 0.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// More successes than trials.
    #[error("{part} of {whole} is no share")]
    NotAShare {
        /// Number of successes given.
        part: u64,
        /// Number of trials given, which is less.
        whole: u64,
    },
}
