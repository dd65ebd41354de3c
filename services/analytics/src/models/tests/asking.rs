//! Predictions: every wrong input is named, and what makes an answer less sure is said.

use super::super::{Answer, Artefact, Error, Input, Range, Warning, WrongInput, predict};
use super::made::{prescribers, quick, states, trained};
use std::collections::BTreeMap;

/// A prescriber like those of the training.
pub fn prescriber() -> BTreeMap<String, Input> {
    BTreeMap::from([
        ("specialty".to_owned(), Input::Text("Dentist".to_owned())),
        ("years_of_exp".to_owned(), Input::Number(20.0)),
        ("population".to_owned(), Input::Number(90_000.0)),
        ("prescribers_nearby".to_owned(), Input::Number(10.0)),
    ])
}

fn classifier() -> Artefact {
    trained(&quick("high_volume_prescriber"), &prescribers(300)).artefact
}

#[test]
fn a_probability_has_a_spread_and_contributions_that_add_up() {
    let found = predict(&classifier(), &prescriber()).expect("an answer");
    let Answer::Probability { value, range: Range::SpreadOfTrees { low, high } } = found.answer else {
        panic!("{found:?}")
    };
    assert!((0.0..=1.0).contains(&value) && low <= high, "{found:?}");
    let moved: f64 = found.contributions.iter().map(|contribution| contribution.moves_by).sum();
    assert!((found.base.expect("a base") + moved - value).abs() < 1e-9, "{found:?}");
    assert_eq!(found.contributions.len(), 4);
    assert!(found.warnings.is_empty(), "{found:?}");
}

#[test]
fn all_wrong_inputs_are_named_at_once() {
    let mut inputs = prescriber();
    inputs.remove("specialty");
    inputs.insert("population".to_owned(), Input::Number(-3.0));
    inputs.insert("prescribers_nearby".to_owned(), Input::Number(f64::NAN));
    inputs.insert("years_of_exp".to_owned(), Input::Text("20".to_owned()));
    inputs.insert("shoe_size".to_owned(), Input::Number(43.0));
    let artefact = classifier();
    let Err(Error::Inputs(wrong)) = predict(&artefact, &inputs) else { panic!("it was answered") };
    let expected = [
        WrongInput::Missing("specialty".to_owned()),
        WrongInput::Kind { feature: "years_of_exp".to_owned(), expected: "number" },
        WrongInput::Domain("population".to_owned()),
        WrongInput::NotFinite("prescribers_nearby".to_owned()),
        WrongInput::Unknown("shoe_size".to_owned()),
    ];
    assert_eq!(wrong, expected);
    let mut inputs = prescriber();
    inputs.insert("specialty".to_owned(), Input::Text("Alchemy".to_owned()));
    let refused = predict(&artefact, &inputs).expect_err("no such level").to_string();
    assert_eq!(refused, "specialty has no level Alchemy");
}

#[test]
fn what_is_out_of_range_unseen_or_stood_in_for_is_said() {
    let mut inputs = prescriber();
    inputs.insert("population".to_owned(), Input::Number(9e9));
    inputs.insert("specialty".to_owned(), Input::Text("Cardiology".to_owned()));
    inputs.remove("years_of_exp");
    let warnings = predict(&classifier(), &inputs).expect("an answer").warnings;
    assert!(
        matches!(
            &warnings[..],
            [
                Warning::UnseenLevel { level, .. },
                Warning::StoodIn { feature, .. },
                Warning::OutOfRange { value: 9e9, high, .. },
            ] if level == "Cardiology" && feature == "years_of_exp" && *high < 2e6
        ),
        "{warnings:?}"
    );
}

#[test]
fn a_segment_is_the_nearest_and_a_forests_number_has_its_unit() {
    let artefact = trained(&quick("state_segments"), &states()).artefact;
    let names = ["median_income", "poverty_percent", "unemployment_rate", "uninsured_percent", "life_expectancy"];
    let values = [62_248.0, 15.7, 3.09, 9.39, 72.0];
    let mut inputs: BTreeMap<String, Input> =
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Input::Number(value))).collect();
    inputs.insert("population".to_owned(), Input::Number(5_108_468.0));
    let found = predict(&artefact, &inputs).expect("an answer");
    let Answer::Segment { segment, distances } = found.answer else { panic!("{found:?}") };
    assert!(distances.len() == 4 && distances.iter().all(|distance| distances[segment] <= *distance), "{distances:?}");
    assert!(found.base.is_none() && found.contributions.is_empty());
    let artefact = trained(&quick("life_expectancy"), &states()).artefact;
    inputs.remove("life_expectancy");
    inputs.insert("preventable_stays_rate".to_owned(), Input::Number(3_327.0));
    let found = predict(&artefact, &inputs).expect("an answer");
    assert!(matches!(&found.answer, Answer::Number { value, unit, .. } if unit == "a" && (70.0..75.0).contains(value)));
}
