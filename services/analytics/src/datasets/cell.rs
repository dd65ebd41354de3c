//! From a row of texts to a row of values: each column's rule applied to its cell.

use std::{borrow::Cow, cell::RefCell};

use super::{
    cities::city_key,
    codes,
    error::Reason,
    kind::{Column, Kind, Type},
    layout::{Layout, Parse, Rule},
    report::Repair,
    rows::Cells,
    states::State,
    value::{self, Fault, Value, fault},
};

/// How a layout's rows become rows of the kind's table.
pub(super) struct Plan<'k> {
    columns: Vec<Made<'k>>,
}

/// How a column is made.
struct Made<'k> {
    column: &'k Column,
    /// None where the layout does not fill the column.
    rule: Option<Rule>,
    from: Vec<usize>,
    state: Option<usize>,
    /// Position of the column that says why this one is null.
    reason: Option<usize>,
    /// The last city, of which there are often many rows.
    city: RefCell<City>,
}

/// A city as rows have it, and what was made of it.
#[derive(Default)]
struct City {
    state: String,
    name: String,
    key: (String, bool),
}

/// Why a row is refused.
pub(super) struct RowFault<'r, 'k> {
    pub(super) column: &'k Column,
    pub(super) fault: Fault,
    /// The cell, where it may be quoted.
    pub(super) cell: Option<Cow<'r, str>>,
}

/// What was mended in a row: what, and in which column.
pub(super) type Repairs<'k> = Vec<(Repair, &'k str)>;

impl<'k> Plan<'k> {
    /// The plan for rows with these headings, which the layout needs to be among them.
    pub(super) fn new(kind: &'k Kind, layout: &Layout, headings: &[String]) -> Self {
        let at = |heading: &String| headings.iter().position(|other| other == heading);
        let made = |column: &'k Column| {
            let rule = layout.columns.get(&column.name).map(super::layout::Origin::rule);
            let from = rule.iter().flat_map(|rule| rule.headings()).filter_map(at).collect();
            let state = rule.as_ref().and_then(|rule| rule.state.as_ref()).and_then(at);
            let reason = column.reason.as_ref().and_then(|name| kind.position(name));
            Made { column, rule, from, state, reason, city: RefCell::default() }
        };
        Self { columns: kind.columns.iter().map(made).collect() }
    }

    /// The row's values, in the order of the kind's columns.
    pub(super) fn values<'r>(
        &'r self,
        row: Cells<'r>,
        repairs: &mut Repairs<'k>,
    ) -> Result<Vec<Value<'r>>, RowFault<'r, 'k>> {
        let mut values = Vec::with_capacity(self.columns.len());
        let mut reasons: Vec<(usize, String)> = Vec::new();
        for made in &self.columns {
            let cell = made.cell(row);
            let withheld = made.rule.as_ref().and_then(|rule| rule.reasons.get(cell.as_ref()));
            let read = match withheld {
                Some(why) => {
                    reasons.extend(made.reason.map(|at| (at, why.clone())));
                    Ok(Value::Null)
                }
                None => made.value(cell.clone(), row, repairs),
            };
            match read.and_then(|value| made.check(value)) {
                Ok(value) => values.push(value),
                Err(fault) => {
                    let cell = Some(cell).filter(|cell| !made.column.private && !cell.is_empty());
                    return Err(RowFault { column: made.column, fault, cell });
                }
            }
        }
        for (at, why) in reasons {
            if values[at] == Value::Null {
                values[at] = Value::Text(why.into());
            }
        }
        Ok(values)
    }
}

