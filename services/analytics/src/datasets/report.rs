//! What an import did: nothing is dropped without a line here. Rows read are rows accepted and rows refused.

use std::fmt;

use serde::Serialize;

use super::{cell::Repairs, error::Reason, reading::Fields, text::Encoding};

/// What was mended in a row or in a header, without a doubt about what was meant; or what is merely said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// The mark of UTF-8 before the first heading was taken away.
    Mark,
    /// The header's last heading is empty, rows have no cell for it: taken away.
    EmptyLastHeading,
    /// Bytes that are no UTF-8 were read as cp1252.
    Cp1252,
    /// Control characters became blanks.
    ControlCharacters,
    /// A code that had lost its leading zeros got them again; its row's state agrees.
    Padded,
    /// A number that looks like a formula was read as the number.
    EqualsSign,
    /// A city is called otherwise in the table of cities.
    CityAlias,
    /// Said only: a provider identifier that cannot be one was kept.
    NpiNotValid,
}

/// Where something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowLocation {
    /// Name of the file.
    pub file: String,
    /// Line, or row of a Parquet file, from 1.
    pub line: u64,
}

/// Rows that were mended in the same way.
#[derive(Debug, Clone, Serialize)]
pub struct Repaired {
    /// What was mended.
    pub repair: Repair,
    /// In which column; none for a line or a header.
    pub column: Option<String>,
    /// How often it was mended: once for each row or header.
    pub n: u64,
    /// The first of them.
    pub first: Vec<RowLocation>,
}

/// Rows that were refused for the same reason.
#[derive(Debug, Clone, Serialize)]
pub struct Refused {
    /// Which rule the rows broke.
    pub reason: Reason,
    /// In which column; none where the row as a whole is meant.
    pub column: Option<String>,
    /// What is allowed, or what was found.
    pub what: String,
    /// A cell of the first, cut short; none in private columns.
    pub example: Option<String>,
    /// What whoever imports can do about it.
    pub remedy: &'static str,
    /// Number of rows refused for it.
    pub n: u64,
    /// The first of them.
    pub first: Vec<RowLocation>,
}

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Name of the file, without its folder.
    pub name: String,
    /// The layout that it has; none where it was refused before that.
    pub layout: Option<String>,
    /// What its text is written in.
    pub encoding: Option<Encoding>,
    /// Rows read from it.
    pub n_read: u64,
    /// Why it was refused, or where reading it stopped; the rows before that count.
    pub refused: Option<String>,
    /// Its last line, from 1, where that is refused and has no line end: the file may be cut off in it.
    pub cut_line: Option<u64>,
}

impl FileReport {
    /// Of a file that is begun.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), layout: None, encoding: None, n_read: 0, refused: None, cut_line: None }
    }

    /// What is wrong with the file as a whole, and how many rows were read of it nevertheless.
    fn fault(&self) -> Option<String> {
        let Self { name, n_read, refused, cut_line, .. } = self;
        let cut = |line: u64| {
            let remedy = Reason::Truncated.remedy();
            format!(
                "{name} line {line}: the last line is refused and has no line end, so the file may be cut off; {remedy}"
            )
        };
        let fault = refused.clone().or_else(|| cut_line.map(cut))?;
        Some(format!("{fault} (rows read of it: {n_read})"))
    }
}

/// How much of a column is there.
#[derive(Debug, Clone, Serialize)]
pub struct Completeness {
    /// Name of the column.
    pub column: String,
    /// Accepted rows that have a value.
    pub n: u64,
}

/// Keys that another table does not have.
#[derive(Debug, Clone, Serialize)]
pub struct Unmatched {
    /// Columns of the imported table that make the key.
    pub columns: Vec<String>,
    /// The other kind.
    pub kind: String,
    /// What was added up: a column, or rows.
    pub weight: Option<String>,
    /// Sum over all rows that have the key.
    pub total: f64,
    /// Sum over those without a partner.
    pub unmatched: f64,
    /// Number of different keys, at most 200,000: more are not told apart.
    pub n_keys: u64,
    /// Different keys without a partner.
    pub n_unmatched: u64,
    /// Those with the greatest weight, heaviest first: key, weight.
    pub examples: Vec<(String, f64)>,
}

