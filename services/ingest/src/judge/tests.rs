//! What is marked: for every metric of the catalogue, which wrong labels are found, and that no right one is.

mod assigned;

use super::*;
use model::{by_code, metrics};
use proto::in_place::ValueView;
use proto::telemetry::v1 as wire;
use std::borrow::Cow;

const NOW: Nanos = Nanos(1_764_000_000 * Nanos::SECOND);

/// The marks that a reading of one number gets, or of a waveform with this highest sample.
fn quality(metric: &Metric, unit: &str, number: f64) -> Quality {
    let value = match metric.kind {
        Kind::Waveform => {
            let wave = wire::Waveform {
                scale: number / 100.0,
                period_ns: 4_000_000,
                samples: vec![0, 100, -3],
                ..Default::default()
            };
            ValueView::Waveform(Cow::Owned(wave))
        }
        _ => ValueView::Number(number),
    };
    let measured_at = Some(guard::convert::timestamp(NOW));
    let reading = ReadingView { metric: metric.key, unit, measured_at, value: Some(value), ..Default::default() };
    marks(&reading).unwrap_or_else(|fault| panic!("{}: {fault}", metric.name))
}

/// The marks of one reading, or why it is refused.
fn marks(reading: &ReadingView<'_>) -> Result<Quality, String> {
    let patient = PatientId::from_bytes([1; 16]);
    let held = directory::Assignment { patient, from: Nanos::MIN, to: Nanos::MAX };
    let judge = Judge::new(10, ClockTolerance::default());
    let readings = std::slice::from_ref(reading);
    let judged = judge.judge(readings, &mut Assigned::new(vec![held]), (ClockQuality::Unknown, NOW));
    if let Some(refusal) = judged.refused.named.first() {
        return Err(format!("{} {}: {}", refusal.field, refusal.reason, refusal.description));
    }
    let slice = &judged.parts[0].1[0];
    Ok(Block::decode(slice.hour, &slice.block).unwrap().columns[0].quality[0])
}

/// The number in another unit that stands for a value in the canonical one.
fn in_unit(metric: &Metric, unit: &str, canonical: f64) -> f64 {
    let factor = Units::new().factor(metric, unit).unwrap_or_else(|error| panic!("{}: {error}", metric.name));
    (canonical - factor.offset) / factor.scale
}

fn with_other_units() -> impl Iterator<Item = &'static Metric> {
    metrics().iter().filter(|metric| metric.typical.is_some())
}

fn all_other_units(metric: &Metric) -> impl Iterator<Item = &'static &'static str> {
    metric.other_units.iter().chain(metric.distinct_beyond).chain(metric.indistinct)
}

fn is_suspect(metric: &Metric, unit: &str, number: f64) -> bool {
    quality(metric, unit, number).has(Quality::SUSPECT_UNIT)
}

#[test]
fn every_number_of_the_catalogue_says_what_is_typical_and_which_other_units_there_are() {
    for metric in metrics().iter().filter(|metric| metric.kind == Kind::Number) {
        assert!(metric.typical.is_some() && metric.usual.is_some(), "{}", metric.name);
    }
    assert!(with_other_units().filter(|metric| !metric.other_units.is_empty()).count() > 55);
}

#[test]
fn a_usual_value_in_each_other_unit_labelled_with_the_canonical_one_is_suspect() {
    for metric in with_other_units() {
        for unit in metric.other_units {
            let number = in_unit(metric, unit, metric.usual.unwrap());
            for label in ["", metric.unit] {
                assert!(is_suspect(metric, label, number), "{}: {number} {unit} labelled {label:?}", metric.name);
            }
        }
    }
}

#[test]
fn a_typical_value_labelled_with_another_unit_of_the_field_is_suspect() {
    let mut not_found = Vec::new();
    for metric in with_other_units() {
        for unit in metric.other_units {
            if !is_suspect(metric, unit, metric.usual.unwrap()) {
                not_found.push((metric.name, *unit));
            }
        }
    }
    // 75 lb are a weight, too, and 25 ukat/L an activity, of a liver that fails
    assert_eq!(not_found, [("Body weight", "[lb_av]"), ("ALT", "ukat/L"), ("AST", "ukat/L")]);
}

#[test]
fn typical_values_in_the_right_unit_are_good_whatever_the_unit() {
    for metric in with_other_units() {
        let ((low, high), usual) = (metric.typical.unwrap(), metric.usual.unwrap());
        for part in 0..=100 {
            let value = (low + (high - low) * f64::from(part) / 100.0).clamp(low, high);
            assert_eq!(quality(metric, metric.unit, value), Quality::GOOD, "{}: {value}", metric.name);
        }
        for unit in all_other_units(metric) {
            let number = in_unit(metric, unit, usual);
            assert_eq!(quality(metric, unit, number), Quality::GOOD, "{}: {number} {unit}", metric.name);
        }
    }
}

