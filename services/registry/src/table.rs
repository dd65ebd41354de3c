//! CSV (RFC 4180) with a heading. What could be meant in two ways is refused, with its line in the file and never with a cell.

use model::is_formula;
use proto::problem;
use tonic::Status;

/// Most rows of one request.
pub(crate) const ROWS_MAX: usize = 5_000;

/// Which columns there may be.
pub(crate) struct Columns {
    /// Each with the name that a list prints over it, or its own.
    pub(crate) taken: &'static [(&'static str, &'static str)],
    /// Those of a list that only the server sets: they may be there, and are not read.
    pub(crate) skipped: &'static [&'static str],
}

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// Counted from 1, without the heading and rows in which nothing is.
    pub(crate) row: i32,
    /// Line in the file on which it begins, counted from 1.
    pub(crate) line: i32,
}

/// A heading, and rows beneath it.
pub(crate) struct Table {
    /// What each column is; nothing: it is not read.
    columns: Vec<Option<&'static str>>,
    pub(crate) rows: Vec<(At, Vec<String>)>,
}

impl Table {
    /// Reads a CSV file, without the rows in which nothing is.
    ///
    /// # Errors
    /// INVALID_CSV, when it cannot be taken apart into rows, its heading is not known, or it has more than [`ROWS_MAX`] rows.
    pub(crate) fn read(text: &str, known: &Columns) -> Result<Self, Status> {
        let wrong = |what: String| problem::invalid("INVALID_CSV", "csv", what);
        let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
        let heading = heading(&mut reader).map_err(wrong)?;
        let columns = columns(&heading, known).map_err(wrong)?;
        let mut rows = Vec::new();
        while let Some((line, cells)) = reader.record().map_err(wrong)? {
            if is_blank(&cells) {
                continue;
            }
            let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
            rows.push((At { row: number(rows.len() + 1), line: number(line) }, cells));
        }
        if rows.len() > ROWS_MAX {
            return Err(wrong(format!("{} rows; send at most {ROWS_MAX} at once", rows.len())));
        }
        Ok(Self { columns, rows })
    }

    /// Refuses a row with more or fewer cells than the heading: which cell is of which column is not known.
    pub(crate) fn check(&self, cells: &[String]) -> Result<(), Status> {
        if cells.len() == self.columns.len() {
            return Ok(());
        }
        let text = format!("{} cells, and the heading has {}", cells.len(), self.columns.len());
        Err(problem::invalid("INVALID_CSV", "", text))
    }

    /// A row's cell; empty when there is no such column.
    pub(crate) fn cell(&self, cells: &[String], column: &str) -> String {
        let place = self.columns.iter().position(|one| *one == Some(column));
        let cell = place.and_then(|place| cells.get(place)).map(|cell| cell.trim()).unwrap_or_default();
        match cell.strip_prefix('\'') {
            // as `wardline` puts it before a formula, and so do others
            Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest.to_owned(),
            _ => cell.to_owned(),
        }
    }
}

/// An empty line, or what a spreadsheet makes of one.
fn is_blank(cells: &[String]) -> bool {
    cells.iter().all(|cell| cell.trim().is_empty())
}

/// The first row in which something is; nothing, when there is none.
fn heading(reader: &mut Reader<'_>) -> Result<Vec<String>, String> {
    loop {
        let line = reader.rest.split(['\r', '\n']).next().unwrap_or_default();
        let begin = line.trim_start_matches('"').get(..4).unwrap_or_default();
        if begin.eq_ignore_ascii_case("sep=") {
            let advice = "leave this line out, and separate the columns by commas";
            return Err(format!("line {}: `sep=` is no heading; {advice}", reader.line));
        }
        // before it is taken apart: with quotes and another separator it cannot be
        if let Some((separator, name)) = separator(line) {
            let advice = "separate them by commas (a spreadsheet saves it as CSV UTF-8, comma delimited)";
            return Err(format!("the columns are separated by {name} ({separator:?}); {advice}"));
        }
        match reader.record()? {
            Some((_, cells)) if is_blank(&cells) => {}
            found => return Ok(found.map(|(_, cells)| cells).unwrap_or_default()),
        }
    }
}

