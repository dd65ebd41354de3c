//! Models of other data are compared on the same rows: easier rows promote nothing, and a sample's model gives way to the whole's.

use super::super::{Artefact, Column, Frame, Pipeline, SameRows, Training, Values, Versions, promote, silent, train};
use super::made::{prescribers, quick, states};
use crate::statistics::Interval;

const LINE: &str = r#"
name = "line"
title = "A line"
sources = ["rows"]
query = ""
id = "row"
seed = 1
folds = 3
decides = "rmse"
intended_use = ""
limits = ""
algorithm = { kind = "linear_regression" }
target = { name = "y", unit = "1" }
features = [{ name = "x", unit = "1" }]
"#;

/// Pairs of rows as far above a line as below it: near it up to 1, far from it beyond, where the line has another slope.
fn rows(n: usize, most: f64, slope: f64) -> Frame {
    let row = |index: usize| {
        let x = (index / 2) as f64 * 2.0 * most / n as f64;
        let (line, off) = if x < 1.0 { (2.0 * x, 0.1) } else { (2.0 + slope * (x - 1.0), 3.0) };
        let y = if index.is_multiple_of(2) { line + off } else { line - off };
        (index.to_string(), vec![Some(x), Some(y)])
    };
    Frame::from_rows(&[("x", "1"), ("y", "1")], (0..n).map(row).collect()).expect("a frame")
}

/// Some of a frame's rows.
fn part_of(frame: &Frame, from: usize, to: usize) -> Frame {
    let part = |column: &Column| {
        let values = match &column.values {
            Values::Numbers(values) => Values::Numbers(values[from..to].to_vec()),
            Values::Texts(values) => Values::Texts(values[from..to].to_vec()),
        };
        Column { values, ..column.clone() }
    };
    let groups = frame.groups().map(|groups| groups[from..to].to_vec());
    Frame::new(frame.ids()[from..to].to_vec(), groups, frame.columns().iter().map(part).collect()).expect("a frame")
}

/// A training on version `data` of its data.
fn training(pipeline: Pipeline, frame: Frame, data: &str) -> Training {
    let versions = Versions { data: [("rows".to_owned(), data.to_owned())].into(), code: "test".to_owned() };
    let trained = train(&pipeline, &frame, &versions, jiff::Timestamp::UNIX_EPOCH, &silent).expect("a model");
    Training { pipeline, frame, trained }
}

fn line(frame: Frame, data: &str) -> Training {
    training(Pipeline::parse("line", LINE).expect("a pipeline"), frame, data)
}

fn against(new: &Training, in_use: &Artefact) -> SameRows {
    new.against(in_use).expect("of one schema").expect("comparable")
}

#[test]
fn easier_rows_promote_nothing() {
    let (whole, easy) = (line(rows(600, 10.0, 2.0), "1"), line(rows(60, 1.0, 2.0), "2"));
    let rmse = |of: &Training| of.trained.card.evaluation.metrics[0].value;
    assert!(rmse(&easy) < rmse(&whole) / 10.0, "{} and {}", rmse(&easy), rmse(&whole));
    let same_rows = against(&easy, &whole.trained.artefact);
    // its line is the one around which the rows are; all of which it has seen
    assert!(!same_rows.unseen && same_rows.rows == 60);
    assert!((same_rows.in_use - 0.1).abs() < 1e-6, "{same_rows:?}");
    let decision = promote(&easy.trained.card, Some(&whole.trained.card), Some(&same_rows));
    assert!(!decision.promoted && decision.reason.contains("on the same 60 rows"), "{decision:?}");
    let unasked = promote(&easy.trained.card, Some(&whole.trained.card), None);
    assert!(!unasked.promoted && unasked.reason.contains("wardline models use line"), "{unasked:?}");
}

#[test]
fn a_model_of_a_sample_gives_way_to_the_one_of_all_rows() {
    let (sample, whole) = (line(rows(60, 1.0, 4.0), "1"), line(rows(600, 10.0, 4.0), "2"));
    let same_rows = against(&whole, &sample.trained.artefact);
    assert!(same_rows.advantage.low > 0.0 && same_rows.in_use > 5.0, "{same_rows:?}");
    let decide = |same_rows: &SameRows| promote(&whole.trained.card, Some(&sample.trained.card), Some(same_rows));
    let decision = decide(&same_rows);
    assert!(decision.promoted && decision.reason.starts_with("better: rmse"), "{decision:?}");
    let equal = |low, high| SameRows { advantage: Interval { low, high }, ..same_rows };
    let decision = decide(&equal(-0.1, 0.1));
    assert!(decision.promoted && decision.reason.contains("600 rows instead of 60"), "{decision:?}");
    assert!(!decide(&equal(-0.2, -0.1)).promoted, "surely worse");
    // of as many rows it has to be better
    let mut old = sample.trained.card.clone();
    old.rows_used = whole.trained.card.rows_used;
    let decision = promote(&whole.trained.card, Some(&old), Some(&equal(-0.1, 0.1)));
    assert!(!decision.promoted, "{decision:?}");
}

#[test]
fn a_model_is_judged_by_rows_that_it_has_not_seen() {
    // a forest knows what it has seen almost by heart
    let all = prescribers(2_000);
    let of = |n: usize, data: &str| training(quick("high_volume_prescriber"), part_of(&all, 0, n), data);
    let (half, whole) = (of(1_000, "1"), of(2_000, "2"));
    let same_rows = against(&whole, &half.trained.artefact);
    let rows = whole.trained.held_out.rows.iter().filter(|row| **row >= 1_000).count();
    assert_eq!((same_rows.rows, same_rows.unseen), (rows, true));
    let decision = promote(&whole.trained.card, Some(&half.trained.card), Some(&same_rows));
    assert!(decision.promoted && decision.reason.contains("has seen none of them"), "{decision:?}");
    // by the rows that it has seen, too, it looks better than it is
    let all = against(&whole, &Artefact { learnt_from: None, ..half.trained.artefact.clone() });
    assert!(!all.unseen && all.rows == whole.trained.held_out.rows.len());
    assert!(all.advantage.high < same_rows.advantage.high, "{all:?} and {same_rows:?}");
    let decision = promote(&whole.trained.card, Some(&half.trained.card), Some(&all));
    assert!(!decision.promoted, "{decision:?}");
}

#[test]
fn segments_are_compared_in_the_distances_of_the_new_rows() {
    let whole = training(quick("state_segments"), states(), "2");
    let quality = &whole.trained.card.segments.as_ref().expect("segments").quality;
    let itself = against(&whole, &whole.trained.artefact).in_use;
    assert!((itself - (1.0 - quality.inertia / quality.inertia_of_one)).abs() < 1e-9, "{itself}");
    let part = training(quick("state_segments"), part_of(&states(), 0, 25), "1");
    let of_part = against(&whole, &part.trained.artefact).in_use;
    assert!(of_part < itself, "{of_part} and {itself}");
}
