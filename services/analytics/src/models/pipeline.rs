//! A pipeline as data: what a model is made of, in a TOML file under `models/` that is compiled in.

use super::metrics::Metric;
use super::schema::{FeatureSchema, Schema};
use super::{Error, MAX_TREES};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The deepest tree that may grow: forests without a limit are huge and no better.
pub const MAX_DEPTH: u16 = 16;
/// Segments of k-means at most.
const MAX_SEGMENTS: usize = 20;
/// Folds of the cross-validation at most: each fits the model once.
const MAX_FOLDS: usize = 20;

/// The pipelines that are compiled in, by name.
const FILES: [(&str, &str); 6] = [
    ("city_segments", include_str!("../../models/city_segments.toml")),
    ("health_care_cost", include_str!("../../models/health_care_cost.toml")),
    ("high_volume_prescriber", include_str!("../../models/high_volume_prescriber.toml")),
    ("hospital_rating", include_str!("../../models/hospital_rating.toml")),
    ("life_expectancy", include_str!("../../models/life_expectancy.toml")),
    ("state_segments", include_str!("../../models/state_segments.toml")),
];

/// One model: where its rows come from, what it learns from what, and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The model's name, as in its file's name.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Data sets that the query reads.
    pub sources: Vec<String>,
    /// SQL that gives the frame: the id, the group, the target, every feature and every fairness column.
    pub query: String,
    /// Column with the rows' ids.
    pub id: String,
    /// Column whose equal values must stay on one side of every split; without it each row is its own group.
    pub group: Option<String>,
    /// What is learnt; none for segments.
    pub target: Option<Target>,
    /// What it is learnt from, in this order.
    pub features: Vec<Feature>,
    /// How the model learns.
    pub algorithm: Algorithm,
    /// Everything random follows from it.
    pub seed: u64,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// The metric that decides whether a newly trained model replaces the old one.
    pub decides: Metric,
    /// Columns of text by whose values the metrics are compared.
    #[serde(default)]
    pub fairness: Vec<String>,
    /// What the model may be used for.
    pub intended_use: String,
    /// What it must not be used for, and where it is wrong.
    pub limits: String,
}

/// What is learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name of its column in the frame; it is no feature.
    pub name: String,
    /// Unit of its values, as UCUM or ISO 4217 write it; `1` for counts, shares and classes.
    pub unit: String,
}

/// One thing that is learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Name of its column in the frame, unlike those of id, group and target.
    pub name: String,
    /// Its unit; empty for text.
    #[serde(default)]
    pub unit: String,
    /// What is done with it first.
    #[serde(default)]
    pub transform: Transform,
    /// The levels of a one-hot feature, in this order; the first is the reference and has no column of its own.
    #[serde(default)]
    pub levels: Vec<String>,
    /// What is done with a row that lacks it.
    #[serde(default)]
    pub missing: Missing,
}

/// What is done with a feature before it is learnt from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// The number is learnt from as it is; the default.
    #[default]
    None,
    /// The natural logarithm of one more: for counts and money, which spread over orders of magnitude.
    Log1p,
    /// One column of 0 and 1 for each level but the first.
    OneHot,
}

/// What is done with a row that lacks a feature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The row is left out, and counted; a prediction without the feature is refused.
    #[default]
    DropRow,
    /// The median of the training part stands in, of that part alone; a prediction says so.
    Median,
}

/// How a model learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Algorithm {
    /// Ordinary least squares with an intercept.
    LinearRegression {},
    /// A random forest's mean.
    ForestRegression(Growth),
    /// A random forest's mean of 0 and 1: a probability.
    ForestClassification(Growth),
    /// k-means of standardised features, the best of several starts.
    KMeans {
        /// Number of segments.
        segments: usize,
        /// Starts, of which the best is kept.
        starts: usize,
    },
}

/// How a forest grows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Number of trees.
    pub trees: usize,
    /// Splits from the root to a leaf at most.
    pub max_depth: u16,
    /// Rows of a leaf at least.
    pub min_leaf: usize,
    /// Columns that are tried at each split; without it the root of their number, rounded down.
    pub columns_per_split: Option<usize>,
}

/// The names of all pipelines, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