/// What is between the columns of a heading beside or instead of commas: no column's name has it.
fn separator(heading: &str) -> Option<(char, &'static str)> {
    let is_there = |c: char| {
        let is_outside_quotes = |cell: &str| cell.trim().split('"').step_by(2).any(|text| text.contains(c));
        let is_one_cell = !heading.contains(',') && !heading.trim().is_empty();
        heading.split(',').any(is_outside_quotes) || is_one_cell && heading.contains(c)
    };
    [(';', "semicolons"), ('\t', "tabs"), ('|', "vertical bars")].into_iter().find(|(c, _)| is_there(*c))
}

/// What each column of a heading is.
fn columns(heading: &[String], known: &Columns) -> Result<Vec<Option<&'static str>>, String> {
    let names: Vec<_> = known.taken.iter().map(|(name, _)| *name).collect();
    let allowed = format!("the heading must have `name` and, each once, any of {}", names.join(", "));
    let mut columns = Vec::with_capacity(heading.len());
    for cell in heading {
        let cell = cell.trim().to_ascii_lowercase();
        let taken = known.taken.iter().find(|(name, listed)| *name == cell || *listed == cell).map(|(name, _)| *name);
        if taken.is_none() && !known.skipped.contains(&cell.as_str()) || taken.is_some() && columns.contains(&taken) {
            return Err(format!("{allowed}; column {} is another, or there twice", columns.len() + 1));
        }
        columns.push(taken);
    }
    if columns.contains(&Some("name")) { Ok(columns) } else { Err(allowed) }
}

/// Takes records off a text.
struct Reader<'t> {
    rest: &'t str,
    /// Of the file, on which the rest begins.
    line: usize,
}

