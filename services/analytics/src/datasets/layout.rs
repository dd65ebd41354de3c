//! A layout: one form in which a publisher gives a data set out, how it is recognised, and what becomes of each heading.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    error::{Error, Reason},
    kind::Kind,
};

/// One of the publisher's forms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Name, mostly the vintage.
    pub name: String,
    /// What the file's name must hold, where the headings do not tell two layouts apart.
    #[serde(default)]
    pub named: String,
    /// What stands between cells: one character of ASCII.
    #[serde(default = "comma", deserialize_with = "ascii")]
    pub delimiter: u8,
    /// Headings that are not taken; `*` stands for all others.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Long to wide: lines that differ in one attribute become one row.
    pub pivot: Option<Pivot>,
    /// Wide to long: a line becomes one row for each of some headings.
    pub unpivot: Option<Unpivot>,
    /// Where each column comes from.
    pub columns: BTreeMap<String, Origin>,
}

fn comma() -> u8 {
    b','
}

fn ascii<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    let character = char::deserialize(from)?;
    let byte = u8::try_from(character).ok().filter(u8::is_ascii);
    byte.ok_or_else(|| D::Error::custom("a delimiter is one character of ASCII"))
}

/// Lines that follow each other and differ in one attribute only become one row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pivot {
    /// The heading under which the attribute's name stands.
    pub name: String,
    /// The heading under which its value stands.
    pub value: String,
    /// The attributes, which are headings afterwards.
    pub headings: Vec<String>,
}

/// A line becomes one row for each of these headings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpivot {
    /// The heading, afterwards, of what the headings stood for.
    pub name: String,
    /// The heading, afterwards, of their cells.
    pub value: String,
    /// The headings, and what they stand for.
    pub headings: BTreeMap<String, String>,
}

/// Where a column's values come from: a heading, or a rule.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Origin {
    /// The cell under this heading, by the column's type.
    Heading(String),
    /// The same with particulars.
    Rule(Box<Rule>),
}

/// How a column is made.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Heading or headings; the cells of several are put together.
    pub from: From,
    /// The same value in every row.
    pub constant: Option<String>,
    /// How the cell is read.
    pub parse: Parse,
    /// The heading of the row's state, with which a padded code must agree.
    pub state: Option<String>,
    /// What cells stand for; a cell that is not among them is refused.
    pub values: HashMap<String, String>,
    /// What a blank cell stands for.
    pub blank: Option<String>,
    /// Cells that mean that there is no value.
    pub missing: Vec<String>,
    /// Cells that mean that a value is withheld, and why; the reason goes to the column's reason column.
    pub reasons: HashMap<String, String>,
}

/// One heading or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum From {
    /// One heading, whose cell is taken.
    One(String),
    /// Several headings, whose cells are put together in this order, with nothing between.
    Many(Vec<String>),
}

impl Default for From {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// How a cell is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parse {
    /// By the column's type.
    #[default]
    Plain,
    /// A whole number with separators of thousands: `3,088`.
    Thousands,
    /// `$60,345,158`, or a plain amount.
    Money,
    /// A percentage, with or without its sign: `11%` is 11.
    Percent,
    /// `= 43.0`: a number that a spreadsheet would take for a formula.
    Equals,
    /// A day as month, day and year: `07/14/2014`.
    DateMdy,
    /// A day as ISO 8601 writes it: `2014-07-14`.
    DateYmd,
    /// `201407`, the month's first day.
    DateYm,
    /// A state by code, name or FIPS number, as its postal code.
    State,
    /// The state that a FIPS number of five digits begins with, as its postal code.
    StateOfFips,
    /// A state's FIPS number of two digits: `01`.
    StateFips,
    /// Five digits of a county.
    CountyFips,
    /// Five digits of a place: 00000 the nation, 01000 a state; `01` is a state, too.
    Fips,
    /// The five digits of a state: `Alabama` is 01000.
    FipsOfState,
    /// `nation`, `state` or `county`, by the five digits.
    Level,
    /// The first five digits of a ZIP code.
    Zip5,
    /// The last four of nine.
    Plus4,
    /// ZIP codes with spaces between.
    Zips,
    /// How many they are.
    NZips,
    /// A CMS certification number.
    Ccn,
    /// A national provider identifier, as it is.
    Npi,
    /// Whether it can be one: ten digits and the check digit.
    NpiValid,
    /// A city's key.
    CityKey,
    /// The first number of `POINT (-85.4 40.2)`.
    LongitudeOfPoint,
    /// The second number of `POINT (-85.4 40.2)`.
    LatitudeOfPoint,
}

impl Origin {
    /// The rule, also of a bare heading.
    #[must_use]
    pub fn rule(&self) -> Rule {
        match self {
            Self::Heading(heading) => Rule { from: From::One(heading.clone()), ..Rule::default() },
            Self::Rule(rule) => (**rule).clone(),
        }
    }
}

impl Rule {
    /// The headings, one or several.
    #[must_use]
    pub fn headings(&self) -> &[String] {
        match &self.from {
            From::One(heading) => std::slice::from_ref(heading),
            From::Many(headings) => headings,
        }
    }
}

