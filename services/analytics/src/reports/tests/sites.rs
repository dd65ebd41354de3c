//! Reports of health-centre sites.

use super::tables::Tables;
use crate::reports::{great_circle::great_circle_km, nearest::nearest_km};
use proptest::prelude::*;

fn tables() -> Tables {
    Tables::of(&[
        (
            "sites",
            "vintage|state|name|city|city_key|zip5|added_on|latitude|longitude
            2020|TX|Old|Austin|AUSTIN||||
            daily|TX|B|Austin|AUSTIN|78701|2001-07-01|30|-97
            daily|TX|A|Austin|AUSTIN|78701|2001-05-01|30|-97
            daily|TX|C|Marfa|MARFA||2003-01-01|31|-97
            daily|CA|D|Oakland|OAKLAND|94601||40|-120
            daily|GU|E|Dededo|DEDEDO|96929|2003-02-01||",
        ),
        (
            "state_population",
            "state|name|year|population
            US|United States|2023|335000000
            TX|Texas|2022|5
            TX|Texas|2023|1000000
            CA|California|2023|2000000
            WY|Wyoming|2023|500000",
        ),
        (
            "cities",
            "state|city_key|city|zips|n_zips|population|county_fips
            TX|MARFA|Marfa|79843 79999|2|1700|48377
            TX|MARFA|Marfa|79999|1|3|48001",
        ),
        (
            "zip_rurality",
            "zip5|state|zip_type|ruca_primary
            78701|TX|area|1
            94601|CA|area|3
            79843|TX|area|10
            79999|TX|area|1",
        ),
    ])
}

#[tokio::test]
async fn sites_of_a_state_are_those_of_the_newest_release_by_name() {
    let lines = tables().lines("get_sites_by_state", &[("state", "tx")]).await;
    let names: Vec<&str> = lines.iter().map(|line| line.split('|').next().unwrap()).collect();
    assert_eq!(names, ["A", "B", "C"]);
    assert_eq!(lines[0], "A|||Austin|TX|78701|||2001-05-01|30|-97|");
    let older = tables().lines("sites_by_state", &[("state", "TX"), ("vintage", "2020")]).await;
    assert_eq!(older, ["Old|||Austin|TX|||||||"]);
}

#[tokio::test]
async fn sites_are_counted_by_state_and_no_release_twice() {
    assert_eq!(tables().lines("site_count_by_state", &[]).await, ["CA|1|1", "GU|1|1", "TX|3|2"]);
    assert_eq!(tables().lines("site_count_by_state", &[("vintage", "2020")]).await, ["TX|1|1"]);
}

#[tokio::test]
async fn an_excerpt_is_no_newest_release() {
    let mut tables = Tables::of(&[(
        "sites",
        "vintage|state|name|city|city_key|added_on
        2019|TX|A|Austin|AUSTIN|2001-01-01
        2019|CA|D|Oakland|OAKLAND|2001-01-01
        2020|TX|A|Austin|AUSTIN|2001-01-01
        2020|TX|B|Austin|AUSTIN|2002-01-01
        2020|CA|D|Oakland|OAKLAND|2002-01-01
        daily|CA|D|Oakland|OAKLAND|2002-01-01",
    )]);
    // half of three sites are one and a half
    let releases = ["2019|2|2|true|false", "2020|3|2|true|true", "daily|1|1|false|false"];
    assert_eq!(tables.lines("site_releases", &[]).await, releases);
    assert_eq!(tables.lines("site_count_by_state", &[]).await, ["CA|1|1", "TX|2|1"]);
    assert_eq!(tables.lines("sites_by_state", &[("state", "TX")]).await.len(), 2);
    assert_eq!(tables.lines("site_growth", &[]).await, ["2001|1|1", "2002|2|3"]);
    assert_eq!(tables.lines("site_count_by_state", &[("vintage", "daily")]).await, ["CA|1|1"]);
    let people = [["TX", "2023", "100000"], ["CA", "2023", "100000"]].map(|line| line.map(str::to_owned).to_vec());
    tables.add("state_population", &["state", "year", "population"], &people, 1);
    let rates = tables.lines("sites_per_100000", &[]).await;
    assert_eq!(rates, ["CA|1|100000|2023|1", "TX|2|100000|2023|2"]);
}

#[tokio::test]
async fn a_territory_without_population_has_no_rate_and_a_state_without_sites_has_none() {
    let lines = tables().lines("sites_per_100000", &[]).await;
    assert_eq!(lines, ["CA|1|2000000|2023|0.05", "GU|1|||", "TX|3|1000000|2023|0.3", "WY|0|500000|2023|0"]);
}

#[tokio::test]
async fn distance_is_to_the_nearest_other_site_and_rurality_of_the_zip_code_or_the_city() {
    // Two sites at one place, one a degree of latitude north of them, one 2,300.917 km from that: a third of it in the mean.
    let lines = tables().lines("site_distance", &[]).await;
    assert_eq!(lines, ["rural|1|0|1|0|111.195|111.195|0", "unknown|0|0|0|0|||1", "urban|3|3|0|2|766.972|0|0"]);
    // The nearest site may lie in another state; only this state's are shown.
    let california = tables().lines("site_distance", &[("state", "CA")]).await;
    assert_eq!(california.len(), 1);
    assert!(california[0].starts_with("urban|1|1|0|0|"), "{}", california[0]);
}

