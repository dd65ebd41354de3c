//! Nouns and policy. No IO, no async, no serde: nothing here can fail for outside reasons.
//!
//! A device's batch of readings becomes one [`Record`] in the log and one [`Row`] per hour it touches in
//! the store. Both carry the same bytes, a [`Block`]: readings column by column, original values and units
//! kept. What a person may see is decided by [`access::decide`], the only maker of a [`Permit`].

pub mod access;
pub mod audit;
mod block;
mod bytes;
mod catalog;
mod formula;
mod id;
mod newest;
mod rate;
mod reach;
mod reading;
mod record;
mod retraction;
mod rollup;
mod seen;
mod sheet;
mod spread;
pub mod telemetry;
mod time;
mod time_text;
mod unset;

pub use access::Permit;
pub use block::{Block, Column, Values};
pub use bytes::Malformed;
pub use catalog::{CodeSystem, Factor, Kind, Metric, MetricId, by_code, by_id, metrics, unit_alias};
pub use formula::is_formula;
pub use id::{DeviceId, NoId, NoWord, PatientId, StreamId, UserId, WriterId, uuid, word};
pub use newest::{ClockTolerance, Recency, age, counts_from, superseded};
pub use rate::{Bucket, Rate};
pub use reach::Reach;
pub use reading::{Absence, Bound, ClockQuality, Comparator, Quality, Waveform};
pub use record::{BatchId, Record, Row, Slice};
pub use retraction::Retraction;
pub use rollup::{Rollup, Summary};
pub use seen::{NoLine, escaped, hidden, line, on_one_line, quoted};
pub use sheet::{Batch, Sheet, SheetColumn};
pub use spread::{murmur2, spread};
pub use time::{Clock, Hour, HourRange, Nanos, Range};
pub use time_text::{exact_time, is_exact_length};
pub use unset::is_unset;
