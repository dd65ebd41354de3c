//! How good a pipeline's models are on rows that they have not seen: cross-validation, importance, calibration,
//! fairness.

use super::encoder::Encoder;
use super::fitted::Fitted;
use super::folds::{folds, group_numbers};
use super::frame::Frame;
use super::matrix::Matrix;
use super::metrics::{Measured, Metric, Scored, measure};
use super::pipeline::Pipeline;
use super::random::{Purpose, generator};
use super::usable::Usable;
use super::{Error, Report, Rows, step};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Times that each feature is permuted in each fold.
const REPEATS: usize = 3;
/// Held-out rows of a fold that importance is computed of at most; of more, a random sample.
const IMPORTANCE_ROWS: usize = 2_000;
/// Rows of a group below which its metrics say nothing.
pub const LEAST_GROUP: usize = 30;
/// Values of a fairness column at most, the largest; what is beyond is counted.
const MOST_GROUPS: usize = 100;
/// Bins of a calibration table.
const BINS: usize = 10;

/// How much worse the deciding metric becomes when one feature's held-out values are shuffled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Name of the feature.
    pub feature: String,
    /// Mean over folds and repeats, in the metric's unit; greater than 0 if the feature helps.
    pub mean: f64,
    /// Standard deviation over them.
    pub standard_deviation: f64,
}

/// Rows of about equal probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean of the predicted probabilities.
    pub predicted: f64,
    /// Share of rows that were positive.
    pub observed: f64,
    /// Number of held-out rows in the bin, about a tenth of all.
    pub rows: usize,
}

/// The metrics of the rows that have one value of a fairness column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMetrics {
    /// Name of the fairness column.
    pub column: String,
    /// Value that the rows have there; `(missing)` for those without one.
    pub value: String,
    /// Held-out rows that have it.
    pub rows: usize,
    /// Whether the rows are too few ([`LEAST_GROUP`]) to say anything: then there are no metrics.
    pub too_small: bool,
    /// Each metric that is defined.
    pub metrics: Vec<(Metric, f64)>,
}

/// What a cross-validation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of folds, each of which is held out once.
    pub folds: usize,
    /// Groups that were never split.
    pub groups: usize,
    /// Metrics of all held-out rows together.
    pub metrics: Vec<Measured>,
    /// Each feature's importance by the deciding metric.
    pub importance: Vec<Importance>,
    /// For probabilities: predicted against observed, from the least predicted to the greatest.
    pub calibration: Vec<CalibrationBin>,
    /// Metrics by the values of the fairness columns.
    pub fairness: Vec<GroupMetrics>,
    /// Values of fairness columns that are not listed, because there are too many.
    pub groups_left_out: usize,
}

