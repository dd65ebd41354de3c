//! Ordinary least squares.
//!
//! Columns are standardised before they are fitted: people in millions beside percent would cost the solver its digits.
//! Coefficients are given back per unit of the matrix's columns.

use super::Error;
use super::matrix::{Matrix, standardise};
use crate::statistics::t_97_5;
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::{arrays::Array, matrix::DenseMatrix};
use smartcore::linear::linear_regression::LinearRegression;

/// A column is said to follow from the others when less than this share of its variance is its own.
const OWN_SHARE: f64 = 1e-9;

/// A fitted line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// The answer where every column is 0, in the target's unit.
    intercept: f64,
    /// Per unit of each column of the matrix.
    coefficients: Vec<f64>,
    means: Vec<f64>,
    deviations: Vec<f64>,
    /// Inverse of the standardised columns' products, row by row: how sure each direction is.
    inverse: Vec<f64>,
    /// Variance of the residuals, in the target's unit squared.
    variance: f64,
    /// Rows of the training.
    rows: usize,
}

impl Linear {
    /// Fits a line to a matrix and one target a row. `name` names a column, for the error that it follows from the
    /// others.
    pub fn fit(x: &Matrix, y: &[f64], name: &dyn Fn(usize) -> String) -> Result<Self, Error> {
        let (n, p) = (x.rows(), x.columns());
        if n < p + 2 {
            return Err(Error::TooFew { what: "rows of the training part", found: n, needed: p + 2 });
        }
        let (means, deviations) = x.means_and_deviations();
        let standard = x.standardised(&means, &deviations);
        let inverse =
            inverse(&products(&standard), p, n).map_err(|column| Error::Collinear { feature: name(column) })?;
        let fitted: LinearRegression<f64, f64, DenseMatrix<f64>, Vec<f64>> =
            LinearRegression::fit(&standard.dense()?, &y.to_vec(), Default::default())
                .map_err(|failed| Error::Fit(failed.to_string()))?;
        let scaled: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
        let coefficients: Vec<f64> = scaled.iter().zip(&deviations).map(|(weight, sd)| weight / sd).collect();
        let moved: f64 = coefficients.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        let intercept = *fitted.intercept() - moved;
        let mut line = Self { intercept, coefficients, means, deviations, inverse, variance: 0.0, rows: n };
        let squares: f64 = x.iter().zip(y).map(|(row, y)| (y - line.predict(row)).powi(2)).sum();
        line.variance = squares / (n - p - 1) as f64;
        if line.is_whole(p) { Ok(line) } else { Err(Error::Fit("the line is not finite".to_owned())) }
    }

    /// The line's answer for one row of the matrix.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.intercept + self.coefficients.iter().zip(row).map(|(weight, value)| weight * value).sum::<f64>()
    }

    /// 95 % prediction interval: where one more observation falls, if residuals are normal and of one width everywhere.
    pub fn interval(&self, row: &[f64]) -> (f64, f64) {
        let p = self.coefficients.len();
        let mut standard = vec![0.0; p];
        standardise(row, &self.means, &self.deviations, &mut standard);
        let leverage: f64 = (0..p)
            .flat_map(|i| (0..p).map(move |j| (i, j)))
            .map(|(i, j)| standard[i] * self.inverse[i * p + j] * standard[j])
            .sum();
        let width = (self.variance * (1.0 + 1.0 / self.rows as f64 + leverage)).sqrt();
        let reach = t_97_5((self.rows - p - 1) as f64) * width;
        let middle = self.predict(row);
        (middle - reach, middle + reach)
    }

    /// The answer at the training part's means, and what each column moves that by; all together are the prediction.
    pub fn contributions(&self, row: &[f64]) -> (f64, Vec<f64>) {
        let parts = self.coefficients.iter().zip(row).zip(&self.means);
        (self.predict(&self.means), parts.map(|((weight, value), mean)| weight * (value - mean)).collect())
    }

    /// Intercept, and coefficient per unit of each column of the matrix.
    pub fn coefficients(&self) -> (f64, &[f64]) {
        (self.intercept, &self.coefficients)
    }

    /// Whether everything is finite and of one size.
    pub(super) fn is_whole(&self, columns: usize) -> bool {
        let p = self.coefficients.len();
        let sizes = p == columns && self.means.len() == p && self.deviations.len() == p && self.inverse.len() == p * p;
        let numbers = self.coefficients.iter().chain(&self.means).chain(&self.deviations).chain(&self.inverse);
        sizes && self.rows > p + 1 && numbers.chain([&self.intercept, &self.variance]).all(|number| number.is_finite())
    }
}

