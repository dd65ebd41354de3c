//! States, their correlations, sentences, and how much there is.

use super::fixture::{Node, SAMPLES, close, expected};
use proto::analytics::v1::{
    CorrelationCorrection, CorrelationMethod, GetCorrelationsRequest, GetCorrelationsResponse, GetSummaryResponse,
    StateProfile,
};
use serde_json::Value;
use tonic::Code;

/// Kinds that profiles are of whose samples are made.
const MADE: [&str; 3] = ["infant_mortality", "medicare_spending", "premiums"];

/// A profile's numbers by their names.
fn numbers(profile: &StateProfile) -> Vec<(&'static str, Option<f64>)> {
    let money = |text: &Option<String>| text.as_ref().map(|text| text.parse().unwrap());
    vec![
        ("population", profile.population.map(f64::from)),
        ("female_percent", profile.female_percent),
        ("under_18_percent", profile.under_18_percent),
        ("over_64_percent", profile.over_64_percent),
        ("black_percent", profile.black_percent),
        ("hispanic_percent", profile.hispanic_percent),
        ("median_household_income", money(&profile.median_household_income)),
        ("poverty_percent", profile.poverty_percent),
        ("medicare_payments_per_person", money(&profile.medicare_payments_per_person)),
        ("payments_per_stay", money(&profile.payments_per_stay)),
        ("unemployed_percent", profile.unemployed_percent),
        ("no_high_school_percent", profile.no_high_school_percent),
        ("uninsured_percent", profile.uninsured_percent),
        ("disability_percent", profile.disability_percent),
        ("no_internet_percent", profile.no_internet_percent),
        ("life_expectancy", profile.life_expectancy),
        ("infant_deaths_per_1000", profile.infant_deaths_per_1000),
        ("preventable_stays_per_100000", profile.preventable_stays_per_100000),
        ("overdose_deaths_per_100000", profile.overdose_deaths_per_100000),
        ("mean_readmission_ratio", profile.mean_readmission_ratio),
        ("n_hospitals", profile.n_hospitals.map(f64::from)),
        ("mean_rating", profile.mean_rating),
        ("staffed_beds_per_1000", profile.staffed_beds_per_1000),
        ("sites_per_100000", profile.sites_per_100000),
        ("monthly_premium", money(&profile.monthly_premium)),
    ]
}

#[tokio::test]
async fn profiles_correlations_sentences_and_sums_are_those_of_the_samples() {
    let (node, expected) = (Node::of_all().await, expected());
    let dashboard = node.dashboard();
    profiles(&dashboard.list_states().await.ok().unwrap().states, &expected["states"]);
    let texas = dashboard.get_state("tx").await.ok().unwrap();
    assert_eq!(texas.state.map(|state| state.name).as_deref(), Some("Texas"));
    assert_eq!(texas.made_sample_data, MADE);
    assert_eq!(dashboard.list_states().await.ok().unwrap().made_sample_data, MADE);
    for unknown in ["ZZ", "US", "PR"] {
        assert_eq!(dashboard.get_state(unknown).await.err().unwrap().code(), Code::NotFound, "{unknown}");
    }

    for (method, name) in [(CorrelationMethod::Pearson, "pearson"), (CorrelationMethod::Spearman, "spearman")] {
        let expected = expected["correlations"][name].as_array().unwrap();
        for correction in [CorrelationCorrection::BenjaminiHochberg, CorrelationCorrection::Holm] {
            let request = GetCorrelationsRequest {
                variables: variables(expected),
                method: method.into(),
                correction: correction.into(),
            };
            let found = dashboard.get_correlations(request).await.ok().unwrap();
            assert!(found.method() == method && found.correction() == correction);
            correlations(&found, expected, correction);
        }
    }
    let all = dashboard.get_correlations(GetCorrelationsRequest::default()).await.ok().unwrap();
    assert_eq!(all.made_sample_data, MADE);
    // of overdoses the sample says nothing
    assert_eq!((all.correlations.len(), all.untested.len()), (24 * 23 / 2, 24));
    assert!(all.untested.iter().all(|pair| [&pair.left, &pair.right].contains(&&"overdose_deaths_per_100000".into())));
    assert!(all.untested[0].why.contains("too few"), "{}", all.untested[0].why);

    let found = dashboard.list_insights().await.ok().unwrap();
    let left_out: Vec<_> = found.left_out.iter().map(|left| left.why.as_str()).collect();
    assert!(found.insights.len() == 10 && left_out[0].contains("`zip_rurality`"), "{left_out:?}");
    let best = found.insights.iter().find(|insight| insight.report == "top_states_by_rating").unwrap();
    assert!(best.sentence.contains("best mean rating") && best.parameters["n"] == "1", "{}", best.sentence);
    let number = best.numbers.iter().find(|number| number.column == "mean_rating").unwrap();
    close(number.value.parse().unwrap(), &expected["states"][&number.of]["mean_rating"], "the best mean");
    assert!(best.sentence.contains(&number.of) && found.data_versions.contains_key("hospitals"));

    summary(&dashboard.get_summary().await.ok().unwrap(), &expected["summary"]);
}

fn profiles(found: &[StateProfile], expected: &Value) {
    let expected = expected.as_object().unwrap();
    let names: Vec<&str> = found.iter().map(|profile| profile.state.as_str()).collect();
    let mut states: Vec<&str> = expected.keys().map(String::as_str).collect();
    states.sort_unstable();
    assert_eq!(names, states);
    for profile in found {
        let expected = &expected[&profile.state];
        for (name, number) in numbers(profile) {
            match number {
                Some(number) => close(number, &expected[name], &format!("{} of {}", name, profile.state)),
                None => assert_eq!(expected[name], Value::Null, "{name} of {}", profile.state),
            }
        }
    }
}

