//! What the table makes of texts, numbers and units, and which tables are refused.

use super::*;

fn judge(section: &str, item: &str, text: &str, number: &str, unit: &str) -> Result<(String, f64), Skip> {
    let mapping = Mapping::load().unwrap();
    let item = &mapping.section(section).unwrap()[item];
    item.judge(Written { text, number, unit }).map(|(sent, value)| {
        let sent = mapping.sent(sent);
        let sign = sent.comparator.map_or(sent.absent.map_or("", Absence::name), Comparator::sign);
        (format!("{} {}{}{sign}", sent.metric, sent.unit, sent.code.as_deref().unwrap_or("")), value)
    })
}

#[test]
fn every_unit_of_the_table_is_one_that_the_server_takes() {
    let units = ingest::units::Units::new();
    for sent in &Mapping::load().unwrap().sent {
        let metric = by_code(sent.metric).unwrap();
        if sent.code.is_none() {
            assert!(units.factor(metric, &sent.unit).is_ok(), "{}: {}", sent.metric, sent.unit);
        }
    }
}

#[test]
fn a_percent_sign_counts_where_percent_is_a_unit() {
    assert_eq!(judge("mimic", "223835", "33%", "", ""), Ok(("3150-0 %".to_owned(), 33.0)));
    assert_eq!(judge("mimic", "223835", "0.4", "0.4", ""), Ok(("3150-0 %".to_owned(), 0.4)));
    assert_eq!(judge("mimic", "211", "33%", "", "BPM"), Err(Skip::UnknownUnit));
    assert_eq!(judge("eicu_respiratory", "FiO2", "60%", "", ""), Ok(("3150-0 %".to_owned(), 60.0)));
}

#[test]
fn what_a_meter_cannot_measure_is_a_bound_and_no_number() {
    for (text, sign, number) in [
        ("LO", "<", 40.0),
        ("Low", "<", 40.0),
        ("HI", ">", 400.0),
        ("high", ">", 400.0),
        ("<40", "<", 40.0),
        ("> 400", ">", 400.0),
        ("<=39", "<=", 39.0),
        ("lt 40", "<", 40.0),
        ("GTE 400", ">=", 400.0),
        ("\u{2265}401", ">=", 401.0),
    ] {
        assert_eq!(judge("cgm", "gl", text, "", ""), Ok((format!("99504-3 mg/dL{sign}"), number)), "{text}");
    }
    assert_eq!(judge("cgm", "gl", "40", "", ""), Ok(("99504-3 mg/dL".to_owned(), 40.0)));
    assert_eq!(judge("mimic", "211", "<30", "30", "BPM"), Ok(("8867-4 BPM<".to_owned(), 30.0)));
    // what such a device shows as low is not known
    assert_eq!(judge("mimic", "211", "LO", "", "BPM"), Err(Skip::NotANumber));
}

#[test]
fn a_number_column_hides_no_comparator() {
    for (item, text, number, unit, expected) in [
        ("807", "> 500 mg/dL", "500", "", ("41653-7 mg/dL>", 500.0)),
        ("807", "> 500 mg/dL", "500", "mg/dL", ("41653-7 mg/dL>", 500.0)),
        ("807", "> 500 MG/DL", "", "", ("41653-7 mg/dL>", 500.0)),
        ("807", "<1,000", "1000", "", ("41653-7 mg/dL<", 1_000.0)),
        // the publisher's number is in the publisher's unit
        ("807", "> 27.8 mmol/L", "500.8", "mg/dL", ("41653-7 mg/dL>", 500.8)),
        ("646", "<70%", "70", "%", ("59408-5 %<", 70.0)),
        ("646", "<70%", "70", "", ("59408-5 %<", 70.0)),
        ("223835", ">90%", "90", "", ("3150-0 %>", 90.0)),
        ("211", "\u{2264} 30 bpm", "30", "BPM", ("8867-4 BPM<=", 30.0)),
        ("678", ">=104.4", "104.4000015258789", "Deg. F", ("8310-5 Deg. F>=", 104.4)),
        ("807", "greater than 500", "500", "mg/dL", ("41653-7 mg/dL>", 500.0)),
        ("807", "over 600", "600", "mg/dL", ("41653-7 mg/dL>", 600.0)),
        ("807", "BELOW 20", "20", "mg/dL", ("41653-7 mg/dL<", 20.0)),
        ("807", "gt 500", "500", "mg/dL", ("41653-7 mg/dL>", 500.0)),
        ("807", "500+", "500", "mg/dL", ("41653-7 mg/dL>=", 500.0)),
        ("807", "500+ mg/dL", "", "", ("41653-7 mg/dL>=", 500.0)),
        ("807", "Less than or equal to 1,000", "1000", "", ("41653-7 mg/dL<=", 1_000.0)),
    ] {
        let expected = Ok((expected.0.to_owned(), expected.1));
        assert_eq!(judge("mimic", item, text, number, unit), expected, "{text} {number} {unit}");
    }
    for (text, number, reason) in [
        ("HI", "401", Skip::NotANumber),
        ("LO", "39", Skip::NotANumber),
        ("Low", "39", Skip::NotANumber),
        ("High", "401", Skip::NotANumber),
        ("CRITICAL HI", "999", Skip::NotANumber),
        ("CRITICAL LOW", "0", Skip::NotANumber),
        ("HI >600", "600", Skip::NotANumber),
        ("=<20", "20", Skip::NotANumber),
        ("no more than 500", "500", Skip::NotANumber),
        ("over range", "600", Skip::NotANumber),
        ("> 27.8 mmol/L", "27.8", Skip::UnknownUnit),
    ] {
        assert_eq!(judge("mimic", "807", text, number, ""), Err(reason), "{text} {number}");
    }
    // a device whose limits are known
    for (text, number, expected) in [
        ("HI", "401", ("99504-3 mg/dL>", 400.0)),
        ("CRITICAL LOW", "", ("99504-3 mg/dL<", 40.0)),
        ("> 400 mg/dL", "", ("99504-3 mg/dL>", 400.0)),
    ] {
        assert_eq!(judge("cgm", "gl", text, number, ""), Ok((expected.0.to_owned(), expected.1)), "{text}");
    }
}

