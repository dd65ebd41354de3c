//! From a frame to a model and its card.

use super::artefact::Artefact;
use super::card::{FeatureCard, ModelCard, SegmentCard, Versions};
use super::encoder::Encoder;
use super::evaluation::evaluate;
use super::fitted::{Fitted, Learnt};
use super::frame::Frame;
use super::learnt_from::LearntFrom;
use super::matrix::Matrix;
use super::pipeline::Pipeline;
use super::same_rows::HeldOut;
use super::usable::usable;
use super::{Error, Report, step};
use crate::hexadecimal::hexadecimal;
use jiff::Timestamp;

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// What is kept and asked.
    pub artefact: Artefact,
    /// What is known of it.
    pub card: ModelCard,
    /// What it was judged by.
    pub held_out: HeldOut,
}

/// Trains a pipeline on its frame: judges it by cross-validation, then fits all usable rows.
///
/// The frame needs a group for each row where the pipeline names a group column. `trained_at` and the versions go into
/// card and artefact as they are. Refused: columns that are not there or in other units, values that are no numbers,
/// fewer groups than folds, collinear features of a line.
pub fn train(
    pipeline: &Pipeline,
    frame: &Frame,
    versions: &Versions,
    trained_at: Timestamp,
    report: Report,
) -> Result<Trained, Error> {
    if let Some(group) = pipeline.group.as_ref().filter(|_| frame.groups().is_none()) {
        return Err(Error::NoColumn { column: group.clone() });
    }
    let usable = usable(pipeline, frame)?;
    // Cross-validating fits as often as there are folds, and this once more.
    let fits = (pipeline.folds + 1) as f64;
    let judging = |share: f64, doing: &str| report(share * (fits - 1.0) / fits, doing);
    let fitting = |share: f64, doing: &str| report((fits - 1.0 + share) / fits, doing);
    let (evaluation, scored) = evaluate(pipeline, frame, &usable, &judging)?;
    let schema = pipeline.schema();
    let encoder = Encoder::fit(&schema, frame, &usable.rows)?;
    let x = encoder.matrix(frame, &usable.rows)?;
    let fitted = Fitted::fit(pipeline, &encoder, &x, &usable.target, &fitting)?;
    let trained_at = trained_at.to_string();
    let card = ModelCard {
        name: pipeline.name.clone(),
        title: pipeline.title.clone(),
        intended_use: pipeline.intended_use.clone(),
        limits: pipeline.limits.clone(),
        algorithm: pipeline.algorithm.clone(),
        target: pipeline.target.clone(),
        decides: pipeline.decides,
        trained_at: trained_at.clone(),
        versions: versions.clone(),
        seed: pipeline.seed,
        schema_hash: hexadecimal(schema.hash()),
        rows_in: frame.rows(),
        rows_used: usable.rows.len(),
        dropped: usable.dropped.clone(),
        features: feature_cards(&encoder),
        evaluation,
        coefficients: coefficients(&encoder, &fitted),
        segments: segment_card(pipeline, &encoder, &fitted, &x),
    };
    step(report, 1.0, "writing the card")?;
    let (name, versions) = (pipeline.name.clone(), versions.clone());
    let learnt_from = Some(LearntFrom::of(usable.rows.iter().map(|row| frame.ids()[*row].as_str())));
    let artefact = Artefact { name, schema, versions, seed: pipeline.seed, trained_at, encoder, fitted, learnt_from };
    Ok(Trained { artefact, card, held_out: HeldOut { rows: usable.rows, scored } })
}

fn feature_cards(encoder: &Encoder) -> Vec<FeatureCard> {
    let card = |(feature, seen): (&super::FeatureSchema, &super::Seen)| FeatureCard {
        name: feature.name.clone(),
        unit: feature.unit.clone(),
        transform: feature.transform,
        missing: feature.missing,
        levels: feature.levels.clone(),
        seen: seen.clone(),
    };
    encoder.features().iter().zip(encoder.seen()).map(card).collect()
}

fn coefficients(encoder: &Encoder, fitted: &Fitted) -> Vec<(String, f64)> {
    let Learnt::Line(line) = &fitted.learnt else { return Vec::new() };
    let (intercept, weights) = line.coefficients();
    let named = weights.iter().enumerate().map(|(column, weight)| (encoder.column_name(column), *weight));
    [("(intercept)".to_owned(), intercept)].into_iter().chain(named).collect()
}

fn segment_card(pipeline: &Pipeline, encoder: &Encoder, fitted: &Fitted, x: &Matrix) -> Option<SegmentCard> {
    let Learnt::Segments(segments) = &fitted.learnt else { return None };
    let named = |centre: Vec<f64>| {
        let values = centre.into_iter().enumerate();
        values.map(|(column, value)| (encoder.column_name(column), encoder.back(column, value))).collect()
    };
    let centres = segments.centres().into_iter().map(named).collect();
    Some(SegmentCard { quality: segments.quality(x, pipeline.seed), centres })
}