#[test]
fn a_unit_that_is_said_to_be_indistinct_is() {
    for metric in with_other_units() {
        let (low, high) = metric.typical.unwrap();
        for unit in metric.distinct_beyond.iter().chain(metric.indistinct) {
            let number = in_unit(metric, unit, metric.usual.unwrap());
            assert!(low <= number && number <= high, "{}: {number} {unit} could be told", metric.name);
        }
    }
}

#[test]
fn what_the_reference_names_is_found() {
    for (key, unit, number) in [
        ("59408-5", "%", 0.97),
        ("3150-0", "%", 0.4),
        ("8310-5", "Cel", 98.6),
        ("8310-5", "degF", 37.0),
        ("41653-7", "mg/dL", 5.5),
        ("2339-0", "mg/dL", 5.5),
        ("99504-3", "mg/dL", 5.5),
        ("41653-7", "mmol/L", 100.0),
        ("8480-6", "mm[Hg]", 16.0),
        ("8462-4", "mmHg", 10.0),
        ("19891-1", "", 5.1),
        ("29463-7", "kg", 165.0),
        ("8302-2", "cm", 1.7),
        ("8302-2", "cm", 67.0),
        ("11524-6", "mV", 900.0),
        ("6598-7", "ng/mL", 150.0),
        ("6598-7", "ug/L", 150.0),
        ("10839-9", "", 700.0),
        ("1975-2", "mg/dL", 70.0),
        ("1975-2", "mg/dL", 300.0),
        ("1975-2", "umol/L", 0.6),
    ] {
        assert!(is_suspect(by_code(key).unwrap(), unit, number), "{key}: {number} {unit}");
    }
    // true, if not typical: a low sugar, a weak pulse, a cold patient, a small child, a heavy man, a right heart that fails, a head
    // injury; a large infarction, a liver that fails, and a bilirubin that can just be measured
    for (key, unit, number) in [
        ("41653-7", "", 21.0),
        ("99504-3", "", 400.0),
        ("8480-6", "", 45.0),
        ("8310-5", "", 28.0),
        ("29463-7", "", 0.9),
        ("29463-7", "", 149.0),
        ("60985-9", "mm[Hg]", 25.0),
        ("60956-0", "mm[Hg]", 45.0),
        ("6598-7", "ng/mL", 90.0),
        ("6598-7", "ng/L", 50_000.0),
        ("10839-9", "ng/L", 4.0),
        ("1975-2", "mg/dL", 50.0),
        ("1975-2", "umol/L", 900.0),
        ("1975-2", "umol/L", 1.0),
    ] {
        assert_eq!(quality(by_code(key).unwrap(), unit, number), Quality::GOOD, "{key}: {number} {unit}");
    }
}

/// The marks that a bound gets: with "<", "<=", ">=" or ">".
fn of_bound(metric: &Metric, unit: &str, sign: &str, number: f64) -> Quality {
    let comparator = (1..=4).filter_map(model::Comparator::from_code).find(|comparator| comparator.sign() == sign);
    let comparator = comparator.unwrap().code();
    let value = Some(ValueView::Bound(wire::Bound { comparator: comparator.into(), number: Some(number) }));
    let measured_at = Some(guard::convert::timestamp(NOW));
    marks(&ReadingView { metric: metric.key, unit, measured_at, value, ..Default::default() })
        .unwrap_or_else(|fault| panic!("{}: {fault}", metric.name))
}

#[test]
fn a_bound_under_the_label_of_another_unit_is_suspect() {
    let both = Quality::SUSPECT_UNIT.with(Quality::IMPLAUSIBLE);
    for (key, unit, sign, number, marks) in [
        ("41653-7", "mg/dL", ">", 27.8, Quality::SUSPECT_UNIT),
        ("41653-7", "mg/dL", ">", 33.3, Quality::SUSPECT_UNIT),
        ("41653-7", "mg/dL", "<", 1.1, both),
        ("41653-7", "mg/dL", "<", 5.5, Quality::SUSPECT_UNIT),
        ("99504-3", "mg/dL", ">", 22.2, Quality::SUSPECT_UNIT),
        ("41653-7", "mmol/L", "<", 40.0, Quality::SUSPECT_UNIT),
        ("41653-7", "mmol/L", ">", 400.0, both),
        ("8310-5", "Cel", ">", 98.6, both),
        ("8310-5", "Cel", "<", 90.0, Quality::SUSPECT_UNIT),
        ("59408-5", "%", "<", 0.7, Quality::SUSPECT_UNIT),
        ("8480-6", "mm[Hg]", ">", 40.0, Quality::SUSPECT_UNIT),
    ] {
        assert_eq!(of_bound(by_code(key).unwrap(), unit, sign, number), marks, "{key}: {sign} {number} {unit}");
    }
}

