//! The table of `mapping.toml`: from a recording's item to metric, unit and source, and whether a value is one.

use anyhow::{Context, Result, bail};
use model::{Comparator, Kind as MetricKind, Metric, by_code};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// The table that is compiled in.
const TABLE: &str = include_str!("mapping.toml");
/// Number and text of one value may differ by this part when the recording rounded one of them to 32 bits.
const ROUNDING: f64 = 1e-4;

/// Why a row or a value was not sent. The name is what reports show; it is never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The row ends before a column that is needed.
    ShortRow,
    /// A field that is needed is not UTF-8.
    NotText,
    /// The row names no patient.
    NoPatient,
    /// The time is missing or cannot be read.
    BadTime,
    /// The value is empty.
    NoValue,
    /// The value is not a finite number.
    NotANumber,
    /// The unit is not one that the table has for this item.
    UnknownUnit,
    /// The recording's own number for "not measured".
    Missing,
    /// The text says that the number means nothing.
    NotTestable,
    /// A text that is no code of the metric.
    UnknownText,
}

impl Skip {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortRow => "short_row",
            Self::NotText => "not_text",
            Self::NoPatient => "no_patient",
            Self::BadTime => "bad_time",
            Self::NoValue => "no_value",
            Self::NotANumber => "not_a_number",
            Self::UnknownUnit => "unknown_unit",
            Self::Missing => "missing",
            Self::NotTestable => "not_testable",
            Self::UnknownText => "unknown_text",
        }
    }
}

/// One way in which a reading is sent: what all readings of one item in one unit have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The item, as the recording names it.
    pub item: String,
    /// Key of the metric: a LOINC code, `mdc:...` or `sct:...`.
    pub metric: &'static str,
    /// The unit on the wire; empty for a code.
    pub unit: String,
    /// The code, for a coded metric.
    pub code: Option<String>,
    /// On which side of its number the value lies, for what is a bound.
    pub comparator: Option<Comparator>,
}

/// What one item of a recording means.
pub struct Item {
    /// Kind of device that sends it.
    pub source: &'static str,
    /// Unit as written -> index into [`Mapping::sent`].
    units: HashMap<String, u16>,
    /// For values without a unit.
    empty: Option<u16>,
    percent: Option<u16>,
    codes: HashMap<String, u16>,
    /// What the device shows as `LO` and `HI` beyond: in the unit of values without one.
    limits: Option<[f64; 2]>,
    missing: Vec<f64>,
    not_testable: Vec<String>,
}

/// One value as a recording writes it; all texts may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The value as text.
    pub text: &'a str,
    /// The same as a number, where the recording has a column for it.
    pub number: &'a str,
    /// The unit as the recording writes it; may be empty.
    pub unit: &'a str,
}

impl Item {
    /// The place in [`Mapping::sent`] and the value: 0 for a code, the number of a bound (`<40`; `LO` and `HI` where the item's
    /// limits are known).
    pub fn judge(&self, written: Written<'_>) -> Result<(u16, f64), Skip> {
        let (text, unit) = (written.text.trim(), written.unit.trim());
        let number = written.number.trim();
        if !self.codes.is_empty() {
            return match self.codes.get(text) {
                Some(&sent) => Ok((sent, 0.0)),
                None if text.is_empty() => Err(Skip::NoValue),
                None => Err(Skip::UnknownText),
            };
        }
        if let Some((comparator, number)) = self.bound(text) {
            let sent = if unit.is_empty() { self.empty } else { self.units.get(unit).copied() };
            // those with a comparator stand right after the one without
            return Ok((sent.ok_or(Skip::UnknownUnit)? + u16::from(comparator.code()), number));
        }
        if self.not_testable.iter().any(|words| words == text) {
            return Err(Skip::NotTestable);
        }
        let (value, percent) = match (parse(text), parse(number)) {
            // the text has all digits, the number is often a widened 32-bit float
            (Some(text), Some(number)) => (if close(text, number) { text } else { number }, false),
            (Some(value), None) | (None, Some(value)) => (value, false),
            (None, None) if text.is_empty() && number.is_empty() => return Err(Skip::NoValue),
            (None, None) => (text.strip_suffix('%').and_then(parse).ok_or(Skip::NotANumber)?, true),
        };
        if self.missing.contains(&value) {
            return Err(Skip::Missing);
        }
        let sent = match (percent, unit) {
            (true, "" | "%") => self.percent,
            (true, _) => None,
            (false, "") => self.empty,
            (false, unit) => self.units.get(unit).copied(),
        };
        Ok((sent.ok_or(Skip::UnknownUnit)?, value))
    }
}

