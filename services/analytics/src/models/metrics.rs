//! Metrics of held-out predictions, with bootstrap intervals.
//!
//! Every metric takes a weight for each row, how often a bootstrap drew it: rows are sorted once, and each of the draws
//! is one pass. Accuracy is none of them: where one in ten is positive, saying "no" is 90 % accurate.

use super::Task;
use super::forest::quantile;
use super::random::{Purpose, generator};
use crate::statistics::Interval;
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Draws of a bootstrap: the ends of a 95 % interval rest on about ten of them each.
pub const DRAWS: usize = 400;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Root of the mean squared error, in the target's unit.
    Rmse,
    /// Mean absolute error, in the target's unit.
    Mae,
    /// Share of the variance that is explained; below 0 if worse than the mean.
    R2,
    /// Area under the ROC curve: how often a positive row has the greater probability than a negative one.
    Auroc,
    /// Average precision, the area under the precision-recall curve.
    Auprc,
    /// Mean squared difference of probability and outcome.
    Brier,
    /// Mean negative log likelihood in nats; probabilities are kept off 0 and 1 by 2.2e-16.
    LogLoss,
    /// Share of the squared distances to the one mean that segments take away.
    ExplainedShare,
    /// Mean squared distance to the nearest centre, in standard deviations squared.
    SquaredDistance,
}

/// Held-out rows with what was predicted of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// The truth; 0 for segments.
    pub truth: Vec<f64>,
    /// The prediction; for segments the squared distance to the nearest centre.
    pub predicted: Vec<f64>,
    /// What a trivial model says: the training part's mean or prevalence; for segments the squared distance to its
    /// mean.
    pub trivial: Vec<f64>,
    /// Number of the group that a row belongs to: groups are drawn, not rows.
    pub groups: Vec<usize>,
}

/// A metric's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What is measured.
    pub metric: Metric,
    /// Its value on all held-out rows.
    pub value: f64,
    /// 95 % interval by bootstrap over groups (percentiles of the draws).
    pub interval: Interval,
    /// The same of a model that knows nothing: mean, prevalence, one segment.
    pub trivial: f64,
}

impl Metric {
    /// Whether more of it is better.
    pub fn greater_is_better(self) -> bool {
        matches!(self, Self::R2 | Self::Auroc | Self::Auprc | Self::ExplainedShare)
    }

    /// Whether one value is better than another.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        if self.greater_is_better() { value > than } else { value < than }
    }

    /// Its name in pipelines and cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::R2 => "r2",
            Self::Auroc => "auroc",
            Self::Auprc => "auprc",
            Self::Brier => "brier",
            Self::LogLoss => "log_loss",
            Self::ExplainedShare => "explained_share",
            Self::SquaredDistance => "squared_distance",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Task {
    /// What is measured of models of this kind.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Regression => &[Metric::Rmse, Metric::Mae, Metric::R2],
            Self::Probability => &[Metric::Auroc, Metric::Auprc, Metric::Brier, Metric::LogLoss],
            Self::Segments => &[Metric::ExplainedShare, Metric::SquaredDistance],
        }
    }
}

impl Scored {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// Some of the rows.
    pub fn only(&self, positions: &[usize]) -> Self {
        let of = |values: &[f64]| positions.iter().map(|position| values[*position]).collect();
        Self {
            truth: of(&self.truth),
            predicted: of(&self.predicted),
            trivial: of(&self.trivial),
            groups: positions.iter().map(|position| self.groups[*position]).collect(),
        }
    }

    /// A metric's value; none where it is not defined (no positive row, no variance, no row).
    pub fn value(&self, metric: Metric) -> Option<f64> {
        value(metric, self, &self.predicted, &vec![1.0; self.len()], &descending(&self.predicted))
    }

    /// The value of the model that knows nothing. A constant tells nobody apart: its AUROC is 0.5, its precision the
    /// prevalence, whatever the folds' prevalences were.
    fn trivial_value(&self, metric: Metric) -> Option<f64> {
        let ones = vec![1.0; self.len()];
        match metric {
            Metric::Auroc | Metric::Auprc => value(metric, self, &vec![0.5; self.len()], &ones, &self.all()),
            _ => value(metric, self, &self.trivial, &ones, &self.all()),
        }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.len()).collect()
    }
}