/// Cross-validates: each row is held out once, and groups stay together. Also what was said of the rows, in their order.
pub(super) fn evaluate(
    pipeline: &Pipeline,
    frame: &Frame,
    usable: &Usable,
    report: Report,
) -> Result<(Evaluation, Scored), Error> {
    let groups = group_numbers(frame.groups(), &usable.rows);
    let n = usable.rows.len();
    let mut scored =
        Scored { truth: vec![0.0; n], predicted: vec![0.0; n], trivial: vec![0.0; n], groups: groups.clone() };
    let mut drops: Vec<Vec<f64>> = vec![Vec::new(); pipeline.features.len()];
    let folds = folds(&groups, pipeline.folds, pipeline.seed)?;
    for (index, fold) in folds.iter().enumerate() {
        let part = |share: f64, doing: &str| report((index as f64 + share) / folds.len() as f64, doing);
        step(&part, 0.0, "cross-validating")?;
        let of = |positions: &[usize]| -> Rows { positions.iter().map(|position| usable.rows[*position]).collect() };
        let train = of(&fold.train);
        let target: Vec<f64> = fold.train.iter().filter_map(|position| usable.target.get(*position).copied()).collect();
        let encoder = Encoder::fit(&pipeline.schema(), frame, &train)?;
        let fitted = Fitted::fit(pipeline, &encoder, &encoder.matrix(frame, &train)?, &target, &part)?;
        let held_out = encoder.matrix(frame, &of(&fold.held_out))?;
        for (row, position) in held_out.iter().zip(&fold.held_out) {
            scored.truth[*position] = usable.target.get(*position).copied().unwrap_or(0.0);
            (scored.predicted[*position], scored.trivial[*position]) = fitted.scored(row);
        }
        let known = Known { pipeline, encoder: &encoder, fitted: &fitted, fold: index };
        known.importance(&held_out, &scored.only(&fold.held_out), &mut drops);
    }
    let task = pipeline.algorithm.task();
    let (fairness, groups_left_out) = fairness(pipeline, frame, usable, &scored)?;
    let evaluation = Evaluation {
        folds: folds.len(),
        groups: groups.iter().max().map_or(0, |greatest| greatest + 1),
        metrics: measure(task, &scored, pipeline.seed),
        importance: pipeline.features.iter().zip(&drops).map(|(f, drops)| Importance::of(&f.name, drops)).collect(),
        calibration: if task == super::Task::Probability { calibration(&scored) } else { Vec::new() },
        fairness,
        groups_left_out,
    };
    Ok((evaluation, scored))
}

/// One fold's model.
struct Known<'a> {
    pipeline: &'a Pipeline,
    encoder: &'a Encoder,
    fitted: &'a Fitted,
    fold: usize,
}

impl Known<'_> {
    /// Shuffles each feature in turn among the held-out rows, all its columns together, and notes how much worse the
    /// deciding metric becomes. A feature without a column (it was constant) changes nothing.
    fn importance(&self, held_out: &Matrix, scored: &Scored, drops: &mut [Vec<f64>]) {
        let rows = sample(held_out.rows(), self.pipeline.seed, self.fold);
        let metric = self.pipeline.decides;
        let before = scored.only(&rows);
        let Some(value) = before.value(metric) else { return };
        for (feature, drops) in drops.iter_mut().enumerate() {
            let columns = self.encoder.columns_of(feature);
            for repeat in 0..REPEATS {
                let mut from = rows.clone();
                let index = (self.fold * REPEATS + repeat) * self.pipeline.features.len() + feature;
                from.shuffle(&mut generator(self.pipeline.seed, Purpose::Permutations, index));
                let mut after = before.clone();
                for (at, (row, from)) in rows.iter().zip(from).enumerate() {
                    let mut changed = held_out.row(*row).to_vec();
                    columns.iter().for_each(|column| changed[*column] = held_out.row(from)[*column]);
                    (after.predicted[at], after.trivial[at]) = self.fitted.scored(&changed);
                }
                let after = after.value(metric).unwrap_or(value);
                drops.push(if metric.greater_is_better() { value - after } else { after - value });
            }
        }
    }
}

/// Which of a fold's `n` held-out rows importance is computed of: all, or as many as may be, drawn by the seed. The first
/// would be of a few states alone, since frames are ordered by state or id.
fn sample(n: usize, seed: u64, fold: usize) -> Rows {
    let mut rows: Rows = (0..n).collect();
    if n > IMPORTANCE_ROWS {
        rows.shuffle(&mut generator(seed, Purpose::ImportanceRows, fold));
        rows.truncate(IMPORTANCE_ROWS);
        rows.sort_unstable();
    }
    rows
}

