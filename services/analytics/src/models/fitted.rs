//! A fitted model of any kind.

use super::encoder::Encoder;
use super::forest::Forest;
use super::linear::Linear;
use super::matrix::Matrix;
use super::pipeline::{Algorithm, Pipeline};
use super::segments::Segments;
use super::{Error, Report};
use serde::{Deserialize, Serialize};

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// What answers: a line, a forest or segments.
    pub learnt: Learnt,
    /// Mean of the target over the training part: what a model that knows nothing says. 0 for segments.
    pub trivial: f64,
}

/// A model of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Learnt {
    /// Least squares, for a number.
    Line(Linear),
    /// A random forest, for a number or a probability.
    Forest(Forest),
    /// Centres of k-means, for the nearest segment.
    Segments(Segments),
}

impl Fitted {
    /// Fits a pipeline's algorithm to a matrix, and to one target a row unless it makes segments.
    pub fn fit(
        pipeline: &Pipeline,
        encoder: &Encoder,
        x: &Matrix,
        target: &[f64],
        report: Report,
    ) -> Result<Self, Error> {
        let learnt = match &pipeline.algorithm {
            Algorithm::LinearRegression {} => {
                Learnt::Line(Linear::fit(x, target, &|column| encoder.column_name(column))?)
            }
            Algorithm::ForestRegression(growth) | Algorithm::ForestClassification(growth) => {
                Learnt::Forest(Forest::fit(x, target, growth, pipeline.seed, report)?)
            }
            Algorithm::KMeans { segments, starts } => {
                Learnt::Segments(Segments::fit(x, *segments, *starts, pipeline.seed, report)?)
            }
        };
        Ok(Self { learnt, trivial: target.iter().sum::<f64>() / target.len().max(1) as f64 })
    }

    /// What the model says of one row, and what one that knows nothing says; for segments both are squared distances.
    pub fn scored(&self, row: &[f64]) -> (f64, f64) {
        match &self.learnt {
            Learnt::Line(line) => (line.predict(row), self.trivial),
            Learnt::Forest(forest) => (forest.predict(row), self.trivial),
            Learnt::Segments(segments) => (segments.nearest(row).1, segments.to_mean(row)),
        }
    }

    /// Whether all its parts fit together.
    pub(super) fn is_whole(&self, columns: usize) -> bool {
        let learnt = match &self.learnt {
            Learnt::Line(line) => line.is_whole(columns),
            Learnt::Forest(forest) => forest.is_whole(columns),
            Learnt::Segments(segments) => segments.is_whole(columns),
        };
        learnt && self.trivial.is_finite()
    }
}