/// All metrics of a task that are defined, each with its interval.
pub fn measure(task: Task, scored: &Scored, seed: u64) -> Vec<Measured> {
    let order = descending(&scored.predicted);
    let mut draws: Vec<Vec<f64>> = vec![Vec::with_capacity(DRAWS); task.metrics().len()];
    let n_groups = scored.groups.iter().max().map_or(0, |greatest| greatest + 1);
    for draw in 0..DRAWS {
        let weights = drawn(&scored.groups, n_groups, seed, draw);
        for (metric, values) in task.metrics().iter().zip(&mut draws) {
            values.extend(value(*metric, scored, &scored.predicted, &weights, &order));
        }
    }
    let measured = |(metric, mut draws): (&Metric, Vec<f64>)| {
        draws.sort_by(f64::total_cmp);
        let interval = Interval { low: quantile(&draws, 0.025), high: quantile(&draws, 0.975) };
        let (value, trivial) = (scored.value(*metric)?, scored.trivial_value(*metric)?);
        (!draws.is_empty()).then_some(Measured { metric: *metric, value, interval, trivial })
    };
    task.metrics().iter().zip(draws).filter_map(measured).collect()
}

/// 95 % interval of what one model is better by than another in a metric, of the same rows in the same order: by
/// bootstrap, of which each draw is the same for both. Above 0: surely better. None where the metric is not defined.
pub(super) fn advantage(metric: Metric, of: &Scored, over: &Scored, seed: u64) -> Option<Interval> {
    let (order, other_order) = (descending(&of.predicted), descending(&over.predicted));
    let n_groups = of.groups.iter().max().map_or(0, |greatest| greatest + 1);
    let mut draws = Vec::with_capacity(DRAWS);
    for draw in 0..DRAWS {
        let weights = drawn(&of.groups, n_groups, seed, draw);
        let own = value(metric, of, &of.predicted, &weights, &order);
        let other = value(metric, over, &over.predicted, &weights, &other_order);
        let gain = |(own, other): (f64, f64)| if metric.greater_is_better() { own - other } else { other - own };
        draws.extend(own.zip(other).map(gain));
    }
    draws.sort_by(f64::total_cmp);
    let interval = || Interval { low: quantile(&draws, 0.025), high: quantile(&draws, 0.975) };
    (!draws.is_empty()).then(interval)
}

/// How often each row was drawn, by its group.
fn drawn(groups: &[usize], n_groups: usize, seed: u64, draw: usize) -> Vec<f64> {
    let mut times = vec![0.0; n_groups];
    let mut random = generator(seed, Purpose::Bootstrap, draw);
    (0..n_groups).for_each(|_| times[random.random_range(0..n_groups)] += 1.0);
    groups.iter().map(|group| times[*group]).collect()
}

fn descending(predicted: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..predicted.len()).collect();
    order.sort_by(|a, b| predicted[*b].total_cmp(&predicted[*a]));
    order
}

fn value(metric: Metric, scored: &Scored, predicted: &[f64], weights: &[f64], order: &[usize]) -> Option<f64> {
    let truth = &scored.truth;
    let mean_of = |loss: &dyn Fn(f64, f64) -> f64| {
        let (mut sum, mut n) = (0.0, 0.0);
        for ((truth, predicted), weight) in truth.iter().zip(predicted).zip(weights) {
            sum += weight * loss(*truth, *predicted);
            n += weight;
        }
        (n > 0.0).then(|| sum / n)
    };
    match metric {
        Metric::Rmse => mean_of(&|truth, predicted| (truth - predicted).powi(2)).map(f64::sqrt),
        Metric::Mae => mean_of(&|truth, predicted| (truth - predicted).abs()),
        Metric::R2 => {
            let mean = mean_of(&|truth, _| truth)?;
            let whole = mean_of(&|truth, _| (truth - mean).powi(2))?;
            let left = mean_of(&|truth, predicted| (truth - predicted).powi(2))?;
            (whole > 0.0).then(|| 1.0 - left / whole)
        }
        Metric::Brier => mean_of(&|truth, predicted| (truth - predicted).powi(2)),
        Metric::LogLoss => mean_of(&|truth, predicted| {
            let probability = predicted.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            -(truth * probability.ln() + (1.0 - truth) * (1.0 - probability).ln())
        }),
        Metric::SquaredDistance => mean_of(&|_, predicted| predicted),
        Metric::ExplainedShare => {
            let weighted = |values: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>();
            let whole = weighted(&scored.trivial);
            (whole > 0.0).then(|| 1.0 - weighted(predicted) / whole)
        }
        Metric::Auroc => ranking(truth, predicted, weights, order).map(|(area, _)| area),
        Metric::Auprc => ranking(truth, predicted, weights, order).map(|(_, precision)| precision),
    }
}

