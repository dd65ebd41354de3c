//! What units mean, that each alias is of use, and that the memory of spellings is bounded.

use super::*;
use model::{Kind, by_code};
use octofhir_ucum::{is_comparable, validate};
use std::collections::BTreeSet;

const ALIASES: &str = include_str!("../../../../shared/model/catalog/units.toml");

fn metric(key: &str) -> &'static Metric {
    by_code(key).unwrap()
}

fn factor(key: &str, unit: &str) -> Result<Factor, UnitError> {
    Units::new().factor(metric(key), unit)
}

/// The pairs of `units.toml`: plain `"alias" = "code"` lines after `[alias]`.
fn aliases() -> Vec<(&'static str, &'static str)> {
    let lines = ALIASES.split_once("[alias]\n").unwrap().1.lines().filter(|line| line.starts_with('"'));
    let pair = |line: &'static str| {
        let (alias, code) = line.split_once("\" = \"").unwrap();
        (&alias[1..], code.strip_suffix('"').unwrap())
    };
    lines.map(pair).collect()
}

fn with_units() -> impl Iterator<Item = &'static Metric> {
    metrics().iter().filter(|m| !m.unit.is_empty())
}

#[test]
fn every_alias_is_ucum_and_converts_for_a_metric() {
    let aliases = aliases();
    assert!(aliases.len() > 150, "{}", aliases.len());
    for (alias, code) in aliases {
        assert_eq!(unit_alias(alias), Some(code), "the compiled table");
        assert!(alias.len() <= UNIT_MAX_BYTES, "{alias}");
        validate(code).unwrap_or_else(|e| panic!("{alias} = {code}: {e}"));
        let units = Units::new();
        assert!(with_units().any(|m| units.factor(m, alias).is_ok()), "{alias} = {code} is of no metric's dimension");
    }
}

/// An alias hides the UCUM unit of the same spelling: only where that was reviewed.
#[test]
fn an_alias_that_is_another_ucum_code_is_one_of_the_reviewed() {
    let hiding = aliases().into_iter().filter(|(alias, code)| alias != code && validate(alias).is_ok());
    assert_eq!(hiding.collect::<BTreeSet<_>>(), BTreeSet::from([("C", "Cel"), ("F", "[degF]"), ("K/uL", "10*3/uL")]));
    for other in ["C", "F", "K/uL"] {
        assert!(with_units().all(|m| !is_comparable(m.unit, other).unwrap()), "{other} is a unit of a metric");
    }
}

#[test]
fn every_canonical_unit_and_factor_is_ucum() {
    for metric in with_units() {
        validate(metric.unit).unwrap_or_else(|e| panic!("{}: {e}", metric.key));
        assert_eq!(linear(metric.unit, metric.unit), Some(Factor::IDENTITY), "{}", metric.key);
        for (unit, _) in metric.factors {
            validate(unit).unwrap_or_else(|e| panic!("{}: {e}", metric.key));
        }
    }
}

#[test]
fn values_of_known_size_convert() {
    // metric, unit, value, canonical value, source
    let cases = [
        ("8310-5", "[degF]", 98.6, 37.0, "(F - 32) / 1.8"),
        ("8310-5", "?F", 212.0, 100.0, "(F - 32) / 1.8"),
        ("8310-5", "K", 310.15, 37.0, "K - 273.15"),
        ("8480-6", "kPa", 16.0, 16.0 / 0.133_322, "UCUM: m[Hg] is 133.322 kPa"),
        ("8480-6", "cmH2O", 10.0, 10.0 * 0.098_066_5 / 0.133_322, "UCUM: m[H2O] is 9.80665 kPa"),
        ("76248-4", "mbar", 9.806_65, 10.0, "UCUM: m[H2O] is 9.80665 kPa"),
        ("29463-7", "lbs", 100.0, 45.359_237, "international pound"),
        ("29463-7", "gm", 3500.0, 3.5, ""),
        ("8302-2", "inches", 70.0, 177.8, "international inch"),
        ("8302-2", "m", 1.8, 180.0, ""),
        ("8867-4", "Hz", 1.5, 90.0, ""),
        ("3151-8", "ml/min", 2500.0, 2.5, ""),
        ("76009-0", "mL/h", 360_000.0, 6.0, ""),
        ("75919-1", "L/min/m²", 2.5, 2.5, ""),
        ("3150-0", "decFrc", 0.4, 40.0, ""),
        ("8636-3", "sec", 0.42, 420.0, ""),
        ("93832-4", "ms", 31_260_000.0, 8.683_333_333_333_333, ""),
        ("76222-9", "ml/B", 450.0, 450.0, ""),
        ("11524-6", "µV", 1500.0, 1.5, ""),
        ("41981-2", "kJ", 4184.0, 1000.0, "UCUM: cal is 4.184 J"),
        ("41653-7", "mmol/L", 5.5, 99.088, "18.016 mg/dL per mmol/L"),
        ("99504-3", "mmol/l", 5.5, 99.088, "18.016 mg/dL per mmol/L"),
        ("2339-0", "umol/L", 5500.0, 99.088, "18.016 mg/dL per mmol/L"),
        ("2339-0", "g/L", 1.0, 100.0, ""),
    ];
    for (key, unit, value, canonical, source) in cases {
        let result = factor(key, unit).unwrap_or_else(|e| panic!("{key}: {e}")).apply(value);
        assert!((result - canonical).abs() < 1e-9 * canonical, "{key}: {value} {unit} is {result} ({source})");
    }
}

