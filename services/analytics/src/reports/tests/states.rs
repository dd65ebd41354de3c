//! Reports of states: premiums, costs, people, quality, and their profile.

use super::tables::Tables;

#[tokio::test]
async fn a_premium_is_compared_with_the_year_before_only_where_that_is_known() {
    let tables = Tables::of(&[(
        "premiums",
        "state|year|monthly_premium
        US|2019|390.00
        US|2020|400.00
        US|2021|440.00
        US|2023|500.00
        AK|2021|700.10
        AK|2022|",
    )]);
    assert_eq!(
        tables.lines("premium_trends", &[]).await,
        [
            "AK|2021|700.10|||",
            "AK|2022||||",
            "US|2020|400.00|10.00|2.56|0",
            "US|2021|440.00|40.00|10|10",
            "US|2023|500.00|||25"
        ]
    );
    let one = tables.lines("premium_trends", &[("state", "AK"), ("from_year", "2021"), ("to_year", "2021")]).await;
    assert_eq!(one, ["AK|2021|700.10|||0"]);
}

const SPENDING: &str =
    "year|level|fips|state|age_group|n_fee_for_service|payments|payments_per_person|standardised_per_person|suppressed
    2022|nation|00000|US|All|1000|10000000.00|10000.00|10000.00|
    2023|nation|00000|US|All|1000|11000000.00|11000.00|10900.00|
    2022|state|01000|AL|All|10|90000.00|9000.00|9500.00|
    2023|state|01000|AL|All|||||fewer than 11
    2023|state|01000|AL|65+|7|1.00|1.00|1.00|
    2023|county|01001|AL|All|5|5.00|1.00|1.00|
    2023|state|72000|PR|All|20|2.00|0.10|0.20|";

#[tokio::test]
async fn costs_are_of_states_and_the_nation_and_a_withheld_one_says_why() {
    let tables = Tables::of(&[("medicare_spending", SPENDING)]);
    assert_eq!(
        tables.lines("cost_trends", &[]).await,
        [
            "AL|2022|10|90000.00|9000.00||9500.00|",
            "AL|2023||||fewer than 11||",
            "PR|2023|20|2.00|0.10||0.20|",
            "US|2022|1000|10000000.00|10000.00||10000.00|",
            "US|2023|1000|11000000.00|11000.00||10900.00|10",
        ]
    );
}

const INCOME: &str = "fips|level|geography|state|name|year|poverty_percent|median_household_income|median_household_income_low|median_household_income_high
    00000|nation|2022|US|United States|2023|12.5|77719.00|77600.00|77800.00
    01000|state|2022|AL|Alabama|2023|15.6|62000.00|61500.00|62500.00
    01000|state|2022|AL|Alabama|2022|16|60000.00||
    01001|county|2022|AL|Autauga|2023|11|69841.00||";

const STAYS: &str = "year|ccn|state|n_discharges|payments
    2023|010001|AL|3|100.00
    2023|010002|AL||999.00
    2023|010003|AL|4|100.03
    2022|010001|AL|999|1.00";

#[tokio::test]
async fn income_and_spending_take_the_newest_year_and_one_level() {
    let tables = Tables::of(&[("poverty_income", INCOME), ("medicare_spending", SPENDING), ("inpatient_costs", STAYS)]);
    // 200.03 USD for 7 stays are 28.58 each.
    assert_eq!(
        tables.lines("income_and_spending", &[]).await,
        ["AL|2023|62000.00|61500.00|62500.00|15.6|2023|||2023|7|28.58"]
    );
}

const PEOPLE: &str =
    "county_fips|geography|state|year|estimated_on|population|n_male|n_female|n_under_5|n_over_17|n_over_64|n_over_84
    01001|2022|AL||2020-04-01|9999|1|1|1|1|1|1
    01001|2022|AL|2022|2022-07-01|9999|1|1|1|1|1|1
    01001|2022|AL|2023|2023-07-01|600|300|300|30|450|100|10
    01003|2022|AL|2023|2023-07-01|400|190|210|20|330|60|5";

