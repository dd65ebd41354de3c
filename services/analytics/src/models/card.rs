//! The model card: what a model is for, what it was made of, and how good it is; for programs as JSON, for people as
//! text.

use super::evaluation::Evaluation;
use super::pipeline::{Algorithm, Missing, Target, Transform};
use super::segments::Quality;
use super::usable::Dropped;
use super::{Metric, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a model was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Version of each data set that was read.
    pub data: BTreeMap<String, String>,
    /// Version of the build that trained.
    pub code: String,
}

/// One feature, with what was seen of it in all rows that were used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureCard {
    /// Name of the feature, which is its column's.
    pub name: String,
    /// Its unit; empty for text.
    pub unit: String,
    /// What is done with it.
    pub transform: Transform,
    /// What is done with a row that lacks it.
    pub missing: Missing,
    /// Its levels, the reference first.
    pub levels: Vec<String>,
    /// What was seen.
    pub seen: Seen,
}

/// Segments, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentCard {
    /// How good they are on the rows that they were made of.
    pub quality: Quality,
    /// Each segment's centre: a value in the feature's unit for each column of the matrix, by its name.
    pub centres: Vec<Vec<(String, f64)>>,
}

/// All that is known of a trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The pipeline's name.
    pub name: String,
    /// What the model is, in one line for people.
    pub title: String,
    /// What it may be used for.
    pub intended_use: String,
    /// What it must not be used for, and where it is wrong.
    pub limits: String,
    /// How it learnt.
    pub algorithm: Algorithm,
    /// What it learnt; none for segments.
    pub target: Option<Target>,
    /// The metric that decides about a promotion.
    pub decides: Metric,
    /// When it was trained, RFC 3339 in UTC.
    pub trained_at: String,
    /// What it was made of.
    pub versions: Versions,
    /// Seed of the pipeline, from which everything random in the training followed.
    pub seed: u64,
    /// SHA-256 of the schema, hexadecimal.
    pub schema_hash: String,
    /// Rows of the frame.
    pub rows_in: usize,
    /// Rows that it learnt from.
    pub rows_used: usize,
    /// Rows that it did not, by reason; together with those used they are those of the frame.
    pub dropped: Vec<Dropped>,
    /// What it learnt from.
    pub features: Vec<FeatureCard>,
    /// How good its pipeline is on rows that were held out.
    pub evaluation: Evaluation,
    /// For lines: intercept, and coefficient per unit of each column of the matrix.
    pub coefficients: Vec<(String, f64)>,
    /// Quality and centres of segments; none for other models.
    pub segments: Option<SegmentCard>,
}

impl ModelCard {
    /// The features that had one value everywhere, and so taught nothing.
    pub fn constant_features(&self) -> impl Iterator<Item = &str> {
        self.features.iter().filter(|feature| feature.seen.constant).map(|feature| feature.name.as_str())
    }
}

impl fmt::Display for ModelCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.title, self.name)?;
        let target = self.target.as_ref().map_or("segments".to_owned(), |t| format!("{} in {}", t.name, t.unit));
        writeln!(f, "learns {target} by {}, seed {}", self.algorithm.kind(), self.seed)?;
        let data: Vec<String> = self.versions.data.iter().map(|(name, version)| format!("{name} {version}")).collect();
        writeln!(f, "trained {} on {} by build {}", self.trained_at, data.join(", "), self.versions.code)?;
        writeln!(f, "for: {}", self.intended_use)?;
        writeln!(f, "limits: {}", self.limits)?;
        writeln!(f, "rows: {} of {} used", self.rows_used, self.rows_in)?;
        for dropped in &self.dropped {
            writeln!(f, "  {} left out: {}", dropped.rows, dropped.reason)?;
        }
        self.write_evaluation(f)?;
        self.write_features(f)?;
        self.write_parameters(f)
    }
}

impl ModelCard {
    fn write_evaluation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evaluation { folds, groups, metrics, calibration, fairness, groups_left_out, .. } = &self.evaluation;
        writeln!(f, "held out in {folds} folds of {groups} groups (95 % interval; of a model that knows nothing):")?;
        for measured in metrics {
            let decides = if measured.metric == self.decides { ", decides" } else { "" };
            let (low, high) = (measured.interval.low, measured.interval.high);
            let (metric, value, trivial) = (measured.metric, measured.value, measured.trivial);
            writeln!(f, "  {metric} {value:.4} ({low:.4} to {high:.4}; {trivial:.4}){decides}")?;
        }
        if !calibration.is_empty() {
            writeln!(f, "calibration (predicted, observed, rows):")?;
        }
        for bin in calibration {
            writeln!(f, "  {:.3} {:.3} {}", bin.predicted, bin.observed, bin.rows)?;
        }
        if !fairness.is_empty() {
            writeln!(f, "by group:")?;
        }
        for group in fairness {
            write!(f, "  {}={} n={}", group.column, group.value, group.rows)?;
            if group.too_small {
                write!(f, " too small to judge")?;
            }
            for (metric, value) in &group.metrics {
                write!(f, " {metric} {value:.4}")?;
            }
            writeln!(f)?;
        }
        if *groups_left_out > 0 { writeln!(f, "  {groups_left_out} smaller groups not listed") } else { Ok(()) }
    }

    fn write_features(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "features (worse {} when shuffled, by mean and deviation; range seen):", self.decides)?;
        for (feature, importance) in self.features.iter().zip(&self.evaluation.importance) {
            write!(f, "  {} {:.4} {:.4}", feature.name, importance.mean, importance.standard_deviation)?;
            if let Some((low, high)) = feature.seen.range {
                write!(f, "; {low} to {high} {}", feature.unit)?;
            }
            for (level, rows) in feature.levels.iter().zip(&feature.seen.levels) {
                write!(f, "; {level}: {rows}")?;
            }
            if feature.seen.missing > 0 {
                write!(f, "; missing in {} rows, the median stands in", feature.seen.missing)?;
            }
            writeln!(f, "{}", if feature.seen.constant { "; always the same, not used" } else { "" })?;
        }
        Ok(())
    }

    fn write_parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.coefficients {
            writeln!(f, "coefficient {name} {value:e}")?;
        }
        let Some(SegmentCard { quality, centres }) = &self.segments else { return Ok(()) };
        let silhouette = quality.silhouette.map_or("not defined".to_owned(), |value| format!("{value:.3}"));
        let Quality { inertia, inertia_of_one, silhouette_rows, sizes, .. } = quality;
        writeln!(f, "inertia {inertia:.3} of {inertia_of_one:.3}; silhouette {silhouette} of {silhouette_rows} rows")?;
        for (index, (centre, rows)) in centres.iter().zip(sizes).enumerate() {
            let parts: Vec<String> = centre.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
            writeln!(f, "segment {index}, {rows} rows: {}", parts.join(", "))?;
        }
        Ok(())
    }
}
