//! The traps that real files of these publishers hold, each with what is done about it.

use std::io::{self, Read};

use super::{
    super::{
        Input, Options, Reason, Repair, city_key, codes, export::csv_cell, kind, quality::References, states::find,
    },
    file, import, sample, text,
};

const ZIP_HEADER: &str = "ZIP_CODE,STATE,ZIP_TYPE,RUCA1,RUCA2\n";

/// The header has 56 cells, the last of them empty, and the rows have 55: neither a column of blanks nor a refusal.
#[test]
fn an_empty_last_heading_is_dropped_and_each_rows_cells_are_counted() {
    let got = file("sites", &sample("sites.daily.csv"), None);
    assert_eq!((got.report.n_accepted, got.report.n_refused), (12, 0));
    assert_eq!(got.report.repaired_by(Repair::EmptyLastHeading), 1);
    assert_eq!(got.first("county").as_deref(), Some("Sonoma County"));
    assert_eq!(got.first("added_on").as_deref(), Some("2014-07-14"));

    let mut lines: Vec<String> =
        std::fs::read_to_string(sample("sites.daily.csv")).unwrap().lines().map(str::to_owned).collect();
    lines[3] += ",\"one more\"";
    lines[4] = lines[4].rsplit_once(',').unwrap().0.to_owned();
    lines[5] += ",";
    let got = text("sites", "sites.csv", lines.join("\n")).unwrap();
    assert_eq!((got.report.n_accepted, got.report.refused_for(Reason::CellCount)), (10, 2));
    assert_eq!(got.report.refused[0].first.iter().map(|place| place.line).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(got.report.refused[0].what, "56 cells where 55 headings are");
}

/// Rows without a quote, and one with a quoted comma at the end: who decides the dialect from the beginning is wrong.
#[test]
fn a_quoted_comma_may_first_occur_very_late() {
    let mut made = ZIP_HEADER.to_owned();
    for zip in 0..40_000 {
        made += &format!("{:05},TX,Zip Code Area,4,4.1\n", zip + 10_000);
    }
    made += "99950,AK,\"Post Office, or \"\"large\"\" customer\",10,10.3\n";
    let got = text("zip_rurality", "ruca.csv", made).unwrap();
    assert_eq!((got.report.n_accepted, got.report.n_refused), (40_001, 0));
    assert_eq!(got.column("zip_type").last().unwrap().as_deref(), Some("Post Office, or \"large\" customer"));
}

fn locations(rows: &[(&str, &str, &str)]) -> super::Got {
    let mut made = "\"\",\"Name\",\"Hospital.Type\",\"Address\",\"Address_2\",\"City\",\"State\",\"Zipcode\",\"County\",\"Latitude\",\"Longitude\",\
        \"Staffed.All.Beds\",\"Staffed.ICU.Beds\",\"Licensed.All.Beds\",\"All.Bed.Occupancy.Rate\",\"ICU.Bed.Occupancy.Rate\",\
        \"Staffed.All.Beds...SOURCE\",\"Staffed.ICU.Beds...SOURCE\",\"Licensed.All.Beds...SOURCE\",\"All.Bed.Occupancy.Rate...SOURCE\",\
        \"ICU.Bed.Occupancy.Rate...SOURCE\",\"CCM_ID\",\"DH.ID\",\"HCRIS.ID\",\"HIFLD.ID\"\n"
        .to_owned();
    for (at, (state, zip, ccn)) in rows.iter().enumerate() {
        made += &format!("\"{at}\",A,B,C,,D,{state},{zip},E,40,-80,NA,NA,12,NA,NA,x,x,x,x,x,{at},NA,{ccn},1\n");
    }
    text("hospital_locations", "beds.csv", made).unwrap()
}

/// Leading zeros come back only where the row's state agrees.
#[test]
fn codes_are_text_and_are_padded_only_where_the_state_agrees() {
    let got = locations(&[
        ("MA", "2360", "220060"),
        ("TX", "2360", "450001"),
        ("PR", "605", "NA"),
        ("AL", "36301", "10001"),
        ("OR", "97203", "60015"),
        ("AK", "99501", "02013F"),
        ("MA", "2360-12", "NA"),
        ("MA", "236O0", "NA"),
        ("MA", "02360", "22oo60"),
        ("XX", "02360", "NA"),
    ]);
    let texts = |name| got.column(name).into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
    assert_eq!(texts("zip5"), ["02360", "00605", "36301", "99501"]);
    assert_eq!(texts("ccn"), ["220060", "", "010001", "02013F"]);
    assert_eq!(got.report.repaired_by(Repair::Padded), 3);
    assert_eq!(got.report.refused_for(Reason::StateDisagrees), 2);
    assert_eq!(got.report.refused_for(Reason::Code), 3);
    assert_eq!(got.report.refused_for(Reason::UnknownState), 1);
    let why = got.report.to_string();
    assert!(
        why.contains("state_disagrees in zip5") && why.contains("it is not in Texas") && why.contains("such as `2360`"),
        "{why}"
    );
}

/// Military posts have no FIPS number: nothing says that a short one is theirs.
#[test]
fn a_short_fips_number_is_not_padded_in_the_row_of_a_military_post() {
    for post in ["AE", "AP", "AA"] {
        for short in ["1001", "6037"] {
            let fault = codes::fips(short, 5, find(post)).unwrap_err();
            assert_eq!(fault.reason, Reason::StateDisagrees, "{short} in {post}");
        }
        assert_eq!(codes::fips("01001", 5, find(post)), Ok(("01001".into(), false)));
    }
    assert_eq!(codes::fips("1001", 5, find("AL")), Ok(("01001".into(), true)));
}

#[test]
fn nine_digits_of_a_zip_code_are_two_columns() {
    let got = file("sites", &sample("sites.daily.csv"), None);
    assert_eq!((got.first("zip5").as_deref(), got.first("plus4").as_deref()), (Some("94952"), Some("3388")));
}

#[test]
fn a_city_has_one_key_however_it_is_written() {
    for (state, one, other) in [
        ("MO", "SAINT LOUIS", "St. Louis"),
        ("NC", "WINSTON SALEM", "Winston-Salem"),
        ("MO", "O FALLON", "O'Fallon"),
        ("PA", "PHILA", "Philadelphia"),
        ("NY", "FLUSHING", "New York"),
        ("NY", "W BABYLON", "West Babylon"),
        ("PR", "Añasco", "Anasco"),
        ("TX", "FORT WORTH", "Ft. Worth"),
    ] {
        assert_eq!(city_key(state, one).0, city_key(state, other).0, "{one}");
    }
    assert_ne!(city_key("CA", "FLUSHING").0, city_key("CA", "New York").0, "an alias is its state's alone");
    assert_eq!(city_key("TX", "AVENUE N").0, "AVENUEN");
}

/// Midway in Florida three times, Franklin in Pennsylvania twice: a join would multiply claims.
#[test]
fn a_city_that_occurs_twice_keeps_its_first_row() {
    let got = file("cities", &sample("cities.csv.zst"), None);
    let of = |state: &str, key: &str| {
        let keys = got.column("state").into_iter().zip(got.column("city_key"));
        let at: Vec<usize> = keys
            .enumerate()
            .filter(|(_, pair)| *pair == (Some(state.into()), Some(key.into())))
            .map(|(at, _)| at)
            .collect();
        at.iter().map(|at| got.column("county")[*at].clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("FL", "MIDWAY"), ["Santa Rosa"]);
    assert_eq!(of("PA", "FRANKLIN"), ["Venango"]);
    assert_eq!(got.report.refused_for(Reason::Duplicate), 18);
    assert_eq!(got.report.n_refused, 18);
    let antonio = got.column("zips").into_iter().flatten().find(|zips| zips.contains("00646"));
    assert!(antonio.is_some(), "ZIP codes of Puerto Rico have five digits again");
}

/// Blank with a flag is withheld; 0 is none.
#[test]
fn a_withheld_count_is_null_with_a_reason_and_never_zero() {
    let got = file("prescribers", &sample("prescribers.years-of-exp.csv.zst"), None);
    for (count, reason) in [("n_claims_65", "n_claims_65_reason"), ("n_beneficiaries_65", "n_beneficiaries_65_reason")]
    {
        let pairs: Vec<_> = got.column(count).into_iter().zip(got.column(reason)).collect();
        assert!(pairs.iter().all(|(count, reason)| count.is_some() != reason.is_some()), "{count}");
        assert!(pairs.iter().any(|(count, _)| count.as_deref() == Some("0")), "a true zero stays one");
        assert!(got.count(reason, "fewer than 11") > 0 && got.count(reason, "withheld for another") > 0);
    }
    assert_eq!(got.report.repaired_by(Repair::EqualsSign), got.report.n_accepted);
}

#[test]
fn a_value_and_its_footnote_stand_apart() {
    let (path, _) = super::real("hospitals/Hospital_General_Information_2020-07.csv.zst", "hospitals.2020-07.csv.zst");
    let got = file("hospitals", &path, None);
    let rated: Vec<_> = got.column("overall_rating").into_iter().zip(got.column("overall_rating_footnote")).collect();
    assert!(rated.contains(&(Some("4".into()), Some("17".into()))), "a footnote does not take the value away");
    assert!(rated.contains(&(None, Some("19".into()))), "why there is none");
    assert!(rated.iter().all(|(value, _)| value.as_deref() != Some("0")));
    let readmissions = file("readmissions", &sample("readmissions.csv.zst"), None);
    let withheld = readmissions.count("n_readmissions_reason", "too few to report");
    assert!(
        withheld > 0
            && readmissions.n("n_readmissions") > 0
            && withheld + readmissions.n("n_readmissions") <= readmissions.n("ccn")
    );
}

/// A mark of UTF-8, and then bytes that are none: cp1252, and said so.
#[test]
fn a_file_that_is_no_utf8_is_cp1252_and_that_is_said() {
    let got = file("inpatient_costs", &sample("inpatient_costs.2023.csv.zst"), None);
    assert_eq!((got.report.repaired_by(Repair::Mark), got.report.repaired_by(Repair::Cp1252)), (1, 5));
    assert_eq!(got.report.files[0].encoding, Some(super::super::Encoding::Cp1252));
    assert!(got.report.to_string().contains("cp1252"));
    assert_eq!(got.first("payments").as_deref(), Some("60345158.00"));
    assert_eq!(got.first("n_beneficiaries").as_deref(), Some("3088"));
    assert_eq!(got.first("ckd_percent").as_deref(), Some("45.0"));
}

#[test]
fn letters_of_cp1252_come_out_right_and_its_holes_are_refused() {
    let head = "State,Sex,LE,SE,Quartile\n".as_bytes().to_vec();
    let row = |letter: &[u8]| [b"Alabama,".as_slice(), letter, b",73,0.1,a\n"].concat();
    let got = text(
        "life_expectancy",
        "2021.csv",
        [head.clone(), row(b"\x96"), row(b"\xF1"), row(b"\x81"), row("ñ".as_bytes())].concat(),
    );
    let got = got.unwrap();
    assert_eq!(got.column("sex"), [Some("–".to_owned()), Some("ñ".to_owned())]);
    assert_eq!(got.report.refused_for(Reason::Encoding), 2, "a byte without a letter, and UTF-8 after cp1252");
    let got =
        text("life_expectancy", "2021.csv", [head, row("ñ".as_bytes()), row(b"\xF1"), row(b"x")].concat()).unwrap();
    assert_eq!((got.report.n_accepted, got.report.refused_for(Reason::Encoding)), (2, 1), "cp1252 after UTF-8");
}

#[test]
fn minus_999_is_no_number_where_the_column_says_so() {
    let head = "FIPS,ST_ABBR,COUNTY,E_TOTPOP,E_UNINSUR,EP_UNINSUR\n";
    let got = text(
        "coverage",
        "svi_2020.csv",
        format!("{head}35039,NM,Rio Arriba,39006,-999,-999.0\n1001,AL,Autauga,55639,4000,7.1\n"),
    );
    let got = got.unwrap();
    assert_eq!(got.column("n_uninsured"), [None, Some("4000".to_owned())]);
    assert_eq!(got.column("county_fips"), [Some("35039".to_owned()), Some("01001".to_owned())]);
    let got = text("coverage", "svi_2020.csv", format!("{head}35039,NM,Rio Arriba,-1,0,0\n")).unwrap();
    assert_eq!(got.report.refused_for(Reason::Range), 1);
    assert!(got.report.to_string().contains("allowed is 0 to 20000000"), "{}", got.report);
}

/// Negative, or with a wrong check digit: kept as it is, flagged, and not null.
#[test]
fn provider_identifiers_are_checked_and_flagged() {
    let got = file("prescribers", &sample("prescribers.years-of-exp.csv.zst"), None);
    assert!(got.column("npi").iter().flatten().any(|npi| npi.starts_with('-')));
    let wrong = got.count("npi_valid", "false") as u64;
    assert_eq!(wrong, got.report.repaired_by(Repair::NpiNotValid));
    assert!(wrong > 0 && got.count("npi_valid", "true") > 0);
    let valid = file("prescribers", &sample("prescribers.publisher.csv"), None);
    assert_eq!(valid.count("npi_valid", "true") as u64, valid.report.n_accepted);
    // The publisher's own example.
    assert!(codes::npi_valid("1234567893") && !codes::npi_valid("1234567890"));
}

/// Names never leave a file by way of a message.
#[test]
fn private_cells_are_never_quoted() {
    let private: Vec<_> = kind("prescribers").unwrap().columns.iter().filter(|column| column.private).collect();
    assert_eq!(
        private.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        ["npi", "last_name", "first_name"]
    );
}

/// Territories and military posts are states of their own; they have no population and no cities in the tables.
#[test]
fn territories_and_military_posts_are_known() {
    let got = file("prescribers", &sample("prescribers.years-of-exp.csv.zst"), None);
    let mut references = References::default();
    for batch in &file("cities", &sample("cities.csv.zst"), None).batches {
        references.add("cities", batch).unwrap();
    }
    for state in ["GU", "MP", "AE"] {
        assert!(got.count("state", state) > 0, "{state}");
    }
    let mut checks = super::super::quality::Checks::new(kind("prescribers").unwrap(), &references);
    got.batches.iter().for_each(|batch| checks.see(batch).unwrap());
    let mut report = got.report;
    let _ = checks.finish(&mut report);
    let unmatched: Vec<&str> = report.unmatched[0].examples.iter().map(|(key, _)| key.as_str()).collect();
    assert!(
        unmatched.contains(&"AE FPO") && unmatched.contains(&"GU TAMUNING") && unmatched.contains(&"MP SAIPAN"),
        "{unmatched:?}"
    );
}

/// Connecticut's counties changed: each table says which it has.
#[test]
fn counties_are_keyed_by_their_vintage() {
    let connecticut = |year: &str| {
        let got = file("coverage", &sample(&format!("coverage.{year}.csv.zst")), None);
        let of = got.column("county_fips").into_iter().zip(got.column("geography")).zip(got.column("state"));
        of.filter(|(_, state)| state.as_deref() == Some("CT")).map(|(county, _)| county).min().unwrap()
    };
    assert_eq!(connecticut("2020"), (Some("09001".into()), Some("2020".into())));
    assert_eq!(connecticut("2022"), (Some("09110".into()), Some("2022".into())));
}

/// `= 43.0` is a number in its column; everywhere else such a cell stays text, and cannot become a formula on its way out.
#[test]
fn formulas_are_read_where_known_and_made_harmless_on_export() {
    assert_eq!(csv_cell("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\"");
    assert_eq!(
        [csv_cell("@SUM(A1)"), csv_cell("+1-1"), csv_cell("-cmd"), csv_cell("-12.5"), csv_cell("a,b")],
        ["'@SUM(A1)", "'+1-1", "'-cmd", "-12.5", "\"a,b\""]
    );
    assert_eq!([csv_cell("＝1+1"), csv_cell("＠x")], ["'＝1+1", "'＠x"], "in full width, too");
    let got =
        text("zip_rurality", "z.csv", format!("{ZIP_HEADER}10001,NY,=cmd|' /C calc'!A0,1,1\n10002,NY,x,= 4.0,1\n"))
            .unwrap();
    assert_eq!(got.first("zip_type").as_deref(), Some("=cmd|' /C calc'!A0"));
    assert_eq!(got.report.refused_for(Reason::Type), 1, "a formula is no number in another column");
}

/// The headings of two years are the same: the name decides, or whoever imports.
#[test]
fn vintages_with_the_same_headings_are_told_apart_by_name() {
    let content = "FIPS,ST_ABBR,COUNTY,E_TOTPOP,E_UNINSUR,EP_UNINSUR\n01001,AL,Autauga,1,1,1\n";
    assert_eq!(text("coverage", "SVI_2022_US_county.csv", content).unwrap().first("year").as_deref(), Some("2022"));
    let error = text("coverage", "county.csv", content).err().unwrap();
    assert_eq!(error.reason(), Some(Reason::AmbiguousLayout));
    assert!(error.to_string().contains("svi-2020") && error.to_string().contains("svi-2022"), "{error}");
    let options = Options { layout: Some("svi-2020".into()), ..Options::default() };
    let got = import("coverage", vec![Input::reader("county.csv", io::Cursor::new(content))], options).unwrap();
    assert_eq!(got.first("geography").as_deref(), Some("2020"));
}

/// Long to wide: three lines are a county; a line that is wrong loses no other.
#[test]
fn a_long_file_becomes_wide_and_bad_lines_are_counted() {
    let made = "FIPS,State,County_Name,Attribute,Value\n\
        1001,AL,Autauga County,Population_2020,58805\n1001,AL,Autauga County,RUCC_2023,2\n1001,AL,Autauga County,Colour,red\n\
        1001,AL,Autauga County,RUCC_2023,3\n1001,AL,Autauga County,Description,Metro\n\
        60030,AS,Rose Island,Population_2020,0\n60030,AS,Rose Island,Description,Not Applicable\n";
    let got = text("county_rurality", "rucc.csv", made).unwrap();
    assert_eq!((got.report.n_read, got.report.n_accepted), (4, 2));
    assert_eq!((got.report.refused_for(Reason::NotOneOf), got.report.refused_for(Reason::Duplicate)), (1, 1));
    assert_eq!(got.column("county_fips"), [Some("01001".to_owned()), Some("60030".to_owned())]);
    assert_eq!(got.column("rucc"), [Some("2".to_owned()), None]);
    assert_eq!(got.column("description"), [Some("Metro".to_owned()), None]);
}

/// Wide to long: a column a year becomes a row a year.
#[test]
fn a_wide_file_becomes_long() {
    let got = text("premiums", "p.csv", "Location,2020,2021,2022,2023,2024\nTexas,$405,\"$1,400.50\",N/A,$461,$470\n")
        .unwrap();
    assert_eq!(got.column("year").into_iter().flatten().collect::<Vec<_>>(), ["2020", "2021", "2022", "2023", "2024"]);
    assert_eq!(got.column("monthly_premium")[1].as_deref(), Some("1400.50"));
    assert_eq!(got.column("monthly_premium")[2], None);
    assert_eq!(got.column("state")[4].as_deref(), Some("TX"));
}

/// The same rows from CSV, NDJSON and Parquet, plain and packed.
#[test]
fn formats_and_packings_give_the_same_rows() {
    let csv = format!("{ZIP_HEADER}10001,NY,Zip Code Area,1,1.1\n99950,AK,Zip Code Area,99,99\n");
    let json = "{\"ZIP_CODE\":\"10001\",\"STATE\":\"NY\",\"ZIP_TYPE\":\"Zip Code Area\",\"RUCA1\":1,\"RUCA2\":1.1}\n\
        {\"ZIP_CODE\":\"99950\",\"STATE\":\"AK\",\"ZIP_TYPE\":\"Zip Code Area\",\"RUCA1\":\"99\",\"RUCA2\":99}\n";
    let mut gz = Vec::new();
    flate2::bufread::GzEncoder::new(csv.as_bytes(), flate2::Compression::default()).read_to_end(&mut gz).unwrap();
    let zst = zstd::encode_all(csv.as_bytes(), 3).unwrap();
    let plain = text("zip_rurality", "z.csv", csv.clone()).unwrap();
    assert_eq!(plain.column("ruca_reason"), [None, Some("not coded".to_owned())]);
    assert_eq!(plain.column("ruca_primary"), [Some("1".to_owned()), None]);
    for (name, content) in
        [("z.csv.gz", gz), ("z.csv.zst", zst), ("z.ndjson", json.into()), ("Z.CSV", csv.replace('\n', "\r\n").into())]
    {
        assert_eq!(text("zip_rurality", name, content).unwrap().batches, plain.batches, "{name}");
    }
}