const PANEL: &str = "state|white_percent|black_percent|asian_percent|hispanic_percent|overdose_deaths_per_100000
    AL|68.1|26.6|1.3|4.1|15.5";

#[tokio::test]
async fn people_are_those_of_the_newest_estimate_without_the_census_base() {
    let tables = Tables::of(&[("county_population", PEOPLE), ("state_panel", PANEL)]);
    assert_eq!(tables.lines("demographics", &[]).await, ["AL|2023|1000|2|51|5|22|16|1.5|68.1|26.6|1.3|4.1"]);
}

const VULNERABILITY: &str = "county_fips|geography|state|year|population|n_households|uninsured_percent|poverty_150_percent|no_internet_percent|rank_overall|rank_minority
    01001|2020|AL|2020|100|40|10|20|5|0.8|0.1
    01003|2020|AL|2020|300|60|20|40|15|0.9|0.3
    01005|2020|AL|2020|50|60||40|15|0.9|0.3
    09001|2020|CT|2020|200|80|5|10|1|0.1|0.8
    01001|2022|AL|2022|100|50|12|30|10|0.2|0.1
    01003|2022|AL|2022|300|150||10|20|0.9|0.1
    09110|2022|CT|2022|200|80|4|9|1|0.1|0.8";

const PREVENTABLE: &str = "fips|level|geography|state|county|urban|year|stays_per_100000
    01000|state|2020|AL|||2022|9000
    01001|county|2020|AL|Autauga|true|2022|1000
    01003|county|2020|AL|Baldwin|false|2022|2000
    01005|county|2020|AL|Barbour|false|2022|3000
    09001|county|2020|CT|Fairfield|true|2022|4000
    09001|county|2020|CT|Fairfield|true|2021|1";

#[tokio::test]
async fn groups_of_counties_are_joined_within_one_geography_and_weighted_by_people() {
    let tables = Tables::of(&[("social_vulnerability", VULNERABILITY), ("preventable_stays", PREVENTABLE)]);
    assert_eq!(
        tables.lines("disparities", &[]).await,
        [
            "minorities|1|1|0|100|1000|10|20",
            "minorities|2|1|1|300|2000|20|40",
            "minorities|4|1|0|200|4000|5|10",
            "rurality|rural|1|1|300|2000|20|40",
            "rurality|urban|2|0|300|3000|6.67|13.33",
            "vulnerability|1|1|0|200|4000|5|10",
            "vulnerability|4|2|1|400|1750|17.5|35",
        ]
    );
}

#[tokio::test]
async fn determinants_are_weighted_by_people_or_households_that_are_known() {
    let tables = Tables::of(&[("social_vulnerability", VULNERABILITY)]);
    let lines = tables.lines("social_determinants", &[]).await;
    // Poverty (100 * 30 + 300 * 10) / 400, insurance of one county alone, internet (50 * 10 + 150 * 20) / 200.
    assert_eq!(lines[0], "AL|2022|2|400|15||||12||||17.5||75");
    assert_eq!(lines[1], "CT|2022|1|200|9||||4||||1||0");
}

const LIFE: &str = "state|sex|year|life_expectancy|standard_error
    AL|Total|2021|72|0.1
    AL|Male|2021|69|0.1
    AL|Total|2020|73.2|0.1
    HI|Total|2021|79.9|0.2";

const INFANTS: &str = "state|year|deaths_per_1000|n_deaths
    AL|2022|6.7|391
    AL|2021|7.6|400";

const READMISSIONS: &str = "ccn|state|measure|excess_ratio|starts_on|n_readmissions_reason
    010001|AL|HF|1.05|2020-07-01|
    010001|AL|PN|0.95|2020-07-01|
    010002|AL|HF||2020-07-01|too few
    010001|AL|HF|9|2019-07-01|";