/// Sums of products of each two columns.
fn products(x: &Matrix) -> Vec<f64> {
    let p = x.columns();
    let mut products = vec![0.0; p * p];
    for row in x.iter() {
        for i in 0..p {
            for j in 0..p {
                products[i * p + j] += row[i] * row[j];
            }
        }
    }
    products
}

/// The inverse of a positive definite matrix by Cholesky's factor, or the first column that follows from those before
/// it.
fn inverse(products: &[f64], p: usize, n: usize) -> Result<Vec<f64>, usize> {
    let mut factor = vec![0.0; p * p];
    for i in 0..p {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[i * p + k] * factor[j * p + k]).sum();
            let left = products[i * p + j] - sum;
            if i == j {
                if left <= OWN_SHARE * n as f64 {
                    return Err(i);
                }
                factor[i * p + i] = left.sqrt();
            } else {
                factor[i * p + j] = left / factor[j * p + j];
            }
        }
    }
    let mut inverse = vec![0.0; p * p];
    for column in 0..p {
        let mut solved = vec![0.0; p];
        for i in 0..p {
            let sum: f64 = (0..i).map(|k| factor[i * p + k] * solved[k]).sum();
            solved[i] = (f64::from(u8::from(i == column)) - sum) / factor[i * p + i];
        }
        for i in (0..p).rev() {
            let sum: f64 = (i + 1..p).map(|k| factor[k * p + i] * solved[k]).sum();
            solved[i] = (solved[i] - sum) / factor[i * p + i];
        }
        (0..p).for_each(|i| inverse[i * p + column] = solved[i]);
    }
    Ok(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (Matrix, Vec<f64>) {
        let noise = |i: usize| ((i * 29) % 17) as f64 / 17.0 - 0.5;
        let x = Matrix::of((0..40).flat_map(|i| [i as f64, 1e7 * ((i * i) % 13) as f64]).collect(), 2);
        let y = x.iter().enumerate().map(|(i, row)| 3.0 + 2.0 * row[0] - 1e-6 * row[1] + noise(i)).collect();
        (x, y)
    }

    #[test]
    fn contributions_add_up_and_the_interval_holds_about_95_percent() {
        let (x, y) = line();
        let fitted = Linear::fit(&x, &y, &|column| column.to_string()).expect("a line");
        let (_, coefficients) = fitted.coefficients();
        assert!((coefficients[0] - 2.0).abs() < 0.02 && (coefficients[1] + 1e-6).abs() < 1e-7, "{coefficients:?}");
        let mut inside = 0;
        for (row, truth) in x.iter().zip(&y) {
            let (base, moved) = fitted.contributions(row);
            assert!((base + moved.iter().sum::<f64>() - fitted.predict(row)).abs() < 1e-9);
            let (low, high) = fitted.interval(row);
            inside += usize::from(low <= *truth && *truth <= high);
        }
        assert!(inside >= 36, "{inside} of 40");
    }

    #[test]
    fn a_column_that_follows_from_another_is_named() {
        let x = Matrix::of((0..20).flat_map(|i| [i as f64, 7.0 - 2.0 * i as f64]).collect(), 2);
        let y = vec![1.0; 20];
        let names = |column: usize| ["age", "year of birth"][column].to_owned();
        let refused = Linear::fit(&x, &y, &names).expect_err("collinear");
        assert!(matches!(&refused, Error::Collinear { feature } if feature == "year of birth"), "{refused}");
        let short = Linear::fit(&Matrix::of(vec![1.0, 2.0, 3.0], 2 - 1), &[1.0; 3], &names);
        assert!(short.is_ok());
        assert!(matches!(Linear::fit(&Matrix::of(vec![1.0, 2.0], 1), &[1.0; 2], &names), Err(Error::TooFew { .. })));
    }
}
