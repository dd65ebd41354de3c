//! The metric catalogue: data in `catalog/metrics.toml` and `catalog/units.toml`, checked and compiled in by `build.rs`.

use std::{collections::HashMap, sync::LazyLock};

/// A metric's number in the catalogue: what blocks are written with, so it is never changed or used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricId(pub u16);

/// A clinical metric of the catalogue.
#[derive(Debug)]
pub struct Metric {
    /// Number of the metric; never changed or used again.
    pub id: MetricId,
    /// The system of its code.
    pub system: CodeSystem,
    /// Its code; with `system` what FHIR calls a coding.
    pub code: &'static str,
    /// The key that devices and readers use: the LOINC code, or `mdc:150452`, `sct:1104051000000101`.
    pub key: &'static str,
    /// Name of the metric, in the words of clinicians.
    pub name: &'static str,
    /// The kind of values that the metric has.
    pub kind: Kind,
    /// UCUM code of the canonical unit; empty for coded values.
    pub unit: &'static str,
    /// Lowest and highest value that can be true, in the canonical unit. Data quality, not an alarm limit.
    pub plausible: Option<(f64, f64)>,
    /// Where most true values lie, in the canonical unit and within `plausible`; of a waveform: its highest sample. `None`:
    /// no value is asked whether its unit is the right one.
    pub typical: Option<(f64, f64)>,
    /// A typical value of an adult at rest, in the canonical unit.
    pub usual: Option<f64>,
    /// Other units, as UCUM codes, in which the field writes the same thing: a number that would be typical in one of them,
    /// and is not as it is labelled, is suspect.
    pub other_units: &'static [&'static str],
    /// Other units of the field whose usual values are typical in the canonical one, too: a number is suspect as above where it is
    /// beyond what is typical as it is labelled.
    pub distinct_beyond: &'static [&'static str],
    /// Other units of the field that no number tells from the canonical one.
    pub indistinct: &'static [&'static str],
    /// Other keys that mean this metric (`2708-6`, `mdc:147842` ...).
    pub synonyms: &'static [&'static str],
    /// Codes of ISO/IEEE 11073-10101 that mean this metric.
    pub mdc: &'static [u32],
    /// Factors that no unit library can know, such as mmol/L of glucose: (UCUM unit, factor).
    pub factors: &'static [(&'static str, Factor)],
    /// FHIR observation category, such as `vital-signs`.
    pub category: &'static str,
    /// Whether values of several spans of time add up to that of all: steps do, heart rates do not.
    pub adds_up: bool,
    /// Whether the code was found in a primary source.
    pub confirmed: bool,
}

impl Metric {
    /// Whether a value in the canonical unit is one of the typical ones; never, where none are known.
    pub fn is_typical(&self, value: f64) -> bool {
        self.typical.is_some_and(|(low, high)| low <= value && value <= high)
    }
}

/// The system a code belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSystem {
    /// LOINC, codes of laboratory and clinical observations: <http://loinc.org>.
    Loinc,
    /// ISO/IEEE 11073-10101, the nomenclature of medical devices.
    Mdc,
    /// SNOMED CT, <http://snomed.info/sct>.
    Snomed,
}

/// The kind of values that a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number in a unit.
    Number,
    /// A code of this value set.
    Coded(&'static [&'static str]),
    /// Blocks of samples in a unit.
    Waveform,
    /// A panel: a code for a group of metrics, without a value of its own.
    Panel,
}

/// Turns a value into the canonical unit: `value * scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor {
    /// What the value is multiplied with, before anything is added.
    pub scale: f64,
    /// What is added after that, in the canonical unit.
    pub offset: f64,
}

impl Factor {
    /// Of a value that is in the canonical unit already.
    pub const IDENTITY: Self = Self { scale: 1.0, offset: 0.0 };

    /// The value in the canonical unit, without the dust that binary fractions leave (98.6 degF is 37 Cel).
    pub fn apply(self, value: f64) -> f64 {
        if self == Self::IDENTITY {
            return value;
        }
        let exact = value * self.scale + self.offset;
        let rounded = (exact * 1e9).round() / 1e9;
        // tiny and huge values keep their digits
        if (1e-3..1e6).contains(&exact.abs()) { rounded } else { exact }
    }
}

// METRICS (ascending by id), KEYS and ALIASES (ascending by text)
include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Every metric, ascending by number.
pub fn metrics() -> &'static [Metric] {
    METRICS
}

/// The metric with a number.
pub fn by_id(id: MetricId) -> Option<&'static Metric> {
    METRICS.binary_search_by_key(&id, |m| m.id).ok().map(|i| &METRICS[i])
}

/// The metric that a key or a synonym means.
pub fn by_code(key: &str) -> Option<&'static Metric> {
    // asked for every metric of every batch: a search among some hundred texts would show in a profile
    static BY_KEY: LazyLock<HashMap<&str, &Metric>> =
        LazyLock::new(|| KEYS.iter().map(|&(key, place)| (key, &METRICS[place])).collect());
    BY_KEY.get(key).copied()
}

/// The UCUM code for a unit as the field writes it (`mmHg`, `bpm`), when it is a reviewed alias.
pub fn unit_alias(text: &str) -> Option<&'static str> {
    let at = ALIASES.binary_search_by_key(&text, |(alias, _)| alias).ok()?;
    Some(ALIASES[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_synonyms_and_numbers_lead_to_their_metric() {
        for metric in metrics() {
            assert!(std::ptr::eq(by_id(metric.id).unwrap(), metric));
            for key in metric.synonyms.iter().chain([&metric.key]) {
                assert!(std::ptr::eq(by_code(key).unwrap(), metric), "{key}");
            }
        }
        assert!(by_code("0000-0").is_none());
    }

    #[test]
    fn heart_rate_is_what_everybody_calls_it() {
        let metric = by_code("8867-4").unwrap();
        assert_eq!((metric.unit, metric.plausible), ("/min", Some((0.0, 350.0))));
        assert_eq!(unit_alias("mmHg"), Some("mm[Hg]"));
    }
}
