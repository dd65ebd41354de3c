//! Asking a model.

use super::artefact::Artefact;
use super::encoder::Given;
use super::error::WrongInput;
use super::fitted::Learnt;
use super::pipeline::Transform;
use super::{Error, Task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The value of one feature, as a caller gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Input {
    /// A number in the feature's unit.
    Number(f64),
    /// A level of a one-hot feature.
    Text(String),
}

/// What a model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// What is asked for: a number, a probability or a segment.
    pub answer: Answer,
    /// What the model says without knowing anything of the row; none for segments.
    pub base: Option<f64>,
    /// What each feature moves that by, in features' order: base and contributions together are the answer. Empty for
    /// segments.
    pub contributions: Vec<Contribution>,
    /// What makes the answer less sure than the model's card says.
    pub warnings: Vec<Warning>,
}

/// A model's answer to one row, by its task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// Of a regression: the number that is expected.
    Number {
        /// In the target's unit.
        value: f64,
        /// The target's unit.
        unit: String,
        /// How sure it is.
        range: Range,
    },
    /// The probability of a 1.
    Probability {
        /// 0 to 1.
        value: f64,
        /// How far the trees agree.
        range: Range,
    },
    /// Of k-means: the segment whose centre is nearest.
    Segment {
        /// Its number, as in the model's card.
        segment: usize,
        /// Distance to each segment's centre in standard deviations, in the segments' order.
        distances: Vec<f64>,
    },
}

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Range {
    /// One more observation falls between these with 95 % (of a line, with normal residuals).
    Prediction {
        /// Lower end of the interval, in the target's unit.
        low: f64,
        /// Upper end of the interval, in the target's unit.
        high: f64,
    },
    /// 95 % of a forest's trees say something between these. How the truth spreads around them is not in it.
    SpreadOfTrees {
        /// Lower end, in the answer's unit: the trees' 2.5 % quantile.
        low: f64,
        /// Upper end, in the answer's unit: the trees' 97.5 % quantile.
        high: f64,
    },
}

/// What one feature moves an answer by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Name of the feature.
    pub feature: String,
    /// In the answer's unit.
    pub moves_by: f64,
}

/// What makes an answer less sure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// A number outside of what the model was trained on.
    OutOfRange {
        /// Name of the feature.
        feature: String,
        /// The number that was given.
        value: f64,
        /// Least value of the training.
        low: f64,
        /// Greatest value of the training.
        high: f64,
    },
    /// A level of which no row of the training was.
    UnseenLevel {
        /// Name of the feature.
        feature: String,
        /// The text that was given.
        level: String,
    },
    /// A feature was not given: the training's median stands in.
    StoodIn {
        /// Name of the feature.
        feature: String,
        /// Median of the training, in the feature's unit.
        value: f64,
    },
}

/// Asks a model about one row, its features by name. Every wrong input is named at once ([`Error::Inputs`]): missing,
/// unknown, not finite, of the wrong kind, of no known level. What is outside of the training's range is answered, with
/// a warning.
pub fn predict(artefact: &Artefact, inputs: &BTreeMap<String, Input>) -> Result<Prediction, Error> {
    let (given, warnings) = read(artefact, inputs)?;
    let row = artefact.encoder.row(&given);
    let unit = artefact.schema.target.as_ref().map_or_else(String::new, |(_, unit)| unit.clone());
    let (answer, moved) = match &artefact.fitted.learnt {
        Learnt::Line(line) => {
            let (low, high) = line.interval(&row);
            let range = Range::Prediction { low, high };
            (Answer::Number { value: line.predict(&row), unit, range }, Some(line.contributions(&row)))
        }
        Learnt::Forest(forest) => {
            let (low, high) = forest.spread(&row);
            let (value, range) = (forest.predict(&row), Range::SpreadOfTrees { low, high });
            let answer = match artefact.task() {
                Task::Probability => Answer::Probability { value, range },
                Task::Regression | Task::Segments => Answer::Number { value, unit, range },
            };
            (answer, Some(forest.contributions(&row)))
        }
        Learnt::Segments(segments) => {
            let (segment, _) = segments.nearest(&row);
            (Answer::Segment { segment, distances: segments.distances(&row) }, None)
        }
    };
    let contributions = moved.as_ref().map_or_else(Vec::new, |(_, moved)| by_feature(artefact, moved));
    Ok(Prediction { answer, base: moved.map(|(base, _)| base), contributions, warnings })
}

