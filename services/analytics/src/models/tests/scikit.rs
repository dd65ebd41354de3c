//! The same numbers as scikit-learn and SciPy on the same rows.

use super::super::forest::Forest;
use super::super::matrix::Matrix;
use super::super::segments::Segments;
use super::super::{Answer, Growth, Input, Metric, Pipeline, Range, Scored, predict, silent};
use super::made::{expected, heaps, numbers, rows, states, trained};
use crate::statistics::{Method, benjamini_hochberg, correlate, mean, wilson};
use std::collections::BTreeMap;

/// A line through the states, with a transform and levels.
const LINE: &str = r#"
name = "line"
title = "A line"
sources = ["states"]
query = ""
id = "state"
seed = 1
folds = 5
decides = "rmse"
intended_use = ""
limits = ""
algorithm = { kind = "linear_regression" }
target = { name = "life_expectancy", unit = "a" }
features = [
    { name = "median_income", unit = "USD" },
    { name = "poverty_percent", unit = "%" },
    { name = "uninsured_percent", unit = "%" },
    { name = "population", unit = "1", transform = "log1p" },
    { name = "region", transform = "one_hot", levels = ["Midwest", "Northeast", "South", "West"] },
]
"#;

fn close(found: f64, expected: f64, relative: f64, what: &str) {
    assert!((found - expected).abs() <= relative * expected.abs().max(1e-300), "{what}: {found:e}, not {expected:e}");
}

#[test]
fn coefficients_and_prediction_intervals_of_a_line() {
    let expected = expected();
    let pipeline = Pipeline::parse("line", LINE).expect("a pipeline");
    let trained = trained(&pipeline, &states());
    let coefficients = numbers(&expected, "/ols/coefficients");
    assert_eq!(trained.card.coefficients.len(), coefficients.len());
    for ((name, found), expected) in trained.card.coefficients.iter().zip(coefficients) {
        close(*found, expected, 1e-5, name);
    }
    let alabama = [("median_income", 62_248.0), ("poverty_percent", 15.7), ("uninsured_percent", 9.39)];
    let mut inputs: BTreeMap<String, Input> =
        alabama.iter().map(|(name, value)| ((*name).to_owned(), Input::Number(*value))).collect();
    inputs.insert("population".to_owned(), Input::Number(5_108_468.0));
    inputs.insert("region".to_owned(), Input::Text("South".to_owned()));
    let answer = predict(&trained.artefact, &inputs).expect("an answer").answer;
    let Answer::Number { value, range: Range::Prediction { low, high }, .. } = answer else { panic!("{answer:?}") };
    for (found, expected) in [value, low, high].into_iter().zip(numbers(&expected, "/ols/first")) {
        close(found, expected, 1e-6, "Alabama");
    }
}

fn matrix(rows: &[Vec<f64>]) -> Matrix {
    Matrix::of(rows.concat(), rows[0].len())
}

/// Forests of the same kind differ by their draws alone: each of three seeds is near scikit-learn's mean of three.
#[test]
fn a_forests_auroc_and_brier_score() {
    let expected = expected();
    let (x, y) = rows(1, 900);
    let (held_out, truth) = rows(2, 600);
    let growth = Growth { trees: 100, max_depth: 8, min_leaf: 5, columns_per_split: None };
    for seed in 0..3 {
        let forest = Forest::fit(&matrix(&x), &y, &growth, seed, &silent).expect("a forest");
        let predicted: Vec<f64> = held_out.iter().map(|row| forest.predict(row)).collect();
        let groups = (0..truth.len()).collect();
        let scored = Scored { truth: truth.clone(), trivial: predicted.clone(), predicted, groups };
        for (metric, most) in [(Metric::Auroc, 0.01), (Metric::Brier, 0.005)] {
            let found = scored.value(metric).expect("defined");
            let of = |other: usize| expected["forest"][other][metric.name()].as_f64().expect("a number");
            let mean = (0..3).map(of).sum::<f64>() / 3.0;
            assert!((found - mean).abs() < most, "{metric}, seed {seed}: {found}, not {mean}");
        }
    }
}