impl<'k> Made<'k> {
    /// The cell, or the cells put together.
    fn cell<'r>(&self, row: Cells<'r>) -> Cow<'r, str> {
        match self.from.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => row.get(*one).into(),
            many => many.iter().map(|at| row.get(*at)).collect::<String>().into(),
        }
    }

    fn value<'r>(&'r self, cell: Cow<'r, str>, row: Cells<'r>, repairs: &mut Repairs<'k>) -> Result<Value<'r>, Fault> {
        let Some(rule) = &self.rule else { return Ok(Value::Null) };
        if let Some(constant) = &rule.constant {
            return value::plain(constant, self.column.kind);
        }
        let cell = match (&rule.blank, cell) {
            (Some(means), cell) if cell.is_empty() => Cow::Borrowed(means.as_str()),
            (_, cell) => cell,
        };
        let cell = match rule.values.get(cell.as_ref()) {
            Some(means) => Cow::Borrowed(means.as_str()),
            None if rule.values.is_empty() || cell.is_empty() => cell,
            None => return fault(Reason::NotOneOf, one_of(rule)),
        };
        if rule.missing.iter().any(|missing| *missing == cell) {
            return Ok(Value::Null);
        }
        let state = self.state.and_then(|at| codes::state(row.get(at)).ok());
        match cell {
            Cow::Borrowed(cell) => self.read(rule.parse, cell, state, repairs),
            Cow::Owned(cell) => Ok(self.read(rule.parse, &cell, state, repairs)?.into_owned()),
        }
    }

    /// The cell by its parser. What is mended is said.
    fn read<'r>(
        &self,
        parse: Parse,
        cell: &'r str,
        state: Option<&State>,
        repairs: &mut Repairs<'k>,
    ) -> Result<Value<'r>, Fault> {
        if cell.is_empty() {
            return Ok(Value::Null);
        }
        let kind = self.column.kind;
        let mut mended = |repair| repairs.push((repair, self.column.name.as_str()));
        let mut code = |code: codes::Code<'r>| {
            let (code, padded) = code?;
            if padded {
                mended(Repair::Padded);
            }
            Ok(Value::Text(code))
        };
        match parse {
            Parse::Plain if kind == Type::Text && has_control(cell) => {
                mended(Repair::ControlCharacters);
                Ok(Value::Text(cell.replace(char::is_control, " ").into()))
            }
            Parse::Plain => value::plain(cell, kind),
            Parse::Thousands => commas(cell, value::integer),
            Parse::Money => commas(cell.strip_prefix('$').unwrap_or(cell), |cell| owned_plain(cell, kind)),
            Parse::Percent => value::double(cell.strip_suffix('%').unwrap_or(cell)),
            Parse::Equals => {
                mended(Repair::EqualsSign);
                value::equals(cell)
            }
            Parse::DateMdy => value::day_mdy(cell),
            Parse::DateYmd => value::day_ymd(cell),
            Parse::DateYm => value::day_ym(cell),
            Parse::State => codes::state(cell).map(|state| Value::Text(state.code.as_str().into())),
            Parse::StateOfFips => {
                codes::state(cell.get(..2).unwrap_or(cell)).map(|state| Value::Text(state.code.as_str().into()))
            }
            Parse::StateFips => code(codes::fips(cell, 2, state)),
            Parse::CountyFips => code(codes::fips(cell, 5, state)),
            Parse::Fips => code(codes::place(cell, state)),
            Parse::FipsOfState => codes::state(cell).map(|state| Value::Text(format!("{}000", state.fips).into())),
            Parse::Level => Ok(Value::Text(codes::level(cell).into())),
            Parse::Zip5 => code(codes::zip5(cell, state)),
            Parse::Plus4 => Ok(codes::plus4(cell)),
            Parse::Zips => code(codes::zips(cell, state)),
            Parse::NZips => Ok(Value::Integer(cell.split_whitespace().map(|_| 1).sum())),
            Parse::Ccn => code(codes::ccn(cell, state)),
            Parse::Npi => Ok(Value::Text(cell.into())),
            Parse::NpiValid => {
                let valid = codes::npi_valid(cell);
                if !valid {
                    mended(Repair::NpiNotValid);
                }
                Ok(Value::Boolean(valid))
            }
            Parse::CityKey => {
                let (key, alias) = self.city_key(state.map_or("", |state| &state.code), cell);
                if alias {
                    mended(Repair::CityAlias);
                }
                Ok(Value::Text(key.into()))
            }
            Parse::LongitudeOfPoint => value::of_point(cell, 0),
            Parse::LatitudeOfPoint => value::of_point(cell, 1),
        }
    }

    fn city_key(&self, state: &str, name: &str) -> (String, bool) {
        let mut last = self.city.borrow_mut();
        if (last.state.as_str(), last.name.as_str()) != (state, name) {
            *last = City { state: state.to_owned(), name: name.to_owned(), key: city_key(state, name) };
        }
        last.key.clone()
    }

    /// Refuses what is null and required, out of range, or of a wrong width.
    fn check<'r>(&self, value: Value<'r>) -> Result<Value<'r>, Fault> {
        let column = self.column;
        match (&value, column.range) {
            (Value::Null, _) if column.required => return fault(Reason::Required, "a value"),
            (Value::Text(text), _) if column.width > 0 && text.chars().count() != column.width => {
                return fault(Reason::Code, format!("{} characters", column.width));
            }
            (_, Some((low, high)))
                if value.number(column.kind).is_some_and(|number| !(low..=high).contains(&number)) =>
            {
                let unit = if column.unit.is_empty() { String::new() } else { format!(" {}", column.unit) };
                return fault(Reason::Range, format!("{low} to {high}{unit}"));
            }
            _ => {}
        }
        Ok(value)
    }
}

fn has_control(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    !is_plain && text.contains(char::is_control)
}

/// A number without its commas, read by `read`.
fn commas(cell: &str, read: impl Fn(&str) -> Result<Value<'static>, Fault>) -> Result<Value<'static>, Fault> {
    match value::without_commas(cell) {
        Some(number) => read(&number),
        None => fault(Reason::Type, "a number with commas between groups of three digits"),
    }
}

fn owned_plain(cell: &str, kind: Type) -> Result<Value<'static>, Fault> {
    value::plain(cell, kind).map(Value::into_owned)
}

/// The cells that a rule knows.
fn one_of(rule: &Rule) -> String {
    let mut known: Vec<&str> = rule.values.keys().map(String::as_str).collect();
    known.sort_unstable();
    format!("one of {}", known.join(", "))
}