impl Item {
    /// A text that says on which side of a number the value lies.
    fn bound(&self, text: &str) -> Option<(Comparator, f64)> {
        let signs = [
            ("<=", Comparator::LessOrEqual),
            ("\u{2264}", Comparator::LessOrEqual),
            (">=", Comparator::GreaterOrEqual),
            ("\u{2265}", Comparator::GreaterOrEqual),
            ("<", Comparator::Less),
            (">", Comparator::Greater),
        ];
        if let Some(bound) = signs.iter().find_map(|(sign, is)| Some((*is, parse(text.strip_prefix(sign)?)?))) {
            return Some(bound);
        }
        let [low, high] = self.limits?;
        match text.to_ascii_lowercase().as_str() {
            "lo" | "low" => Some((Comparator::Less, low)),
            "hi" | "high" => Some((Comparator::Greater, high)),
            _ => None,
        }
    }
}

fn parse(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * b.abs().max(1.0)
}

/// The table that maps a recording's items to metrics (`mapping.toml`).
pub struct Mapping {
    sections: HashMap<&'static str, HashMap<String, Item>>,
    sent: Vec<Sent>,
    sources: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    mimic: Vec<Entry>,
    eicu_hourly: Vec<Entry>,
    eicu_respiratory: Vec<Entry>,
    cgm: Vec<Entry>,
    physionet2012: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    metric: String,
    source: String,
    items: BTreeMap<String, String>,
    #[serde(default)]
    units: Vec<String>,
    #[serde(default)]
    relabel: BTreeMap<String, String>,
    empty: Option<String>,
    limits: Option<[f64; 2]>,
    #[serde(default)]
    missing: Vec<f64>,
    #[serde(default)]
    not_testable: Vec<String>,
    #[serde(default)]
    codes: BTreeMap<String, String>,
}

impl Mapping {
    /// The table that is compiled in.
    pub fn load() -> Result<Self> {
        Self::parse(TABLE).context("replay/mapping.toml")
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        if file.version != 1 {
            bail!("version {} is not known; this program reads version 1", file.version);
        }
        let mut mapping = Self { sections: HashMap::new(), sent: Vec::new(), sources: Vec::new() };
        for (section, entries) in [
            ("mimic", file.mimic),
            ("eicu_hourly", file.eicu_hourly),
            ("eicu_respiratory", file.eicu_respiratory),
            ("cgm", file.cgm),
            ("physionet2012", file.physionet2012),
        ] {
            let mut items = HashMap::new();
            for entry in entries {
                mapping.add(section, entry, &mut items)?;
            }
            mapping.sections.insert(section, items);
        }
        Ok(mapping)
    }

    /// The items of a section: `mimic`, `eicu_hourly`, `eicu_respiratory`, `cgm` or `physionet2012`.
    pub fn section(&self, name: &str) -> Result<&HashMap<String, Item>> {
        self.sections.get(name).with_context(|| format!("replay/mapping.toml has no section {name}"))
    }

    /// What `judge` gave a number of.
    pub fn sent(&self, index: u16) -> &Sent {
        &self.sent[usize::from(index)]
    }

