//! A CSV file of any size, in parts that a server takes: each with the heading, and at most so many rows and bytes.

use anyhow::{Context, bail, ensure};
use std::io::BufRead;

/// Rows of a part.
const ROWS_MAX: usize = 1_000;
/// A part ends when it has so many bytes; one row has at most as many. The server takes 4 MiB.
const BYTES_MAX: usize = 1 << 20;

/// Reads a file part by part: of it no more than one is in memory.
pub(super) struct Parts<R> {
    file: R,
    heading: String,
    /// Lines of the heading, told as [`Self::n_lines`] are: with carriage returns alone the whole file is one.
    n_heading: usize,
    /// Lines that were read.
    n_lines: usize,
    n_parts: usize,
}

/// The heading, and rows that follow each other in the file.
pub(super) struct Part {
    pub(super) csv: String,
    /// Of the file, before the part's first row, without the heading's.
    n_before: usize,
}

impl Part {
    /// The line of the file that is this one in the part.
    pub(super) fn line(&self, line: i32) -> usize {
        self.n_before + usize::try_from(line).unwrap_or_default()
    }

    /// What a server says of the part (`csv: line 2: ...`), with the line of the file.
    pub(super) fn in_file(&self, said: &str) -> String {
        const BEFORE: &str = "csv: line ";
        let named = said.strip_prefix(BEFORE).and_then(|rest| rest.split_once(':'));
        match named.and_then(|(line, what)| Some((line.parse::<i32>().ok()?, what))) {
            Some((line, what)) => format!("{BEFORE}{}:{what}", self.line(line)),
            None => said.to_owned(),
        }
    }
}

impl<R: BufRead> Parts<R> {
    pub(super) fn new(file: R) -> anyhow::Result<Self> {
        let mut parts = Self { file, heading: String::new(), n_heading: 0, n_lines: 0, n_parts: 0 };
        while is_blank(&parts.heading) {
            let n_before = parts.n_lines;
            parts.heading = parts.record()?.context("there is no heading")?;
            parts.n_heading = parts.n_lines - n_before;
        }
        if !parts.heading.ends_with(['\n', '\r']) {
            parts.heading.push('\n');
        }
        Ok(parts)
    }

    /// The next part; `None` at the end. A file without rows has one part: the server says what it thinks of its heading.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Part>> {
        let n_before = self.n_lines - self.n_heading;
        let (mut csv, mut n_rows) = (self.heading.clone(), 0);
        while n_rows < ROWS_MAX && csv.len() < BYTES_MAX {
            let Some(row) = self.record()? else { break };
            csv.push_str(&row);
            n_rows += 1;
        }
        if n_rows == 0 && self.n_parts > 0 {
            return Ok(None);
        }
        self.n_parts += 1;
        Ok(Some(Part { csv, n_before }))
    }

    /// A row with all its lines: a line ends none within quotes.
    fn record(&mut self) -> anyhow::Result<Option<String>> {
        let (mut bytes, begin) = (Vec::new(), self.n_lines + 1);
        loop {
            let n_read = self.file.read_until(b'\n', &mut bytes).with_context(|| format!("line {begin}"))?;
            self.n_lines += usize::from(n_read > 0);
            if bytes.len() > BYTES_MAX {
                bail!("line {begin}: a row of more than {BYTES_MAX} bytes; has a quote no end?");
            }
            let is_whole = bytes.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2);
            ensure!(is_whole || n_read > 0, "line {begin}: a quote has no end");
            if is_whole || n_read == 0 {
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let row = String::from_utf8(bytes).ok().with_context(|| format!("line {begin}: must be UTF-8"))?;
        Ok(Some(row))
    }
}

/// Whether no cell of these rows has anything in it, as the server sees it.
fn is_blank(rows: &str) -> bool {
    rows.chars().all(|c| c.is_whitespace() || matches!(c, ',' | '"' | '\u{feff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> anyhow::Result<Vec<Part>> {
        let mut parts = Parts::new(text.as_bytes())?;
        std::iter::from_fn(|| parts.next().transpose()).collect()
    }

    #[test]
    fn a_large_file_comes_in_parts_that_name_the_files_lines() {
        let rows: String = (0..2_500).map(|n| format!("\"Row\n{n}\",{n}\n\n")).collect();
        let parts = parts(&format!("name,phone\n{rows}")).unwrap();
        // an empty line counts as a row here
        assert_eq!(parts.len(), 5);
        assert!(parts.iter().all(|part| part.csv.starts_with("name,phone\n\"Row\n") && part.csv.len() < BYTES_MAX));
        let joined: String = parts.iter().map(|part| &part.csv["name,phone\n".len()..]).collect();
        assert_eq!(joined, rows);
        // the first row of a part is on its second line; each has three lines in the file
        assert_eq!(parts.iter().map(|part| part.line(2)).collect::<Vec<_>>(), [2, 1_502, 3_002, 4_502, 6_002]);
    }

    #[test]
    fn a_part_is_bounded_in_bytes_and_a_row_too() {
        let row = format!("{}\n", "n".repeat(400 << 10));
        let parts_of = parts(&format!("name\n{}", row.repeat(7))).unwrap();
        assert_eq!(parts_of.iter().map(|part| part.csv.lines().count() - 1).collect::<Vec<_>>(), [3, 3, 1]);
        for (text, said) in [
            (format!("name\n{}", "n".repeat(2 << 20)), "line 2"),
            ("name\nA\n\"B\n".to_owned(), "line 3"),
            (String::new(), "no heading"),
        ] {
            let error = parts(&text).err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_file_without_rows_is_one_part_and_one_without_a_last_line_end_is_whole() {
        assert_eq!(parts("name").unwrap().iter().map(|part| &*part.csv).collect::<Vec<_>>(), ["name\n"]);
        assert_eq!(parts("name\nA").unwrap().iter().map(|part| &*part.csv).collect::<Vec<_>>(), ["name\nA"]);
    }

    #[test]
    fn lines_are_the_files_with_carriage_returns_alone_and_with_blank_ones_before_the_heading() {
        let part = &parts("name\rA CR\rbad\t\trow\rB CR\r").unwrap()[0];
        assert_eq!((part.line(3), &*part.csv), (3, "name\rA CR\rbad\t\trow\rB CR\r"));
        let many = parts(&format!("\n,\nname\n{}", "A\n".repeat(1_001))).unwrap();
        assert!(many.iter().all(|part| part.csv.starts_with("name\nA\n")));
        assert_eq!(many.iter().map(|part| part.line(2)).collect::<Vec<_>>(), [4, 1_004]);
        assert!(parts("\n\n").is_err());
    }
}
