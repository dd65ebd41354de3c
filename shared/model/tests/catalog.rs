//! Holds the catalogue to the clinical reference table: every one of its 55 rows and the bedside laboratory (56), with its codes, its unit and its
//! plausible range, and nothing that the table does not have.

use model::{CodeSystem, Kind, Metric, by_code, by_id, metrics};
use std::collections::BTreeSet;

/// Row, keys and synonyms of each metric in it (`key+synonym`), unit, plausible range.
type Line = (u8, &'static [&'static str], &'static str, Option<(f64, f64)>);

const PRESSURE: &str = "mm[Hg]";
const WATER: &str = "cm[H2O]";

#[rustfmt::skip]
const TABLE: &[Line] = &[
    (1, &["8867-4+mdc:147842+mdc:149546"], "/min", Some((0.0, 350.0))),
    (2, &["8889-8+mdc:149530"], "/min", Some((0.0, 350.0))),
    (3, &["40443-4"], "/min", Some((20.0, 200.0))),
    (4, &["80404-7"], "ms", Some((0.0, 500.0))),
    (5, &["59408-5+2708-6+mdc:150456"], "%", Some((0.0, 100.0))),
    (6, &["61006-3"], "%", Some((0.0, 30.0))),
    (7, &["59407-7+mdc:160296", "59418-4+mdc:160300"], "%", Some((0.0, 100.0))),
    (8, &["9279-1+mdc:151562+mdc:151578+mdc:151594+mdc:151658"], "/min", Some((0.0, 150.0))),
    (9, &["3151-8"], "L/min", Some((0.0, 80.0))),
    (10, &["3150-0"], "%", Some((15.0, 100.0))),
    (11, &["85354-9+mdc:150020"], "", None),
    (12, &["8480-6+mdc:150021"], PRESSURE, Some((20.0, 350.0))),
    (13, &["8462-4+mdc:150022"], PRESSURE, Some((10.0, 250.0))),
    (14, &["8478-0+mdc:150023"], PRESSURE, Some((10.0, 300.0))),
    (15, &["76215-3+mdc:150037"], PRESSURE, Some((20.0, 350.0))),
    (15, &["76213-8+mdc:150038"], PRESSURE, Some((10.0, 250.0))),
    (15, &["76214-6+mdc:150039"], PRESSURE, Some((10.0, 300.0))),
    (16, &["60985-9+mdc:150087"], PRESSURE, Some((-10.0, 60.0))),
    (17, &["8440-0+mdc:150045", "8385-7+mdc:150046", "8414-5+mdc:150047"], PRESSURE, Some((0.0, 150.0))),
    (18, &["75994-4+mdc:150052"], PRESSURE, Some((0.0, 60.0))),
    (19, &["8741-1+mdc:150276"], "L/min", Some((0.0, 25.0))),
    (19, &["75919-1+mdc:149772"], "L/(min.m2)", Some((0.0, 25.0))),
    (20, &["60956-0+mdc:153608", "61017-0+mdc:153604"], PRESSURE, Some((-20.0, 120.0))),
    (21, &["8310-5+mdc:150364"], "Cel", Some((15.0, 45.0))),
    (22, &["8329-5+mdc:150368", "8331-1+mdc:188424", "8332-9+mdc:188420", "8333-7+mdc:150392", "8328-7+mdc:188452",
           "8334-5"], "Cel", Some((15.0, 45.0))),
    (23, &["60834-9+mdc:188436", "60836-4+mdc:150372"], "Cel", Some((15.0, 45.0))),
    (24, &["39106-0+mdc:150388"], "Cel", Some((10.0, 45.0))),
    (25, &["19891-1+mdc:151708"], PRESSURE, Some((0.0, 150.0))),
    (26, &["33438-3+mdc:151586", "19840-8+mdc:152490"], "/min", Some((0.0, 150.0))),
    (27, &["76222-9+mdc:151980", "20112-9+mdc:16929196"], "mL", Some((0.0, 2500.0))),
    (28, &["76009-0+mdc:152004"], "L/min", Some((0.0, 40.0))),
    (29, &["76248-4+mdc:151976", "76531-3+mdc:151973", "76530-5+mdc:151975"], WATER, Some((0.0, 100.0))),
    (30, &["19994-3"], "%", Some((21.0, 100.0))),
    (31, &["60827-3+mdc:151692"], "mL/cm[H2O]", Some((0.0, 300.0))),
    (32, &["50984-4+mdc:150656"], PRESSURE, Some((20.0, 700.0))),
    (33, &["2339-0"], "mg/dL", Some((5.0, 1500.0))),
    (34, &["41653-7+14743-9"], "mg/dL", Some((5.0, 1500.0))),
    (35, &["99504-3+105272-9"], "mg/dL", Some((20.0, 600.0))),
    (36, &["29463-7+mdc:188736"], "kg", Some((0.2, 500.0))),
    (37, &["8302-2+mdc:188740"], "cm", Some((20.0, 260.0))),
    (38, &["39156-5+mdc:188752"], "kg/m2", Some((5.0, 120.0))),
    (39, &["9843-4+mdc:153856"], "cm", Some((15.0, 80.0))),
    (40, &["41982-0"], "%", Some((1.0, 80.0))),
    (41, &["8280-0"], "cm", Some((20.0, 250.0))),
    (42, &["55423-8"], "{steps}", Some((0.0, 200_000.0))),
    (43, &["41981-2"], "kcal", Some((0.0, 20_000.0))),
    (44, &["93832-4"], "h", Some((0.0, 24.0))),
    (45, &["20150-9", "19870-5"], "L", Some((0.0, 12.0))),
    (45, &["19935-6"], "L/min", Some((0.0, 1200.0))),
    (46, &["9269-2"], "{score}", Some((3.0, 15.0))),
    (46, &["9267-6"], "{score}", Some((1.0, 4.0))),
    (46, &["9270-0"], "{score}", Some((1.0, 5.0))),
    (46, &["9268-4"], "{score}", Some((1.0, 6.0))),
    (47, &["67775-7"], "", None),
    (48, &["72514-3"], "{score}", Some((0.0, 10.0))),
    (49, &["9187-6"], "mL", Some((0.0, 5000.0))),
    (50, &["9097-7+mdc:157756"], "mL", Some((-20_000.0, 20_000.0))),
    (51, &["11524-6+mdc:131328", "mdc:131329", "mdc:131330", "mdc:131389"], "mV", Some((-10.0, 10.0))),
    (52, &["8633-0", "8634-8", "8636-3", "8625-6"], "ms", Some((20.0, 800.0))),
    // beyond what a sensor shows: the reference has no range for waveforms
    (53, &["mdc:150452"], "1", Some((-100_000.0, 100_000.0))),
    (54, &["mdc:150036"], PRESSURE, Some((-50.0, 400.0))),
    (54, &["mdc:150084"], PRESSURE, Some((-50.0, 150.0))),
    (55, &["sct:1104051000000101"], "{score}", Some((0.0, 20.0))),
    // the bedside laboratory, which the reference lists without numbers
    (56, &["2744-1"], "[pH]", Some((6.5, 8.0))),
    (56, &["2703-7"], PRESSURE, Some((5.0, 800.0))),
    (56, &["2019-8"], PRESSURE, Some((5.0, 250.0))),
    (56, &["1960-4"], "mmol/L", Some((1.0, 80.0))),
    (56, &["1925-7"], "mmol/L", Some((-50.0, 50.0))),
    (56, &["20564-1"], "%", Some((0.0, 100.0))),
    (56, &["2518-9+32693-4"], "mmol/L", Some((0.0, 40.0))),
    (56, &["2951-2+2947-0"], "mmol/L", Some((80.0, 220.0))),
    (56, &["2823-3+6298-4"], "mmol/L", Some((0.5, 25.0))),
    (56, &["2075-0+2069-3"], "mmol/L", Some((40.0, 180.0))),
    (56, &["1995-0+1994-3"], "mmol/L", Some((0.1, 5.0))),
    (56, &["718-7"], "g/dL", Some((1.0, 30.0))),
    (56, &["4544-3"], "%", Some((3.0, 80.0))),
    (56, &["2160-0"], "mg/dL", Some((0.05, 40.0))),
    (56, &["3094-0"], "mg/dL", Some((0.5, 300.0))),
    (56, &["1975-2"], "mg/dL", Some((0.02, 80.0))),
    (56, &["777-3"], "10*3/uL", Some((1.0, 3000.0))),
    (56, &["6690-2+804-5"], "10*3/uL", Some((0.01, 800.0))),
    (56, &["1742-6"], "U/L", Some((0.5, 30_000.0))),
    (56, &["1920-8"], "U/L", Some((0.5, 40_000.0))),
    (56, &["6768-6"], "U/L", Some((1.0, 8000.0))),
    (56, &["1751-7"], "g/dL", Some((0.3, 10.0))),
    (56, &["19123-9+2601-3"], "mg/dL", Some((0.2, 20.0))),
    (56, &["10839-9"], "ng/mL", Some((0.0, 1000.0))),
    (56, &["6598-7"], "ng/mL", Some((0.0, 200.0))),
    (56, &["2093-3"], "mg/dL", Some((10.0, 1500.0))),
];

