//! Models of the health system's reference data.
//!
//! A [`Pipeline`] is data: a query, features, a target, an algorithm and a seed. [`train`] takes its [`Frame`], judges
//! the pipeline on rows that were held out (groups never split), fits all rows and gives an [`Artefact`] and a
//! [`ModelCard`]. [`promote`] says whether it replaces the one in use, by its card or, of other data, on the [`SameRows`];
//! [`predict`] asks it.
//!
//! The same frame, pipeline and build give the same artefact, bit for bit. Nothing here reads or writes a file, or
//! waits: training is long work on the caller's thread, told and stopped through a [`Report`].

mod artefact;
mod card;
mod encoder;
mod error;
mod evaluation;
mod fitted;
mod folds;
mod forest;
mod frame;
mod learnt_from;
mod linear;
mod matrix;
mod metrics;
mod pipeline;
mod predict;
mod promote;
mod random;
mod same_rows;
mod schema;
mod segments;
#[cfg(test)]
mod tests;
mod training;
mod usable;

pub use artefact::{Artefact, FORMAT, MAX_ARTEFACT_BYTES};
pub use card::{FeatureCard, ModelCard, SegmentCard, Versions};
pub use encoder::Seen;
pub use error::{Error, WrongInput};
pub use evaluation::{CalibrationBin, Evaluation, GroupMetrics, Importance, LEAST_GROUP};
pub use folds::{Fold, folds, group_numbers};
pub use forest::MAX_TREES;
pub use frame::{Column, Frame, MAX_CELLS, MAX_ROWS, Values};
pub use metrics::{DRAWS, Measured, Metric, Scored, measure};
pub use pipeline::{Algorithm, Feature, Growth, MAX_DEPTH, Missing, Pipeline, Target, Transform, names};
pub use predict::{Answer, Contribution, Input, Prediction, Range, Warning, predict};
pub use promote::{Decision, promote};
pub use same_rows::{HeldOut, SameRows, Training};
pub use schema::{FeatureSchema, Schema};
pub use segments::Quality;
pub use training::{Trained, train};
pub use usable::Dropped;

use std::ops::ControlFlow;

/// Numbers of rows of a frame, or positions among them, in order.
pub type Rows = Vec<usize>;

/// Told how far long work is (0 to 1) and what it does; says whether to go on.
pub type Report<'a> = &'a dyn Fn(f64, &str) -> ControlFlow<()>;

/// A [`Report`] for whoever neither listens nor stops.
pub fn silent(_share: f64, _doing: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A number in the target's unit.
    Regression,
    /// The probability of a 1.
    Probability,
    /// Which of some segments.
    Segments,
}

/// Tells how far the work is, and ends it if the caller says stop.
fn step(report: Report, share: f64, doing: &str) -> Result<(), Error> {
    match report(share, doing) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped(doing.to_owned())),
    }
}