/// What an import did.
#[derive(Debug, Clone, Serialize)]
pub struct ImportReport {
    /// Name of the kind.
    pub kind: String,
    /// The files, in order.
    pub files: Vec<FileReport>,
    /// Rows read; `n_accepted` and `n_refused` together.
    pub n_read: u64,
    /// Rows in the table.
    pub n_accepted: u64,
    /// Accepted rows in which something was mended or said.
    pub n_repaired: u64,
    /// Rows that were refused, those with a repeated key included.
    pub n_refused: u64,
    /// What was mended.
    pub repaired: Vec<Repaired>,
    /// What was refused.
    pub refused: Vec<Refused>,
    /// How complete each column is.
    pub completeness: Vec<Completeness>,
    /// What has no partner in other tables.
    pub unmatched: Vec<Unmatched>,
    /// Most bytes that the import's buffers, batch and keys took at one time.
    pub peak_bytes: usize,
}

impl ImportReport {
    /// An empty one.
    pub(super) fn new(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            files: Vec::new(),
            n_read: 0,
            n_accepted: 0,
            n_repaired: 0,
            n_refused: 0,
            repaired: Vec::new(),
            refused: Vec::new(),
            completeness: Vec::new(),
            unmatched: Vec::new(),
            peak_bytes: 0,
        }
    }

    /// Counts a repair; the first `most` places are kept.
    pub(super) fn repair(&mut self, repair: Repair, column: Option<&str>, file: &str, line: u64, most: usize) {
        let same = |one: &Repaired| one.repair == repair && one.column.as_deref() == column;
        let at = self.repaired.iter().position(same).unwrap_or_else(|| {
            self.repaired.push(Repaired { repair, column: column.map(str::to_owned), n: 0, first: Vec::new() });
            self.repaired.len() - 1
        });
        let entry = &mut self.repaired[at];
        entry.n += 1;
        note(&mut entry.first, file, line, most);
    }

    /// Counts an accepted row, and what was mended in it.
    pub(super) fn accept(&mut self, file: &str, fields: &Fields<'_>, repairs: &Repairs<'_>, most: usize) {
        self.n_read += 1;
        self.n_accepted += 1;
        self.n_repaired += u64::from(fields.decoded || !repairs.is_empty());
        if fields.decoded {
            self.repair(Repair::Cp1252, None, file, fields.line, most);
        }
        for (repair, column) in repairs {
            self.repair(*repair, Some(column), file, fields.line, most);
        }
    }

    /// Counts a refused row; the first `most` places are kept.
    pub(super) fn refuse(&mut self, refusal: Refusal<'_>, file: &str, line: u64, most: usize) {
        self.n_read += 1;
        self.n_refused += 1;
        let same = |one: &Refused| one.reason == refusal.reason && one.column.as_deref() == refusal.column;
        let at = self.refused.iter().position(same).unwrap_or_else(|| {
            self.refused.push(Refused {
                reason: refusal.reason,
                column: refusal.column.map(str::to_owned),
                what: refusal.what.to_owned(),
                example: refusal.cell.map(short),
                remedy: refusal.reason.remedy(),
                n: 0,
                first: Vec::new(),
            });
            self.refused.len() - 1
        });
        let entry = &mut self.refused[at];
        entry.n += 1;
        note(&mut entry.first, file, line, most);
    }

    /// What is wrong with files as a whole: they were refused, broke off, or end in a line that is refused.
    pub(super) fn file_faults(&self) -> Vec<String> {
        self.files.iter().filter_map(FileReport::fault).collect()
    }

    /// How many rows were refused for a reason.
    #[must_use]
    pub fn refused_for(&self, reason: Reason) -> u64 {
        self.refused.iter().filter(|refused| refused.reason == reason).map(|refused| refused.n).sum()
    }

    /// How often something was mended.
    #[must_use]
    pub fn repaired_by(&self, repair: Repair) -> u64 {
        self.repaired.iter().filter(|repaired| repaired.repair == repair).map(|repaired| repaired.n).sum()
    }
}

