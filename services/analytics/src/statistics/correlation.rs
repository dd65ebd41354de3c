//! Correlation of two columns, and of every pair of many.

use super::intervals::{Interval, Z_95, average};
use super::{Correction, Error};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Which coefficient says how two columns go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Of the values: how close they are to a straight line.
    Pearson,
    /// Of the ranks, ties at their mean rank: how close they are to one order.
    Spearman,
}

/// The correlation of two columns, over the rows that have both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// Whether it is of values or of ranks.
    pub method: Method,
    /// The coefficient, -1 to 1.
    pub coefficient: f64,
    /// 95 % interval by Fisher's z; `None` with fewer than four pairs, where z has no standard error.
    pub interval: Option<Interval>,
    /// Two-sided p-value of no correlation, by Student's t with n - 2 degrees of freedom.
    pub p_value: f64,
    /// Rows that have both values.
    pub n: usize,
    /// Rows that lack at least one.
    pub missing: usize,
}

/// One pair of a table, as it was tested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Name of the first column.
    pub left: String,
    /// Name of the second column.
    pub right: String,
    /// The correlation, as it was computed.
    pub correlation: Correlation,
    /// The p-value corrected for all tests of the table.
    pub adjusted_p_value: f64,
}

/// One pair of a table that could not be tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Untested {
    /// Name of the first column.
    pub left: String,
    /// Name of the second column.
    pub right: String,
    /// Why the pair could not be tested.
    pub reason: Error,
}

/// The correlation of two columns of one table. At least three rows must have both values, and both must vary.
///
/// The interval of Spearman's coefficient widens z's standard error to `sqrt((1 + r * r / 2) / (n - 3))` (D. G. Bonett
/// and T. A. Wright, Psychometrika 65, 2000, 23-28): ranks are not normally distributed.
pub fn correlate(left: &[Option<f64>], right: &[Option<f64>], method: Method) -> Result<Correlation, Error> {
    let (x, y) = pairs(left, right)?;
    let n = x.len();
    if n < 3 {
        return Err(Error::TooFew { found: n, needed: 3 });
    }
    let r = match method {
        Method::Pearson => coefficient(&x, &y)?,
        Method::Spearman => coefficient(&ranks(&x), &ranks(&y))?,
    };
    Ok(Correlation {
        method,
        coefficient: r,
        interval: fisher(r, n, method),
        p_value: two_sided(r, n),
        n,
        missing: left.len() - n,
    })
}

/// Every pair of the columns, in their order, with p-values corrected for all tests together. A pair that cannot be
/// tested is in the second list, with its reason: it is not left out in silence, and no test is counted for it.
pub fn correlation_table(
    columns: &[(&str, &[Option<f64>])],
    method: Method,
    correction: Correction,
) -> (Vec<Tested>, Vec<Untested>) {
    let (mut tested, mut untested) = (Vec::new(), Vec::new());
    for (index, (left, x)) in columns.iter().enumerate() {
        for (right, y) in &columns[index + 1..] {
            let (left, right) = ((*left).to_owned(), (*right).to_owned());
            match correlate(x, y, method) {
                Ok(correlation) => {
                    let adjusted_p_value = correlation.p_value;
                    tested.push(Tested { left, right, correlation, adjusted_p_value });
                }
                Err(reason) => untested.push(Untested { left, right, reason }),
            }
        }
    }
    let alone: Vec<f64> = tested.iter().map(|pair| pair.correlation.p_value).collect();
    if let Ok(adjusted) = correction.adjusted(&alone) {
        for (pair, adjusted) in tested.iter_mut().zip(adjusted) {
            pair.adjusted_p_value = adjusted;
        }
    }
    (tested, untested)
}

/// The rows that have both values.
fn pairs(left: &[Option<f64>], right: &[Option<f64>]) -> Result<(Vec<f64>, Vec<f64>), Error> {
    if left.len() != right.len() {
        return Err(Error::Lengths { left: left.len(), right: right.len() });
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (row, pair) in left.iter().zip(right).enumerate() {
        if let Some(value) = [pair.0, pair.1].into_iter().flatten().find(|value| !value.is_finite()) {
            return Err(Error::NotFinite { row, value: *value });
        }
        if let (Some(a), Some(b)) = pair {
            x.push(*a);
            y.push(*b);
        }
    }
    Ok((x, y))
}

/// Pearson's coefficient, in two passes: one pass loses digits where the mean is far from zero.
fn coefficient(x: &[f64], y: &[f64]) -> Result<f64, Error> {
    let constant = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    if constant(x) || constant(y) {
        return Err(Error::Constant { n: x.len() });
    }
    let (mx, my) = (average(x), average(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx).powi(2);
        yy += (b - my).powi(2);
    }
    let r: f64 = xy / (xx.sqrt() * yy.sqrt());
    // Values that differ by less than their last digits can amount to no variance at all.
    if r.is_finite() { Ok(r.clamp(-1.0, 1.0)) } else { Err(Error::Constant { n: x.len() }) }
}

/// Ranks from 1; those that are equal share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = order[start..].iter().take_while(|index| values[**index] == values[order[start]]).count();
        let shared = start as f64 + (same as f64 + 1.0) / 2.0;
        order[start..start + same].iter().for_each(|index| ranks[*index] = shared);
        start += same;
    }
    ranks
}