#[tokio::test]
async fn quality_joins_what_is_newest_and_counts_what_is_withheld() {
    let tables = Tables::of(&[
        ("life_expectancy", LIFE),
        ("infant_mortality", INFANTS),
        ("preventable_stays", PREVENTABLE),
        ("state_panel", PANEL),
        ("readmissions", READMISSIONS),
    ]);
    assert_eq!(
        tables.lines("quality", &[]).await,
        ["AL|2021|72|0.1|2022|6.7|2022|9000|15.5|2|1|1|50", "HI|2021|79.9|0.2||||||0|0||"]
    );
}

#[tokio::test]
async fn the_profile_joins_the_reports_of_states_and_correlations_take_what_is_known() {
    let tables = Tables::of(&[
        ("life_expectancy", LIFE),
        ("infant_mortality", INFANTS),
        ("preventable_stays", PREVENTABLE),
        ("state_panel", PANEL),
        ("readmissions", READMISSIONS),
        ("social_vulnerability", VULNERABILITY),
        ("county_population", PEOPLE),
        ("poverty_income", INCOME),
        ("medicare_spending", SPENDING),
        ("inpatient_costs", STAYS),
        ("premiums", "state|year|monthly_premium\n AL|2024|500.10\n AL|2023|1.00\n US|2024|477.00"),
        ("hospitals", "vintage|ccn|state|hospital_type|overall_rating\n 2025|010001|AL|Psychiatric|4"),
        ("hospital_locations", "location_id|state|n_staffed_beds\n 1|AL|3"),
        ("state_population", "state|year|population\n AL|2023|1000"),
        ("sites", "vintage|state|name\n daily|AL|A"),
    ]);
    let profile = tables.lines("state_profile", &[]).await;
    assert_eq!(
        profile,
        ["AL|1000|51|22|16|26.6|4.1|62000.00|15.6||28.58|||12||17.5|72|6.7|9000|15.5|1|1|4|3|100|500.10"]
    );
    let long = tables.lines("correlations_input", &[]).await;
    let n_known = profile[0].split('|').skip(1).filter(|cell| !cell.is_empty()).count();
    assert_eq!(long.len(), n_known);
    assert_eq!(long[0], "black_percent|AL|26.6");
    assert!(long.contains(&"monthly_premium|AL|500.1".to_owned()), "{long:?}");
}

#[tokio::test]
async fn insights_have_their_numbers_and_say_what_is_left_out() {
    let tables = Tables::of(&[
        ("life_expectancy", LIFE),
        ("infant_mortality", INFANTS),
        ("preventable_stays", PREVENTABLE),
        ("state_panel", PANEL),
        ("readmissions", READMISSIONS),
        ("premiums", "state|year|monthly_premium\n US|2020|400.00\n US|2024|500.00\n AL|2024|1.00"),
    ]);
    let insights = crate::reports::insights::insights(&tables.files, &super::tables::limits()).await.unwrap();
    let sentences: Vec<&str> = insights.found.iter().map(|insight| insight.sentence.as_str()).collect();
    // The interval is 7.9 -+ 1.96 * sqrt(0.1^2 + 0.2^2).
    assert_eq!(
        sentences,
        [
            "Of 2 states, life expectancy is highest in HI, 79.9 years, and lowest in AL, 72 years: a difference of 7.9 years \
             (95 % interval 7.5 to 8.3).",
            "The benchmark premium of the marketplaces went from 400.00 USD a month in 2020 to 500.00 USD in 2024: +25.00 %.",
        ]
    );
    assert_eq!(insights.found[1].report, "premium_trends");
    let values: Vec<&str> = insights.found[1].numbers.iter().map(|number| number.value.as_str()).collect();
    assert_eq!(values, ["400.00", "0", "500.00", "25"]);
    let why = |report: &str| insights.left_out.iter().find(|left| left.report == report).map(|left| left.why.as_str());
    assert_eq!(why("quality"), Some("its rows do not suffice for the comparison")); // infant mortality of one state
    assert!(why("site_distance").unwrap().contains("import a data set of this kind"));
}