impl Artefact {
    /// What the model answers.
    fn task(&self) -> Task {
        match (self.schema.algorithm.as_str(), &self.schema.target) {
            (_, None) => Task::Segments,
            ("forest_classification", _) => Task::Probability,
            _ => Task::Regression,
        }
    }
}

/// One value for each feature in order, and the warnings; or all that is wrong.
fn read<'a>(artefact: &Artefact, inputs: &'a BTreeMap<String, Input>) -> Result<(Vec<Given<'a>>, Vec<Warning>), Error> {
    let features = artefact.encoder.features();
    let mut wrong = Vec::new();
    let mut warnings = Vec::new();
    let mut given = Vec::with_capacity(features.len());
    for (feature, seen) in features.iter().zip(artefact.encoder.seen()) {
        let name = feature.name.clone();
        let one_hot = feature.transform == Transform::OneHot;
        let value = match inputs.get(&feature.name) {
            None if feature.is_required() => Err(WrongInput::Missing(name)),
            None => {
                warnings.extend(seen.median.map(|value| Warning::StoodIn { feature: name, value }));
                Ok(Given::Missing)
            }
            Some(Input::Text(text)) if one_hot => match feature.levels.iter().position(|level| level == text) {
                None => Err(WrongInput::Level { feature: name, level: text.clone() }),
                Some(level) => {
                    if seen.levels[level] == 0 {
                        warnings.push(Warning::UnseenLevel { feature: name, level: text.clone() });
                    }
                    Ok(Given::Text(text))
                }
            },
            Some(Input::Number(number)) if !one_hot => {
                warnings.extend(out_of_range(&feature.name, *number, seen.range));
                let in_domain = feature.transform != Transform::Log1p || *number > -1.0;
                match (number.is_finite(), in_domain) {
                    (false, _) => Err(WrongInput::NotFinite(name)),
                    (true, false) => Err(WrongInput::Domain(name)),
                    (true, true) => Ok(Given::Number(*number)),
                }
            }
            Some(_) => Err(WrongInput::Kind { feature: name, expected: if one_hot { "text" } else { "number" } }),
        };
        match value {
            Ok(value) => given.push(value),
            Err(problem) => wrong.push(problem),
        }
    }
    let known = |name: &String| features.iter().any(|feature| feature.name == *name);
    wrong.extend(inputs.keys().filter(|name| !known(name)).cloned().map(WrongInput::Unknown));
    if wrong.is_empty() { Ok((given, warnings)) } else { Err(Error::Inputs(wrong)) }
}

fn out_of_range(feature: &str, value: f64, range: Option<(f64, f64)>) -> Option<Warning> {
    let (low, high) = range.filter(|(low, high)| value < *low || *high < value)?;
    Some(Warning::OutOfRange { feature: feature.to_owned(), value, low, high })
}

/// Contributions of the matrix's columns, added up for each feature.
fn by_feature(artefact: &Artefact, moved: &[f64]) -> Vec<Contribution> {
    let features = artefact.encoder.features().iter();
    let mut all: Vec<Contribution> =
        features.map(|feature| Contribution { feature: feature.name.clone(), moves_by: 0.0 }).collect();
    for (column, moved) in moved.iter().enumerate() {
        all[artefact.encoder.feature_of(column)].moves_by += moved;
    }
    all
}
