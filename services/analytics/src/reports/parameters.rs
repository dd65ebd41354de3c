//! A report's parameters: their types, and the check of what somebody gave.

use std::collections::BTreeMap;

use datafusion::common::ScalarValue;
use model::escaped;

use super::header::barred;

/// Codes of the Postal Service: states, the capital's district, territories, associated states, military posts.
const STATES: &[&str] = &[
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "DC", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY", "LA",
    "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK", "OR",
    "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "AS", "GU", "MP", "PR", "VI", "FM",
    "MH", "PW", "AA", "AE", "AP",
];

/// A parameter of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, in snake case.
    pub name: String,
    /// What it may be.
    pub domain: Domain,
    /// What it is where nothing is given; none where something must be.
    pub default: Option<String>,
    /// What it is for.
    pub about: String,
}

/// What a parameter may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// Text of so many characters at most, and one at least.
    Text {
        /// Most characters that it may have.
        max: usize,
    },
    /// Postal code of a state or territory.
    State {
        /// Whether it may be `all`.
        all: bool,
    },
    /// A whole number, both ends included.
    Integer {
        /// Least value that is allowed.
        min: i64,
        /// Greatest value that is allowed.
        max: i64,
    },
    /// One of these.
    Choice(Vec<String>),
}

/// A parameter's value, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, a state or a choice.
    Text(String),
    /// A whole number.
    Integer(i64),
}

/// A report's parameters, checked, by name: each has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// What takes the place of the `$name`s in the query.
    pub(super) fn scalars(&self) -> Vec<(String, ScalarValue)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.scalar())).collect()
    }
}

impl Value {
    fn scalar(&self) -> ScalarValue {
        match self {
            Self::Text(text) => ScalarValue::Utf8(Some(text.clone())),
            Self::Integer(number) => ScalarValue::Int64(Some(*number)),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
        }
    }
}

/// Checks what was given, and puts defaults where nothing was.
///
/// # Errors
///
/// All mistakes, each with the parameter's name, what it may be and what to do.
pub(super) fn check(parameters: &[Parameter], given: &BTreeMap<String, String>) -> Result<Parameters, Vec<String>> {
    let mut values = BTreeMap::new();
    let mut mistakes = Vec::new();
    for parameter in parameters {
        let domain = &parameter.domain;
        match given.get(&parameter.name).or(parameter.default.as_ref()).map(|text| (text, domain.read(text))) {
            Some((_, Some(value))) => drop(values.insert(parameter.name.clone(), value)),
            Some((text, None)) => mistakes.push(format!("`{}` is `{}`: give {domain}", parameter.name, escaped(text))),
            None => mistakes.push(format!("`{}` is missing: give {domain}", parameter.name)),
        }
    }
    for name in given.keys().filter(|name| !parameters.iter().any(|parameter| parameter.name == **name)) {
        let known: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
        mistakes.push(format!("`{}` is no parameter of the report: leave it out; {known}", escaped(name)));
    }
    mistakes.extend(parameters.iter().filter_map(|parameter| ends_before(&parameter.name, &values)));
    if mistakes.is_empty() { Ok(Parameters(values)) } else { Err(mistakes) }
}

/// What is wrong with a first of something whose last comes before it: of `from_year`, that is `to_year`.
fn ends_before(first: &str, values: &BTreeMap<String, Value>) -> Option<String> {
    let last = format!("to_{}", first.strip_prefix("from_")?);
    match (values.get(first)?, values.get(&last)?) {
        (Value::Integer(from), Value::Integer(to)) if from > to => {
            Some(format!("`{first}` is `{from}`: give at most `{last}`, which is {to}, or a greater `{last}`"))
        }
        _ => None,
    }
}

impl Parameter {
    /// Reads a header's line: name, type, `required` or `default` and a value, what it is; with bars between.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let [name, domain, default, about] = barred(text)?;
        let default = match default.strip_prefix("default ") {
            Some(default) => Some(default.to_owned()),
            None if default == "required" => None,
            None => return Err(format!("`{default}` is neither `required` nor a default")),
        };
        let all = default.as_deref() == Some("all");
        let domain =
            Domain::parse(domain, all).ok_or_else(|| format!("type `{domain}` of a parameter is not known"))?;
        if default.as_ref().is_some_and(|default| domain.read(default).is_none()) {
            return Err(format!("the default of {name} is not what it may be"));
        }
        Ok(Self { name: name.into(), domain, default, about: about.into() })
    }
}

impl Domain {
    /// Reads `text(16)`, `state`, `integer 1..100` or `choice a,b`.
    fn parse(text: &str, all: bool) -> Option<Self> {
        if text == "state" {
            return Some(Self::State { all });
        }
        if let Some(max) = text.strip_prefix("text(") {
            return Some(Self::Text { max: max.strip_suffix(')')?.parse().ok()? });
        }
        if let Some(choices) = text.strip_prefix("choice ") {
            return Some(Self::Choice(choices.split(',').map(Into::into).collect()));
        }
        let (min, max) = text.strip_prefix("integer ")?.split_once("..")?;
        Some(Self::Integer { min: min.parse().ok()?, max: max.parse().ok()? })
    }

    /// Whether this text may be its value.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        self.read(text).is_some()
    }

    /// The value that this text is; none where it may not be.
    fn read(&self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Text { max } => {
                let fits = (1..=*max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
                fits.then(|| text.into())
            }
            Self::State { all } if *all && text == "all" => Some(text.into()),
            Self::State { .. } => Some(text.to_ascii_uppercase()).filter(|code| STATES.contains(&code.as_str())),
            Self::Integer { min, max } => {
                return text.parse().ok().filter(|number| (*min..=*max).contains(number)).map(Value::Integer);
            }
            Self::Choice(choices) => choices.iter().find(|choice| *choice == text).cloned(),
        };
        value.map(Value::Text)
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text { max } => write!(f, "a text of 1 to {max} characters"),
            Self::State { all: false } => f.write_str("the postal code of a state or territory, such as TX"),
            Self::State { all: true } => f.write_str("the postal code of a state or territory, such as TX, or all"),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
        }
    }
}