/// The category of a row by the reference; `None` where it names none (ventilation: procedure or therapy).
fn category_of(row: u8) -> Option<&'static str> {
    match row {
        1..=25 | 36..=39 => Some("vital-signs"),
        33..=35 | 56 => Some("laboratory"),
        42..=44 => Some("activity"),
        46..=48 | 55 => Some("survey"),
        _ => None,
    }
}

fn metric(key: &str) -> &'static Metric {
    by_code(key).unwrap_or_else(|| panic!("{key} is not in the catalogue"))
}

#[test]
fn every_row_of_the_table_is_in_the_catalogue_as_it_says() {
    for (row, keys, unit, plausible) in TABLE {
        for codes in *keys {
            let (key, synonyms) = codes.split_once('+').unwrap_or((codes, ""));
            let metric = metric(key);
            assert_eq!((metric.key, metric.unit, metric.plausible), (key, *unit, *plausible), "row {row}");
            let synonyms: Vec<_> = synonyms.split('+').filter(|s| !s.is_empty()).collect();
            assert_eq!(metric.synonyms, synonyms, "row {row}, {key}");
            assert!(category_of(*row).is_none_or(|c| c == metric.category), "row {row}: {}", metric.category);
        }
    }
}

#[test]
fn the_table_has_56_rows_and_the_catalogue_nothing_else() {
    let rows: BTreeSet<u8> = TABLE.iter().map(|line| line.0).collect();
    assert_eq!(rows, (1..=56).collect());
    let in_table: Vec<_> = TABLE.iter().flat_map(|line| line.1).map(|c| c.split('+').next().unwrap()).collect();
    let in_catalogue: Vec<_> = metrics().iter().map(|m| m.key).collect();
    assert_eq!(in_table, in_catalogue, "one line per metric, in the order of the table");
}

