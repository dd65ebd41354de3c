//! Reports of hospitals.

use super::tables::{Tables, limits};

fn hospitals() -> Tables {
    Tables::of(&[(
        "hospitals",
        "vintage|ccn|state|hospital_type|emergency|overall_rating
        2020-07|010001|AL|Acute Care Hospitals|true|1
        2025|010001|AL|Acute Care Hospitals|true|4
        2025|010002|AL|Critical Access Hospitals|false|
        2025|010003|AL|Acute Care Hospitals|true|5
        2025|02013F|AK|Acute Care - Department of Defense|true|
        2025|020001|AK|Psychiatric||5",
    )])
}

#[tokio::test]
async fn hospitals_are_counted_in_one_release_by_state_and_by_type() {
    let tables = hospitals();
    assert_eq!(tables.lines("hospitals_by_state", &[]).await, ["AK|2|1|0|1|1|1|5", "AL|3|2|1|0|2|2|4.5"]);
    assert_eq!(tables.lines("hospitals_by_state", &[("vintage", "2020-07")]).await, ["AL|1|1|0|0|1|1|1"]);
    assert_eq!(
        tables.lines("hospitals_by_type", &[]).await,
        [
            "Acute Care Hospitals|2|40|2|2|4.5",
            "Acute Care - Department of Defense|1|20|1|0|",
            "Critical Access Hospitals|1|20|0|0|",
            "Psychiatric|1|20|0|1|5",
        ]
    );
}

#[tokio::test]
async fn a_release_that_there_is_not_is_refused_with_those_that_there_are() {
    for report in ["hospitals_by_state", "hospitals_by_type", "top_states_by_rating"] {
        let refused = hospitals().run(report, &[("vintage", "1999")], &limits()).await.unwrap_err().to_string();
        let said = "`vintage` is `1999`: give one of 2020-07, 2025, newest";
        assert_eq!(refused, format!("report `{report}`: {said}"));
    }
}

#[tokio::test]
async fn an_excerpt_is_no_newest_release() {
    let tables = Tables::of(&[(
        "hospitals",
        "vintage|ccn|state|hospital_type|overall_rating
        2020-07|010001|AL|Psychiatric|1
        2020-07|010002|AL|Psychiatric|1
        2020-07|020001|AK|Psychiatric|1
        2025|010001|AL|Psychiatric|4",
    )]);
    assert_eq!(tables.lines("hospital_releases", &[]).await, ["2020-07|3|2|true|true", "2025|1|1|false|false"]);
    assert_eq!(tables.lines("top_states_by_hospitals", &[]).await, ["1|AL|2", "2|AK|1"]);
    assert_eq!(tables.lines("hospitals_by_type", &[("vintage", "2025")]).await, ["Psychiatric|1|100|0|1|4"]);
}

#[tokio::test]
async fn hospitals_without_a_rating_are_counted_apart() {
    let lines = hospitals().lines("hospital_ratings", &[]).await;
    assert_eq!(lines, ["AK|0|0|0|0|1|1|1|5", "AL|0|0|0|1|1|2|1|4.5"]);
}

#[tokio::test]
async fn states_are_ranked_by_number_and_by_rating_of_enough_hospitals() {
    let tables = hospitals();
    assert_eq!(tables.lines("top_states_by_hospitals", &[("n", "1")]).await, ["1|AL|3"]);
    assert_eq!(tables.lines("top_states_by_hospitals", &[]).await, ["1|AL|3", "2|AK|2"]);
    let rated = tables.lines("top_states_by_rating", &[("min_rated", "1")]).await;
    assert_eq!(rated, ["1|AK|5||1|2", "2|AL|4.5|0.5|2|3"]);
    assert_eq!(tables.lines("top_states_by_rating", &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_hospital_without_a_number_is_not_one_without_beds() {
    let tables = Tables::of(&[
        (
            "hospital_locations",
            "location_id|state|n_staffed_beds|n_icu_beds|n_licensed_beds|occupancy
            1|AL|100|10|120|0.5
            2|AL|300|20|300|0.9
            3|AL||||
            4|GU|50|||",
        ),
        ("state_population", "state|year|population\n AL|2023|1000000\n AL|2022|7\n US|2023|99"),
    ]);
    let lines = tables.lines("hospital_beds", &[]).await;
    assert_eq!(lines, ["AL|3|1|400|30|420|1000000|0.4|0.8", "GU|1|0|50|||||"]);
}

#[tokio::test]
async fn access_is_weighted_by_people_and_a_county_without_code_is_unknown() {
    let tables = Tables::of(&[
        (
            "cities",
            "state|city_key|county_fips|population|latitude|longitude
            AL|A|01001|300|30|-90
            AL|B|01001|100|31|-90
            AL|C|01003|0|32|-90
            CT|D|09001|5|30|-89",
        ),
        (
            "county_rurality",
            "county_fips|geography|state|population|rucc
            01001|2022|AL|1000|1
            01003|2022|AL|500|9
            09110|2022|CT|800|1",
        ),
        (
            "hospital_locations",
            "location_id|state|hospital_type|latitude|longitude
            1|AL|GENERAL ACUTE CARE|30|-90
            2|AL|PSYCHIATRIC|32|-90",
        ),
    ]);
    // A degree of latitude is 111.195 km, one of longitude at 30 degrees 96.297.
    assert_eq!(
        tables.lines("hospital_access", &[]).await,
        ["metropolitan|1|2|1000|27.799|27.799|25", "rural|1|1|500|222.39|222.39|100", "unknown|1|1|||96.297|",]
    );
    let all = tables.lines("hospital_access", &[("care", "all"), ("state", "AL")]).await;
    assert_eq!(all, ["metropolitan|1|2|1000|27.799|27.799|25", "rural|1|1|500|0|0|0"]);
}
