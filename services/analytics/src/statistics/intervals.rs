//! 95 % intervals of a mean and of a share.

use super::Error;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The 97.5 % point of the normal distribution: a 95 % interval reaches this many standard errors to both sides.
pub(super) const Z_95: f64 = 1.959_963_984_540_054;

/// An interval in the unit of what it is the interval of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, which is inside.
    pub low: f64,
    /// Upper end, which is inside.
    pub high: f64,
}

impl Interval {
    /// Whether a value is inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The mean of a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean, in the column's unit.
    pub mean: f64,
    /// Standard deviation of the sample (n - 1), in the column's unit.
    pub standard_deviation: f64,
    /// 95 % interval of the mean by Student's t with n - 1 degrees of freedom.
    pub interval: Interval,
    /// Values that are there.
    pub n: usize,
    /// Values that are missing.
    pub missing: usize,
}

/// A share of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The share, 0 to 1.
    pub share: f64,
    /// 95 % interval by Wilson's score.
    pub interval: Interval,
    /// Size of the whole, at least 1.
    pub n: u64,
}

/// The mean of what is there, with its t interval. Two values at least; NaN and infinite values are refused.
pub fn mean(values: &[Option<f64>]) -> Result<Mean, Error> {
    let there = finite(values)?;
    let n = there.len();
    if n < 2 {
        return Err(Error::TooFew { found: n, needed: 2 });
    }
    let mean = average(&there);
    let variance = there.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let reach = t_97_5((n - 1) as f64) * (variance / n as f64).sqrt();
    Ok(Mean {
        mean,
        standard_deviation: variance.sqrt(),
        interval: Interval { low: mean - reach, high: mean + reach },
        n,
        missing: values.len() - n,
    })
}

/// A share with Wilson's score interval (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927, 209-212), which stays inside 0 to
/// 1 and has a width at 0 of n, too. A whole of nothing is refused.
pub fn wilson(part: u64, whole: u64) -> Result<Share, Error> {
    if whole == 0 {
        return Err(Error::TooFew { found: 0, needed: 1 });
    }
    if part > whole {
        return Err(Error::NotAShare { part, whole });
    }
    let (n, share) = (whole as f64, part as f64 / whole as f64);
    let z2 = Z_95 * Z_95;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let reach = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    // At the edges the formula is exact only on paper.
    let low = if part == 0 { 0.0 } else { (middle - reach).max(0.0) };
    let high = if part == whole { 1.0 } else { (middle + reach).min(1.0) };
    Ok(Share { share, interval: Interval { low, high }, n: whole })
}

/// What is there of a column, or the first row that holds neither a number nor nothing.
fn finite(values: &[Option<f64>]) -> Result<Vec<f64>, Error> {
    let mut there = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        match value {
            Some(value) if value.is_finite() => there.push(*value),
            Some(value) => return Err(Error::NotFinite { row, value: *value }),
            None => {}
        }
    }
    Ok(there)
}

/// The arithmetic mean; the caller has seen to it that there are values.
pub(super) fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The 97.5 % point of Student's t.
pub(crate) fn t_97_5(degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees).map_or(f64::INFINITY, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SciPy 1.17: `t.interval(.95, 4, mean, sem)` of the five values.
    #[test]
    fn a_mean_has_its_t_interval_and_counts_what_is_missing() {
        let values = [Some(2.1), None, Some(2.5), Some(3.7), Some(4.0), None, Some(5.2)];
        let found = mean(&values).expect("five values");
        assert_eq!((found.n, found.missing), (5, 2));
        assert!((found.mean - 3.5).abs() < 1e-12);
        assert!((found.standard_deviation - 1.238_951_169_336_386_8).abs() < 1e-12, "{found:?}");
        assert!((found.interval.low - 1.961_638_937_502_553_1).abs() < 1e-9, "{found:?}");
        assert!((found.interval.high - 5.038_361_062_497_447).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn nan_and_infinite_are_no_missing_values() {
        let refused = mean(&[Some(1.0), None, Some(f64::NAN)]);
        assert!(matches!(refused, Err(Error::NotFinite { row: 2, .. })), "{refused:?}");
        assert!(matches!(mean(&[Some(f64::INFINITY)]), Err(Error::NotFinite { row: 0, .. })));
        assert_eq!(mean(&[Some(1.0), None]), Err(Error::TooFew { found: 1, needed: 2 }));
    }

    #[test]
    fn wilson_stays_inside_and_is_wide_at_the_edges() {
        let none = wilson(0, 10).expect("a share");
        assert_eq!(none.interval.low, 0.0);
        assert!((none.interval.high - 0.277_532_9).abs() < 1e-6, "{none:?}");
        let all = wilson(10, 10).expect("a share");
        assert_eq!(all.interval.high, 1.0);
        assert!((all.interval.low - 0.722_467_1).abs() < 1e-6, "{all:?}");
        assert_eq!(wilson(3, 2), Err(Error::NotAShare { part: 3, whole: 2 }));
        assert_eq!(wilson(0, 0), Err(Error::TooFew { found: 0, needed: 1 }));
    }
}