fn fisher(r: f64, n: usize, method: Method) -> Option<Interval> {
    let degrees = (n > 3).then_some(n as f64 - 3.0)?;
    let widened = match method {
        Method::Pearson => 1.0,
        Method::Spearman => 1.0 + r * r / 2.0,
    };
    let reach = Z_95 * (widened / degrees).sqrt();
    Some(Interval { low: (r.atanh() - reach).tanh(), high: (r.atanh() + reach).tanh() })
}

/// Twice the upper tail of |t|.
fn two_sided(r: f64, n: usize) -> f64 {
    let degrees = n as f64 - 2.0;
    let rest = (1.0 - r) * (1.0 + r);
    if rest <= 0.0 {
        return 0.0;
    }
    let t = r.abs() * (degrees / rest).sqrt();
    StudentsT::new(0.0, 1.0, degrees).map_or(1.0, |distribution| (2.0 * distribution.sf(t)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    /// One minus the distribution function is 0 here.
    #[test]
    fn a_far_tail_is_not_zero() {
        let distribution = StudentsT::new(0.0, 1.0, 4231.0).expect("degrees of freedom");
        let upper = distribution.sf(8.94);
        assert!((2.0 * upper / 5.70e-19 - 1.0).abs() < 0.01, "{upper:e}");
        let degrees: f64 = 4231.0;
        let r = 8.94 / (degrees + 8.94 * 8.94).sqrt();
        let p = two_sided(r, 4233);
        assert!((p / 5.70e-19 - 1.0).abs() < 0.01, "{p:e}");
    }

    #[test]
    fn missing_values_are_counted_and_never_paired() {
        let x = [Some(1.0), None, Some(2.0), Some(3.0), Some(4.0), Some(5.0)];
        let y = [Some(2.0), Some(9.0), Some(4.0), None, Some(8.0), Some(10.0)];
        let found = correlate(&x, &y, Method::Pearson).expect("four pairs");
        assert_eq!((found.n, found.missing), (4, 2));
        assert!(found.coefficient > 1.0 - 1e-12 && found.p_value < 1e-12, "{found:?}");
        let short = correlate(&x[..3], &y[..3], Method::Pearson);
        assert_eq!(short, Err(Error::TooFew { found: 2, needed: 3 }));
        assert_eq!(correlate(&x, &y[..3], Method::Pearson), Err(Error::Lengths { left: 6, right: 3 }));
    }

    #[test]
    fn what_does_not_vary_and_what_is_no_number_is_refused() {
        let (same, steps) = (some(&[3.0; 4]), some(&[1.0, 2.0, 3.0, 4.0]));
        assert_eq!(correlate(&same, &steps, Method::Spearman), Err(Error::Constant { n: 4 }));
        let nan = some(&[1.0, f64::NAN, 3.0, 4.0]);
        assert!(matches!(correlate(&steps, &nan, Method::Pearson), Err(Error::NotFinite { row: 1, .. })));
    }

    #[test]
    fn a_table_corrects_for_its_tests_and_names_what_it_could_not_test() {
        let a = some(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let b = some(&[2.1, 3.9, 6.2, 7.8, 10.1, 12.2]);
        let c = some(&[5.0, 1.0, 4.0, 2.0, 6.0, 3.0]);
        let d = some(&[7.0; 6]);
        let columns: [(&str, &[Option<f64>]); 4] = [("a", &a), ("b", &b), ("c", &c), ("d", &d)];
        let (tested, untested) = correlation_table(&columns, Method::Pearson, Correction::BenjaminiHochberg);
        assert_eq!(tested.len(), 3);
        assert!(tested.iter().all(|pair| pair.adjusted_p_value >= pair.correlation.p_value));
        assert!((tested[0].adjusted_p_value / tested[0].correlation.p_value - 3.0).abs() < 1e-9);
        let names: Vec<_> = untested.iter().map(|pair| (pair.left.as_str(), pair.right.as_str())).collect();
        assert_eq!(names, [("a", "d"), ("b", "d"), ("c", "d")]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_comes_first(
            rows in prop::collection::vec((-1e6..1e6_f64, -1e6..1e6_f64), 4..40),
        ) {
            let (x, y): (Vec<_>, Vec<_>) = rows.iter().map(|(a, b)| (Some(*a), Some(*b))).unzip();
            for method in [Method::Pearson, Method::Spearman] {
                let (one, other) = (correlate(&x, &y, method), correlate(&y, &x, method));
                if let (Ok(one), Ok(other)) = (one, other) {
                    prop_assert!((one.coefficient - other.coefficient).abs() < 1e-12);
                    let interval = one.interval.expect("four pairs");
                    prop_assert!(interval.contains(one.coefficient));
                    prop_assert!((0.0..=1.0).contains(&one.p_value));
                }
            }
        }
    }
}