/// Why a row is refused, as it is counted.
pub(super) struct Refusal<'a> {
    pub(super) reason: Reason,
    pub(super) column: Option<&'a str>,
    pub(super) what: &'a str,
    pub(super) cell: Option<&'a str>,
}

fn note(places: &mut Vec<RowLocation>, file: &str, line: u64, most: usize) {
    if places.len() < most {
        places.push(RowLocation { file: file.to_owned(), line });
    }
}

/// A text cut to 40 characters, those that nobody sees written out: for messages to whoever has the file.
pub(super) fn short(text: &str) -> String {
    let mut cut = model::on_one_line(&text.chars().take(40).collect::<String>()).into_owned();
    if text.chars().nth(40).is_some() {
        cut.push('…');
    }
    cut
}

/// `claims.csv 3, 9, 12 …`
fn places(first: &[RowLocation], n: u64) -> String {
    let mut text = String::new();
    let mut file = "";
    for place in first.iter().take(5) {
        let name = if place.file == file { ", ".to_owned() } else { format!(" {}:", place.file) };
        text.push_str(&format!("{name}{}", place.line));
        file = &place.file;
    }
    if n > 5 { text + " …" } else { text }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, n_read, n_accepted, n_repaired, n_refused, .. } = self;
        writeln!(
            f,
            "{kind}: {n_read} rows read, {n_accepted} accepted ({n_repaired} of them repaired), {n_refused} refused"
        )?;
        for file in &self.files {
            let layout = file.layout.as_deref().unwrap_or("no layout");
            let encoding = file.encoding.map_or(String::new(), |encoding| format!(", {encoding:?}").to_lowercase());
            writeln!(f, "  file {}: {layout}{encoding}, {} rows", file.name, file.n_read)?;
            if let Some(why) = &file.refused {
                writeln!(f, "    refused: {why}")?;
            }
            if let Some(line) = file.cut_line {
                writeln!(f, "    its last line, {line}, is refused and has no line end: it may be cut off")?;
            }
        }
        for repaired in &self.repaired {
            let column = repaired.column.as_ref().map_or(String::new(), |column| format!(" in {column}"));
            writeln!(
                f,
                "  repaired {}: {}{column} (lines{})",
                repaired.n,
                name(&repaired.repair),
                places(&repaired.first, repaired.n)
            )?;
        }
        for refused in &self.refused {
            let column = refused.column.as_ref().map_or(String::new(), |column| format!(" in {column}"));
            let example = refused.example.as_ref().map_or(String::new(), |cell| format!(", such as `{cell}`"));
            write!(f, "  refused {}: {}{column}: {}{example}", refused.n, name(&refused.reason), refused.what)?;
            writeln!(f, " (lines{}); {}", places(&refused.first, refused.n), refused.remedy)?;
        }
        for one in &self.unmatched {
            let percent = if one.total > 0.0 { one.unmatched / one.total * 100.0 } else { 0.0 };
            let of = one.weight.as_deref().unwrap_or("rows");
            let (n, all, columns) = (one.n_unmatched, one.n_keys, one.columns.join(", "));
            writeln!(f, "  unmatched {columns} in {}: {n} of {all} keys, {percent:.1} % of {of}", one.kind)?;
            for (key, weight) in one.examples.iter().take(10) {
                writeln!(f, "    {key}: {weight}")?;
            }
        }
        Ok(())
    }
}

/// The name that a value has in JSON.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
