//! Segments by k-means of standardised columns.
//!
//! One start falls into bad optima (three of five did, measured), so the best of several is kept, each begun by
//! k-means++ from its own seed.

use super::matrix::{Matrix, standardise};
use super::random::{Purpose, generator, seed};
use super::{Error, Report, step};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use smartcore::cluster::kmeans::{KMeans, KMeansParameters};
use smartcore::linalg::basic::matrix::DenseMatrix;
use std::collections::HashSet;

/// Steps of one start at most; it ends earlier when nothing moves.
const MAX_STEPS: usize = 300;
/// Rows that the silhouette is computed of at most: it compares each with every other.
const SILHOUETTE_ROWS: usize = 2_000;

/// Segments, each a centre.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segments {
    means: Vec<f64>,
    deviations: Vec<f64>,
    /// Standardised centres, ordered by their first column, so that a number means the same after a new training.
    centres: Vec<Vec<f64>>,
}

/// How good segments are on the rows that they were made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Sum of squared distances to the nearest centre, standardised.
    pub inertia: f64,
    /// The same with one centre for all.
    pub inertia_of_one: f64,
    /// Mean silhouette, -1 to 1 (P. J. Rousseeuw, J. Comput. Appl. Math. 20, 1987); none if a sample has one segment
    /// only.
    pub silhouette: Option<f64>,
    /// Rows that the silhouette was computed of.
    pub silhouette_rows: usize,
    /// Rows of each segment.
    pub sizes: Vec<usize>,
}

/// What the library serialises of its answer, as far as it is needed.
#[derive(Deserialize)]
struct Fitted {
    /// JSON has no NaN: a centre of no rows is null here.
    centroids: Vec<Vec<Option<f64>>>,
}

impl Segments {
    /// Finds segments of a matrix's rows; the same seed finds the same.
    pub fn fit(x: &Matrix, segments: usize, starts: usize, training: u64, report: Report) -> Result<Self, Error> {
        let (means, deviations) = x.means_and_deviations();
        let standard = x.standardised(&means, &deviations);
        let distinct: HashSet<Vec<u64>> =
            standard.iter().map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        if distinct.len() < segments {
            return Err(Error::TooFew { what: "different rows to segment", found: distinct.len(), needed: segments });
        }
        let dense = standard.dense()?;
        let mut best: Option<(f64, Self)> = None;
        for start in 0..starts {
            step(report, start as f64 / starts as f64, "finding segments")?;
            let Some(centres) = one_start(&dense, segments, seed(training, Purpose::Starts, start))? else { continue };
            let found = Self { means: means.clone(), deviations: deviations.clone(), centres };
            let inertia = standard.iter().map(|row| nearest(row, &found.centres).1).sum();
            if best.as_ref().is_none_or(|(least, _)| inertia < *least) {
                best = Some((inertia, found));
            }
        }
        best.map(|(_, found)| found).ok_or_else(|| Error::Fit("no start ended in as many segments".to_owned()))
    }

    /// The segment of one row of the matrix, and the squared distance to its centre.
    pub fn nearest(&self, row: &[f64]) -> (usize, f64) {
        nearest(&self.standard(row), &self.centres)
    }

    /// Distance of one row of the matrix to each centre, in standard deviations.
    pub fn distances(&self, row: &[f64]) -> Vec<f64> {
        let standard = self.standard(row);
        self.centres.iter().map(|centre| squared(&standard, centre).sqrt()).collect()
    }

    /// Squared distance of one row of the matrix to the training part's mean: what one segment for all would leave.
    pub fn to_mean(&self, row: &[f64]) -> f64 {
        self.standard(row).iter().map(|value| value * value).sum()
    }

    /// The centres in the matrix's columns.
    pub fn centres(&self) -> Vec<Vec<f64>> {
        let back = |centre: &Vec<f64>| {
            let parts = centre.iter().zip(&self.deviations).zip(&self.means);
            parts.map(|((value, deviation), mean)| value * deviation + mean).collect()
        };
        self.centres.iter().map(back).collect()
    }

    /// The same centres, with distances in the deviations of other segments of the same columns.
    pub(super) fn rescaled(&self, like: &Self) -> Self {
        let centres = self.centres().iter().map(|centre| like.standard(centre)).collect();
        Self { means: like.means.clone(), deviations: like.deviations.clone(), centres }
    }

    /// How good the segments are on some rows of the matrix; the silhouette on a sample of them, drawn by the seed.
    pub fn quality(&self, x: &Matrix, training: u64) -> Quality {
        let standard = x.standardised(&self.means, &self.deviations);
        let found: Vec<(usize, f64)> = standard.iter().map(|row| nearest(row, &self.centres)).collect();
        let mut sizes = vec![0; self.centres.len()];
        found.iter().for_each(|(segment, _)| sizes[*segment] += 1);
        let n = standard.rows();
        let mut rows = sample(&mut generator(training, Purpose::Silhouette, 0), n, n.min(SILHOUETTE_ROWS)).into_vec();
        rows.sort_unstable();
        Quality {
            inertia: found.iter().map(|(_, distance)| distance).sum(),
            inertia_of_one: standard.values().iter().map(|value| value * value).sum(),
            silhouette: silhouette(&standard, &rows, &found, self.centres.len()),
            silhouette_rows: rows.len(),
            sizes,
        }
    }

