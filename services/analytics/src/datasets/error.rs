//! Why a file, a row or a cell is refused: one list of reasons, each with what to do about it.

use serde::Serialize;

/// What is wrong with a file, a row or a cell. Its name (`open_quote`) is stable: reports and tests refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The file's name has an ending that is not known.
    UnknownEnding,
    /// The first bytes are not those of what the name says.
    NotWhatNameSays,
    /// There is nothing in it.
    Empty,
    /// There are headings and no rows.
    NoRows,
    /// No layout of the kind has these headings.
    UnknownLayout,
    /// More than one layout has these headings, and the file's name does not decide.
    AmbiguousLayout,
    /// A heading is used by the layout and occurs twice.
    RepeatedHeading,
    /// A compressed or a Parquet file ends before its data does.
    Truncated,
    /// Compressed or Parquet data that cannot be read.
    Damaged,
    /// Unpacked, the file is larger than allowed, or far larger than it was packed.
    TooLarge,
    /// A column of a Parquet file holds lists or structures.
    Nested,
    /// The path is not a plain file inside the folder.
    OutsideFolder,
    /// More rows than keys can be compared.
    TooManyKeys,
    /// The line is longer than allowed.
    LongLine,
    /// There are more cells than allowed.
    TooManyCells,
    /// The row has another number of cells than there are headings.
    CellCount,
    /// A quote is opened and not closed on the line.
    OpenQuote,
    /// A quote inside a cell that is not quoted, or text after a closing quote.
    StrayQuote,
    /// Bytes that are no text in the file's encoding.
    Encoding,
    /// A NUL byte.
    Nul,
    /// Not one JSON object with plain values on the line.
    Json,
    /// A JSON object with a field that the first one did not have.
    UnknownField,
    /// The cell is blank and must not be.
    Required,
    /// The cell is not of the column's type.
    Type,
    /// The number is outside the column's range.
    Range,
    /// The code has a wrong length or wrong characters.
    Code,
    /// A code that lost its leading zero does not agree with the state of its row.
    StateDisagrees,
    /// No state, territory or military post has this name or number.
    UnknownState,
    /// The cell is none of the values that the layout knows.
    NotOneOf,
    /// A row with the same key came before.
    Duplicate,
}

impl Reason {
    /// What whoever sent the file can do.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::UnknownEnding => "name it .csv, .ndjson or .parquet, the first two also with .gz or .zst",
            Self::NotWhatNameSays => "name the file for what it is, or pack it as its name says",
            Self::Empty | Self::NoRows => "send the file with its rows; to take a data set away, delete its version",
            Self::UnknownLayout => "take the publisher's file unchanged, or add a layout to the kind",
            Self::AmbiguousLayout => "keep the publisher's file name, or name the layout",
            Self::RepeatedHeading => "take the publisher's file unchanged",
            Self::Truncated | Self::Damaged => "fetch the file again and compare its size or checksum",
            Self::TooLarge => "unpack it and look at it; raise the limit if it is right",
            Self::Nested => "write one plain column for each value",
            Self::OutsideFolder => "put the file itself into the folder",
            Self::TooManyKeys => "split the import, or raise the limit of keys",
            Self::LongLine | Self::TooManyCells => "look for a missing line end or a missing quote",
            Self::CellCount => "look for a missing quote around a cell with a comma",
            Self::OpenQuote | Self::StrayQuote => "close the quote on the same line, and double quotes inside a cell",
            Self::Encoding => "save the whole file in one encoding, UTF-8",
            Self::Nul => "fetch the file again: text has no NUL bytes",
            Self::Json | Self::UnknownField => "write one flat object a line, all with the same fields",
            Self::Required => "fill the cell in",
            Self::Type | Self::Range | Self::NotOneOf => "correct the cell, or tell the publisher",
            Self::Code | Self::StateDisagrees => "write the code with all its digits, as text",
            Self::UnknownState => "write the postal code of the state",
            Self::Duplicate => "nothing, if the first row is the right one",
        }
    }
}

/// Why an import stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file as a whole is refused.
    #[error("{}{}: {what}; {}", model::on_one_line(file), at(*.line), .reason.remedy())]
    Refused {
        /// Name of the file, without its folder.
        file: String,
        /// Line (or row of a Parquet file), from 1; 0 where the file as a whole is meant.
        line: u64,
        /// The reason's stable name.
        reason: Reason,
        /// What was found and what is allowed.
        what: String,
    },
    /// The operating system could not read the file.
    #[error("{}: cannot be read", model::on_one_line(file))]
    Read {
        /// Name of the file.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no such kind, or no such layout of it.
    #[error("there is no {what} `{}`; there are: {known}", model::escaped(name))]
    Unknown {
        /// `kind` or `layout`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A kind's definition contradicts itself.
    #[error("definition of {kind}: {what}")]
    Definition {
        /// Name of the kind.
        kind: String,
        /// What is wrong with it.
        what: String,
    },
    /// Accepted rows could not be written.
    #[error("accepted rows could not be written")]
    Sink(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// ` line 7`, or nothing where the file as a whole is meant.
fn at(line: u64) -> String {
    if line == 0 { String::new() } else { format!(" line {line}") }
}

impl Error {
    /// A refusal of a file as a whole.
    pub(crate) fn refused(file: &str, line: u64, reason: Reason, what: impl Into<String>) -> Self {
        Self::Refused { file: file.to_owned(), line, reason, what: what.into() }
    }

    /// The reason's name, where a file is refused.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}
