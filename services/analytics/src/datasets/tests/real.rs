//! The real files, with counts that pandas gave independently of this code. Where they are not beside the workspace, the samples
//! that were cut from them are read, and only what holds for both is asked.

use super::{
    super::{Reason, Repair},
    Got, file, real,
};

/// Imports the real file or its sample; accepted and refused rows are asked of the real one.
fn check(kind: &str, path: &str, instead: &str, accepted: u64, refused: u64) -> (Got, bool) {
    let (path, is_real) = real(path, instead);
    let got = file(kind, &path, None);
    if is_real {
        assert_eq!((got.report.n_accepted, got.report.n_refused), (accepted, refused), "{}", got.report);
    }
    assert!(got.report.n_accepted > 0, "{}", got.report);
    (got, is_real)
}

#[test]
fn health_centre_sites() {
    let (got, is_real) = check("sites", "facilities/FQHC_Geocoded_2020.csv.zst", "sites.2020.csv.zst", 13_577, 0);
    if is_real {
        assert_eq!(
            (got.count("state", "CA"), got.count("state", "NY"), got.count("tests_covid", "true")),
            (2_076, 830, 12_848)
        );
        assert_eq!(got.n("address"), 13_576);
    }
    let (got, _) =
        check("sites", "facilities/HRSA_Health_Center_Sites_2026-09-30_first12rows.csv", "sites.daily.csv", 12, 0);
    assert_eq!(got.count("vintage", "daily"), 12);
}

#[test]
fn hospitals_of_two_vintages() {
    let path = "hospitals/Hospital_General_Information_2020-07.csv.zst";
    let (got, is_real) = check("hospitals", path, "hospitals.2020-07.csv.zst", 5_326, 0);
    if is_real {
        assert_eq!(
            (got.n("overall_rating"), got.n("longitude"), got.count("emergency", "true")),
            (3_576, 4_922, 4_504)
        );
        assert_eq!(got.count("safety_comparison", "Above the national average"), 1_219);
    }
    let path = "hospitals/Hospital_General_Information_2025.csv.zst";
    let (got, is_real) = check("hospitals", path, "hospitals.2025.csv.zst", 5_381, 0);
    if is_real {
        assert_eq!(
            (got.n("overall_rating"), got.count("birthing_friendly", "true"), got.n("n_safety_measures")),
            (2_872, 2_228, 3_364)
        );
    }
    assert!(got.column("ccn").contains(&Some("02013F".into())), "no number");
}

/// One hospital's certification number is not of its state, even with its zero: refused, not guessed.
#[test]
fn hospitals_with_coordinates() {
    let (got, is_real) = check(
        "hospital_locations",
        "facilities/Hospitals_Geocoded_covidcaremap.csv.zst",
        "hospital_locations.csv.zst",
        7_145,
        1,
    );
    if is_real {
        assert_eq!(got.report.refused_for(Reason::StateDisagrees), 1);
        // 498 ZIP codes and 790 certification numbers.
        assert_eq!(got.report.repaired_by(Repair::Padded), 498 + 790);
    }
    assert_eq!(got.report.repaired_by(Repair::ControlCharacters), 2);
}

#[test]
fn readmissions() {
    let (got, is_real) =
        check("readmissions", "hospitals/HRRP_Hospital_FY2025.csv.zst", "readmissions.csv.zst", 18_510, 0);
    if is_real {
        assert_eq!((got.n("excess_ratio"), got.count("n_readmissions_reason", "too few to report")), (11_927, 3_806));
        assert_eq!(got.count("measure", "HIP-KNEE"), 3_085);
    }
}

#[test]
fn inpatient_costs() {
    let path = "hospitals/Medicare_IP_Hospitals_by_Provider_2023.csv.zst";
    let (got, is_real) = check("inpatient_costs", path, "inpatient_costs.2023.csv.zst", 3_093, 0);
    if is_real {
        assert_eq!((got.sum("payments"), got.sum("n_beneficiaries")), (125_246_130_273.0, 5_150_569.0));
        assert_eq!((got.n("ruca"), got.n("n_black")), (3_081, 2_196));
    }
}

