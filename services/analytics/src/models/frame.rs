//! A table as models take it: named columns of numbers or of text, one row a thing.
//!
//! A value is there, or missing; what is neither (NaN, infinite) is refused by its column and row before anything is
//! fitted. Bounded in rows and cells ([`MAX_ROWS`], [`MAX_CELLS`]): a frame is held in memory, several times over while
//! a forest grows.

use super::Error;
use std::collections::HashSet;

/// Rows of one frame at most: all prescribers of the country fit once.
pub const MAX_ROWS: usize = 1_500_000;
/// Cells of one frame at most; a number takes 16 bytes, a forest about 8 more for each cell.
pub const MAX_CELLS: usize = 15_000_000;

/// The values of one column; `None` is a missing value.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Finite numbers, in the column's unit.
    Numbers(Vec<Option<f64>>),
    /// Names, codes, levels.
    Texts(Vec<Option<String>>),
}

/// A column of a frame: numbers in one unit, or text.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What features and targets call it.
    pub name: String,
    /// Unit of its numbers as UCUM or ISO 4217 write it, `1` for counts and shares; empty for text.
    pub unit: String,
    /// One value a row.
    pub values: Values,
}

/// A table of rows, each with an id and, where one is known, the group that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    ids: Vec<String>,
    groups: Option<Vec<String>>,
    columns: Vec<Column>,
}

impl Values {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Column {
    /// A column of numbers.
    pub fn numbers(name: &str, unit: &str, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), values: Values::Numbers(values) }
    }

    /// A column of text.
    pub fn texts(name: &str, values: Vec<Option<String>>) -> Self {
        Self { name: name.to_owned(), unit: String::new(), values: Values::Texts(values) }
    }
}

impl Frame {
    /// A frame of columns. Each row has an id, and a group if `groups` is there (rows of one group never stand on both
    /// sides of a split). Refused: other lengths, a name twice, NaN and infinite values, more than the bounds.
    pub fn new(ids: Vec<String>, groups: Option<Vec<String>>, columns: Vec<Column>) -> Result<Self, Error> {
        let rows = ids.len();
        let cells = rows.saturating_mul(columns.len());
        if rows > MAX_ROWS || cells > MAX_CELLS {
            return Err(Error::TooLarge { rows, cells });
        }
        if let Some(groups) = groups.as_ref().filter(|groups| groups.len() != rows) {
            return Err(Error::Lengths { column: "the groups".to_owned(), rows: groups.len(), expected: rows });
        }
        let mut names = HashSet::new();
        for column in &columns {
            if column.values.len() != rows {
                let (column, rows_found) = (column.name.clone(), column.values.len());
                return Err(Error::Lengths { column, rows: rows_found, expected: rows });
            }
            if !names.insert(column.name.as_str()) {
                return Err(Error::NamedTwice { column: column.name.clone() });
            }
            check_finite(column, &ids)?;
        }
        Ok(Self { ids, groups, columns })
    }

    /// A frame of rows of numbers, each `(id, values)` with one value for each of the `(name, unit)`.
    pub fn from_rows(names: &[(&str, &str)], rows: Vec<(String, Vec<Option<f64>>)>) -> Result<Self, Error> {
        let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::with_capacity(rows.len()); names.len()];
        let mut ids = Vec::with_capacity(rows.len());
        for (id, values) in rows {
            if values.len() != names.len() {
                return Err(Error::RowLength { row: id, values: values.len(), expected: names.len() });
            }
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            ids.push(id);
        }
        let columns = names.iter().zip(columns).map(|((name, unit), values)| Column::numbers(name, unit, values));
        let columns = columns.collect();
        Self::new(ids, None, columns)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// The rows' ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The rows' groups, where they have some.
    pub fn groups(&self) -> Option<&[String]> {
        self.groups.as_deref()
    }

    /// The columns, in the order in which they were given.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Result<&Column, Error> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| Error::NoColumn { column: name.to_owned() })
    }

    /// A column that must be numbers in a given unit.
    pub fn numbers(&self, name: &str, unit: &str) -> Result<&[Option<f64>], Error> {
        let column = self.column(name)?;
        let Values::Numbers(values) = &column.values else {
            return Err(Error::Kind { column: name.to_owned(), expected: "numbers", found: "text" });
        };
        if column.unit != unit {
            let (column, found) = (name.to_owned(), column.unit.clone());
            return Err(Error::Unit { column, found, expected: unit.to_owned() });
        }
        Ok(values)
    }

    /// A column that must be text.
    pub fn texts(&self, name: &str) -> Result<&[Option<String>], Error> {
        match &self.column(name)?.values {
            Values::Texts(values) => Ok(values),
            Values::Numbers(_) => Err(Error::Kind { column: name.to_owned(), expected: "text", found: "numbers" }),
        }
    }
}

fn check_finite(column: &Column, ids: &[String]) -> Result<(), Error> {
    let Values::Numbers(values) = &column.values else { return Ok(()) };
    let wrong = values.iter().position(|value| value.is_some_and(|number| !number.is_finite()));
    match wrong {
        Some(row) => Err(Error::NotFinite { column: column.name.clone(), row: ids[row].clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_refused_by_column_and_row_and_missing_is_not() {
        let frame = Frame::from_rows(&[("age", "a")], vec![("x".into(), vec![Some(1.0)]), ("y".into(), vec![None])]);
        assert_eq!(frame.expect("a missing value is fine").rows(), 2);
        let rows = vec![("x".into(), vec![Some(1.0)]), ("y".into(), vec![Some(f64::NAN)])];
        let refused = Frame::from_rows(&[("age", "a")], rows).expect_err("NaN is no value");
        assert_eq!(
            refused.to_string(),
            "column age, row y: not a finite number; what is missing must be given as missing"
        );
    }

    #[test]
    fn rows_columns_and_units_must_fit() {
        let short = Frame::from_rows(&[("a", "1"), ("b", "1")], vec![("x".into(), vec![Some(1.0)])]);
        assert!(matches!(short, Err(Error::RowLength { values: 1, expected: 2, .. })));
        let twice = vec![Column::numbers("a", "1", vec![None]), Column::numbers("a", "1", vec![None])];
        assert!(matches!(Frame::new(vec!["x".into()], None, twice), Err(Error::NamedTwice { .. })));
        let columns = vec![Column::numbers("a", "USD", vec![Some(1.0)]), Column::texts("t", vec![None])];
        let frame = Frame::new(vec!["x".into()], None, columns).expect("a frame");
        assert!(matches!(frame.numbers("a", "1"), Err(Error::Unit { .. })));
        assert!(matches!(frame.numbers("t", "1"), Err(Error::Kind { .. })));
        assert!(matches!(frame.texts("z"), Err(Error::NoColumn { .. })));
        let groups = Some(vec![]);
        assert!(matches!(Frame::new(vec!["x".into()], groups, vec![]), Err(Error::Lengths { .. })));
    }

    #[test]
    fn more_than_the_bound_is_refused() {
        let refused = Frame::new(vec![String::new(); MAX_ROWS + 1], None, vec![]);
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
    }
}