#[test]
fn a_bound_at_the_end_of_a_sensors_range_is_good() {
    for (key, unit, sign, number) in [
        ("41653-7", "mg/dL", "<", 10.0),
        ("41653-7", "mg/dL", "<", 20.0),
        ("99504-3", "mg/dL", "<", 40.0),
        ("99504-3", "mg/dL", ">", 400.0),
        ("41653-7", "mg/dL", ">", 500.0),
        ("41653-7", "mmol/L", "<", 0.6),
        ("41653-7", "mmol/L", "<", 1.1),
        ("41653-7", "mmol/L", ">", 33.3),
        ("59408-5", "%", "<", 70.0),
        ("59408-5", "1", "<", 0.7),
        ("8310-5", "[degF]", "<", 90.0),
        ("29463-7", "kg", ">", 200.0),
    ] {
        let found = of_bound(by_code(key).unwrap(), unit, sign, number);
        assert_eq!(found, Quality::GOOD, "{key}: {sign} {number} {unit}");
    }
    for metric in with_other_units().filter(|metric| metric.kind == Kind::Number) {
        let (low, high) = metric.typical.unwrap();
        for unit in [&metric.unit].into_iter().chain(all_other_units(metric)) {
            // below the least that is plausible nothing is, and above the most
            let (least, most) = metric.plausible.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let signs = [(if low == least { "<=" } else { "<" }, low), (if high == most { ">=" } else { ">" }, high)];
            for (sign, end) in signs {
                let found = of_bound(metric, unit, sign, in_unit(metric, unit, end));
                assert_eq!(found, Quality::GOOD, "{}: {sign} {end}, in {unit}", metric.name);
            }
        }
    }
}

#[test]
fn a_bound_beyond_which_nothing_is_plausible_is_implausible() {
    let (spo2, pulse) = (by_code("59408-5").unwrap(), by_code("8867-4").unwrap());
    assert_eq!(of_bound(spo2, "%", ">", 150.0), Quality::IMPLAUSIBLE);
    assert_eq!(of_bound(pulse, "", "<", -50.0), Quality::IMPLAUSIBLE);
    // at the ends themselves
    for (sign, number, marks) in [
        ("<", 0.0, Quality::IMPLAUSIBLE),
        (">", 100.0, Quality::IMPLAUSIBLE),
        ("<=", 0.0, Quality::GOOD),
        (">=", 100.0, Quality::GOOD),
        (">", 99.0, Quality::GOOD),
    ] {
        assert_eq!(of_bound(spo2, "%", sign, number), marks, "{sign} {number}");
    }
    // true of every pulse, if it says little
    assert_eq!(of_bound(pulse, "", "<", 400.0), Quality::GOOD);
}

#[test]
fn who_sends_no_number_is_told_how_to_say_that_there_is_none() {
    let refused = |value| {
        let measured_at = Some(guard::convert::timestamp(NOW));
        marks(&ReadingView { metric: "41653-7", measured_at, value: Some(value), ..Default::default() }).unwrap_err()
    };
    for number in [f64::NAN, f64::INFINITY] {
        let text = refused(ValueView::Number(number));
        let told = ["NOT_FINITE", "absent_reason", "ABSENT_REASON_NOT_A_NUMBER", "bound"];
        assert!(told.into_iter().all(|word| text.contains(word)), "{text}");
    }
    let bound = wire::Bound { comparator: wire::Comparator::Greater.into(), number: None };
    let text = refused(ValueView::Bound(bound));
    assert!(text.starts_with("readings[0].bound.number NUMBER_MISSING") && text.contains("give"), "{text}");
    let text = refused(ValueView::Code("LO"));
    assert!(text.contains("WRONG_VALUE_KIND") && text.contains(proto::problem::NO_NUMBER), "{text}");
}

/// A signal of 1 mV.
fn ecg(begin: Nanos, n_samples: usize, period_ns: i64) -> ReadingView<'static> {
    let wave = wire::Waveform { scale: 1.0, period_ns, samples: vec![1; n_samples], ..Default::default() };
    let (measured_at, value) = (Some(guard::convert::timestamp(begin)), Some(ValueView::Waveform(Cow::Owned(wave))));
    ReadingView { metric: "11524-6", measured_at, value, ..Default::default() }
}

