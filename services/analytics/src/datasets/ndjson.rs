//! One flat JSON object a line; the first one's fields are the headings.

use super::{
    error::{Error, Reason},
    limits::Limits,
    open::failed,
    rows::{Fetched, Row, Rows, found, long},
    text::{Encoding, Line, Lines},
};

/// Rows of a file with one JSON object a line.
pub(super) struct JsonRows {
    file: String,
    lines: Lines,
    headings: Vec<String>,
    /// The first object, which was read for its fields.
    first: Option<serde_json::Map<String, serde_json::Value>>,
    cells: usize,
}

impl JsonRows {
    /// Reads the first object, whose fields are the headings.
    ///
    /// # Errors
    /// A file that is empty, or whose first line is no flat object.
    pub(super) fn open(file: &str, mut lines: Lines, limits: &Limits) -> Result<Self, Error> {
        let refused = |reason, what: String| Err(Error::refused(file, 1, reason, what));
        match lines.next().map_err(|error| failed(file, 0, error))? {
            Line::End => return refused(Reason::Empty, "there is nothing in it".into()),
            Line::TooLong(n) => return refused(Reason::LongLine, long(n, limits.line)),
            Line::Whole => {}
        }
        let object = match lines.text().and_then(|text| object(&text)) {
            Ok(object) => object,
            Err(reason) => return refused(reason, found(reason, limits.cells)),
        };
        if object.len() > limits.cells {
            return refused(Reason::TooManyCells, found(Reason::TooManyCells, limits.cells));
        }
        let headings = object.keys().cloned().collect();
        Ok(Self { file: file.to_owned(), lines, headings, first: Some(object), cells: limits.cells })
    }

    fn fill(&mut self, row: &mut Row) -> Result<(), (Reason, String)> {
        let object = match self.first.take() {
            Some(object) => object,
            None => {
                let read = self.lines.text().and_then(|text| object(&text));
                read.map_err(|reason| (reason, found(reason, self.cells)))?
            }
        };
        if let Some(unknown) = object.keys().find(|key| !self.headings.contains(key)) {
            let unknown = model::escaped(unknown);
            return Err((Reason::UnknownField, format!("field `{unknown}`, which the first object does not have")));
        }
        row.clear(self.lines.number);
        for heading in &self.headings {
            match object.get(heading) {
                None | Some(serde_json::Value::Null) => row.end_cell(),
                Some(serde_json::Value::String(text)) => row.push_cell(text),
                Some(other) => row.push_cell(&other.to_string()),
            }
        }
        Ok(())
    }
}

impl Rows for JsonRows {
    fn headings(&self) -> &[String] {
        &self.headings
    }

    fn next(&mut self, row: &mut Row) -> Result<Fetched, Error> {
        while self.first.is_none() {
            match self.lines.next().map_err(|error| failed(&self.file, self.lines.number + 1, error))? {
                Line::End => return Ok(Fetched::End { open_line: self.lines.open_line() }),
                Line::TooLong(n) => {
                    let what = long(n, self.lines.longest());
                    return Ok(Fetched::Bad { line: self.lines.number, reason: Reason::LongLine, what });
                }
                Line::Whole if self.lines.is_empty() => {}
                Line::Whole => break,
            }
        }
        let line = self.lines.number;
        Ok(match self.fill(row) {
            Ok(()) => Fetched::Row,
            Err((reason, what)) => Fetched::Bad { line, reason, what },
        })
    }

    fn encoding(&self) -> Encoding {
        self.lines.encoding
    }

    fn bytes(&self) -> usize {
        self.lines.bytes()
    }
}

/// One flat object.
fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, Reason> {
    let object: serde_json::Map<_, _> = serde_json::from_str(text).map_err(|_| Reason::Json)?;
    if object.values().any(|value| value.is_array() || value.is_object()) { Err(Reason::Json) } else { Ok(object) }
}
