//! Judges the unit library by the UCUM functional tests: a sample always, the whole file where it is at hand
//! (`data/conformance/ucum/UcumFunctionalTests.xml` in the folder that `WARDLINE_SHARED` names, else in the folder
//! `shared` beside the workspace).

use octofhir_ucum::{UcumError, UnitResult, convert, display_name, divide_by, multiply, validate};
use std::{collections::BTreeMap, env, fs, path::PathBuf};

const SAMPLE: &str = include_str!("data/ucum-sample.xml");

/// Cases of each category in the whole file (revision 3-Feb 2021) that pass, as measured: all 573.
const PASSED: [(&str, usize); 5] =
    [("conversion", 30), ("displayNameGeneration", 9), ("division", 3), ("multiplication", 2), ("validation", 529)];

/// The attributes of a `<case .../>`.
type Case = BTreeMap<String, String>;

/// Cases by category, in the order of the file. Understands this format only: cases do not nest, attributes are in
/// double quotes.
fn cases(xml: &str) -> Vec<(String, Case)> {
    let mut text = String::new();
    for (i, part) in xml.split("<!--").enumerate() {
        let visible = if i == 0 { part } else { part.split_once("-->").expect("a comment ends").1 };
        text.push_str(visible);
    }
    let (mut category, mut found) = (String::new(), Vec::new());
    for tag in text.split('<').skip(1) {
        let (name, rest) = tag.split_once(|c: char| c.is_whitespace() || c == '>').unwrap_or((tag, ""));
        match name {
            "validation" | "displayNameGeneration" | "conversion" | "multiplication" | "division" => {
                category = name.to_owned();
            }
            "case" => found.push((category.clone(), attributes(rest))),
            _ => {}
        }
    }
    found
}

fn attributes(mut rest: &str) -> Case {
    let mut attributes = Case::new();
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"').expect("a value ends");
        attributes.insert(name.trim().to_owned(), decoded(value));
        rest = after;
    }
    attributes
}

/// The entities that the file uses.
fn decoded(value: &str) -> String {
    let plain = value.replace("&#232;", "è").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    plain.replace("&amp;", "&")
}

/// Whether a value is the expected one, at the digits that the expectation is written with (at most an `f64`'s 15).
fn agrees(value: f64, expected: &str) -> bool {
    let (mantissa, exponent) = expected.split_once('e').unwrap_or((expected, "0"));
    let decimals = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len()) as i32;
    let unit_of_last = 10f64.powi(exponent.parse::<i32>().unwrap() - decimals);
    let expected: f64 = expected.parse().unwrap();
    (value - expected).abs() <= (0.5 * unit_of_last).max(1e-15 * expected.abs()) * (1.0 + 1e-9)
}

fn passes(category: &str, case: &Case) -> bool {
    let text = |name: &str| case[name].as_str();
    let number = |name: &str| case[name].parse::<f64>().unwrap();
    let product = |operation: fn(f64, &str, f64, &str) -> Result<UnitResult, UcumError>| {
        let unit = if text("uRes").is_empty() { "1" } else { text("uRes") };
        let result = operation(number("v1"), text("u1"), number("v2"), text("u2"));
        result.is_ok_and(|r| convert(r.value, &r.unit, unit).is_ok_and(|value| agrees(value, text("vRes"))))
    };
    match category {
        "validation" => validate(text("unit")).is_ok() == (text("valid") == "true"),
        "displayNameGeneration" => display_name(text("unit")).is_ok_and(|name| name == text("display")),
        "conversion" => {
            convert(number("value"), text("srcUnit"), text("dstUnit")).is_ok_and(|value| agrees(value, text("outcome")))
        }
        "multiplication" => product(multiply),
        "division" => product(divide_by),
        other => panic!("category {other}"),
    }
}

/// Passed and failed cases by category; failed ones by id and unit.
fn judge(xml: &str) -> BTreeMap<String, (usize, Vec<String>)> {
    let mut verdict: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for (category, case) in cases(xml) {
        let passed = passes(&category, &case);
        let entry = verdict.entry(category).or_default();
        if passed {
            entry.0 += 1;
        } else {
            entry.1.push(format!("{} {:?}", case["id"], case.get("unit").or(case.get("srcUnit")).or(case.get("u1"))));
        }
    }
    verdict
}

/// The whole file, if it is at hand. A folder that was named must have it.
fn whole_file() -> Option<String> {
    let named = env::var_os("WARDLINE_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = named.clone().unwrap_or(beside).join("data/conformance/ucum/UcumFunctionalTests.xml");
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(e) if named.is_some() => panic!("{}: {e}", path.display()),
        Err(_) => None,
    }
}

#[test]
fn the_sample_passes() {
    let verdict = judge(SAMPLE);
    let categories: Vec<_> = verdict.keys().map(String::as_str).collect();
    assert_eq!(categories, PASSED.map(|(category, _)| category));
    assert_eq!(verdict["validation"].0 + verdict["conversion"].0, 33);
    for (category, (_, failed)) in &verdict {
        assert!(failed.is_empty(), "{category}: {failed:#?}");
    }
}

#[test]
fn a_wrong_answer_is_seen() {
    for (right, wrong) in [
        ("outcome=\"16.0\"", "outcome=\"16.1\""),
        ("outcome=\"133322000\"", "outcome=\"133322001\""),
        ("vRes=\"1.3\"", "vRes=\"1.4\""),
        ("uRes=\"g.m\"", "uRes=\"m\""),
        ("display=\"(millimeter)\"", "display=\"(meter)\""),
        ("unit=\"mm[Hg]\"", "unit=\"mmHg\""),
        ("unit=\"cm[H20]\"", "unit=\"cm[H2O]\""),
    ] {
        assert!(SAMPLE.contains(right), "{right}");
        let failed: usize = judge(&SAMPLE.replacen(right, wrong, 1)).values().map(|(_, failed)| failed.len()).sum();
        assert_eq!(failed, 1, "{right}");
    }
}

#[test]
fn the_whole_file_passes_as_measured() {
    let Some(xml) = whole_file() else { return };
    let verdict = judge(&xml);
    for (category, expected) in PASSED {
        let (passed, failed) = &verdict[category];
        assert!(*passed >= expected, "{category}: {passed} of {expected} pass; failed: {failed:#?}");
    }
}