#[test]
fn inertia_of_the_best_of_ten() {
    let expected = expected();
    let number = |path: &str| expected.pointer(path).and_then(|value| value.as_f64()).expect("a number");
    let card = trained(&Pipeline::named("state_segments").expect("a pipeline"), &states()).card;
    let quality = card.segments.expect("segments").quality;
    close(quality.inertia, number("/state_segments/inertia"), 1e-3, "inertia of the states");
    close(quality.silhouette.expect("defined"), number("/state_segments/silhouette"), 2e-2, "silhouette of the states");
    let x = matrix(&heaps(300));
    let quality = Segments::fit(&x, 3, 10, 1, &silent).expect("segments").quality(&x, 1);
    close(quality.inertia, number("/heaps/inertia"), 1e-3, "inertia of the heaps");
    close(quality.silhouette.expect("defined"), number("/heaps/silhouette"), 2e-2, "silhouette of the heaps");
}

#[test]
fn metrics_of_the_same_predictions() {
    let expected = expected();
    let (x, truth) = rows(3, 200);
    let scored = |truth: Vec<f64>, predicted: Vec<f64>| {
        let groups = (0..truth.len()).collect();
        Scored { trivial: predicted.clone(), truth, predicted, groups }
    };
    let probabilities = scored(truth, x.iter().map(|row| (row[0] * 100.0).round() / 100.0).collect());
    let number = |row: &Vec<f64>| 10.0 * row[1];
    let numbers = scored(x.iter().map(number).collect(), x.iter().map(|row| number(row) + row[2] - 0.3).collect());
    for metric in super::super::Task::Probability.metrics() {
        let wanted = expected["metrics"][metric.name()].as_f64().expect("a number");
        close(probabilities.value(*metric).expect("defined"), wanted, 1e-9, metric.name());
    }
    for metric in super::super::Task::Regression.metrics() {
        let wanted = expected["metrics"][metric.name()].as_f64().expect("a number");
        close(numbers.value(*metric).expect("defined"), wanted, 1e-9, metric.name());
    }
}

#[test]
fn correlations_intervals_and_corrections() {
    let expected = expected();
    let frame = states();
    let column = |name: &str, unit: &str| frame.numbers(name, unit).expect("a column").to_vec();
    let years = column("life_expectancy", "a");
    let poverty = column("poverty_percent", "%");
    let pearson = correlate(&poverty, &years, Method::Pearson).expect("a correlation");
    let interval = pearson.interval.expect("51 pairs");
    let found = [pearson.coefficient, pearson.p_value, interval.low, interval.high];
    for (found, expected) in found.into_iter().zip(numbers(&expected, "/statistics/pearson")) {
        close(found, expected, 1e-8, "Pearson");
    }
    let spearman = correlate(&poverty, &years, Method::Spearman).expect("a correlation");
    for (found, expected) in
        [spearman.coefficient, spearman.p_value].into_iter().zip(numbers(&expected, "/statistics/spearman"))
    {
        close(found, expected, 1e-8, "Spearman");
    }
    let adjusted = benjamini_hochberg(&numbers(&expected, "/statistics/p_values")).expect("p-values");
    for (found, expected) in adjusted.into_iter().zip(numbers(&expected, "/statistics/adjusted")) {
        close(found, expected, 1e-12, "Benjamini-Hochberg");
    }
    let share = wilson(7, 51).expect("a share").interval;
    for (found, expected) in [share.low, share.high].into_iter().zip(numbers(&expected, "/statistics/wilson")) {
        close(found, expected, 1e-9, "Wilson");
    }
    let mean = mean(&years).expect("a mean");
    let found = [mean.mean, mean.standard_deviation, mean.interval.low, mean.interval.high];
    for (found, expected) in found.into_iter().zip(numbers(&expected, "/statistics/mean")) {
        close(found, expected, 1e-9, "mean");
    }
}