/// Blocks in the store are written with these numbers: a changed one makes old readings lie.
#[test]
fn numbers_are_the_ones_that_stored_blocks_have() {
    for (key, number) in
        [("8867-4", 1), ("59408-5", 5), ("85354-9", 12), ("8480-6", 13), ("8310-5", 28), ("19891-1", 38)]
    {
        assert_eq!(metric(key).id.0, number, "{key}");
    }
    for (key, number) in [("2339-0", 50), ("9269-2", 65), ("11524-6", 73), ("sct:1104051000000101", 84), ("2744-1", 85)]
    {
        assert_eq!(metric(key).id.0, number, "{key}");
    }
    let numbers: Vec<u16> = metrics().iter().map(|m| m.id.0).collect();
    assert_eq!(numbers, (1..=110).collect::<Vec<_>>());
    assert!(by_id(model::MetricId(111)).is_none());
}

#[test]
fn kinds_and_categories_are_known_ones() {
    let waveforms: Vec<_> = metrics().iter().filter(|m| m.kind == Kind::Waveform).map(|m| m.key).collect();
    let expected = ["11524-6", "mdc:131329", "mdc:131330", "mdc:131389", "mdc:150452", "mdc:150036", "mdc:150084"];
    assert_eq!(waveforms, expected);
    assert_eq!(metric("67775-7").kind, Kind::Coded(&["A", "C", "V", "P", "U"]));
    assert_eq!(metric("85354-9").kind, Kind::Panel);
    let known = ["vital-signs", "activity", "survey", "laboratory", "procedure", "therapy", "exam"];
    for metric in metrics() {
        assert!(known.contains(&metric.category), "{}: {}", metric.key, metric.category);
        let glucose = metric.name.starts_with("Glucose");
        let factor = metric.factors.iter().find(|(unit, _)| *unit == "mmol/L").map(|(_, factor)| factor.scale);
        assert!(!glucose || factor == Some(18.016), "{}", metric.key);
    }
}

#[test]
fn what_was_not_confirmed_says_so() {
    let doubtful: Vec<_> = metrics().iter().filter(|m| !m.confirmed).map(|m| m.key).collect();
    #[rustfmt::skip]
    let expected = ["8889-8", "39106-0", "9269-2", "9267-6", "9270-0", "9268-4", "72514-3", "8625-6", "mdc:150452",
                    "mdc:150036", "sct:1104051000000101", "2744-1", "2703-7", "2019-8", "1960-4", "1925-7", "2518-9", "1995-0", "6690-2", "19123-9"];
    assert_eq!(doubtful, expected);
}

/// What a device means by a code that the table gives to several metrics.
#[test]
fn an_mdc_code_of_several_metrics_means_one() {
    for (code, key, also) in [
        (149_530, "8889-8", "8867-4"),
        (150_037, "76215-3", "8480-6"),
        (150_038, "76213-8", "8462-4"),
        (150_039, "76214-6", "8478-0"),
        (150_084, "mdc:150084", "60985-9"),
    ] {
        assert_eq!(metric(&format!("mdc:{code}")).key, key);
        assert!(metric(key).mdc.contains(&code) && metric(also).mdc.contains(&code), "{code}");
    }
    for metric in metrics() {
        let own = metric.synonyms.iter().chain([&metric.key]).filter_map(|key| key.strip_prefix("mdc:"));
        for code in own {
            assert!(metric.mdc.contains(&code.parse().unwrap()), "{}: {code}", metric.key);
        }
        assert!(metric.system == CodeSystem::Loinc || metric.key.contains(':'), "{}", metric.key);
    }
}