/// Area under the ROC curve and average precision, from the greatest prediction down; equal ones come together.
fn ranking(truth: &[f64], predicted: &[f64], weights: &[f64], order: &[usize]) -> Option<(f64, f64)> {
    let positives: f64 = truth.iter().zip(weights).map(|(truth, weight)| truth * weight).sum();
    let negatives = weights.iter().sum::<f64>() - positives;
    if positives <= 0.0 || negatives <= 0.0 {
        return None;
    }
    let (mut above_positive, mut above, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
    let mut start = 0;
    while start < order.len() {
        let threshold = predicted[order[start]];
        let (mut positive, mut all) = (0.0, 0.0);
        while start < order.len() && predicted[order[start]] == threshold {
            positive += weights[order[start]] * truth[order[start]];
            all += weights[order[start]];
            start += 1;
        }
        let negative = all - positive;
        area += negative * (above_positive + positive / 2.0);
        above_positive += positive;
        above += all;
        if above > 0.0 {
            precision += positive / positives * (above_positive / above);
        }
    }
    Some((area / (positives * negatives), precision))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(truth: &[f64], predicted: &[f64]) -> Scored {
        let (truth, predicted) = (truth.to_vec(), predicted.to_vec());
        let mean = truth.iter().sum::<f64>() / truth.len() as f64;
        let trivial = vec![mean; truth.len()];
        let groups = (0..truth.len()).collect();
        Scored { truth, predicted, trivial, groups }
    }

    /// scikit-learn 1.9: the example of `roc_auc_score` and `average_precision_score`, and one with ties.
    #[test]
    fn rankings_as_scikit_learn() {
        let example = scored(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.4, 0.35, 0.8]);
        assert_eq!(example.value(Metric::Auroc), Some(0.75));
        assert!((example.value(Metric::Auprc).expect("defined") - 0.833_333_333_333).abs() < 1e-9);
        let ties = scored(&[0.0, 1.0, 1.0, 0.0, 1.0], &[0.5, 0.5, 0.5, 0.2, 0.9]);
        assert!((ties.value(Metric::Auroc).expect("defined") - 5.0 / 6.0).abs() < 1e-12);
        let one_class = scored(&[1.0, 1.0], &[0.2, 0.9]);
        assert_eq!(one_class.value(Metric::Auroc), None);
    }

    #[test]
    fn a_certain_and_wrong_probability_has_a_finite_log_loss() {
        let wrong = scored(&[1.0, 0.0], &[0.0, 0.0]).value(Metric::LogLoss).expect("defined");
        assert!(wrong.is_finite() && wrong > 10.0, "{wrong}");
    }

    #[test]
    fn intervals_hold_the_value_and_draw_groups_not_rows() {
        let truth: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let predicted: Vec<f64> =
            (0..200).map(|i| if i % 3 == 0 { 0.4 } else { 0.2 } + (i % 7) as f64 / 20.0).collect();
        let alone = scored(&truth, &predicted);
        let measured = measure(Task::Probability, &alone, 1);
        assert_eq!(measured.len(), 4);
        assert!(measured.iter().all(|m| m.interval.contains(m.value)), "{measured:?}");
        assert_eq!((measured[0].trivial, measured[1].trivial), (0.5, truth.iter().sum::<f64>() / 200.0));
        assert_eq!(measured, measure(Task::Probability, &alone, 1));
        // Twenty rows of each group say no more than one of them does.
        let repeated = |values: &[f64]| values[..10].iter().flat_map(|v| [*v; 20]).collect::<Vec<f64>>();
        let mut grouped = scored(&repeated(&truth), &repeated(&predicted));
        let wide = |scored: &Scored| {
            let brier = super::measure(Task::Probability, scored, 1)[2].interval;
            brier.high - brier.low
        };
        let rows = wide(&grouped);
        grouped.groups = (0..200).map(|i| i / 20).collect();
        assert!(wide(&grouped) > 2.0 * rows);
    }
}