impl Reader<'_> {
    /// The next record and its line; `None` at the end.
    fn record(&mut self) -> Result<Option<(usize, Vec<String>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, mut cells) = (self.line, Vec::new());
        loop {
            let is_quoted = self.rest.starts_with('"');
            cells.push(if is_quoted { self.quoted()? } else { self.plain()? });
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            let ends = ["\r\n", "\n", "\r"].into_iter().find_map(|end| self.rest.strip_prefix(end));
            match ends {
                Some(rest) => (self.rest, self.line) = (rest, self.line + 1),
                None if self.rest.is_empty() => {}
                None => return Err(format!("line {}: something follows the quote that ends a cell", self.line)),
            }
            return Ok(Some((line, cells)));
        }
    }

    fn plain(&mut self) -> Result<String, String> {
        let end = self.rest.find([',', '\r', '\n']).unwrap_or(self.rest.len());
        let (cell, rest) = self.rest.split_at(end);
        if cell.contains('"') {
            let line = self.line;
            return Err(format!(
                "line {line}: a cell with a quote in it must be in quotes, and each quote in it doubled"
            ));
        }
        self.rest = rest;
        Ok(cell.to_owned())
    }

    fn quoted(&mut self) -> Result<String, String> {
        let (opened, mut cell) = (self.line, String::new());
        let mut rest = &self.rest[1..];
        loop {
            let end =
                rest.find('"').ok_or_else(|| format!("line {opened}: the quote that begins a cell has no end"))?;
            cell.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    rest = more;
                }
                None => break,
            }
        }
        self.line += cell.matches('\n').count() + cell.replace("\r\n", "").matches('\r').count();
        self.rest = rest;
        Ok(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    const KNOWN: Columns =
        Columns { taken: &[("id", "thing"), ("name", "name"), ("phone", "phone")], skipped: &["by"] };

    fn rows(text: &str) -> Vec<(i32, i32, Vec<String>)> {
        let table = Table::read(text, &KNOWN).unwrap();
        table.rows.iter().map(|(at, cells)| (at.row, at.line, cells.clone())).collect()
    }

    fn refused(text: &str) -> String {
        let status = Table::read(text, &KNOWN).err().unwrap_or_else(|| panic!("{text:?} is taken"));
        status.get_details_bad_request().unwrap().field_violations[0].description.clone()
    }

    #[test]
    fn rows_have_the_lines_of_the_file_and_empty_ones_are_none() {
        let text = "\u{feff}Name,phone\r\nA,1\r\n\r\n,\r\n\"B\nof \"\"two\"\" lines\",2\r\n  , \r\nC,";
        let expected = [(1, 2, ["A", "1"]), (2, 5, ["B\nof \"two\" lines", "2"]), (3, 8, ["C", ""])];
        assert_eq!(rows(text), expected.map(|(row, line, cells)| (row, line, cells.map(str::to_owned).to_vec())));
        assert!(rows("name\n\n\n").is_empty() && rows("name").is_empty());
        // before the heading, too
        assert_eq!(rows("\n\n,\n \t\n\"name\",\tphone \nZ,1"), [(1, 6, vec!["Z".to_owned(), "1".to_owned()])]);
    }

    #[test]
    fn quotes_that_could_be_meant_otherwise_are_refused_with_their_line() {
        for (text, line) in [
            ("name,phone\nA,1\nB \"the\" C,2\n", "line 3"),
            ("name,phone\n\"A\" B,2\n", "line 2"),
            ("name,phone\n\"A\n\",\"1\nB,2\nC,3\n", "line 3"),
            ("name,phone\nA, \"1\"\n", "line 2"),
        ] {
            let said = refused(text);
            assert!(said.starts_with(&format!("{line}:")), "{text:?}: {said}");
        }
    }

    #[test]
    fn the_separator_at_fault_is_named_and_so_is_a_column() {
        assert!(refused("name;phone\nA;1\n").contains("semicolons"));
        assert!(refused("name\tphone\nA\t1\n").contains("tabs"));
        assert!(refused("name|phone\nA|1\n").contains("vertical bars"));
        for (quoted, name) in [("\"name\";\"phone\"\n\"A\";\"1\"", "semicolons"), ("\"name\"\t\"phone\"\n", "tabs")] {
            let said = refused(quoted);
            assert!(said.contains(name) && said.contains("by commas"), "{said}");
        }
        assert!(
            refused("\"name;phone\"\n").contains("semicolons") && refused("id , name;phone\n").contains("semicolons")
        );
        for marked in ["sep=,\nname\nA", "\u{feff}SEP=;\nname\nA", "\"sep=,\"\nname\nA"] {
            let said = refused(marked);
            assert!(said.starts_with("line 1: `sep=`") && said.contains("leave this line out"), "{said}");
        }
        assert!(refused("name,shoe_size\nA,1\n").contains("column 2"));
        assert!(refused("id,name,thing\n1,A,1\n").contains("column 3"), "the same by its other name");
        assert!(refused("id\n1\n").contains("`name`") && refused("").contains("`name`"));
    }

    #[test]
    fn cells_are_found_by_either_name_and_formulas_come_back_as_they_were() {
        let table = Table::read("thing,name,by\n1,'=A1+B1,x\n2,''+B,y\n3,'Arthur',z\n4,'-C\n", &KNOWN).unwrap();
        let names: Vec<_> = table.rows.iter().map(|(_, cells)| table.cell(cells, "name")).collect();
        assert_eq!(names, ["=A1+B1", "'+B", "'Arthur'", "-C"]);
        let (_, first) = &table.rows[0];
        assert_eq!((table.cell(first, "id"), table.cell(first, "by")), ("1".to_owned(), String::new()));
        assert!(table.check(first).is_ok() && table.check(&table.rows[3].1).is_err());
    }
}
