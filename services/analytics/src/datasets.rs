//! Data sets of reference data: kinds as data, and the import that makes rows of a kind's table out of a publisher's file.
//!
//! What is promised:
//! - **Nothing is guessed.** A file matches a layout of its kind, or it is refused with the headings that differ.
//! - **Nothing is dropped in silence.** Rows read are rows accepted and rows refused; each refusal and each repair has a line in
//!   the report, with the lines of the file. One bad row loses nothing else.
//! - **A withheld number is no zero.** It is null, and why stands beside it.
//! - **Memory is bounded** by [`Limits`], whatever the file is.

mod batch;
mod cell;
mod cities;
mod codes;
mod csv;
mod error;
pub mod export;
mod import;
mod kind;
mod layout;
mod limits;
mod ndjson;
mod open;
mod parquet_rows;
pub mod quality;
mod reading;
mod report;
mod reshape;
mod rows;
mod sink;
mod states;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use cities::city_key;
pub use error::{Error, Reason};
pub use import::{Options, import};
pub use kind::{Column, Kind, Reference, Type, kind, kinds};
pub use layout::{Layout, Origin, Parse, Pivot, Rule, Unpivot};
pub use limits::Limits;
pub use open::Input;
pub use report::{Completeness, FileReport, ImportReport, Refused, Repair, Repaired, RowLocation, Unmatched};
pub use sink::ParquetFile;
pub use states::{State, StateKind, find as find_state, states};
pub use text::Encoding;