/// The three lines of notes under the sheet are refused as rows, and said.
#[test]
fn unemployment() {
    let (got, _) = check("unemployment", "state/BLS_LAUS_county_2024.csv.zst", "unemployment.csv.zst", 3_221, 3);
    assert_eq!((got.report.n_refused, got.report.refused_for(Reason::Required)), (3, 3), "{}", got.report);
    assert_eq!(got.report.refused[0].first.iter().map(|place| place.line).collect::<Vec<_>>(), [3_223, 3_224, 3_225]);
    assert_eq!(got.sum("n_labour_force"), 170_954_287.0);
}

#[test]
fn population() {
    let (got, is_real) =
        check("county_population", "state/cc-est2023-agesex-all.csv.zst", "county_population.csv.zst", 15_720, 0);
    let of_2023: f64 = got
        .column("year")
        .iter()
        .zip(got.column("population"))
        .filter(|(year, _)| year.as_deref() == Some("2023"))
        .map(|(_, population)| population.unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(of_2023, 334_914_895.0);
    if is_real {
        assert_eq!((got.n("year"), got.count("estimated_on", "2020-04-01")), (12_576, 3_144));
    }
    let states = file("state_population", &super::sample("state_population.csv"), None);
    assert_eq!((states.report.n_accepted, states.report.n_refused), (52 * 4, 0));
    let nation = states
        .column("state")
        .iter()
        .zip(states.column("year"))
        .position(|(state, year)| (state.as_deref(), year.as_deref()) == (Some("US"), Some("2023")));
    assert_eq!(states.column("population")[nation.unwrap()].as_deref(), Some("334914895"));
}

#[test]
fn poverty_and_income() {
    let (got, _) = check(
        "poverty_income",
        "state/SAIPE_2023_poverty_income_state_county.csv.zst",
        "poverty_income.csv.zst",
        3_196,
        0,
    );
    assert_eq!(
        (got.count("level", "nation"), got.count("level", "state"), got.count("level", "county")),
        (1, 51, 3_144)
    );
    assert_eq!((got.first("median_household_income").as_deref(), got.n("n_poverty")), (Some("77719.00"), 3_195));
}

#[test]
fn education_of_places() {
    let (got, _) =
        check("education", "state/ACS_2019-2023_5yr_state_county.csv.zst", "education.2019-2023.csv.zst", 3_196, 0);
    let texas = got.column("fips").iter().position(|fips| fips.as_deref() == Some("48000")).unwrap();
    assert_eq!(got.column("median_household_income")[texas].as_deref(), Some("76292.00"));
    assert_eq!((got.n("median_household_income"), got.first("n_high_school").as_deref()), (3_194, Some("204204444")));
}

#[test]
fn vulnerability_and_coverage() {
    for kind in ["social_vulnerability", "coverage"] {
        let sample = format!("{kind}.2020.csv.zst");
        let (got, is_real) = check(kind, "state/SVI_2020_US_county.csv.zst", &sample, 3_143, 0);
        if is_real {
            assert_eq!((got.report.repaired_by(Repair::Mark), got.report.repaired_by(Repair::Padded)), (1, 0));
        }
        let sample = format!("{kind}.2022.csv.zst");
        let (got, is_real) = check(kind, "state/SVI_2022_US_county.csv.zst", &sample, 3_144, 0);
        assert_eq!(got.n("uninsured_percent"), 3_144);
        if is_real {
            assert_eq!(got.report.repaired_by(Repair::Padded), 318);
        }
    }
    let (got, is_real) = check(
        "social_vulnerability",
        "state/SVI_2020_US_county.csv.zst",
        "social_vulnerability.2020.csv.zst",
        3_143,
        0,
    );
    if is_real {
        assert_eq!((got.n("n_flags"), got.n("rank_overall")), (3_142, 3_143));
    }
}

#[test]
fn life_expectancy_and_preventable_stays() {
    let (got, _) =
        check("life_expectancy", "state/NCHS_state_life_expectancy_2021.csv", "life_expectancy.2021.csv", 153, 0);
    assert_eq!((got.first("state").as_deref(), got.first("life_expectancy").as_deref()), (Some("MS"), Some("70.9")));
    let (got, _) = check("preventable_stays", "state/PQI_90_state.csv", "preventable_stays.state.csv.zst", 56, 0);
    assert_eq!(
        (got.first("fips").as_deref(), got.first("stays_per_100000").as_deref()),
        (Some("01000"), Some("3327.0"))
    );
    let (got, _) =
        check("preventable_stays", "state/PQI_90_county.csv.zst", "preventable_stays.county.csv.zst", 3_221, 0);
    assert_eq!(
        (got.report.repaired_by(Repair::Padded), got.count("urban", "true"), got.n("county")),
        (307, 1_167, 3_205)
    );
}

#[test]
fn panel_of_states() {
    let (got, is_real) = check("state_panel", "state/OEPS_S_Latest.csv", "state_panel.csv", 51, 0);
    assert_eq!(got.report.repaired_by(Repair::Padded), 7);
    if is_real {
        assert_eq!(got.sum("medicaid_spending"), 603_649_643_603.0);
    }
}

#[test]
fn zip_codes_and_rurality() {
    let (_, _) = check("zip_county", "geo/HUD_ZIP_COUNTY_2020Q4.csv.zst", "zip_county.csv.zst", 54_194, 0);
    let (got, is_real) = check("zip_rurality", "geo/RUCA2010zipcode.csv.zst", "zip_rurality.csv.zst", 41_164, 0);
    if is_real {
        assert_eq!((got.count("ruca_reason", "not coded"), got.n("ruca_primary")), (20, 41_144));
    }
    let (got, _) =
        check("county_rurality", "geo/Ruralurbancontinuumcodes2023.csv.zst", "county_rurality.csv.zst", 3_235, 0);
    assert_eq!(
        (got.n("rucc"), got.sum("population"), got.report.repaired_by(Repair::Padded)),
        (3_233, 335_073_176.0, 318)
    );
}

#[test]
fn cities() {
    let (got, is_real) = check("cities", "prescriber/us_cities_dimension.parquet", "cities.csv.zst", 28_320, 18);
    if is_real {
        // Counties and ZIP codes that had lost their zeros; those of the refused rows are not counted.
        assert_eq!(got.sum("n_zips"), 44_933.0);
        assert_eq!(got.first("n_zips").as_deref(), Some("310"));
    }
    assert_eq!((got.first("city").as_deref(), got.first("county_fips").as_deref()), (Some("New York"), Some("36061")));
    assert_eq!(got.column("county_fips")[1].as_deref(), Some("06037"));
}

#[test]
fn prescribers() {
    let path = "prescriber/USA_Presc_Medicare_Data_12021.csv.zst";
    let (got, is_real) = check("prescribers", path, "prescribers.years-of-exp.csv.zst", 3_595, 0);
    if is_real {
        assert_eq!((got.count("npi_valid", "true"), got.count("npi_valid", "false"), got.n("npi")), (24, 3_549, 3_573));
        assert_eq!((got.sum("n_claims"), got.sum("years_of_experience")), (178_770.0, 153_637.0));
        assert!((got.sum("drug_cost") - 13_594_974.56).abs() < 0.01);
        assert_eq!(got.count("n_beneficiaries_65_reason", "fewer than 11"), 1_786);
        assert_eq!(got.count("n_beneficiaries_65_reason", "withheld for another"), 1_308);
        assert_eq!(got.count("n_claims_65_reason", "fewer than 11"), 530);
        assert_eq!((got.count("n_claims_65", "0"), got.n("n_claims_65")), (182, 2_049));
    }
    let path = "prescriber/USA_Presc_Medicare_Data_2021_105rows.csv";
    let (got, _) = check("prescribers", path, "prescribers.year-exp.csv.zst", 105, 0);
    assert_eq!(got.report.files[0].layout.as_deref(), Some("sample-year-exp"));
}

/// What is made: it is in the publishers' forms.
#[test]
fn made_samples() {
    for (kind, name, n) in [
        ("infant_mortality", "infant_mortality.csv", 153),
        ("premiums", "premiums.csv", 52 * 5),
        ("medicaid_enrolment", "medicaid_enrolment.csv.zst", 51 * 6 + 1),
        ("medicare_spending", "medicare_spending.csv.zst", 52 * 4 + 1),
    ] {
        let got = file(kind, &super::sample(name), None);
        assert_eq!((got.report.n_accepted, got.report.n_refused), (n, 0), "{}", got.report);
    }
    let spending = file("medicare_spending", &super::sample("medicare_spending.csv.zst"), None);
    assert_eq!(spending.column("suppressed").last().unwrap().as_deref(), Some("fewer than 11"));
    assert_eq!((spending.first("fips").as_deref(), spending.first("state").as_deref()), (Some("00000"), Some("US")));
}