#[tokio::test]
async fn growth_is_by_year_and_what_has_no_date_stands_apart() {
    assert_eq!(tables().lines("site_growth", &[]).await, ["2001|2|2", "2003|2|4", "|1|"]);
    assert_eq!(tables().lines("site_growth", &[("state", "TX")]).await, ["2001|2|2", "2003|1|3"]);
}

#[test]
fn the_great_circle_is_that_of_the_haversine_formula() {
    // Worked out apart with the same radius.
    for (from, to, km) in [
        ((51.5, -0.13), (40.71, -74.01), 5570.802),
        ((0.0, 179.5), (0.0, -179.5), 111.195),
        ((90.0, 0.0), (-90.0, 77.0), 20015.114),
        ((30.0, -97.0), (30.0, -97.0), 0.0),
    ] {
        let measured = great_circle_km(from, to);
        assert!((measured - km).abs() < 0.01, "{from:?} to {to:?}: {measured}");
    }
    // Paris to New York, by any calculator with this radius
    let kilometres = great_circle_km((48.8566, 2.3522), (40.7128, -74.0060));
    assert!((kilometres - 5_837.25).abs() < 0.5, "{kilometres}");
    let quarter = great_circle_km((0.0, 0.0), (90.0, 0.0));
    assert!((quarter - 6_371.008_8 * std::f64::consts::FRAC_PI_2).abs() < 1e-9, "{quarter}");
}

/// Distances to the nearest other one, of places that are all targets.
fn to_others(places: &[(f64, f64)]) -> Vec<f64> {
    let places: Vec<_> = places.iter().copied().map(Some).collect();
    nearest_km(&places, |_| true).into_iter().map(|found| found.expect("another place")).collect()
}

#[test]
fn a_thousand_places_at_one_point_are_near_each_other_and_the_next_one_is_as_far_as_it_is() {
    let mut places = vec![(40.0, -75.0); 1_000];
    places.push((41.0, -75.0));
    let others = to_others(&places);
    assert_eq!((others[0], others[999]), (0.0, 0.0));
    assert!((others[1_000] - 111.195).abs() < 0.01, "{}", others[1_000]);
}

#[test]
fn the_nearest_is_found_across_the_antimeridian_and_at_the_poles() {
    let to_targets = |places: &[(f64, f64)]| {
        let places: Vec<_> = places.iter().copied().map(Some).collect();
        nearest_km(&places, |row| row > 0)[0].expect("a target")
    };
    let over_the_line = to_targets(&[(0.0, 179.0), (0.0, 170.0), (0.0, -179.0)]);
    assert!((over_the_line - great_circle_km((0.0, 179.0), (0.0, -179.0))).abs() < 1e-9, "{over_the_line}");
    let over_the_pole = to_targets(&[(89.0, 0.0), (80.0, 0.0), (89.0, 180.0)]);
    assert!((over_the_pole - great_circle_km((89.0, 0.0), (89.0, 180.0))).abs() < 1e-9, "{over_the_pole}");
    // each pole, and 180 degrees west and east, are one place
    assert!(to_others(&[(90.0, 12.0), (90.0, -120.0), (-90.0, 0.0)])[0] < 1e-9);
    assert!(to_others(&[(10.0, 180.0), (10.0, -180.0)])[0] < 1e-9);
}

proptest! {
    #[test]
    fn as_near_as_the_nearest_of_all(
        from in prop::collection::vec((-90.0..=90.0_f64, -180.0..=180.0_f64), 1..12),
        to in prop::collection::vec((-90.0..=90.0_f64, -180.0..=180.0_f64), 1..80),
    ) {
        let places: Vec<_> = from.iter().chain(&to).copied().map(Some).collect();
        let found = nearest_km(&places, |row| row >= from.len());
        for (from, found) in from.iter().zip(found) {
            let least = to.iter().map(|to| great_circle_km(*from, *to)).fold(f64::INFINITY, f64::min);
            prop_assert!((found.expect("a target") - least).abs() < 1e-6);
        }
    }
}

#[test]
fn the_nearest_is_that_of_all_pairs_also_over_the_date_line_and_with_many_at_one_place() {
    let mut places: Vec<Option<(f64, f64)>> =
        (0..200_u32).map(|i| Some((f64::from(i * 37 % 180) - 89.5, f64::from(i * 101 % 360) - 180.0))).collect();
    places.extend([None, Some((-17.0, 179.9)), Some((-17.0, -179.9))]);
    places.extend([Some((10.0, 10.0)); 40]);
    let is_target = |row: usize| row % 3 != 1;
    let found = nearest_km(&places, is_target);
    for (row, place) in places.iter().enumerate() {
        let others = places.iter().enumerate().filter(|(other, _)| *other != row && is_target(*other));
        let least = place.and_then(|place| {
            others.filter_map(|(_, other)| Some(great_circle_km(place, (*other)?))).min_by(f64::total_cmp)
        });
        match (found[row], least) {
            (Some(found), Some(least)) => assert!((found - least).abs() < 1e-6, "{row}: {found} and {least}"),
            (found, least) => assert_eq!(found, least, "{row}"),
        }
    }
    assert_eq!(nearest_km(&[Some((1.0, 1.0))], |_| true), [None]);
}