    fn add(&mut self, section: &str, entry: Entry, items: &mut HashMap<String, Item>) -> Result<()> {
        let metric = by_code(&entry.metric).with_context(|| format!("{section}: no metric {}", entry.metric))?;
        let source = self.source(&entry.source);
        for code in entry.codes.values() {
            let MetricKind::Coded(known) = metric.kind else { bail!("{section}: {} takes no codes", metric.key) };
            if !known.contains(&code.as_str()) {
                bail!("{section}: {} has no code {code}", metric.key);
            }
        }
        for name in entry.items.keys() {
            let mut item = Item {
                source,
                units: HashMap::new(),
                empty: None,
                percent: None,
                codes: HashMap::new(),
                limits: entry.limits,
                missing: entry.missing.clone(),
                not_testable: entry.not_testable.clone(),
            };
            let written = entry.units.iter().map(|unit| (unit, unit)).chain(&entry.relabel);
            for (written, unit) in written {
                item.units.insert(written.clone(), self.put(name, metric, unit, None)?);
            }
            item.empty = entry.empty.as_deref().map(|unit| self.put(name, metric, unit, None)).transpose()?;
            item.percent = if entry.empty.as_deref() == Some("%") { item.empty } else { item.units.get("%").copied() };
            for (text, code) in &entry.codes {
                item.codes.insert(text.clone(), self.put(name, metric, "", Some(code))?);
            }
            if items.insert(name.clone(), item).is_some() {
                bail!("{section}: item {name} is there twice");
            }
        }
        Ok(())
    }

    fn put(&mut self, item: &str, metric: &'static Metric, unit: &str, code: Option<&String>) -> Result<u16> {
        let sent = |comparator| {
            let (item, unit, code) = (item.to_owned(), unit.to_owned(), code.cloned());
            Sent { item, metric: metric.key, unit, code, comparator }
        };
        let index = match self.sent.iter().position(|known| *known == sent(None)) {
            Some(index) => index,
            None => {
                let at = self.sent.len();
                self.sent.push(sent(None));
                // in the order of their codes, which `judge` counts on
                self.sent.extend((1..).map_while(Comparator::from_code).map(|comparator| sent(Some(comparator))));
                at
            }
        };
        Ok(u16::try_from(index)?)
    }

    fn source(&mut self, name: &str) -> &'static str {
        if let Some(known) = self.sources.iter().find(|known| **known == name) {
            return known;
        }
        // the table is read once and lives as long as the process
        let name: &'static str = name.to_owned().leak();
        self.sources.push(name);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(section: &str, item: &str, text: &str, number: &str, unit: &str) -> Result<(String, f64), Skip> {
        let mapping = Mapping::load().unwrap();
        let item = &mapping.section(section).unwrap()[item];
        item.judge(Written { text, number, unit }).map(|(sent, value)| {
            let sent = mapping.sent(sent);
            let sign = sent.comparator.map_or("", Comparator::sign);
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
    fn what_is_no_value_has_a_reason() {
        assert_eq!(judge("mimic", "211", "", "", "BPM"), Err(Skip::NoValue));
        assert_eq!(judge("mimic", "211", "fast", "", "BPM"), Err(Skip::NotANumber));
        assert_eq!(judge("mimic", "211", "inf", "NaN", "BPM"), Err(Skip::NotANumber));
        assert_eq!(judge("mimic", "211", "80", "80", ""), Err(Skip::UnknownUnit));
        assert_eq!(judge("mimic", "211", "80", "80", "Hz"), Err(Skip::UnknownUnit));
        assert_eq!(judge("physionet2012", "Weight", "-1", "", ""), Err(Skip::Missing));
        assert_eq!(judge("mimic", "723", "1.0 ET/Trach", "1", ""), Err(Skip::NotTestable));
        assert_eq!(judge("mimic", "223791", "Unable to Score", "0", ""), Err(Skip::NotTestable));
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
                "version = 1\neicu_hourly = []\neicu_respiratory = []\ncgm = []\nphysionet2012 = []\n[[mimic]]\n{line}"
            )
        };
        let refused = |line: &str| format!("{:#}", Mapping::parse(&table(line)).err().unwrap());
        assert!(refused("metric = \"0-0\"\nsource = \"x\"\nitems = {}").contains("no metric 0-0"));
        assert!(
            refused("metric = \"67775-7\"\nsource = \"x\"\nitems = {}\ncodes = { a = \"Z\" }").contains("no code Z")
        );
        assert!(refused("metric = \"8867-4\"\nsource = \"x\"\nitems = {}\nunit = \"bpm\"").contains("unit"));
    }
}
