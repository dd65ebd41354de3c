//! Long files made wide (an attribute and its value on each line) and wide ones made long (a column for each year).

use std::collections::HashMap;

use super::{
    error::{Error, Reason},
    layout::{Layout, Pivot, Unpivot},
    rows::{Fetched, Row, Rows},
    text::Encoding,
};

/// The rows as the layout's columns expect them.
pub(super) fn reshape(rows: Box<dyn Rows>, layout: &Layout) -> Box<dyn Rows> {
    match (&layout.pivot, &layout.unpivot) {
        (Some(pivot), _) => Box::new(Wide::new(rows, pivot)),
        (None, Some(unpivot)) => Box::new(Long::new(rows, unpivot)),
        (None, None) => rows,
    }
}

fn position(headings: &[String], name: &str) -> usize {
    headings.iter().position(|heading| heading == name).unwrap_or_default()
}

/// Lines that follow each other and have the same other cells, as one row. An attribute that a group lacks is blank.
struct Wide {
    rows: Box<dyn Rows>,
    headings: Vec<String>,
    /// Positions of the cells that a group has in common.
    common: Vec<usize>,
    name: usize,
    value: usize,
    attributes: HashMap<String, usize>,
    /// The group's first line.
    group: Option<Row>,
    values: Vec<Option<String>>,
    /// The first line of the group, if it does not fit into it.
    bad: Option<Fetched>,
}

impl Wide {
    fn new(rows: Box<dyn Rows>, pivot: &Pivot) -> Self {
        let from = rows.headings();
        let (name, value) = (position(from, &pivot.name), position(from, &pivot.value));
        let common: Vec<usize> = (0..from.len()).filter(|at| *at != name && *at != value).collect();
        let headings = common.iter().map(|at| from[*at].clone()).chain(pivot.headings.iter().cloned()).collect();
        let attributes = pivot.headings.iter().cloned().zip(0..).collect();
        let values = vec![None; pivot.headings.len()];
        Self { rows, headings, common, name, value, attributes, group: None, values, bad: None }
    }

    fn same(&self, one: &Row, other: &Row) -> bool {
        self.common.iter().all(|at| one.cell(*at) == other.cell(*at))
    }

    /// Takes a line's attribute into the group.
    fn take(&mut self, line: &Row) -> Result<(), Fetched> {
        let name = line.cell(self.name);
        let bad = |reason, what| Fetched::Bad { line: line.line, reason, what };
        let Some(at) = self.attributes.get(name) else {
            return Err(bad(Reason::NotOneOf, format!("attribute `{}` is not known", model::escaped(name))));
        };
        let value = &mut self.values[*at];
        if value.is_some() {
            let name = model::escaped(name);
            return Err(bad(Reason::Duplicate, format!("attribute `{name}` came before for the same row")));
        }
        *value = Some(line.cell(self.value).to_owned());
        Ok(())
    }

    /// Writes the group as a row, and forgets it.
    fn give(&mut self, row: &mut Row) {
        let Some(first) = self.group.take() else { return };
        row.clear(first.line);
        row.decoded = first.decoded;
        self.common.iter().for_each(|at| row.push_cell(first.cell(*at)));
        self.values.iter_mut().for_each(|value| row.push_cell(&value.take().unwrap_or_default()));
    }
}

impl Rows for Wide {
    fn headings(&self) -> &[String] {
        &self.headings
    }

    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error> {
        if let Some(bad) = self.bad.take() {
            return Ok(bad);
        }
        let mut line = Row::default();
        loop {
            match self.rows.next(&mut line)? {
                Fetched::Row if self.group.as_ref().is_none_or(|first| self.same(first, &line)) => {
                    self.group.get_or_insert_with(|| line.clone());
                    if let Err(bad) = self.take(&line) {
                        return Ok(bad);
                    }
                }
                Fetched::Row => {
                    self.give(row);
                    self.bad = self.take(&line).err();
                    self.group = Some(line);
                    return Ok(Fetched::Row);
                }
                Fetched::End { .. } if self.group.is_some() => {
                    self.give(row);
                    return Ok(Fetched::Row);
                }
                other => return Ok(other),
            }
        }
    }

    fn encoding(&self) -> Encoding {
        self.rows.encoding()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes() + self.group.as_ref().map_or(0, Row::bytes)
    }
}

/// A line as one row for each of some headings.
struct Long {
    rows: Box<dyn Rows>,
    headings: Vec<String>,
    common: Vec<usize>,
    /// Position of each heading's cell, and what the heading stands for.
    parts: Vec<(usize, String)>,
    line: Row,
    /// How many parts of the line were given out.
    given: usize,
}

impl Long {
    fn new(rows: Box<dyn Rows>, unpivot: &Unpivot) -> Self {
        let from = rows.headings();
        let parts: Vec<_> =
            unpivot.headings.iter().map(|(heading, means)| (position(from, heading), means.clone())).collect();
        let common: Vec<usize> = (0..from.len()).filter(|at| parts.iter().all(|(part, _)| part != at)).collect();
        let names = [unpivot.name.clone(), unpivot.value.clone()];
        let headings = common.iter().map(|at| from[*at].clone()).chain(names).collect();
        let given = parts.len();
        Self { rows, headings, common, parts, line: Row::default(), given }
    }
}

impl Rows for Long {
    fn headings(&self) -> &[String] {
        &self.headings
    }

    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error> {
        if self.given == self.parts.len() {
            match self.rows.next(&mut self.line)? {
                Fetched::Row => self.given = 0,
                other => return Ok(other),
            }
        }
        let (at, means) = &self.parts[self.given];
        row.clear(self.line.line);
        row.decoded = self.line.decoded;
        self.common.iter().for_each(|common| row.push_cell(self.line.cell(*common)));
        row.push_cell(means);
        row.push_cell(self.line.cell(*at));
        self.given += 1;
        Ok(Fetched::Row)
    }

    fn encoding(&self) -> Encoding {
        self.rows.encoding()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes() + self.line.bytes()
    }
}