#[test]
fn the_micro_sign_is_u_in_any_unit_whichever_of_the_two_it_is() {
    for (key, unit) in [
        ("2339-0", "umol/L"),
        ("2339-0", "ug/dL"),
        ("2339-0", "ug/mL"),
        ("11524-6", "uV"),
        ("76222-9", "uL"),
        ("29463-7", "ug"),
        ("8636-3", "us"),
        ("8302-2", "um"),
    ] {
        let plain = factor(key, unit).unwrap_or_else(|error| panic!("{key}: {error}"));
        for micro in ["\u{b5}", "\u{3bc}"] {
            assert_eq!(factor(key, &unit.replace('u', micro)), Ok(plain), "{key} {micro}");
        }
    }
    let error = factor("8867-4", "\u{3bc}mol").unwrap_err().to_string();
    assert!(error.starts_with(r#"unit "\u{3bc}mol" "#), "as it was written: {error}");
}

#[test]
fn what_changes_nothing_is_the_identity_exactly() {
    for (key, unit) in [
        ("8867-4", ""),
        ("8867-4", "/min"),
        ("8867-4", "{beats}/min"),
        ("8867-4", "bpm"),
        ("8867-4", "1/min"),
        ("8867-4", "min-1"),
        ("9279-1", "BPM"),
        ("9279-1", "insp/min"),
        ("8480-6", "mmHg"),
        ("8480-6", "torr"),
        ("59408-5", "%{sat}"),
        ("8310-5", "C"),
        ("3151-8", "l/min"),
        ("9269-2", "points"),
        ("9269-2", "1"),
        ("55423-8", "count"),
        ("67775-7", ""),
        ("85354-9", ""),
    ] {
        assert_eq!(factor(key, unit), Ok(Factor::IDENTITY), "{key} {unit}");
    }
}

#[test]
fn another_dimension_is_refused_and_says_what_to_send() {
    for (key, unit) in [
        ("8867-4", "mm[Hg]"),
        ("8310-5", "kg"),
        ("3150-0", "torr"),     // MIMIC-III charts FiO2 so
        ("59408-5", "{beats}"), // counts something, not hundredths
        ("59408-5", "1{beats}"),
        ("9269-2", "%"), // a score has no parts
        ("72514-3", "/10"),
        ("2339-0", "/L"), // a mole is a pure number in UCUM
        ("2339-0", "10*9/L"),
        ("2339-0", "[pH]"), // no linear scale
        ("2339-0", "[IU]/L"),
        ("8867-4", "F"),
        ("67775-7", "1"),
        ("85354-9", "mm[Hg]"),
    ] {
        let error = factor(key, unit).unwrap_err();
        assert!(matches!(&error, UnitError::WrongDimension { unit: u, .. } if u == unit), "{key}: {error}");
    }
    let error = factor("8867-4", "mm[Hg]").unwrap_err();
    let text = "unit \"mm[Hg]\" does not convert to the metric's unit; send /min, or a unit that converts to it";
    assert_eq!(error.to_string(), text);
    assert!(factor("67775-7", "1").unwrap_err().to_string().ends_with("leave the unit empty"));
}

#[test]
fn an_unknown_unit_is_refused_and_says_what_to_send() {
    for unit in ["furlongs", "...", ".", "ml/cmH", "mmHg ", " ", "\u{0}", "m m", "(((", "{", "/", "mm[Hg", "°", "rpm"]
    {
        let error = factor("8480-6", unit).unwrap_err();
        let UnitError::Unknown { unit: named, suggestions } = &error else { panic!("{unit}: {error}") };
        assert_eq!((named.as_str(), suggestions.as_slice()), (unit, ["mm[Hg]"].as_slice()));
    }
    let UnitError::Unknown { suggestions, .. } = factor("8310-5", " FAHRENHEIT").unwrap_err() else { panic!() };
    assert_eq!(suggestions, ["[degF]", "Cel"]);
    let error = factor("2339-0", "mg\n").unwrap_err();
    let text = "unit \"mg\\n\" is neither a UCUM code nor a known spelling; send mg/dL or mmol/L";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_long_unit_is_refused_unread_and_named_in_part() {
    let long = format!("{}°°", "m.".repeat(UNIT_MAX_BYTES / 2 - 1) + "m"); // a character across the limit
    let UnitError::Unknown { unit, .. } = factor("8302-2", &long).unwrap_err() else { panic!() };
    assert_eq!(unit.len(), UNIT_MAX_BYTES - 1);
    let nested = "(".repeat(100_000);
    assert!(matches!(factor("8302-2", &nested), Err(UnitError::Unknown { .. })));
}

#[test]
fn glucose_by_amount_of_substance_is_never_taken_as_mass() {
    for key in ["14743-9", "105272-9"] {
        let scale = Units::new().factor(metric(key), stated(key, "")).unwrap().scale;
        assert_eq!(scale, 18.016, "{key}");
        assert_eq!(stated(key, "mg/dL"), "mg/dL");
    }
    assert_eq!((stated("41653-7", ""), stated("8867-4", "bpm")), ("", "bpm"));
}

#[test]
fn invented_spellings_do_not_grow_the_memory_nor_change_answers() {
    let units = Units::new();
    let rate = metric("8867-4");
    let seen = &units.seen[usize::from(rate.id.0)];
    for i in 0..10 * SPELLINGS_MAX {
        assert_eq!(units.factor(rate, &format!("{{made{i}}}/min")), Ok(Factor::IDENTITY));
        assert!(units.factor(rate, &format!("made{i}")).is_err());
        assert_eq!(units.factor(rate, "mHz").unwrap().scale, 0.06);
        let later = seen.later.read().unwrap();
        assert!(later.len() <= SPELLINGS_MAX);
        assert!(later.iter().all(|(spelling, _)| !spelling.starts_with("made")), "a refused unit is remembered");
    }
    assert!(seen.first.iter().all(|slot| slot.get().is_some()), "the first places are used");
    let used = |seen: &Spellings| seen.first[0].get().is_some() || !seen.later.read().unwrap().is_empty();
    assert_eq!(units.seen.iter().filter(|seen| used(seen)).count(), 1);
    assert_eq!(units.seen.len(), metrics().len() + 1);
}

#[test]
fn many_threads_get_one_answer_and_leave_one_memory() {
    let units = Units::new();
    let pressure = metric("8480-6");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for unit in ["kPa", "mmHg", "Pa", "mbar"] {
                    assert_eq!(units.factor(pressure, unit), resolve(pressure, unit));
                }
            });
        }
    });
    let seen = &units.seen[usize::from(pressure.id.0)];
    let mut spellings: Vec<_> = seen.first.iter().filter_map(|slot| Some(slot.get()?.0.as_ref())).collect();
    spellings.sort_unstable();
    assert_eq!(spellings, ["Pa", "kPa", "mbar", "mmHg"], "each once");
}

#[test]
fn a_remembered_answer_is_the_answer_of_its_metric() {
    let units = Units::new();
    for _ in 0..3 {
        assert_eq!(units.factor(metric("3150-0"), "1").unwrap().scale, 100.0);
        assert_eq!(units.factor(metric("9269-2"), "1"), Ok(Factor::IDENTITY));
        assert_eq!(units.factor(metric("8867-4"), "Hz").unwrap().scale, 60.0);
        assert!(units.factor(metric("8480-6"), "Hz").is_err());
    }
}

proptest::proptest! {
    /// Whatever a device writes: an answer, and the same one from memory.
    #[test]
    fn no_text_breaks_it(text in "[ -~°µ²]{0,70}", at in 0..metrics().len()) {
        let units = Units::new();
        let first = units.factor(&metrics()[at], &text);
        proptest::prop_assert_eq!(&first, &units.factor(&metrics()[at], &text));
        if let Ok(factor) = first {
            proptest::prop_assert!(factor.scale > 0.0 && factor.scale.is_finite() && factor.offset.is_finite());
            proptest::prop_assert!(metrics()[at].kind != Kind::Panel || factor == Factor::IDENTITY);
        }
    }
}
