//! Whole trainings of the pipelines that are compiled in, and what is decided about their models.

use super::super::{Column, Decision, Error, Frame, Metric, ModelCard, Pipeline, Values, promote, silent, train};
use super::made::{Stream, prescribers, quick, states, trained, value, versions};
use std::cell::RefCell;
use std::ops::ControlFlow;

#[test]
fn life_expectancy_is_better_than_the_mean_and_its_card_says_all() {
    let frame = states();
    let trained = trained(&quick("life_expectancy"), &frame);
    let card = &trained.card;
    assert!(value(card, Metric::R2) > 0.4, "{card}");
    let rmse = &card.evaluation.metrics[0];
    assert!(rmse.interval.contains(rmse.value) && rmse.value < rmse.trivial, "{rmse:?}");
    let left_out: usize = card.dropped.iter().map(|dropped| dropped.rows).sum();
    assert_eq!(card.rows_used + left_out, card.rows_in);
    assert_eq!(card.evaluation.importance.len(), card.features.len());
    let most = card.evaluation.importance.iter().max_by(|a, b| a.mean.total_cmp(&b.mean)).expect("features");
    assert!(["median_income", "poverty_percent"].contains(&most.feature.as_str()), "{card}");
    let json = serde_json::to_string(card).expect("JSON");
    let read: ModelCard = serde_json::from_str(&json).expect("a card");
    let text = card.to_string();
    assert_eq!(read.to_string(), text);
    for said in ["rmse", "seed 20261128", "states 3", "build test", "limits:", "median_income", "2026-11-28T07:00:00Z"]
    {
        assert!(text.contains(said), "no {said} in\n{text}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let frame = prescribers(400);
    let mut pipeline = quick("high_volume_prescriber");
    let one = trained(&pipeline, &frame);
    let again = trained(&pipeline, &frame);
    assert_eq!(one.card, again.card);
    assert_eq!(one.artefact.to_bytes().expect("bytes"), again.artefact.to_bytes().expect("bytes"));
    pipeline.seed += 1;
    assert_ne!(one.artefact, trained(&pipeline, &frame).artefact);
}

#[test]
fn a_classifier_has_calibration_and_fairness_with_small_groups_marked() {
    let card = trained(&quick("high_volume_prescriber"), &prescribers(900)).card;
    assert!(value(&card, Metric::Auroc) > 0.6, "{card}");
    let bins = &card.evaluation.calibration;
    assert_eq!(bins.iter().map(|bin| bin.rows).sum::<usize>(), card.rows_used);
    assert!(bins.windows(2).all(|two| two[0].predicted <= two[1].predicted));
    let region = |name: &str| {
        let found = card.evaluation.fairness.iter().find(|group| group.column == "region" && group.value == name);
        found.expect("a group")
    };
    assert!(region("AK").too_small && region("AK").metrics.is_empty(), "{card}");
    assert!(!region("TX").too_small && !region("TX").metrics.is_empty());
    let years = &card.features[1];
    assert_eq!((years.name.as_str(), years.seen.missing), ("years_of_exp", 90));
}

/// Frames are ordered, often by state: a feature that says something in later rows alone is of importance, too.
#[test]
fn importance_is_computed_of_rows_from_the_whole_frame() {
    let text = r#"
name = "late"
title = "A line of which only later rows say something"
sources = ["states"]
query = ""
id = "state"
seed = 1
folds = 2
decides = "rmse"
intended_use = ""
limits = ""
algorithm = { kind = "linear_regression" }
target = { name = "y", unit = "1" }
features = [{ name = "x", unit = "1" }]
"#;
    let mut stream = Stream(3);
    let row = |index: usize| {
        let x = if index < 5_000 { 0.0 } else { stream.next() };
        (index.to_string(), vec![Some(x), Some(x + 0.01 * stream.next())])
    };
    let frame = Frame::from_rows(&[("x", "1"), ("y", "1")], (0..10_000).map(row).collect()).expect("a frame");
    let pipeline = Pipeline::parse("late", text).expect("a pipeline");
    let importance = &trained(&pipeline, &frame).card.evaluation.importance;
    assert!(importance[0].mean > 0.1, "{importance:?}");
}

#[test]
fn rows_that_cannot_be_learnt_from_are_counted_by_reason_and_constants_said() {
    let frame = states();
    let columns = frame.columns().iter().cloned().map(|mut column| {
        match (&mut column.values, column.name.as_str()) {
            (Values::Numbers(values), "life_expectancy") => values[3] = None,
            (Values::Numbers(values), "poverty_percent") => (values[3], values[4], values[5]) = (None, None, None),
            (Values::Numbers(values), "unemployment_rate") => values.fill(Some(4.0)),
            _ => {}
        }
        column
    });
    let frame = Frame::new(frame.ids().to_vec(), Some(frame.ids().to_vec()), columns.collect()).expect("a frame");
    let card = trained(&quick("life_expectancy"), &frame).card;
    let dropped: Vec<_> = card.dropped.iter().map(|dropped| (dropped.reason.as_str(), dropped.rows)).collect();
    assert_eq!(dropped, [("target life_expectancy is missing", 1), ("poverty_percent is missing", 2)]);
    assert_eq!(card.constant_features().collect::<Vec<_>>(), ["unemployment_rate"]);
    assert_eq!(card.rows_used, card.rows_in - 3);
}

#[test]
fn frames_that_do_not_fit_a_pipeline_are_refused() {
    let pipeline = quick("high_volume_prescriber");
    let frame = prescribers(60);
    let refused = |columns: Vec<Column>, groups: bool| {
        let groups = groups.then(|| frame.groups().map(<[String]>::to_vec)).flatten();
        let frame = Frame::new(frame.ids().to_vec(), groups, columns).expect("a frame");
        train(&pipeline, &frame, &versions(), jiff::Timestamp::UNIX_EPOCH, &silent).expect_err("it does not fit")
    };
    let columns = frame.columns().to_vec();
    assert!(matches!(refused(columns.clone(), false), Error::NoColumn { column } if column == "place"));
    assert!(matches!(refused(columns[1..].to_vec(), true), Error::NoColumn { column } if column == "years_of_exp"));
    let mut other = columns.clone();
    other[0].unit = "mo".to_owned();
    assert!(matches!(refused(other, true), Error::Unit { .. }));
    let mut other = columns.clone();
    other[3].values = Values::Numbers(vec![Some(0.5); 60]);
    assert!(matches!(refused(other, true), Error::NotBinary { value: 0.5, .. }));
    let mut other = columns;
    other[1].values = Values::Numbers(vec![Some(-1.0); 60]);
    assert!(matches!(refused(other, true), Error::Transform { value: -1.0, .. }));
}

#[test]
fn a_training_tells_how_far_it_is_and_stops_when_told() {
    let shares = RefCell::new(Vec::new());
    let listen = |share: f64, _: &str| {
        shares.borrow_mut().push(share);
        if share < 0.5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let (pipeline, frame) = (quick("life_expectancy"), states());
    let stopped = train(&pipeline, &frame, &versions(), jiff::Timestamp::UNIX_EPOCH, &listen);
    assert!(matches!(stopped, Err(Error::Stopped(_))));
    let shares = shares.into_inner();
    assert!(shares.windows(2).all(|two| two[0] <= two[1]) && shares.len() > 100, "{shares:?}");
}

/// A card whose deciding metric (an error: less is better) has a value and an interval.
fn card(of: &ModelCard, value: f64, reach: f64) -> ModelCard {
    let mut card = of.clone();
    let measured = &mut card.evaluation.metrics[0];
    (measured.value, measured.trivial) = (value, 2.0);
    (measured.interval.low, measured.interval.high) = (value - reach, value + reach);
    card
}

#[test]
fn only_what_is_surely_better_is_promoted() {
    let base = trained(&quick("life_expectancy"), &states()).card;
    let decide = |new: &ModelCard, old: Option<&ModelCard>| -> Decision { promote(new, old, None) };
    let old = card(&base, 1.0, 0.1);
    assert!(decide(&old, None).promoted);
    assert!(!decide(&card(&base, 1.95, 0.1), None).promoted, "the trivial model is within the interval");
    assert!(!decide(&card(&base, 2.5, 0.1), None).promoted, "worse than the trivial model");
    assert!(decide(&card(&base, 0.8, 0.1), Some(&old)).promoted);
    let unsure = decide(&card(&base, 0.95, 0.1), Some(&old));
    assert!(!unsure.promoted && unsure.reason.contains("less than the values are sure"), "{unsure:?}");
    assert!(!decide(&card(&base, 0.8, 0.3), Some(&old)).promoted, "the old value is within the new interval");
    let equal = decide(&old, Some(&old));
    assert!(!equal.promoted && equal.reason.starts_with("not better"), "{equal:?}");
    assert!(!decide(&card(&base, 1.3, 0.1), Some(&old)).promoted);
    let other = ModelCard { name: "other".to_owned(), ..card(&base, 0.5, 0.01) };
    assert!(!decide(&other, Some(&old)).promoted, "another model");
    let other = ModelCard { target: None, ..card(&base, 0.5, 0.01) };
    assert!(!decide(&other, Some(&old)).promoted, "another target");
}
