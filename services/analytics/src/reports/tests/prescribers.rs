//! Reports of prescribers, drugs and cities.

use super::tables::Tables;

fn cities() -> (&'static str, &'static str) {
    (
        "cities",
        "state|city_key|city|population|n_zips|county_fips
        TX|AUSTIN|Austin|1000|2|48453
        TX|MARFA|Marfa|50|1|48377
        PA|FRANKLIN|Franklin|100|1|42021
        PA|FRANKLIN|Franklin|900|3|42121",
    )
}

#[tokio::test]
async fn a_city_counts_its_prescribers_once_and_unmatched_claims_stand_in_a_line() {
    let prescribers = "npi|state|city|city_key|n_claims
        1|TX|AUSTIN|AUSTIN|10
        1|TX|AUSTIN|AUSTIN|5
        2|TX|AUSTIN|AUSTIN|
        2|TX|NOWHERE|NOWHERE|7
        2|TX|ELSEWHERE|ELSEWHERE|1
        3|TX|?||2
        4|PA|FRANKLIN|FRANKLIN|12
        5|GU|AUSTIN|AUSTIN|";
    let tables = Tables::of(&[cities(), ("prescribers", prescribers)]);
    let lines = tables.lines("city_report", &[]).await;
    // Marfa has no prescriber, Franklin stands twice in the list, Austin of Guam is not that of Texas.
    assert_eq!(
        lines,
        [
            "GU|unmatched|||1||1||false",
            "PA|Franklin|FRANKLIN|3|1|12|0|900|true",
            "TX|Austin|AUSTIN|2|2|15|1|1000|true",
            "TX|unmatched|||2|10|0||false",
        ]
    );
    assert_eq!(tables.lines("city_report", &[("state", "PA")]).await, lines[1..2]);
}

#[tokio::test]
async fn a_row_without_an_identifier_is_no_prescriber() {
    let prescribers = "npi|state|city|city_key|n_claims
        1|TX|AUSTIN|AUSTIN|10
        |TX|AUSTIN|AUSTIN|5
        |TX|AUSTIN|AUSTIN|
        |TX|MARFA|MARFA|3
        |TX|NOWHERE|NOWHERE|1";
    let tables = Tables::of(&[cities(), ("prescribers", prescribers)]);
    assert_eq!(
        tables.lines("city_report", &[]).await,
        ["TX|Austin|AUSTIN|2|1|15|1|1000|true", "TX|Marfa|MARFA|1|0|3|0|50|true", "TX|unmatched|||0|1|0||false"]
    );
}

#[tokio::test]
async fn experience_counts_from_20_to_50_years_and_equal_sums_share_a_rank() {
    let prescribers =
        "npi|state|city|specialty|years_of_experience|n_claims|drug_cost|n_claims_65|n_claims_65_reason|npi_valid
        A|TX|AUSTIN|Neurology|20|30|0.10|5||true
        A|TX|AUSTIN|Neurology|20|20|0.20|6||true
        B|TX|MARFA|Neurology|50|50|7.00||fewer than 11|true
        C|TX|AUSTIN|Neurology|19|999|7.00|1||true
        D|TX|AUSTIN|Neurology|51|999|7.00|1||true
        E|TX|AUSTIN|Dentist|30|40|7.00|40||false
        E|TX|AUSTIN|Dentist|30||1.50|2||false
        F|TX|AUSTIN|Dentist|30||7.00|1||true
        G|TX|AUSTIN|Dentist||999|7.00|1||true
        H|TX|AUSTIN|Dentist|30|39|7.00|1||true
        |TX|AUSTIN|Dentist|30|999|7.00|1||true
        I|CA|OAKLAND|Dentist|30|0||0||true";
    let tables = Tables::of(&[("prescribers", prescribers)]);
    let texas = [
        "TX|1|A|true|||AUSTIN|Neurology|20|50|0|0.30|11|",
        "TX|1|B|true|||MARFA|Neurology|50|50|0|7.00||fewer than 11",
        "TX|2|E|false|||AUSTIN|Dentist|30|40|1|8.50|42|",
    ];
    assert_eq!(tables.lines("top_prescribers", &[("state", "TX"), ("n", "2")]).await, texas);
    let all = tables.lines("top_prescribers", &[]).await;
    assert_eq!(all[0], "CA|1|I|true|||OAKLAND|Dentist|30|0|0||0|");
    assert_eq!(all[1..4], texas);
    assert_eq!(all.len(), 5);
}

#[tokio::test]
async fn specialties_and_drugs_are_ranked_within_their_city() {
    let prescribers = "npi|state|city|city_key|specialty|generic_name|n_claims|n_days_supply|drug_cost
        1|TX|AUSTIN|AUSTIN|Neurology|aspirin|10|30|1.00
        2|TX|AUSTIN|AUSTIN|Neurology|insulin|10|60|900.00
        2|TX|AUSTIN|AUSTIN|Dentist|aspirin|5||0.50
        3|TX|AUSTIN|AUSTIN|Surgery|statin||30|9.00
        4|TX|MARFA|MARFA|Dentist|aspirin|1|3|0.10
        5|CA|OAKLAND|OAKLAND|Dentist|aspirin|99|3|0.10";
    let tables = Tables::of(&[("prescribers", prescribers)]);
    assert_eq!(
        tables.lines("specialties_by_city", &[("state", "TX")]).await,
        [
            "AUSTIN|AUSTIN|1|Neurology|2|20|0|901.00",
            "AUSTIN|AUSTIN|2|Dentist|1|5|0|0.50",
            "AUSTIN|AUSTIN|3|Surgery|1||1|9.00",
            "MARFA|MARFA|1|Dentist|1|1|0|0.10",
        ]
    );
    assert_eq!(
        tables.lines("drugs_by_city", &[("state", "TX"), ("n", "1")]).await,
        ["AUSTIN|AUSTIN|1|aspirin|2|15|0|30|1.50", "MARFA|MARFA|1|aspirin|1|1|0|3|0.10"]
    );
}

#[tokio::test]
async fn cost_efficiency_stands_on_rows_without_a_blank() {
    let prescribers = "npi|state|city|specialty|n_claims|n_days_supply|drug_cost
        1|TX|AUSTIN|Neurology|10|30|100.00
        2|TX|AUSTIN|Neurology|20|60|200.05
        2|TX|AUSTIN|Neurology|||999.00
        3|TX|AUSTIN|Dentist||30|5.00
        4|TX|AUSTIN||3|9|10.00";
    let tables = Tables::of(&[("prescribers", prescribers)]);
    assert_eq!(
        tables.lines("cost_efficiency", &[]).await,
        ["Neurology|2|2|1|30|90|300.05|10.00|3.33", "|1|1|0|3|9|10.00|3.33|1.11", "Dentist|0|0|1|||||"]
    );
}

#[tokio::test]
async fn sums_of_money_are_exact_past_the_digits_of_a_double() {
    let prescribers = "npi|state|city|city_key|specialty|n_claims|drug_cost
        1|TX|AUSTIN|AUSTIN|Dentist|1|9007199254740993.01
        2|TX|AUSTIN|AUSTIN|Dentist|1|0.01
        3|TX|AUSTIN|AUSTIN|Dentist|1|-0.10";
    let tables = Tables::of(&[("prescribers", prescribers)]);
    let lines = tables.lines("specialties_by_city", &[("state", "TX")]).await;
    assert_eq!(lines, ["AUSTIN|AUSTIN|1|Dentist|3|3|0|9007199254740992.92"]);
}
