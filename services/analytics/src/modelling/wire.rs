//! Models as they are on the wire.

use super::shelf::Version;
use crate::{
    callers::caller_id,
    models::{
        Answer, Contribution, Feature, Input, Measured, Metric, Missing, Pipeline, Prediction, Range, Transform,
        Warning, WrongInput,
    },
    versions::History,
};
use guard::convert;
use model::Nanos;
use proto::{
    analytics::v1::{
        self as v1, ModelContribution, ModelFeature, ModelMetric, ModelRange, ModelRangeKind, ModelWarning,
        ModelWarningKind, PredictResponse, predict_response,
    },
    prost_types::{Struct, value::Kind},
};
use std::collections::BTreeMap;

/// Fields at fault, each with what is allowed.
pub(super) type Wrong = Vec<(String, String)>;

/// A model as its pipeline defines it, with the version in use if there is one.
pub(super) fn model(pipeline: &Pipeline, history: &History<Version>) -> v1::Model {
    let target = pipeline.target.as_ref();
    v1::Model {
        name: pipeline.name.clone(),
        title: pipeline.title.clone(),
        algorithm: pipeline.algorithm.kind().to_owned(),
        target: target.map(|target| target.name.clone()).unwrap_or_default(),
        unit: target.map(|target| target.unit.clone()).unwrap_or_default(),
        data_sets: pipeline.sources.clone(),
        decides: pipeline.decides.name().to_owned(),
        intended_use: pipeline.intended_use.clone(),
        limits: pipeline.limits.clone(),
        current: history.current().map(|current| version(current, pipeline.decides)),
    }
}

/// A version of a model in which one metric decides.
pub(super) fn version(of: &Version, decides: Metric) -> v1::ModelVersion {
    let metric = |measured: &Measured| ModelMetric {
        name: measured.metric.name().to_owned(),
        value: measured.value,
        low: measured.interval.low,
        high: measured.interval.high,
        trivial: measured.trivial,
        decides: measured.metric == decides,
    };
    v1::ModelVersion {
        version_id: of.id.to_string(),
        create_time: Some(convert::timestamp(Nanos(of.at))),
        created_by: caller_id(&of.by),
        job_id: of.job.to_string(),
        rows_in: of.rows_in,
        rows_used: of.rows_used,
        data_versions: of.made_of.data.clone().into_iter().collect(),
        code_version: of.made_of.code.clone(),
        seed: of.seed,
        schema_hash: of.schema_hash.clone(),
        bytes: of.bytes,
        metrics: of.metrics.iter().map(metric).collect(),
        promoted: of.decision.promoted,
        reason: of.decision.reason.clone(),
    }
}

/// One thing that a model takes.
pub(super) fn feature(feature: &Feature) -> ModelFeature {
    ModelFeature {
        name: feature.name.clone(),
        unit: feature.unit.clone(),
        levels: feature.levels.clone(),
        required: feature.missing == Missing::DropRow,
    }
}

/// Features as a caller gives them; also those that are neither number nor text.
pub(super) fn inputs(features: Struct) -> (BTreeMap<String, Input>, Wrong) {
    let (mut inputs, mut wrong) = (BTreeMap::new(), Wrong::new());
    for (name, value) in features.fields {
        match value.kind {
            Some(Kind::NumberValue(number)) => drop(inputs.insert(name, Input::Number(number))),
            Some(Kind::StringValue(text)) => drop(inputs.insert(name, Input::Text(text))),
            Some(Kind::BoolValue(is)) => drop(inputs.insert(name, Input::Number(f64::from(u8::from(is))))),
            Some(Kind::NullValue(_)) | None => {}
            Some(Kind::StructValue(_) | Kind::ListValue(_)) => {
                wrong.push((field(&name), "must be a number or a text".to_owned()));
            }
        }
    }
    (inputs, wrong)
}

/// What a model refuses, added to what was wrong before; each field once.
pub(super) fn refused(pipeline: &Pipeline, inputs: &[WrongInput], mut wrong: Wrong) -> Wrong {
    for input in inputs {
        let name = match input {
            WrongInput::Missing(name)
            | WrongInput::Unknown(name)
            | WrongInput::NotFinite(name)
            | WrongInput::Domain(name) => name,
            WrongInput::Kind { feature, .. } | WrongInput::Level { feature, .. } => feature,
        };
        let at = field(name);
        if wrong.iter().any(|(field, _)| *field == at) {
            continue;
        }
        let takes = pipeline.features.iter().find(|feature| feature.name == *name).map_or_else(String::new, taken);
        let text = match input {
            WrongInput::Missing(_) => format!("is missing: must be {takes}"),
            WrongInput::Unknown(_) => {
                let names: Vec<_> = pipeline.features.iter().map(|feature| feature.name.as_str()).collect();
                format!("is unknown to this model, which takes {}", names.join(", "))
            }
            WrongInput::NotFinite(_) => "must be a finite number".to_owned(),
            WrongInput::Domain(_) => "must be more than -1".to_owned(),
            WrongInput::Kind { .. } | WrongInput::Level { .. } => format!("must be {takes}"),
        };
        wrong.push((at, text));
    }
    wrong
}

