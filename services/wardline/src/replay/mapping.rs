//! The table of `mapping.toml`: from a recording's item to metric, unit and source, and whether a value is one.

use super::text::{Side, close, leading, parse, side};
use anyhow::{Context, Result, bail};
use model::{Absence, Comparator, Kind as MetricKind, Metric, by_code};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// The table that is compiled in.
const TABLE: &str = include_str!("mapping.toml");
/// Why there is no value, as FHIR says it: of a text whose number means nothing, and of the recording's number for "not measured".
const NOT_APPLICABLE: &str = "not-applicable";
const NOT_PERFORMED: &str = "not-performed";
/// These stand behind the comparators in [`Mapping::sent`], in this order.
const ABSENCES: [&str; 2] = [NOT_APPLICABLE, NOT_PERFORMED];

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
    /// The recording's own number for "not measured", of an item that is sent in no unit.
    Missing,
    /// The text says that the number means nothing, of such an item.
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

/// What the charted time is to a value that was gathered over a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasts {
    /// The beginning of an hour.
    HourAfter,
    /// The end of what began when the same item was charted before; of the first one nobody knows the beginning.
    SincePrevious,
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
    /// Why there is no value, for what has none.
    pub absent: Option<Absence>,
    /// How the charted time and the time that it lasts belong together; `None` for what is of an instant.
    pub lasts: Option<Lasts>,
}

/// What one item of a recording means.
pub struct Item {
    /// Kind of device that sends it.
    pub source: &'static str,
    /// Unit as written -> index into [`Mapping::sent`].
    units: HashMap<String, u16>,
    /// For values without a unit.
    empty: Option<u16>,
    /// The unit of these, as it is sent.
    empty_unit: Option<String>,
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

impl<'a> Written<'a> {
    /// A text, where the recording has neither a number nor a unit beside it.
    pub fn alone(text: &'a str) -> Self {
        Self { text, number: "", unit: "" }
    }
}

impl Item {
    /// The place in [`Mapping::sent`] and the value: 0 for a code and for none, the number of a bound (`<40`; `LO` and `HI` where
    /// the item's limits are known).
    pub fn judge(&self, written: Written<'_>) -> Result<(u16, f64), Skip> {
        let (text, unit) = (written.text.trim(), written.unit.trim());
        if !self.codes.is_empty() {
            return match self.codes.get(text) {
                Some(&sent) => Ok((sent, 0.0)),
                None if text.is_empty() => Err(Skip::NoValue),
                None => Err(Skip::UnknownText),
            };
        }
        let (value, number) = (parse(text), parse(written.number));
        // a number column has of a bound the number alone, and beside `HI` anything at all
        let said = if value.is_none() { side(text) } else { Side::Neither };
        match said {
            Side::Of(comparator, rest) => return self.bound(comparator, (leading(rest), number), unit),
            Side::Beyond(comparator) => return self.beyond(comparator),
            Side::Unclear => return Err(Skip::NotANumber),
            Side::Neither => {}
        }
        if self.not_testable.iter().any(|words| words == text) {
            return self.absent(NOT_APPLICABLE).ok_or(Skip::NotTestable);
        }
        let (value, percent) = match (value, number) {
            (Some(text), Some(number)) => (agreed(text, number), false),
            (Some(value), None) | (None, Some(value)) => (value, false),
            (None, None) if text.is_empty() && written.number.trim().is_empty() => return Err(Skip::NoValue),
            (None, None) => (text.strip_suffix('%').and_then(parse).ok_or(Skip::NotANumber)?, true),
        };
        if self.missing.contains(&value) {
            return self.absent(NOT_PERFORMED).ok_or(Skip::Missing);
        }
        let sent = match (percent, unit) {
            (true, "" | "%") => self.percent,
            (true, _) => None,
            (false, unit) => self.stated(unit),
        };
        Ok((sent.ok_or(Skip::UnknownUnit)?, value))
    }

    /// What is sent in a unit of the unit column.
    fn stated(&self, unit: &str) -> Option<u16> {
        if unit.is_empty() { self.empty } else { self.units.get(unit).copied() }
    }

    /// What has no value, for one of [`ABSENCES`]; the unit says nothing then.
    fn absent(&self, reason: &str) -> Option<(u16, f64)> {
        let sent = self.empty.or_else(|| self.units.values().copied().min())?;
        let at = ABSENCES.iter().position(|one| *one == reason)?;
        // the comparator with the highest code is the last before them
        Some((sent + place(Comparator::Greater) + 1 + u16::try_from(at).ok()?, 0.0))
    }