impl Pipeline {
    /// A pipeline that is compiled in.
    pub fn named(name: &str) -> Result<Self, Error> {
        let found = FILES.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| Error::NoPipeline(name.to_owned()))?;
        Self::parse(name, text)
    }

    /// A pipeline from the text of its file; every key must be known, and the parts must fit.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let parsed: Result<Self, _> = toml::from_str(text);
        let pipeline =
            parsed.map_err(|source| Error::PipelineFile { name: name.to_owned(), source: Box::new(source) })?;
        match pipeline.problem(name) {
            Some(problem) => Err(Error::Pipeline { name: name.to_owned(), problem }),
            None => Ok(pipeline),
        }
    }

    /// What a model of this pipeline takes and gives.
    pub fn schema(&self) -> Schema {
        Schema {
            features: self.features.iter().map(FeatureSchema::from).collect(),
            target: self.target.as_ref().map(|target| (target.name.clone(), target.unit.clone())),
            algorithm: self.algorithm.kind().to_owned(),
        }
    }

    /// The first contradiction.
    fn problem(&self, name: &str) -> Option<String> {
        if self.name != name {
            return Some(format!("the file says that it is {}", self.name));
        }
        if self.features.is_empty() {
            return Some("no features".to_owned());
        }
        if !(2..=MAX_FOLDS).contains(&self.folds) {
            return Some(format!("{} folds; 2 to {MAX_FOLDS} are possible", self.folds));
        }
        let task = self.algorithm.task();
        if !task.metrics().contains(&self.decides) {
            return Some(format!("{} cannot decide, it is no metric of {}", self.decides, self.algorithm.kind()));
        }
        match (&self.target, task) {
            (Some(_), super::Task::Segments) => return Some("segments have no target".to_owned()),
            (None, super::Task::Regression | super::Task::Probability) => return Some("no target".to_owned()),
            _ => {}
        }
        self.algorithm.problem().or_else(|| self.features_problem())
    }

    fn features_problem(&self) -> Option<String> {
        let mut names = HashSet::new();
        for feature in &self.features {
            let name = &feature.name;
            if !names.insert(name) {
                return Some(format!("feature {name} twice"));
            }
            if self.target.as_ref().is_some_and(|target| target.name == *name) {
                return Some(format!("the target {name} is a feature, too: it would tell itself"));
            }
            if *name == self.id || self.group.as_ref() == Some(name) {
                return Some(format!("{name} says which row or group it is: it is no feature"));
            }
            let levels: HashSet<_> = feature.levels.iter().collect();
            let one_hot = feature.transform == Transform::OneHot;
            if one_hot && (levels.len() < 2 || levels.len() != feature.levels.len()) {
                return Some(format!("feature {name} needs two levels at least, each once"));
            }
            if one_hot && feature.missing == Missing::Median {
                return Some(format!("feature {name} is text: it has no median"));
            }
            if !one_hot && !levels.is_empty() {
                return Some(format!("feature {name} has levels but is not one_hot"));
            }
        }
        None
    }
}

impl Algorithm {
    /// Its name in the file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LinearRegression {} => "linear_regression",
            Self::ForestRegression(_) => "forest_regression",
            Self::ForestClassification(_) => "forest_classification",
            Self::KMeans { .. } => "k_means",
        }
    }

    /// What it answers.
    pub fn task(&self) -> super::Task {
        match self {
            Self::LinearRegression {} | Self::ForestRegression(_) => super::Task::Regression,
            Self::ForestClassification(_) => super::Task::Probability,
            Self::KMeans { .. } => super::Task::Segments,
        }
    }

    fn problem(&self) -> Option<String> {
        match self {
            Self::LinearRegression {} => None,
            Self::ForestRegression(growth) | Self::ForestClassification(growth) => growth.problem(),
            Self::KMeans { segments, starts } => {
                if !(2..=MAX_SEGMENTS).contains(segments) {
                    return Some(format!("{segments} segments; 2 to {MAX_SEGMENTS} are possible"));
                }
                (!(1..=100).contains(starts)).then(|| format!("{starts} starts; 1 to 100 are possible"))
            }
        }
    }
}

impl Growth {
    fn problem(&self) -> Option<String> {
        if !(1..=MAX_TREES).contains(&self.trees) {
            return Some(format!("{} trees; 1 to {MAX_TREES} are possible", self.trees));
        }
        if !(1..=MAX_DEPTH).contains(&self.max_depth) {
            return Some(format!("depth {}; 1 to {MAX_DEPTH} are possible", self.max_depth));
        }
        if self.min_leaf == 0 || self.columns_per_split == Some(0) {
            return Some("a leaf needs a row and a split a column".to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(name: &str, from: &str, to: &str) -> Result<Pipeline, Error> {
        let (_, text) = FILES.iter().find(|(known, _)| *known == name).expect("a file");
        assert!(text.contains(from), "{name} has no {from}");
        Pipeline::parse(name, &text.replacen(from, to, 1))
    }

    #[test]
    fn all_six_are_well_formed_and_query_what_they_need() {
        assert_eq!(names().count(), 6);
        for name in names() {
            let pipeline = Pipeline::named(name).expect("a pipeline");
            let columns = pipeline.features.iter().map(|feature| &feature.name).chain(&pipeline.fairness);
            let columns = columns.chain(&pipeline.group).chain(pipeline.target.as_ref().map(|target| &target.name));
            for column in columns.chain([&pipeline.id]) {
                assert!(pipeline.query.contains(column.as_str()), "{name}: the query does not give {column}");
            }
        }
        assert!(matches!(Pipeline::named("weather"), Err(Error::NoPipeline(_))));
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = [
            changed("hospital_rating", "folds = 5", "folds = 1"),
            changed("hospital_rating", "folds = 5", "folds = 5\nfold = 2"),
            changed("hospital_rating", "decides = \"rmse\"", "decides = \"auroc\""),
            changed("hospital_rating", "max_depth = ", "max_depth = 9"),
            changed("hospital_rating", "name = \"hospital_rating\"", "name = \"other\""),
            changed("state_segments", "segments = 4", "segments = 1"),
            changed("state_segments", "[algorithm]", "[target]\nname = \"x\"\nunit = \"1\"\n[algorithm]"),
            changed("health_care_cost", "name = \"mean_payment\"", "name = \"ownership\""),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            assert!(refused.is_err(), "change {index} was accepted");
        }
    }
}