impl Layout {
    /// Whether it contradicts itself.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.pivot.is_some() && self.unpivot.is_some() {
            return Err(format!("layout `{}` has a pivot and an unpivot", self.name));
        }
        let empty = |(_, origin): &(&String, &Origin)| {
            let rule = origin.rule();
            rule.headings().is_empty() == rule.constant.is_none()
        };
        match self.columns.iter().find(empty) {
            Some((name, _)) => {
                Err(format!("layout `{}`: column `{name}` needs a heading or a constant, not both", self.name))
            }
            None => Ok(()),
        }
    }

    /// The headings that a file of this layout must have.
    #[must_use]
    pub fn needed(&self) -> HashSet<String> {
        let rules = self.columns.values().map(Origin::rule);
        let mut needed: HashSet<String> =
            rules.flat_map(|rule| [rule.headings(), rule.state.as_slice()].concat()).collect();
        if let Some(pivot) = &self.pivot {
            needed.retain(|heading| !pivot.headings.contains(heading));
            needed.extend([pivot.name.clone(), pivot.value.clone()]);
        }
        if let Some(unpivot) = &self.unpivot {
            needed.retain(|heading| *heading != unpivot.name && *heading != unpivot.value);
            needed.extend(unpivot.headings.keys().cloned());
        }
        needed
    }

    /// Headings that are missing, and headings that are not known.
    fn differs(&self, headings: &[String]) -> (Vec<String>, Vec<String>) {
        let needed = self.needed();
        let mut missing: Vec<String> = needed.iter().filter(|heading| !headings.contains(heading)).cloned().collect();
        missing.sort();
        let rest = self.ignored.iter().any(|heading| heading == "*");
        let known = |heading: &&String| rest || needed.contains(*heading) || self.ignored.contains(heading);
        (missing, headings.iter().filter(|heading| !known(heading)).cloned().collect())
    }
}

/// The layout of a file with these headings; `wanted` names one.
///
/// # Errors
/// [`Error::Unknown`] where `wanted` is no layout of the kind, else [`Error::Refused`]: no layout fits (the message names the
/// headings that the nearest lacks and those that it does not know), or several do.
pub(super) fn recognise<'k>(
    kind: &'k Kind,
    file: &str,
    headings: &[String],
    wanted: Option<&str>,
) -> Result<&'k Layout, Error> {
    if let Some(name) = wanted.filter(|name| !kind.layouts.iter().any(|layout| layout.name == *name)) {
        let known = kind.layouts.iter().map(|layout| layout.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::Unknown { what: "layout", name: name.to_owned(), known });
    }
    let asked = |layout: &&Layout| wanted.is_none_or(|name| layout.name == name);
    let fits = |layout: &&Layout| layout.differs(headings) == (vec![], vec![]);
    let candidates: Vec<&Layout> = kind.layouts.iter().filter(asked).filter(fits).collect();
    let named = |layout: &&Layout| wanted.is_some() || file.contains(&layout.named);
    let fitting: Vec<&Layout> = candidates.iter().copied().filter(named).collect();
    match (fitting.as_slice(), candidates.as_slice()) {
        ([layout], _) => once(layout, file, headings).map(|()| *layout),
        ([], []) => Err(Error::refused(file, 1, Reason::UnknownLayout, nearest(kind, headings, wanted))),
        _ => {
            let names = candidates.iter().map(|layout| format!("{} (file name with `{}`)", layout.name, layout.named));
            let what =
                format!("its headings fit these layouts of {}: {}", kind.name, names.collect::<Vec<_>>().join(", "));
            Err(Error::refused(file, 1, Reason::AmbiguousLayout, what))
        }
    }
}

/// Refuses a heading that is used and occurs twice.
fn once(layout: &Layout, file: &str, headings: &[String]) -> Result<(), Error> {
    let needed = layout.needed();
    let twice =
        |heading: &&String| needed.contains(*heading) && headings.iter().filter(|other| other == heading).count() > 1;
    match headings.iter().find(twice) {
        Some(heading) => {
            let heading = model::escaped(heading);
            Err(Error::refused(file, 1, Reason::RepeatedHeading, format!("heading `{heading}` occurs twice")))
        }
        None => Ok(()),
    }
}

/// What the nearest layout lacks and does not know.
fn nearest(kind: &Kind, headings: &[String], wanted: Option<&str>) -> String {
    let asked = kind.layouts.iter().filter(|layout| wanted.is_none_or(|name| layout.name == name));
    let all = asked.map(|layout| (layout.differs(headings), layout));
    let Some(((missing, unknown), layout)) =
        all.min_by_key(|((missing, unknown), _)| (missing.len() + unknown.len(), missing.len()))
    else {
        return format!("{} has no layout", kind.name);
    };
    let some = |headings: &[String]| {
        let quoted = headings.iter().take(8).map(|heading| format!("`{}`", model::escaped(heading)));
        let more = headings.len().saturating_sub(8);
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        if headings.is_empty() { "none".to_owned() } else { quoted.collect::<Vec<_>>().join(", ") + &rest }
    };
    let (name, table) = (&layout.name, &kind.name);
    format!(
        "no layout of {table} has these headings; nearest is {name}: missing {}; unknown {}",
        some(&missing),
        some(&unknown)
    )
}
