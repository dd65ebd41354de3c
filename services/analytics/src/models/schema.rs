//! What a model takes and gives, and the hash that stands for it.

use super::pipeline::{Feature, Missing, Transform};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One feature as the model was trained on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSchema {
    /// Name of the feature, by which it is given in a prediction.
    pub name: String,
    /// Its unit; empty for text.
    pub unit: String,
    /// What is done with it.
    pub transform: Transform,
    /// Its levels, the reference first.
    pub levels: Vec<String>,
    /// What stands in where it is missing.
    pub missing: Missing,
}

/// What a model takes and gives: two models of equal schema can stand for each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Features in order.
    pub features: Vec<FeatureSchema>,
    /// Name and unit of the target; none for segments.
    pub target: Option<(String, String)>,
    /// Kind of the algorithm.
    pub algorithm: String,
}

impl From<&Feature> for FeatureSchema {
    fn from(feature: &Feature) -> Self {
        Self {
            name: feature.name.clone(),
            unit: feature.unit.clone(),
            transform: feature.transform,
            levels: feature.levels.clone(),
            missing: feature.missing,
        }
    }
}

impl Schema {
    /// SHA-256 over features in order (name, unit, transform, levels, missing), target and algorithm. Every text is
    /// preceded by its length, so that no two schemas write the same bytes.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part("wardline model schema 1");
        part(&self.algorithm);
        let (target, unit) = self.target.as_ref().map_or(("", ""), |(name, unit)| (name, unit));
        part(target);
        part(unit);
        for feature in &self.features {
            part(&feature.name);
            part(&feature.unit);
            part(transform_name(feature.transform));
            part(if feature.missing == Missing::Median { "median" } else { "drop_row" });
            part(&feature.levels.len().to_string());
            feature.levels.iter().for_each(|level| part(level));
        }
        hash.finalize().into()
    }

    /// What differs first, for people; `None` where nothing does.
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self.algorithm != now.algorithm {
            return Some(format!("algorithm {} then, {} now", self.algorithm, now.algorithm));
        }
        if self.target != now.target {
            return Some(format!("target {} then, {} now", shown(&self.target), shown(&now.target)));
        }
        for (index, (then, now)) in self.features.iter().zip(&now.features).enumerate() {
            if then != now {
                return Some(feature_difference(index, then, now));
            }
        }
        let (then, now) = (self.features.len(), now.features.len());
        (then != now).then(|| format!("{then} features then, {now} now"))
    }
}

fn shown(target: &Option<(String, String)>) -> String {
    target.as_ref().map_or("none".to_owned(), |(name, unit)| format!("{name} in {unit}"))
}

fn feature_difference(index: usize, then: &FeatureSchema, now: &FeatureSchema) -> String {
    let number = index + 1;
    if then.name != now.name {
        return format!("feature {number} is {} then, {} now", then.name, now.name);
    }
    let name = &now.name;
    if then.unit != now.unit {
        return format!("{name} in {} then, {} now", then.unit, now.unit);
    }
    if then.transform != now.transform {
        let (then, now) = (transform_name(then.transform), transform_name(now.transform));
        return format!("{name} by transform {then} then, {now} now");
    }
    if then.levels != now.levels {
        return format!("{name} has other levels");
    }
    format!("{name} is treated otherwise where it is missing")
}

fn transform_name(transform: Transform) -> &'static str {
    match transform {
        Transform::None => "none",
        Transform::Log1p => "log1p",
        Transform::OneHot => "one_hot",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pipeline;

    #[test]
    fn every_change_changes_the_hash_and_is_named() {
        let schema = Pipeline::named("hospital_rating").expect("a pipeline").schema();
        let mut changed = vec![schema.clone(); 7];
        changed[0].algorithm = "linear_regression".to_owned();
        changed[1].target = None;
        changed[2].features[0].name = "other".to_owned();
        changed[3].features[0].unit = "g".to_owned();
        changed[4].features.pop();
        changed[5].features.swap(0, 1);
        changed[6].features.iter_mut().for_each(|feature| feature.levels.push("x".to_owned()));
        for other in &changed {
            assert_ne!(other.hash(), schema.hash());
            assert!(schema.difference(other).is_some(), "{other:?}");
        }
        assert_eq!(schema.difference(&schema.clone()), None);
    }
}