    /// A bound, of the number in the text with what stands behind it, and that of the number column.
    fn bound(
        &self,
        comparator: Comparator,
        numbers: (Option<(f64, &str)>, Option<f64>),
        unit: &str,
    ) -> Result<(u16, f64), Skip> {
        let (limit, behind) = match numbers {
            (Some((text, behind)), Some(number)) => (agreed(text, number), behind),
            (Some((text, behind)), None) => (text, behind),
            (None, Some(number)) => (number, ""),
            (None, None) => return Err(Skip::NotANumber),
        };
        let is_empty_unit = || self.empty_unit.as_ref().is_some_and(|empty| empty.eq_ignore_ascii_case(behind));
        let sent = match (behind, unit) {
            ("%", "" | "%") => self.percent,
            ("%", _) => None,
            ("", unit) => self.stated(unit),
            (behind, "") => self.units.get(behind).copied().or_else(|| self.empty.filter(|_| is_empty_unit())),
            // the number column is in the unit of the unit column
            (behind, unit) if numbers.1.is_some() || behind.eq_ignore_ascii_case(unit) => self.stated(unit),
            _ => None,
        };
        Ok((sent.ok_or(Skip::UnknownUnit)? + place(comparator), limit))
    }

    /// What the device cannot measure: a bound where its limits are known.
    fn beyond(&self, comparator: Comparator) -> Result<(u16, f64), Skip> {
        let [low, high] = self.limits.ok_or(Skip::NotANumber)?;
        let limit = if comparator == Comparator::Less { low } else { high };
        Ok((self.empty.ok_or(Skip::UnknownUnit)? + place(comparator), limit))
    }
}

/// How far behind the one without a comparator it stands in [`Mapping::sent`].
fn place(comparator: Comparator) -> u16 {
    u16::from(comparator.code())
}

/// One value of both columns: the text has all digits, the number is often a widened 32-bit float. Where they differ, the
/// number is the publisher's reading of the text.
fn agreed(text: f64, number: f64) -> f64 {
    if close(text, number) { text } else { number }
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
    eicu_periodic: Vec<Entry>,
    eicu_aperiodic: Vec<Entry>,
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
    lasts: Option<Lasts>,
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
            ("eicu_periodic", file.eicu_periodic),
            ("eicu_aperiodic", file.eicu_aperiodic),
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

    /// The items of a section: `mimic`, `eicu_hourly`, `eicu_periodic`, `eicu_aperiodic`, `eicu_respiratory`, `cgm` or `physionet2012`.
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
                empty_unit: entry.empty.clone(),
                percent: None,
                codes: HashMap::new(),
                limits: entry.limits,
                missing: entry.missing.clone(),
                not_testable: entry.not_testable.clone(),
            };
            let written = entry.units.iter().map(|unit| (unit, unit)).chain(&entry.relabel);
            for (written, unit) in written {
                item.units.insert(written.clone(), self.put(name, metric, unit, None, entry.lasts)?);
            }
            let empty = entry.empty.as_deref().map(|unit| self.put(name, metric, unit, None, entry.lasts));
            item.empty = empty.transpose()?;
            item.percent = if entry.empty.as_deref() == Some("%") { item.empty } else { item.units.get("%").copied() };
            for (text, code) in &entry.codes {
                item.codes.insert(text.clone(), self.put(name, metric, "", Some(code), entry.lasts)?);
            }
            if items.insert(name.clone(), item).is_some() {
                bail!("{section}: item {name} is there twice");
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        item: &str,
        metric: &'static Metric,
        unit: &str,
        code: Option<&String>,
        lasts: Option<Lasts>,
    ) -> Result<u16> {
        let sent = |comparator, absent| {
            let (item, unit, code) = (item.to_owned(), unit.to_owned(), code.cloned());
            Sent { item, metric: metric.key, unit, code, comparator, absent, lasts }
        };
        let index = match self.sent.iter().position(|known| *known == sent(None, None)) {
            Some(index) => index,
            None => {
                let at = self.sent.len();
                self.sent.push(sent(None, None));
                // in the order of their codes, which `judge` counts on
                self.sent.extend((1..).map_while(Comparator::from_code).map(|comparator| sent(Some(comparator), None)));
                self.sent.extend(ABSENCES.map(|reason| sent(None, Absence::named(reason))));
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
mod tests;
