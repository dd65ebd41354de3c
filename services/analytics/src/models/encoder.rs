//! From a frame's columns to the matrix that an algorithm takes: transforms, levels, what stands in for missing values,
//! and the columns that say nothing.
//!
//! All of it is learnt from the training part alone: a median over held-out rows would tell the model about them.

use super::Error;
use super::frame::{Frame, Values};
use super::matrix::Matrix;
use super::pipeline::{Missing, Transform};
use super::schema::{FeatureSchema, Schema};
use serde::{Deserialize, Serialize};

/// Columns of a matrix at most, levels counted one by one.
const MAX_COLUMNS: usize = 512;

/// What was seen of one feature in the training part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Least and greatest value in the feature's unit; none for text.
    pub range: Option<(f64, f64)>,
    /// The median in the feature's unit; none for text.
    pub median: Option<f64>,
    /// Rows of each level, in the levels' order; empty for numbers.
    pub levels: Vec<usize>,
    /// Rows of the training part that lacked the feature.
    pub missing: usize,
    /// Whether it has one value everywhere: then it is in no column of the matrix.
    pub constant: bool,
}

/// One column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct MatrixColumn {
    feature: u16,
    /// Index of the level that is 1 here; none for numbers.
    level: Option<u16>,
}

/// How rows become rows of a matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<FeatureSchema>,
    seen: Vec<Seen>,
    columns: Vec<MatrixColumn>,
}

/// A feature's value, as it is given for a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Given<'a> {
    Number(f64),
    Text(&'a str),
    Missing,
}

impl Encoder {
    /// Learns from some rows of a frame. The rows have been checked by [`super::usable::usable`].
    pub fn fit(schema: &Schema, frame: &Frame, rows: &[usize]) -> Result<Self, Error> {
        let mut encoder = Self { features: schema.features.clone(), seen: Vec::new(), columns: Vec::new() };
        for (index, feature) in schema.features.iter().enumerate() {
            let seen = match &frame.column(&feature.name)?.values {
                Values::Numbers(values) => numbers_seen(values, rows),
                Values::Texts(values) => texts_seen(values, rows, &feature.levels),
            };
            if !seen.constant {
                encoder.columns.extend(columns_of(index, &seen));
            }
            encoder.seen.push(seen);
        }
        match encoder.columns.len() {
            0 => Err(Error::TooFew { what: "features that vary", found: 0, needed: 1 }),
            columns if columns > MAX_COLUMNS => Err(Error::TooWide { columns }),
            _ => Ok(encoder),
        }
    }

    /// The rows as a matrix, one row each in the order given.
    pub fn matrix(&self, frame: &Frame, rows: &[usize]) -> Result<Matrix, Error> {
        let mut matrix = Matrix::zeros(rows.len(), self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            let feature = usize::from(column.feature);
            let values = &frame.column(&self.features[feature].name)?.values;
            for (row, index) in rows.iter().enumerate() {
                let given = match values {
                    Values::Numbers(values) => values[*index].map_or(Given::Missing, Given::Number),
                    Values::Texts(values) => values[*index].as_deref().map_or(Given::Missing, Given::Text),
                };
                matrix.row_mut(row)[at] = self.cell(column, given);
            }
        }
        Ok(matrix)
    }

    /// One row of the matrix, of one value for each feature in order.
    pub(super) fn row(&self, given: &[Given<'_>]) -> Vec<f64> {
        self.columns.iter().map(|column| self.cell(column, given[usize::from(column.feature)])).collect()
    }

    fn cell(&self, column: &MatrixColumn, given: Given<'_>) -> f64 {
        let feature = usize::from(column.feature);
        match (given, column.level) {
            (Given::Text(text), Some(level)) => {
                let is = self.features[feature].levels[usize::from(level)] == text;
                f64::from(u8::from(is))
            }
            (Given::Number(number), None) => self.transformed(feature, number),
            // Rows that lack a feature without a stand-in are dropped, or refused, before.
            _ => self.transformed(feature, self.seen[feature].median.unwrap_or(0.0)),
        }
    }

    fn transformed(&self, feature: usize, number: f64) -> f64 {
        match self.features[feature].transform {
            Transform::Log1p => number.ln_1p(),
            Transform::None | Transform::OneHot => number,
        }
    }

    /// The features, in order.
    pub fn features(&self) -> &[FeatureSchema] {
        &self.features
    }

    /// What was seen of each feature, in order.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Whether another one of the same features makes the same columns.
    pub(super) fn has_columns_of(&self, other: &Self) -> bool {
        self.columns == other.columns
    }

    /// Number of the matrix's columns.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// The columns of the matrix that one feature is in.
    pub fn columns_of(&self, feature: usize) -> Vec<usize> {
        let of = |column: &MatrixColumn| usize::from(column.feature) == feature;
        (0..self.columns.len()).filter(|at| of(&self.columns[*at])).collect()
    }

    /// The feature that one column of the matrix is of.
    pub fn feature_of(&self, column: usize) -> usize {
        usize::from(self.columns[column].feature)
    }

    /// The name of one column of the matrix: the feature's, with the level where it has levels.
    pub fn column_name(&self, column: usize) -> String {
        let MatrixColumn { feature, level } = self.columns[column];
        let feature = &self.features[usize::from(feature)];
        match level {
            Some(level) => format!("{}={}", feature.name, feature.levels[usize::from(level)]),
            None => feature.name.clone(),
        }
    }

    /// A value of one column back in the feature's unit; the share of rows for a level.
    pub fn back(&self, column: usize, value: f64) -> f64 {
        match self.features[self.feature_of(column)].transform {
            Transform::Log1p => value.exp_m1(),
            Transform::None | Transform::OneHot => value,
        }
    }

    /// Whether all indices are in range: an artefact's parts are believed only then.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |column: &MatrixColumn| {
            let feature = self.features.get(usize::from(column.feature));
            feature.is_some_and(|feature| {
                column.level.map_or(feature.levels.is_empty(), |level| usize::from(level) < feature.levels.len())
            })
        };
        // A prediction looks up how often a level was seen.
        let mut pairs = self.seen.iter().zip(&self.features);
        self.seen.len() == self.features.len()
            && pairs.all(|(seen, feature)| seen.levels.len() == feature.levels.len())
            && !self.columns.is_empty()
            && self.columns.iter().all(whole)
    }
}