/// What a feature may be, in words.
fn taken(feature: &Feature) -> String {
    match (feature.transform, feature.unit.as_str()) {
        (Transform::OneHot, _) => format!("one of {}", feature.levels.join(", ")),
        (_, "1") => "a number".to_owned(),
        (_, unit) => format!("a number in {unit}"),
    }
}

fn field(name: &str) -> String {
    format!("features.{}", model::escaped(name))
}

/// What a version of a model says.
pub(super) fn answer(name: &str, of: &Version, prediction: Prediction) -> PredictResponse {
    let Prediction { answer, base, contributions, warnings } = prediction;
    let (unit, range, distances) = match &answer {
        Answer::Number { unit, range, .. } => (unit.clone(), Some(*range), Vec::new()),
        Answer::Probability { range, .. } => (String::new(), Some(*range), Vec::new()),
        Answer::Segment { distances, .. } => (String::new(), None, distances.clone()),
    };
    let answer = match answer {
        Answer::Number { value, .. } => predict_response::Answer::Value(value),
        Answer::Probability { value, .. } => predict_response::Answer::Probability(value),
        // at most twenty
        Answer::Segment { segment, .. } => predict_response::Answer::Segment(segment as u32),
    };
    let contribution = |Contribution { feature, moves_by }| ModelContribution { feature, moves_by };
    PredictResponse {
        model: name.to_owned(),
        version_id: of.id.to_string(),
        trained_at: Some(convert::timestamp(Nanos(of.at))),
        answer: Some(answer),
        unit,
        range: range.map(self::range),
        distances,
        base,
        contributions: contributions.into_iter().map(contribution).collect(),
        warnings: warnings.into_iter().map(warning).collect(),
    }
}

fn range(range: Range) -> ModelRange {
    let (kind, low, high) = match range {
        Range::Prediction { low, high } => (ModelRangeKind::Prediction95, low, high),
        Range::SpreadOfTrees { low, high } => (ModelRangeKind::SpreadOfTrees, low, high),
    };
    ModelRange { kind: kind.into(), low, high }
}

fn warning(warning: Warning) -> ModelWarning {
    let (kind, feature, text) = match warning {
        Warning::OutOfRange { feature, low, high, .. } => {
            let text = format!("the model was trained on {low} to {high}");
            (ModelWarningKind::OutOfRange, feature, text)
        }
        Warning::UnseenLevel { feature, .. } => {
            (ModelWarningKind::UnseenLevel, feature, "no row of the training had it".to_owned())
        }
        Warning::StoodIn { feature, value } => {
            let text = format!("not given: {value}, the median of the training, stands in");
            (ModelWarningKind::StoodIn, feature, text)
        }
    };
    ModelWarning { kind: kind.into(), feature, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::prost_types::{ListValue, Value};

    fn sent(pairs: &[(&str, Kind)]) -> Struct {
        let pairs = pairs.iter().map(|(name, kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) }));
        Struct { fields: pairs.collect() }
    }

    #[test]
    fn numbers_texts_and_truths_are_inputs_and_nothing_is_as_if_it_were_not_there() {
        let (given, wrong) = inputs(sent(&[
            ("a", Kind::NumberValue(2.5)),
            ("b", Kind::StringValue("x".to_owned())),
            ("c", Kind::BoolValue(true)),
            ("d", Kind::NullValue(0)),
            ("e", Kind::ListValue(ListValue::default())),
            ("f", Kind::StructValue(Struct::default())),
        ]));
        let number = |name: &str, number| (name.to_owned(), Input::Number(number));
        let expected = [number("a", 2.5), ("b".to_owned(), Input::Text("x".to_owned())), number("c", 1.0)];
        assert_eq!(given, BTreeMap::from(expected));
        let fields: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["features.e", "features.f"]);
    }

    #[test]
    fn each_wrong_field_is_named_once_with_what_it_may_be() {
        let pipeline = Pipeline::named("hospital_rating").unwrap();
        let before = vec![("features.median_income".to_owned(), "must be a number or a text".to_owned())];
        let wrong = refused(
            &pipeline,
            &[
                WrongInput::Missing("emergency_services".to_owned()),
                WrongInput::Missing("median_income".to_owned()),
                WrongInput::Kind { feature: "uninsured_percent".to_owned(), expected: "number" },
                WrongInput::Level { feature: "hospital_type".to_owned(), level: "Spa".to_owned() },
                WrongInput::Unknown("stars".to_owned()),
            ],
            before,
        );
        let texts: Vec<_> = wrong.iter().map(|(field, text)| format!("{field} {text}")).collect();
        assert_eq!(texts.len(), 5, "{texts:?}");
        assert_eq!(texts[0], "features.median_income must be a number or a text");
        assert_eq!(texts[1], "features.emergency_services is missing: must be a number");
        assert_eq!(texts[2], "features.uninsured_percent must be a number in %");
        assert!(texts[3].starts_with("features.hospital_type must be one of Acute Care Hospitals, "), "{}", texts[3]);
        assert!(!texts[3].contains("Spa") && texts[4].contains("which takes hospital_type, ownership"), "{texts:?}");
    }
}
