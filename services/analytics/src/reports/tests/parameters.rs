//! What may be asked of a report, and what is said to who asks something else.

use std::collections::BTreeMap;

use crate::reports::{Error, Reports, Value};

fn check(report: &str, given: &[(&str, &str)]) -> Result<Vec<(String, Value)>, String> {
    let given: BTreeMap<String, String> = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let parameters = Reports::find(report).unwrap().check(&given).map_err(|error| error.to_string())?;
    Ok(parameters.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect())
}

#[test]
fn defaults_stand_where_nothing_is_given_and_states_are_in_capitals() {
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        check("top_prescribers", &[]).unwrap(),
        [("n".into(), Value::Integer(5)), ("state".into(), text("all"))]
    );
    assert_eq!(
        check("top_prescribers", &[("state", "pr"), ("n", "1000")]).unwrap(),
        [("n".into(), Value::Integer(1000)), ("state".into(), text("PR"))]
    );
}

#[test]
fn each_mistake_names_the_parameter_its_range_and_what_to_do() {
    for (report, given, message) in [
        ("sites_by_state", vec![], "`state` is missing: give the postal code of a state or territory, such as TX"),
        (
            "sites_by_state",
            vec![("state", "ZZ")],
            "`state` is `ZZ`: give the postal code of a state or territory, such as TX",
        ),
        (
            "sites_by_state",
            vec![("state", "all")],
            "`state` is `all`: give the postal code of a state or territory, such as TX",
        ),
        (
            "city_report",
            vec![("state", "Texas")],
            "`state` is `Texas`: give the postal code of a state or territory, such as TX, or all",
        ),
        ("top_prescribers", vec![("n", "0")], "`n` is `0`: give a whole number from 1 to 1000"),
        ("top_prescribers", vec![("n", "5; DROP")], "`n` is `5; DROP`: give a whole number from 1 to 1000"),
        ("cost_trends", vec![("age_group", "old")], "`age_group` is `old`: give one of All, <65, 65+"),
        ("site_growth", vec![("vintage", "")], "`vintage` is ``: give a text of 1 to 16 characters"),
        ("site_growth", vec![("vintage", "a\nb")], "`vintage` is `a\\nb`: give a text of 1 to 16 characters"),
        (
            "cost_trends",
            vec![("from_year", "2024"), ("to_year", "2020")],
            "`from_year` is `2024`: give at most `to_year`, which is 2020, or a greater `to_year`",
        ),
        ("hospital_beds", vec![("year", "1")], "`year` is no parameter of the report: leave it out; it has none"),
    ] {
        assert_eq!(check(report, &given).unwrap_err(), format!("report `{report}`: {message}"));
    }
    let both = check("top_prescribers", &[("n", "x"), ("stat", "TX")]).unwrap_err();
    assert_eq!(
        both,
        "report `top_prescribers`: `n` is `x`: give a whole number from 1 to 1000; `stat` is no parameter of the report: leave it \
         out; it has state, n"
    );
}

#[test]
fn a_report_is_found_by_its_name_and_its_alias() {
    assert_eq!(Reports::find("sites_by_state").unwrap().name, "sites_by_state");
    assert_eq!(Reports::find("get_site_count_by_state").unwrap().name, "site_count_by_state");
    for unknown in ["nothing", "get_sites_by_state-TX", "-", ""] {
        assert!(matches!(Reports::find(unknown), Err(Error::UnknownReport { names, .. }) if names.len() > 20));
    }
}