    fn standard(&self, row: &[f64]) -> Vec<f64> {
        let mut standard = vec![0.0; row.len()];
        standardise(row, &self.means, &self.deviations, &mut standard);
        standard
    }

    /// Whether everything is finite and of one size.
    pub(super) fn is_whole(&self, columns: usize) -> bool {
        let centres = self.centres.iter().all(|centre| centre.len() == columns);
        let sizes = self.means.len() == columns && self.deviations.len() == columns && self.centres.len() >= 2;
        let numbers = self.means.iter().chain(&self.deviations).chain(self.centres.iter().flatten());
        centres && sizes && numbers.into_iter().all(|number| number.is_finite())
    }
}

/// The centres that one start ends in; none if it lost a segment.
fn one_start(x: &DenseMatrix<f64>, segments: usize, seed: u64) -> Result<Option<Vec<Vec<f64>>>, Error> {
    let parameters = KMeansParameters { k: segments, max_iter: MAX_STEPS, seed: Some(seed) };
    let fitted: KMeans<f64, i64, DenseMatrix<f64>, Vec<i64>> =
        KMeans::fit(x, parameters).map_err(|failed| Error::Fit(failed.to_string()))?;
    let value = serde_json::to_value(&fitted).map_err(|error| Error::Fit(error.to_string()))?;
    let read: Fitted = serde_json::from_value(value).map_err(|error| Error::Fit(error.to_string()))?;
    let centres: Option<Vec<Vec<f64>>> =
        read.centroids.into_iter().map(|centre| centre.into_iter().collect::<Option<Vec<f64>>>()).collect();
    Ok(centres.map(|mut centres| {
        centres.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        centres
    }))
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn nearest(row: &[f64], centres: &[Vec<f64>]) -> (usize, f64) {
    let distances = centres.iter().map(|centre| squared(row, centre)).enumerate();
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::INFINITY))
}

/// Mean silhouette of some rows; a row that is alone in its segment counts as 0.
fn silhouette(x: &Matrix, rows: &[usize], found: &[(usize, f64)], segments: usize) -> Option<f64> {
    let mut sizes = vec![0_usize; segments];
    rows.iter().for_each(|row| sizes[found[*row].0] += 1);
    if sizes.iter().filter(|size| **size > 0).count() < 2 {
        return None;
    }
    let of = |row: usize| {
        let own = found[row].0;
        if sizes[own] < 2 {
            return 0.0;
        }
        let mut sums = vec![0.0; segments];
        rows.iter().for_each(|other| sums[found[*other].0] += squared(x.row(row), x.row(*other)).sqrt());
        let within = sums[own] / (sizes[own] - 1) as f64;
        let others = (0..segments).filter(|segment| *segment != own && sizes[*segment] > 0);
        let between = others.map(|segment| sums[segment] / sizes[segment] as f64).fold(f64::INFINITY, f64::min);
        let greater = within.max(between);
        if greater > 0.0 { (between - within) / greater } else { 0.0 }
    };
    Some(rows.iter().map(|row| of(*row)).sum::<f64>() / rows.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::silent;
    use super::*;

    fn heaps() -> Matrix {
        let jitter = |i: usize| ((i * 31) % 23) as f64 / 23.0;
        let at = [(0.0, 0.0), (10.0, 0.0), (0.0, 500.0)];
        Matrix::of((0..60).flat_map(|i| [at[i % 3].0 + jitter(i), at[i % 3].1 + 40.0 * jitter(i + 7)]).collect(), 2)
    }

    #[test]
    fn heaps_are_found_and_numbered_by_their_first_column() {
        let x = heaps();
        let found = Segments::fit(&x, 3, 10, 1, &silent).expect("segments");
        let quality = found.quality(&x, 1);
        assert_eq!(quality.sizes, [20, 20, 20]);
        assert!(quality.silhouette.expect("three segments") > 0.7, "{quality:?}");
        assert!(quality.inertia < 0.05 * quality.inertia_of_one, "{quality:?}");
        assert_eq!(found.nearest(&[10.5, 20.0]).0, 2);
        assert_eq!(found, Segments::fit(&x, 3, 10, 1, &silent).expect("segments"));
        let distances = found.distances(x.row(0));
        assert!((distances[found.nearest(x.row(0)).0].powi(2) - found.nearest(x.row(0)).1).abs() < 1e-12);
    }

    #[test]
    fn fewer_different_rows_than_segments_are_refused() {
        let same = Matrix::of(vec![1.0; 40], 1);
        assert!(matches!(Segments::fit(&same, 2, 10, 1, &silent), Err(Error::TooFew { found: 1, .. })));
        let two = Matrix::of((0..40).map(|i| f64::from(i % 2)).collect(), 1);
        let quality = Segments::fit(&two, 2, 10, 1, &silent).expect("two places").quality(&two, 1);
        assert!(quality.inertia < 1e-20 && quality.sizes == [20, 20], "{quality:?}");
    }
}