impl FeatureSchema {
    /// Whether a row that lacks the feature is left out.
    pub(super) fn is_required(&self) -> bool {
        self.missing == Missing::DropRow
    }
}

fn numbers_seen(values: &[Option<f64>], rows: &[usize]) -> Seen {
    let mut there: Vec<f64> = rows.iter().filter_map(|row| values[*row]).collect();
    there.sort_by(f64::total_cmp);
    let range = there.first().copied().zip(there.last().copied());
    let middle = there.len() / 2;
    let median = match there.len() {
        0 => None,
        n if n % 2 == 1 => Some(there[middle]),
        _ => Some(there[middle - 1] / 2.0 + there[middle] / 2.0),
    };
    let constant = range.is_none_or(|(low, high)| low == high);
    Seen { range, median, levels: Vec::new(), missing: rows.len() - there.len(), constant }
}

fn texts_seen(values: &[Option<String>], rows: &[usize], levels: &[String]) -> Seen {
    let mut counts = vec![0; levels.len()];
    let mut missing = 0;
    for row in rows {
        let level = values[*row].as_ref().and_then(|text| levels.iter().position(|level| level == text));
        match level {
            Some(level) => counts[level] += 1,
            None => missing += 1,
        }
    }
    let constant = counts.iter().filter(|count| **count > 0).count() < 2;
    Seen { range: None, median: None, levels: counts, missing, constant }
}

/// The columns of a feature that varies. The reference level has none, nor has a level that no row is of.
fn columns_of(feature: usize, seen: &Seen) -> Vec<MatrixColumn> {
    let feature = feature as u16;
    if seen.levels.is_empty() {
        return vec![MatrixColumn { feature, level: None }];
    }
    let first = seen.levels.iter().position(|count| *count > 0).unwrap_or(0);
    let varies = (first + 1..seen.levels.len()).filter(|level| seen.levels[*level] > 0);
    varies.map(|level| MatrixColumn { feature, level: Some(level as u16) }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Column;
    use super::*;

    fn feature(name: &str, transform: Transform, levels: &[&str], missing: Missing) -> FeatureSchema {
        let levels = levels.iter().map(|level| (*level).to_owned()).collect();
        FeatureSchema { name: name.to_owned(), unit: String::new(), transform, levels, missing }
    }

    fn frame() -> (Schema, Frame) {
        let texts = ["a", "b", "c", "a"].map(|text| Some(text.to_owned())).to_vec();
        let columns = vec![
            Column::numbers("cost", "", vec![Some(0.0), None, Some(9.0), Some(99.0)]),
            Column::texts("kind", texts),
            Column::numbers("same", "", vec![Some(1.0); 4]),
        ];
        let ids = ["r0", "r1", "r2", "r3"].map(str::to_owned).to_vec();
        let features = vec![
            feature("cost", Transform::Log1p, &[], Missing::Median),
            feature("kind", Transform::OneHot, &["a", "b", "c"], Missing::DropRow),
            feature("same", Transform::None, &[], Missing::DropRow),
        ];
        let schema = Schema { features, target: None, algorithm: "k_means".to_owned() };
        (schema, Frame::new(ids, None, columns).expect("a frame"))
    }

    #[test]
    fn the_training_part_alone_gives_medians_and_ranges() {
        let (schema, frame) = frame();
        let encoder = Encoder::fit(&schema, &frame, &[0, 1, 2]).expect("an encoder");
        assert_eq!(encoder.seen()[0].median, Some(4.5));
        assert_eq!(encoder.seen()[0].range, Some((0.0, 9.0)));
        assert_eq!(encoder.seen()[0].missing, 1);
        let matrix = encoder.matrix(&frame, &[1, 3]).expect("a matrix");
        assert_eq!(matrix.row(0), [4.5_f64.ln_1p(), 1.0, 0.0]);
        assert_eq!(matrix.row(1), [99.0_f64.ln_1p(), 0.0, 0.0]);
    }

    #[test]
    fn what_is_constant_has_no_column() {
        let (schema, frame) = frame();
        let encoder = Encoder::fit(&schema, &frame, &[0, 1, 2, 3]).expect("an encoder");
        assert!(encoder.seen()[2].constant);
        assert_eq!(encoder.n_columns(), 3);
        assert_eq!(encoder.columns_of(1), [1, 2]);
        assert_eq!(encoder.column_name(2), "kind=c");
        assert!(encoder.is_whole());
        let mut other = encoder.clone();
        other.seen[1].levels.pop();
        assert!(!other.is_whole(), "a level without its rows");
        let alone = Encoder::fit(&schema, &frame, &[0]);
        assert!(matches!(alone, Err(Error::TooFew { .. })));
    }
}
