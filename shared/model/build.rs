//! Turns the catalogue's TOML into static tables, and refuses a catalogue that contradicts itself.

use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::Path,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    #[expect(dead_code, reason = "read by people")]
    version: String,
    metric: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    id: u16,
    /// LOINC code, or `mdc:` / `sct:` and a code.
    key: String,
    name: String,
    #[serde(default)]
    unit: String,
    /// number (default), coded, waveform, panel
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    codes: Vec<String>,
    plausible: Option<[f64; 2]>,
    typical: Option<[f64; 2]>,
    usual: Option<f64>,
    /// UCUM units that a typical number tells from the canonical one; every number says which, if only none
    other_units: Option<Vec<String>>,
    /// UCUM units that a number tells from it where it is beyond what is typical, and no other
    #[serde(default)]
    distinct_beyond: Vec<String>,
    /// UCUM units that no number tells from it
    #[serde(default)]
    indistinct: Vec<String>,
    #[serde(default)]
    synonyms: Vec<String>,
    #[serde(default)]
    mdc: Vec<u32>,
    /// UCUM unit to multiplier
    #[serde(default)]
    factors: BTreeMap<String, f64>,
    category: String,
    /// Whether values of several spans of time add up to that of all.
    #[serde(default)]
    adds_up: bool,
    #[serde(default)]
    unconfirmed: bool,
    /// Those of `mdc` that were not found in a primary source; read by people.
    #[serde(default)]
    unconfirmed_mdc: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Units {
    alias: BTreeMap<String, String>,
}

fn main() {
    println!("cargo::rerun-if-changed=catalog");
    let read =
        |name: &str| fs::read_to_string(Path::new("catalog").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut metrics: Metrics = toml::from_str(&read("metrics.toml")).unwrap_or_else(|e| panic!("metrics.toml: {e}"));
    let units: Units = toml::from_str(&read("units.toml")).unwrap_or_else(|e| panic!("units.toml: {e}"));
    metrics.metric.sort_by_key(|m| m.id);
    let mut out = String::from("static METRICS: &[Metric] = &[\n");
    let mut keys = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (at, metric) in metrics.metric.iter().enumerate() {
        assert!(metric.id > 0 && ids.insert(metric.id), "metric number {} is used twice, or is 0", metric.id);
        assert!(metric.id < u16::MAX - 15, "metric number {}: the last ones mark how far hours reach", metric.id);
        for key in metric.synonyms.iter().chain([&metric.key]) {
            assert!(keys.insert(key.clone(), at).is_none(), "key {key} is used twice");
        }
        write_metric(&mut out, metric);
    }
    out.push_str("];\n\nstatic KEYS: &[(&str, usize)] = &[\n");
    for (key, at) in &keys {
        writeln!(out, "    ({key:?}, {at}),").unwrap();
    }
    out.push_str("];\n\nstatic ALIASES: &[(&str, &str)] = &[\n");
    for (alias, unit) in &units.alias {
        writeln!(out, "    ({alias:?}, {unit:?}),").unwrap();
    }
    out.push_str("];\n");
    let target = Path::new(&env::var("OUT_DIR").unwrap()).join("catalog.rs");
    fs::write(target, out).unwrap();
}

fn write_metric(out: &mut String, metric: &Metric) {
    let Metric { id, key, name, unit, codes, synonyms, mdc, category, adds_up, .. } = metric;
    let (system, code) = match key.split_once(':') {
        None => ("Loinc", key.as_str()),
        Some(("mdc", code)) => ("Mdc", code),
        Some(("sct", code)) => ("Snomed", code),
        Some(_) => panic!("key {key}: a LOINC code, mdc: or sct:"),
    };
    let kind = match metric.kind.as_deref().unwrap_or("number") {
        "number" => "Kind::Number".to_owned(),
        "waveform" => "Kind::Waveform".to_owned(),
        "panel" => "Kind::Panel".to_owned(),
        "coded" => {
            assert!(!codes.is_empty() && unit.is_empty(), "metric {key}: coded values have codes and no unit");
            format!("Kind::Coded(&{codes:?})")
        }
        other => panic!("metric {key}: kind {other} is none of number, coded, waveform, panel"),
    };
    let has_unit = kind == "Kind::Number" || kind == "Kind::Waveform";
    assert!(!has_unit || !unit.is_empty(), "metric {key}: needs a unit");
    let plausible = metric.plausible.map(|[low, high]| {
        assert!(low < high, "metric {key}: plausible range {low} to {high}");
        (low, high)
    });
    let (typical, usual) = typical(metric, kind == "Kind::Number");
    let other_units = metric.other_units.as_deref().unwrap_or_default();
    let (distinct_beyond, indistinct) = (&metric.distinct_beyond, &metric.indistinct);
    let unknown = metric.unconfirmed_mdc.iter().find(|code| !mdc.contains(code));
    assert!(unknown.is_none(), "metric {key}: unconfirmed_mdc {unknown:?} is none of its mdc");
    let factors: String = metric
        .factors
        .iter()
        .map(|(unit, scale)| format!("({unit:?}, Factor {{ scale: {scale:?}, offset: 0.0 }}), "))
        .collect();
    let confirmed = !metric.unconfirmed;
    writeln!(
        out,
        "    Metric {{ id: MetricId({id}), system: CodeSystem::{system}, code: {code:?}, key: {key:?}, name: {name:?}, \
         kind: {kind}, unit: {unit:?}, plausible: {plausible:?}, typical: {typical:?}, usual: {usual:?}, \
         other_units: &{other_units:?}, distinct_beyond: &{distinct_beyond:?}, indistinct: &{indistinct:?}, synonyms: &{synonyms:?}, mdc: &{mdc:?}, \
         factors: &[{factors}], category: {category:?}, adds_up: {adds_up}, confirmed: {confirmed} }},"
    )
    .unwrap();
}

/// The typical range and a usual value, which have to be plausible; `must`: the metric has to have them, and its other units.
fn typical(metric: &Metric, must: bool) -> (Option<(f64, f64)>, Option<f64>) {
    let key = &metric.key;
    let (Some([low, high]), Some(usual), Some(_)) = (metric.typical, metric.usual, &metric.other_units) else {
        let none = metric.typical.is_none() && metric.usual.is_none() && metric.other_units.is_none();
        assert!(none && !must, "metric {key}: typical, usual and other_units go together, and a number has them");
        return (None, None);
    };
    let [least, most] = metric.plausible.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
    let ascending = [least, low, usual, high, most].is_sorted() && low < high;
    assert!(ascending, "metric {key}: {usual} is usual, {low} to {high} typical, {least} to {most} plausible");
    (Some((low, high)), Some(usual))
}