/// Steps from one time to another.
fn steps(begin: Nanos, end: Nanos) -> ReadingView<'static> {
    let [measured_at, measured_until] = [begin, end].map(|at| Some(guard::convert::timestamp(at)));
    let value = Some(ValueView::Number(500.0));
    ReadingView { metric: "55423-8", measured_at, measured_until, value, ..Default::default() }
}

#[test]
fn a_waveform_lasts_a_week_at_most() {
    let (begin, minute) = (NOW.plus(-8 * Nanos::DAY), 60 * Nanos::SECOND);
    assert_eq!(marks(&ecg(begin, 10_080, minute)), Ok(Quality::GOOD));
    for n_samples in [10_081, 20_000] {
        let refused = marks(&ecg(begin, n_samples, minute)).unwrap_err();
        assert!(refused.starts_with("readings[0].waveform.samples BAD_WAVEFORM"), "{refused}");
        assert!(refused.contains("at most a week") && refused.contains("as several readings"), "{refused}");
    }
}

#[test]
fn what_ends_further_ahead_than_clocks_may_differ_is_ahead() {
    let (seconds, begin) = (|n: i64| NOW.plus(n * Nanos::SECOND), NOW.plus(-600 * Nanos::SECOND));
    for (reading, marked) in [
        (ecg(NOW, 120, Nanos::SECOND), Quality::GOOD),
        (ecg(NOW, 121, Nanos::SECOND), Quality::FUTURE),
        (ecg(begin, 10_000, 60 * Nanos::SECOND), Quality::FUTURE),
        (steps(begin, seconds(120)), Quality::GOOD),
        (steps(begin, seconds(121)), Quality::FUTURE),
    ] {
        assert_eq!(marks(&reading), Ok(marked), "{}", reading.metric);
    }
}

#[test]
fn a_time_in_another_unit_than_seconds_is_named() {
    for (seconds, unit) in [
        (1_764_000_000_000, "milliseconds"),
        (1_764_000_000_000_000, "microseconds"),
        (1_764_000_000_000_000_000, "nanoseconds"),
    ] {
        let wrong = Some(Timestamp { seconds, nanos: 0 });
        let looks_like = format!("looks like {unit}");
        let refused = marks(&ReadingView { metric: "8867-4", measured_at: wrong, ..Default::default() }).unwrap_err();
        assert!(refused.contains("TIME_OUT_OF_RANGE") && refused.contains(&looks_like), "{refused}");
        let refused = marks(&ReadingView { measured_until: wrong, ..steps(NOW, NOW) }).unwrap_err();
        assert!(refused.starts_with("readings[0].measured_until BAD_INTERVAL"), "{refused}");
        assert!(refused.contains(&looks_like), "{refused}");
    }
}

#[test]
fn what_a_device_wrote_is_shown_escaped() {
    let measured_at = Some(guard::convert::timestamp(NOW));
    let text = |metric: &str, unit: &str, value: ValueView<'_>| {
        marks(&ReadingView { metric, unit, measured_at, value: Some(value), ..Default::default() }).unwrap_err()
    };
    for refused in [
        text("8867\u{2011}4", "", ValueView::Number(60.0)),
        text("8867-4", "\u{202e}mpb", ValueView::Number(60.0)),
        text("8867-4", "µmol", ValueView::Number(60.0)),
        text("67775-7", "", ValueView::Code("А")),
    ] {
        assert!(refused.is_ascii() && refused.contains("\\u{"), "{refused}");
    }
}

#[test]
fn a_reading_that_cannot_be_read_is_refused_by_its_index() {
    let unreadable = |field| proto::salvage::Unreadable { bytes: Default::default(), field, fault: "is no text" };
    let (unit, whole) = (unreadable("unit"), unreadable(""));
    let good = ReadingView {
        metric: "8867-4",
        measured_at: Some(guard::convert::timestamp(NOW)),
        value: Some(ValueView::Number(60.0)),
        ..Default::default()
    };
    let bad = |unreadable| ReadingView { unreadable: Some(unreadable), ..Default::default() };
    let readings = [good.clone(), bad(&unit), good, bad(&whole)];
    let held = directory::Assignment { patient: PatientId::from_bytes([1; 16]), from: Nanos::MIN, to: Nanos::MAX };
    let judge = Judge::new(10, ClockTolerance::default());
    let judged = judge.judge(&readings, &mut Assigned::new(vec![held]), (ClockQuality::Unknown, NOW));
    assert_eq!((judged.accepted, judged.settled), (2, true));
    let named: Vec<_> = judged.refused.named.iter().map(|r| (r.index, r.field.as_str(), r.reason.as_str())).collect();
    assert_eq!(named, [(Some(1), "readings[1].unit", "UNREADABLE"), (Some(3), "readings[3]", "UNREADABLE")]);
}