#[test]
fn a_number_with_its_unit_is_a_plain_number() {
    assert_eq!(judge("mimic", "807", "500 mg/dL", "500", ""), Ok(("41653-7 mg/dL".to_owned(), 500.0)));
    assert_eq!(judge("mimic", "807", "401", "401", "mg/dl"), Ok(("41653-7 mg/dl".to_owned(), 401.0)));
    assert_eq!(judge("mimic", "646", "70%", "70", "%"), Ok(("59408-5 %".to_owned(), 70.0)));
    for (item, metric, text, number) in [
        ("184", "9267-6", "4 Spontaneously", 4.0),
        ("220739", "9267-6", "Spontaneously", 4.0),
        ("220739", "9267-6", "To Speech", 3.0),
        ("723", "9270-0", "5 Oriented", 5.0),
        ("223901", "9268-4", "Obeys Commands", 6.0),
        ("454", "9268-4", "5 Localizes Pain", 5.0),
    ] {
        let expected = Ok((format!("{metric} {{score}}"), number));
        assert_eq!(judge("mimic", item, text, &number.to_string(), ""), expected, "{text}");
    }
    assert_eq!(judge("mimic", "223791", "Moderate to Severe.", "7", ""), Ok(("72514-3 {score}".to_owned(), 7.0)));
}

#[test]
fn what_is_no_value_has_a_reason() {
    assert_eq!(judge("mimic", "211", "", "", "BPM"), Err(Skip::NoValue));
    assert_eq!(judge("mimic", "211", "fast", "", "BPM"), Err(Skip::NotANumber));
    assert_eq!(judge("mimic", "211", "inf", "NaN", "BPM"), Err(Skip::NotANumber));
    assert_eq!(judge("mimic", "211", "80", "80", ""), Err(Skip::UnknownUnit));
    assert_eq!(judge("mimic", "211", "80", "80", "Hz"), Err(Skip::UnknownUnit));
    for (section, item, text, number, expected) in [
        ("physionet2012", "Weight", "-1", "", "29463-7 kgnot-performed"),
        ("mimic", "723", "1.0 ET/Trach", "1", "9270-0 {score}not-applicable"),
        ("mimic", "223900", "No Response-ETT", "1", "9270-0 {score}not-applicable"),
        ("mimic", "223791", "Unable to Score", "0", "72514-3 {score}not-applicable"),
    ] {
        assert_eq!(judge(section, item, text, number, ""), Ok((expected.to_owned(), 0.0)), "{text}");
    }
    assert_eq!(judge("mimic", "432", "Sedated", "", ""), Err(Skip::UnknownText));
}

#[test]
fn numbers_keep_their_digits_and_wrong_unit_labels_are_put_right() {
    assert_eq!(judge("mimic", "678", "98.4", "98.4000015258789", "Deg. F"), Ok(("8310-5 Deg. F".to_owned(), 98.4)));
    // text and number disagree: the number column is the publisher's reading of the text
    assert_eq!(judge("mimic", "723", "4 Confused", "4", ""), Ok(("9270-0 {score}".to_owned(), 4.0)));
    assert_eq!(judge("mimic", "190", ".5", "0.5", "torr"), Ok(("19994-3 1".to_owned(), 0.5)));
    assert_eq!(judge("mimic", "432", "Arouse to Voice", "", ""), Ok(("67775-7 V".to_owned(), 0.0)));
}

#[test]
fn a_table_with_a_mistake_is_refused() {
    let table = |line: &str| {
        format!(
            "version = 1\neicu_hourly = []\neicu_periodic = []\neicu_aperiodic = []\neicu_respiratory = []\ncgm = []\nphysionet2012 = []\n[[mimic]]\n{line}"
        )
    };
    let refused = |line: &str| format!("{:#}", Mapping::parse(&table(line)).err().unwrap());
    assert!(refused("metric = \"0-0\"\nsource = \"x\"\nitems = {}").contains("no metric 0-0"));
    assert!(refused("metric = \"67775-7\"\nsource = \"x\"\nitems = {}\ncodes = { a = \"Z\" }").contains("no code Z"));
    assert!(refused("metric = \"8867-4\"\nsource = \"x\"\nitems = {}\nunit = \"bpm\"").contains("unit"));
}
