//! A kind of data set: its table, its key, what it refers to, and the publisher's layouts. Kinds are data, compiled in.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::Deserialize;

use super::{error::Error, layout::Layout};

/// A kind of data set, as its file in `datasets/` defines it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Name of the kind and of its table in SQL.
    #[serde(skip)]
    pub name: String,
    /// Title of the data set for people, in a few words.
    pub title: String,
    /// Who publishes it.
    pub publisher: String,
    /// Web address at which the publisher describes it or gives it out.
    pub source: String,
    /// Under which terms.
    pub licence: String,
    /// Columns that make a row unique; empty where nothing does. A row with a null among them is not compared.
    pub key: Vec<String>,
    /// The table's columns, in order.
    pub columns: Vec<Column>,
    /// What must be found in other tables.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Greatest share of refused rows with which an import passes the check of types, 0 to 1.
    #[serde(default = "one_percent")]
    pub most_refused: f64,
    /// The forms in which the publisher has given it out.
    #[serde(rename = "layout")]
    pub layouts: Vec<Layout>,
}

fn one_percent() -> f64 {
    0.01
}

/// A column of a kind's table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name, in snake case.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub kind: Type,
    /// UCUM unit; none for counts, codes and texts.
    #[serde(default)]
    pub unit: String,
    /// Whether a row without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Exact number of characters of a code; 0 where it is free.
    #[serde(default)]
    pub width: usize,
    /// Lowest and highest possible value: a row outside is refused.
    pub range: Option<(f64, f64)>,
    /// Lowest and highest value to be expected: outside is said by the check of ranges.
    pub plausible: Option<(f64, f64)>,
    /// Smallest share of rows that must have it, 0 to 1.
    #[serde(default)]
    pub complete: f64,
    /// The column that says why this one is null.
    pub reason: Option<String>,
    /// Whether its values are never quoted in a report or a message.
    #[serde(default)]
    pub private: bool,
    /// What the column holds, in words.
    pub about: String,
}

/// Type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Type {
    /// UTF-8 text; codes too.
    Text,
    /// Whole number of 64 bits, with a sign.
    Integer,
    /// Exact number with so many digits, so many of them after the point.
    Decimal(u8, i8),
    /// 64-bit floating point.
    Double,
    /// True or false.
    Boolean,
    /// Calendar day, without time and time zone.
    Date,
}

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let decimal = |text: &str| {
            let (digits, places) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            Some(Self::Decimal(digits.parse().ok()?, places.parse().ok()?))
        };
        match text.as_str() {
            "text" => Ok(Self::Text),
            "integer" => Ok(Self::Integer),
            "double" => Ok(Self::Double),
            "boolean" => Ok(Self::Boolean),
            "date" => Ok(Self::Date),
            other => decimal(other).ok_or_else(|| format!("type `{other}` is not known")),
        }
    }
}

impl Type {
    /// The type in Arrow.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Decimal(digits, places) => DataType::Decimal128(digits, places),
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
        }
    }
}

/// Columns whose values must be found in another kind's table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Text columns of this kind that together make the key that is looked up.
    pub columns: Vec<String>,
    /// The other kind.
    pub kind: String,
    /// Columns there, in the same order.
    pub to: Vec<String>,
    /// Greatest share without a partner with which the check passes, 0 to 1.
    pub most: f64,
    /// What the share is of: a column here that is added up; rows where there is none.
    pub weight: Option<String>,
}

impl Kind {
    /// Reads a definition.
    ///
    /// # Errors
    /// [`Error::Definition`] where it cannot be read or contradicts itself.
    pub fn read(name: &str, text: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::Definition { kind: name.to_owned(), what };
        let mut kind: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        name.clone_into(&mut kind.name);
        kind.check().map_err(wrong)?;
        Ok(kind)
    }

    fn check(&self) -> Result<(), String> {
        let names: HashSet<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        if names.len() != self.columns.len() {
            return Err("a column occurs twice".into());
        }
        let reasons = self.columns.iter().filter_map(|column| column.reason.as_ref());
        let here = self.references.iter().flat_map(|reference| reference.columns.iter().chain(&reference.weight));
        let used = self.layouts.iter().flat_map(|layout| layout.columns.keys());
        if let Some(name) =
            self.key.iter().chain(reasons).chain(here).chain(used).find(|name| !names.contains(name.as_str()))
        {
            return Err(format!("there is no column `{name}`"));
        }
        // The header is split before its layout is known.
        if self.layouts.windows(2).any(|pair| pair[0].delimiter != pair[1].delimiter) {
            return Err("its layouts have different delimiters".into());
        }
        for layout in &self.layouts {
            layout.check()?;
            let lacking =
                self.columns.iter().find(|column| column.required && !layout.columns.contains_key(&column.name));
            if let Some(column) = lacking {
                return Err(format!("layout `{}` does not fill the required column `{}`", layout.name, column.name));
            }
        }
        Ok(())
    }

    /// The table's schema: a required column is not nullable.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, column.kind.arrow(), !column.required);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Position of a column of this kind.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

macro_rules! definitions {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../datasets/", $name, ".toml")))),*]
    };
}

/// Name and text of each definition.
const DEFINITIONS: &[(&str, &str)] = definitions![
    "cities",
    "county_population",
    "county_rurality",
    "coverage",
    "education",
    "hospital_locations",
    "hospitals",
    "infant_mortality",
    "inpatient_costs",
    "life_expectancy",
    "medicaid_enrolment",
    "medicare_spending",
    "poverty_income",
    "premiums",
    "prescribers",
    "preventable_stays",
    "readmissions",
    "sites",
    "social_vulnerability",
    "state_panel",
    "state_population",
    "unemployment",
    "zip_county",
    "zip_rurality",
];

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let read = |(name, text): &(&str, &str)| Kind::read(name, text).expect("a test reads every definition");
    DEFINITIONS.iter().map(read).collect()
});

/// Every kind, by name.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// The kind of this name.
///
/// # Errors
/// [`Error::Unknown`], with the names that there are.
pub fn kind(name: &str) -> Result<&'static Kind, Error> {
    static BY_NAME: LazyLock<HashMap<&str, &Kind>> =
        LazyLock::new(|| kinds().iter().map(|kind| (kind.name.as_str(), kind)).collect());
    BY_NAME.get(name).copied().ok_or_else(|| Error::Unknown {
        what: "kind",
        name: name.to_owned(),
        known: kinds().iter().map(|kind| kind.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}