impl Importance {
    fn of(feature: &str, drops: &[f64]) -> Self {
        let n = drops.len().max(1) as f64;
        let mean = drops.iter().sum::<f64>() / n;
        let variance = drops.iter().map(|drop| (drop - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Self { feature: feature.to_owned(), mean, standard_deviation: variance.sqrt() }
    }
}

/// Bins of about equal numbers of rows, by probability; rows of one probability stay in one bin.
fn calibration(scored: &Scored) -> Vec<CalibrationBin> {
    let mut order: Rows = (0..scored.len()).collect();
    order.sort_by(|a, b| scored.predicted[*a].total_cmp(&scored.predicted[*b]));
    let mut bins = Vec::new();
    let mut start = 0;
    for bin in 1..=BINS {
        let mut end = (order.len() * bin / BINS).max(start);
        while end > start && end < order.len() && scored.predicted[order[end]] == scored.predicted[order[end - 1]] {
            end += 1;
        }
        let rows = &order[start..end];
        if !rows.is_empty() {
            let mean = |values: &[f64]| rows.iter().map(|row| values[*row]).sum::<f64>() / rows.len() as f64;
            let (predicted, observed) = (mean(&scored.predicted), mean(&scored.truth));
            bins.push(CalibrationBin { predicted, observed, rows: rows.len() });
        }
        start = end;
    }
    bins
}

fn fairness(
    pipeline: &Pipeline,
    frame: &Frame,
    usable: &Usable,
    scored: &Scored,
) -> Result<(Vec<GroupMetrics>, usize), Error> {
    let (mut all, mut left_out) = (Vec::new(), 0);
    for column in &pipeline.fairness {
        let values = frame.texts(column)?;
        let mut positions: BTreeMap<&str, Rows> = BTreeMap::new();
        for (position, row) in usable.rows.iter().enumerate() {
            positions.entry(values[*row].as_deref().unwrap_or("(missing)")).or_default().push(position);
        }
        let mut found: Vec<(&str, Rows)> = positions.into_iter().collect();
        found.sort_by_key(|(_, positions)| std::cmp::Reverse(positions.len()));
        left_out += found.len().saturating_sub(MOST_GROUPS);
        for (value, positions) in found.into_iter().take(MOST_GROUPS) {
            let (rows, too_small) = (positions.len(), positions.len() < LEAST_GROUP);
            let part = scored.only(&positions);
            let metrics = pipeline.algorithm.task().metrics();
            let metrics = metrics.iter().filter(|_| !too_small);
            let metrics = metrics.filter_map(|metric| part.value(*metric).map(|value| (*metric, value))).collect();
            all.push(GroupMetrics { column: column.clone(), value: value.to_owned(), rows, too_small, metrics });
        }
    }
    Ok((all, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn importance_is_computed_of_all_rows_or_of_a_sample_from_everywhere() {
        for few in [0, 1, IMPORTANCE_ROWS] {
            assert_eq!(sample(few, 7, 0), (0..few).collect::<Rows>());
        }
        let n = 10 * IMPORTANCE_ROWS;
        let drawn = sample(n, 7, 0);
        assert!(drawn.len() == IMPORTANCE_ROWS && drawn.is_sorted_by(|one, next| one < next));
        for tenth in 0..10 {
            let within = drawn.iter().filter(|row| **row * 10 / n == tenth).count();
            // 200 are expected, give or take 13
            assert!((100..300).contains(&within), "{within} rows of tenth {tenth}");
        }
        assert_eq!(drawn, sample(n, 7, 0));
        assert!(drawn != sample(n, 8, 0) && drawn != sample(n, 7, 1));
    }

    #[test]
    fn calibration_has_bins_of_equal_rows_and_keeps_equal_probabilities_together() {
        let n = 100;
        let predicted: Vec<f64> = (0..n).map(|i| f64::from(i) / 100.0).collect();
        let truth = predicted.iter().map(|p| f64::from(u8::from(*p > 0.5))).collect();
        let scored = Scored { truth, predicted, trivial: vec![0.5; 100], groups: (0..100).collect() };
        let bins = calibration(&scored);
        assert!(bins.len() == 10 && bins.iter().all(|bin| bin.rows == 10));
        assert!((bins[0].predicted - 0.045).abs() < 1e-12 && bins[9].observed == 1.0);
        let ties = Scored { predicted: vec![0.2; 100], ..scored };
        assert_eq!(calibration(&ties).len(), 1);
    }
}
