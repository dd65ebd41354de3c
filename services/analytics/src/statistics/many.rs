//! Many tests at once: which of them still stand.

use super::Error;
use serde::{Deserialize, Serialize};

/// How p-values of many tests are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// Bounds the share of findings that are wrong: [`benjamini_hochberg`].
    BenjaminiHochberg,
    /// Bounds the probability that any finding is wrong: [`holm`].
    Holm,
}

impl Correction {
    /// The adjusted p-values, in the order given.
    pub fn adjusted(self, p_values: &[f64]) -> Result<Vec<f64>, Error> {
        match self {
            Self::BenjaminiHochberg => benjamini_hochberg(p_values),
            Self::Holm => holm(p_values),
        }
    }
}

/// Benjamini and Hochberg's adjusted p-values, in the order given (J. R. Stat. Soc. B 57, 1995, 289-300).
///
/// Whoever calls those below q a finding is wrong in at most a share q of the findings, on average, as long as the
/// tests are independent or depend on each other positively. Values outside 0 to 1, and NaN, are refused by their
/// index.
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, Error> {
    let mut order = ascending(p_values)?;
    order.reverse();
    let n = p_values.len() as f64;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least: f64 = 1.0;
    for (position, index) in order.into_iter().enumerate() {
        least = least.min(p_values[index] * (n / (n - position as f64)));
        adjusted[index] = least;
    }
    Ok(adjusted)
}

/// Holm's adjusted p-values, in the order given (Scand. J. Stat. 6, 1979, 65-70).
///
/// Whoever calls those below q a finding is wrong in any of them with a probability of at most q, however the tests depend on
/// each other. Values outside 0 to 1, and NaN, are refused by their index.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, Error> {
    let mut adjusted = vec![0.0; p_values.len()];
    let mut greatest: f64 = 0.0;
    for (position, index) in ascending(p_values)?.into_iter().enumerate() {
        greatest = greatest.max(p_values[index] * (p_values.len() - position) as f64).min(1.0);
        adjusted[index] = greatest;
    }
    Ok(adjusted)
}

/// Indices of probabilities, the least first.
fn ascending(p_values: &[f64]) -> Result<Vec<usize>, Error> {
    if let Some((index, value)) = p_values.iter().enumerate().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
        return Err(Error::NotAProbability { index, value: *value });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R: `p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.5), "holm")`.
    #[test]
    fn holm_as_r_does() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005, 0.5]).expect("p-values");
        for (found, expected) in adjusted.iter().zip([0.04, 0.09, 0.09, 0.025, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), Ok(vec![1.0, 1.0]));
        assert_eq!(holm(&[]), Ok(vec![]));
    }

    /// R: `p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.5), "BH")`.
    #[test]
    fn as_r_does() {
        let adjusted = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005, 0.5]).expect("p-values");
        for (found, expected) in adjusted.iter().zip([0.025, 0.05, 0.05, 0.025, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(benjamini_hochberg(&[]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        assert!(matches!(benjamini_hochberg(&[0.5, f64::NAN]), Err(Error::NotAProbability { index: 1, .. })));
        assert!(matches!(holm(&[1.5]), Err(Error::NotAProbability { index: 0, .. })));
        assert!(matches!(benjamini_hochberg(&[-0.1]), Err(Error::NotAProbability { index: 0, .. })));
    }

    proptest! {
        #[test]
        fn never_smaller_than_alone_and_in_the_same_order(p in prop::collection::vec(0.0..=1.0_f64, 0..60)) {
            let (strict, lenient) = (holm(&p).expect("p-values"), benjamini_hochberg(&p).expect("p-values"));
            for (a, b) in strict.iter().zip(&lenient) {
                prop_assert!(*a >= b - 1e-12, "Holm's is never less");
            }
            for adjusted in [strict, lenient] {
                for (a, pa) in adjusted.iter().zip(&p) {
                    prop_assert!(a >= pa && *a <= 1.0);
                    for (b, pb) in adjusted.iter().zip(&p) {
                        prop_assert!(pa >= pb || a <= b);
                    }
                }
            }
        }
    }
}
