//! The four checks, on good data and on data that should fail each of them.

use super::{
    super::{
        Input, Options, import as whole, kind,
        quality::{CheckKind, Outcome, Quality, References},
    },
    file, real, sample,
};

fn references() -> References {
    let mut references = References::default();
    let (cities, _) = real("prescriber/us_cities_dimension.parquet", "cities.csv.zst");
    for (kind, path) in [
        ("cities", cities),
        ("county_rurality", sample("county_rurality.csv.zst")),
        ("hospitals", sample("hospitals.2025.csv.zst")),
    ] {
        file(kind, &path, None).batches.iter().for_each(|batch| references.add(kind, batch).unwrap());
    }
    references
}

fn checked(name: &str, file: &str, content: &str) -> Quality {
    let inputs = vec![Input::reader(file, std::io::Cursor::new(content.to_owned()))];
    whole(kind(name).unwrap(), inputs, Options::default(), &references(), |_| Ok(())).unwrap().1
}

fn outcome(quality: &Quality, check: CheckKind, column: &str) -> Outcome {
    let of = |one: &&super::super::quality::Check| {
        one.check == check && one.columns.first().is_none_or(|name| name == column)
    };
    quality.checks.iter().find(of).unwrap_or_else(|| panic!("{column}")).outcome
}

/// 249 of 1,946 pairs, 11 % of claims, have no city under their names alone; simple rules leave 7.7 %.
#[test]
fn the_share_of_claims_without_a_city_is_below_the_kinds_threshold() {
    let (path, is_real) = real("prescriber/USA_Presc_Medicare_Data_12021.csv.zst", "prescribers.years-of-exp.csv.zst");
    let imported =
        whole(kind("prescribers").unwrap(), vec![Input::file(&path)], Options::default(), &references(), |_| Ok(()));
    let (report, quality) = imported.unwrap();
    assert!(quality.passed(), "{quality}");
    let unmatched = &report.unmatched[0];
    if is_real {
        assert_eq!((unmatched.n_keys, unmatched.n_unmatched), (1_900, 155), "{report}");
        assert!(unmatched.unmatched / unmatched.total < 0.05, "{} of {}", unmatched.unmatched, unmatched.total);
    }
    assert!(report.to_string().contains("unmatched state, city_key in cities"), "{report}");
    let json = serde_json::to_value((&report, &quality)).unwrap();
    assert_eq!(json[0]["unmatched"][0]["weight"], "n_claims");
    assert_eq!(json[0]["repaired"][0]["repair"].as_str().map(str::is_empty), Some(false));
}

#[test]
fn each_check_fails_where_it_should() {
    let head = "LAUS Code,State FIPS Code,County FIPS Code,County Name/State Abbreviation,Year,Labor Force,Employed,Unemployed,Unemployment Rate (%)\n";
    let good = format!("{head}CN,01,001,A,2024,10,9,1,10\n");
    let quality = checked("unemployment", "l.csv", &good);
    assert!(quality.passed() && quality.checks.len() > 8, "{quality}");

    let unknown = checked("unemployment", "l.csv", &format!("{head}CN,01,999,A,2024,10,9,1,10\n"));
    assert_eq!(outcome(&unknown, CheckKind::CrossReferences, "county_fips"), Outcome::Failed);
    assert!(unknown.to_string().contains("01999"), "{unknown}");

    let wrong = checked("unemployment", "l.csv", &format!("{good}CN,01,003,A,2024,ten,9,1,10\n"));
    assert_eq!(outcome(&wrong, CheckKind::Types, ""), Outcome::Failed);
    assert!(wrong.to_string().contains("n_labour_force: allowed is a whole number"), "{wrong}");

    let beds = std::fs::read_to_string(sample("state_panel.csv")).unwrap();
    let incomplete = checked("state_panel", "p.csv", &beds);
    assert!(incomplete.passed(), "{incomplete}");
}

/// One of ten without a value is what `complete = 0.9` allows; 1.0 - 0.9 is a little less than a tenth.
#[test]
fn exactly_as_much_as_may_be_missing_passes() {
    let made = |n: u32, n_missing: u32| {
        let row = |at: u32| format!("AL,{},{},5,\n", 2_000 + at, if at < n_missing { "" } else { "7.5" });
        let rows: String = (0..n).map(row).collect();
        checked("infant_mortality", "i.csv", &format!("STATE,YEAR,RATE,DEATHS,URL\n{rows}"))
    };
    for (n, n_missing, expected) in [
        (10, 1, Outcome::Passed),
        (100, 10, Outcome::Passed),
        (100, 11, Outcome::Failed),
        (10, 2, Outcome::Failed),
        (10, 0, Outcome::Passed),
    ] {
        let quality = made(n, n_missing);
        let found = outcome(&quality, CheckKind::Completeness, "deaths_per_1000");
        assert_eq!(found, expected, "{n_missing} of {n}: {quality}");
    }
}

/// One line of two thousand is nothing to the other checks; the next two thousand may be missing with it.
#[test]
fn a_last_line_that_is_refused_and_has_no_end_fails_its_file() {
    let rows: String = (0..2_000).map(|at| format!("{},NY,x,1,1\n", 10_000 + at)).collect();
    for (last, expected) in [
        ("20001,NY,x,1,1", Outcome::Passed),
        ("20001,NY,x\n", Outcome::Passed),
        ("10001,NY,x,1,1", Outcome::Passed), // it is there already, and whole
        ("20001,NY,x", Outcome::Failed),
        ("200,NY,x,1,1", Outcome::Failed),
        ("20001,NY,\"x", Outcome::Failed),
    ] {
        let content = format!("ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2\n{rows}{last}");
        let quality = checked("zip_rurality", "z.csv", &content);
        assert_eq!(outcome(&quality, CheckKind::Types, ""), Outcome::Passed, "{last}: {quality}");
        assert_eq!(outcome(&quality, CheckKind::Files, ""), expected, "{last}: {quality}");
        assert_eq!(quality.passed(), expected == Outcome::Passed, "{last}: {quality}");
        let says = "z.csv line 2002: the last line is refused and has no line end";
        assert_eq!(quality.to_string().contains(says), expected == Outcome::Failed, "{last}: {quality}");
    }
}

#[test]
fn what_is_missing_or_implausible_is_said() {
    let name = "zip_rurality";
    let head = "ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2\n";
    let quality = checked(name, "z.csv", &format!("{head}10001,NY,x,,\n10002,NY,x,1,1\n"));
    assert_eq!(outcome(&quality, CheckKind::Completeness, "ruca_primary"), Outcome::Failed);
    let path = sample("hospital_locations.csv.zst");
    let none = References::default();
    let (_, quality) =
        whole(kind("hospital_locations").unwrap(), vec![Input::file(&path)], Options::default(), &none, |_| Ok(()))
            .unwrap();
    assert_eq!(outcome(&quality, CheckKind::CrossReferences, "ccn"), Outcome::NotChecked);
    assert_eq!(outcome(&quality, CheckKind::Ranges, "occupancy"), Outcome::Passed);
}
