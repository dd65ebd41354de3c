//! A report's header: lines `-- key: value` before the SELECT.
//!
//! | key | value |
//! |---|---|
//! | `title`, `about` | for people; `about` may take several lines |
//! | `alias` | another name |
//! | `tables` | kinds of data sets that the query reads, with commas |
//! | `uses` | reports whose results the query reads as tables, with their default parameters |
//! | `source` | a publisher of the tables |
//! | `parameter` | name, type, `required` or `default` and a value, what it is; with bars between |
//! | `column` | name, type, UCUM unit, what it is; with bars between |
//! | `order` | the columns that the rows are ordered by; ` desc` after those that fall |
//! | `key` | columns that make a row unique, and stay when its numbers change; none: those of `order` |

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;

use super::parameters::Parameter;

/// A report: what its header says, and its SQL.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name, in snake case.
    pub name: String,
    /// For people, in a few words.
    pub title: String,
    /// For people: what is counted, and how.
    pub about: String,
    /// Other names by which it is found, and routes that submit it as a job.
    pub aliases: Vec<String>,
    /// Kinds of data sets that it reads, also by way of other reports.
    pub tables: BTreeSet<String>,
    /// Reports whose results it reads as tables.
    pub uses: Vec<String>,
    /// Who publishes the tables.
    pub sources: BTreeSet<String>,
    /// What may be asked, in order.
    pub parameters: Vec<Parameter>,
    /// What a row has, in order.
    pub columns: Vec<Column>,
    /// What the rows are ordered by: a total order.
    pub order: Vec<Order>,
    /// The columns that make a row unique, for those who keep the rows of several runs.
    pub key: Vec<String>,
    /// The query, with a `$name` for each parameter.
    pub sql: &'static str,
}

/// A column of a report's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, in snake case.
    pub name: String,
    /// Type of its values.
    pub kind: Type,
    /// UCUM unit, `1` of counts and shares; none of codes and texts. `USD` stands for dollars of the United States.
    pub unit: String,
    /// What the column means, in words.
    pub about: String,
}

/// Type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A column that rows are ordered by; nulls are last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Name of the column.
    pub column: String,
    /// Whether the greatest is first.
    pub descending: bool,
}

impl Report {
    /// Reads a report's file.
    ///
    /// # Errors
    ///
    /// What is wrong or missing in the header, in one sentence.
    pub(super) fn read(name: &str, sql: &'static str) -> Result<Self, String> {
        let mut report = Self {
            name: name.into(),
            title: String::new(),
            about: String::new(),
            aliases: Vec::new(),
            tables: BTreeSet::new(),
            uses: Vec::new(),
            sources: BTreeSet::new(),
            parameters: Vec::new(),
            columns: Vec::new(),
            order: Vec::new(),
            key: Vec::new(),
            sql,
        };
        for line in sql.lines().map_while(|line| line.strip_prefix("-- ")) {
            let (key, value) = line.split_once(": ").ok_or_else(|| format!("`{line}` is not `key: value`"))?;
            report.take(key, value)?;
        }
        report.complete()
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        let names = || value.split(',').map(|name| name.trim().to_owned());
        match key {
            "title" => self.title = value.into(),
            "about" if self.about.is_empty() => self.about = value.into(),
            "about" => self.about = format!("{} {value}", self.about),
            "alias" => self.aliases.push(value.into()),
            "tables" => self.tables.extend(names()),
            "uses" => self.uses.extend(names()),
            "source" => drop(self.sources.insert(value.into())),
            "parameter" => self.parameters.push(Parameter::read(value)?),
            "column" => self.columns.push(Column::read(value)?),
            "key" => self.key.extend(names()),
            "order" => self.order.extend(names().map(|name| Order::read(&name))),
            _ => return Err(format!("`{key}` is not a key of a header")),
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Self, String> {
        let missing = [
            ("title", self.title.is_empty()),
            ("about", self.about.is_empty()),
            ("tables or uses", self.tables.is_empty() && self.uses.is_empty()),
            ("source", self.sources.is_empty() && !self.tables.is_empty()),
            ("column", self.columns.is_empty()),
            ("order", self.order.is_empty()),
        ];
        if let Some((key, _)) = missing.iter().find(|(_, missing)| *missing) {
            return Err(format!("the header has no {key}"));
        }
        let unknown = self.order.iter().find(|order| !self.columns.iter().any(|column| column.name == order.column));
        if let Some(order) = unknown {
            return Err(format!("it is ordered by {}, which is no column", order.column));
        }
        if self.key.is_empty() {
            self.key = self.order.iter().map(|order| order.column.clone()).collect();
        }
        if let Some(name) = self.key.iter().find(|name| !self.columns.iter().any(|column| column.name == **name)) {
            return Err(format!("its key has {name}, which is no column"));
        }
        Ok(self)
    }
}

/// What stands between bars: exactly `N` values.
pub(super) fn barred<const N: usize>(text: &str) -> Result<[&str; N], String> {
    let parts: Vec<&str> = text.split('|').map(str::trim).collect();
    parts.try_into().map_err(|parts: Vec<_>| format!("`{text}` has {} parts between bars, not {N}", parts.len()))
}

impl Column {
    fn read(text: &str) -> Result<Self, String> {
        let [name, kind, unit, about] = barred(text)?;
        Ok(Self { name: name.into(), kind: Type::read(kind)?, unit: unit.into(), about: about.into() })
    }
}

impl Order {
    fn read(text: &str) -> Self {
        let (column, descending) = text.strip_suffix(" desc").map_or((text, false), |column| (column, true));
        Self { column: column.into(), descending }
    }
}

impl Type {
    fn read(text: &str) -> Result<Self, String> {
        let decimal = |text: &str| {
            let (digits, places) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            Some(Self::Decimal(digits.parse().ok()?, places.parse().ok()?))
        };
        match text {
            "text" => Ok(Self::Text),
            "integer" => Ok(Self::Integer),
            "double" => Ok(Self::Double),
            "boolean" => Ok(Self::Boolean),
            "date" => Ok(Self::Date),
            _ => decimal(text).ok_or_else(|| format!("type `{text}` is not known")),
        }
    }

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

    /// The name as headers write it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Integer => "integer".into(),
            Self::Decimal(digits, places) => format!("decimal({digits},{places})"),
            Self::Double => "double".into(),
            Self::Boolean => "boolean".into(),
            Self::Date => "date".into(),
        }
    }

    /// Whether values are numbers, which tables for people align on the right.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Decimal(..) | Self::Double)
    }
}