fn variables(expected: &[Value]) -> Vec<String> {
    let first = expected[0]["left"].as_str().unwrap();
    let others = expected.iter().filter(|pair| pair["left"] == first).filter_map(|pair| pair["right"].as_str());
    std::iter::once(first).chain(others).map(str::to_owned).collect()
}

fn correlations(found: &GetCorrelationsResponse, expected: &[Value], correction: CorrelationCorrection) {
    assert_eq!((found.correlations.len(), found.untested.len()), (expected.len(), 0));
    for (one, expected) in found.correlations.iter().zip(expected) {
        let what = format!("{} and {}", one.left, one.right);
        assert_eq!([one.left.as_str(), &one.right], [&expected["left"], &expected["right"]], "{what}");
        assert_eq!([one.n, one.n_missing].map(Value::from), ["n", "n_missing"].map(|key| expected[key].clone()));
        let corrected = match correction {
            CorrelationCorrection::Holm => &expected["holm"],
            _ => &expected["benjamini_hochberg"],
        };
        for (number, expected, last) in [
            (one.coefficient, &expected["coefficient"], 1e-9),
            (one.low(), &expected["low"], 1e-9),
            (one.high(), &expected["high"], 1e-9),
            // of tails two libraries agree in as many digits
            (one.p_value, &expected["p"], 1e-7),
            (one.corrected_p_value, corrected, 1e-7),
        ] {
            let expected = expected.as_f64().unwrap();
            assert!(
                (number - expected).abs() <= last * expected.abs().max(1e-3),
                "{what}: {number:e}, not {expected:e}"
            );
        }
    }
}

fn summary(found: &GetSummaryResponse, expected: &Value) {
    for (name, count) in [
        ("n_hospitals", found.n_hospitals),
        ("n_rated_hospitals", found.n_rated_hospitals),
        ("n_staffed_beds", found.n_staffed_beds),
        ("n_states", found.n_states),
        ("population", found.population),
        ("n_cities", found.n_cities),
        ("n_prescribers", found.n_prescribers),
        ("n_sites", found.n_sites),
    ] {
        assert_eq!(Value::from(count), expected[name], "{name}");
    }
    close(found.mean_rating.unwrap(), &expected["mean_rating"], "the mean of all");
    let imported = found.data_sets.iter().filter(|data_set| data_set.current.is_some()).count();
    assert!(imported == SAMPLES.len() && found.data_sets.len() > imported && found.update_time.is_some());
}

#[tokio::test]
async fn what_is_not_imported_is_absent_and_never_0() {
    let node = Node::empty();
    let dashboard = node.dashboard();
    let nothing = dashboard.get_summary().await.ok().unwrap();
    assert_eq!((nothing.n_hospitals, nothing.mean_rating, nothing.n_sites), (None, None, None));
    assert!(nothing.update_time.is_none() && nothing.data_sets.iter().all(|data_set| data_set.current.is_none()));
    let status = dashboard.list_states().await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("county_population"), "{status}");
    let sentences = dashboard.list_insights().await.ok().unwrap();
    assert_eq!((sentences.insights.len(), sentences.left_out.len()), (0, 11));
    assert!(sentences.left_out.iter().all(|left| left.why.contains("nothing is imported")));

    for kind in ["county_population", "state_population", "hospitals", "life_expectancy"] {
        node.add_samples(kind).await;
    }
    let found = dashboard.get_state("AL").await.ok().unwrap();
    assert_eq!(found.not_imported.len(), 11, "{:?}", found.not_imported);
    let known: Vec<_> =
        numbers(&found.state.unwrap()).into_iter().filter_map(|(name, number)| number.map(|_| name)).collect();
    let expected = [
        "population",
        "female_percent",
        "under_18_percent",
        "over_64_percent",
        "life_expectancy",
        "n_hospitals",
        "mean_rating",
    ];
    assert_eq!(known, expected, "no rate of sites, of which there are none");
    let some = dashboard.get_summary().await.ok().unwrap();
    assert_eq!((some.n_hospitals, some.n_states, some.n_sites, some.n_staffed_beds), (Some(431), Some(51), None, None));
    let found = dashboard.get_correlations(GetCorrelationsRequest::default()).await.ok().unwrap();
    assert_eq!(found.correlations.len(), 7 * 6 / 2);
    assert!(found.not_imported.contains(&"sites".to_owned()) && found.made_sample_data.is_empty());
}

#[tokio::test]
async fn variables_that_there_are_not_are_refused_each() {
    let node = Node::of(&["county_population"]).await;
    let dashboard = node.dashboard();
    let ask = async |names: &[&str]| {
        let variables = names.iter().map(|name| (*name).to_owned()).collect();
        let found = dashboard.get_correlations(GetCorrelationsRequest { variables, ..Default::default() }).await;
        found.map(|found| found.correlations.len()).map_err(|status| status.message().to_owned())
    };
    assert_eq!(ask(&["population", "over_64_percent"]).await, Ok(1));
    for (names, said) in [
        (&["population"][..], "variables: two or more"),
        (&["population", "stars"], "variables[1]: must be one of population, "),
        (&["population", "population"], "variables[1]: is there twice"),
        (&["state", "population"], "variables[0]: must be one of"),
    ] {
        let refused = ask(names).await.unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
    for request in [
        GetCorrelationsRequest { method: 9, ..Default::default() },
        GetCorrelationsRequest { correction: 9, ..Default::default() },
    ] {
        assert_eq!(dashboard.get_correlations(request).await.err().unwrap().code(), Code::InvalidArgument);
    }
}
