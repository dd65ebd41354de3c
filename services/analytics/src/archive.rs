//! The archive: the log's readings as Parquet, for those who count over many patients.
//!
//! The promise: each record of the log is there once, for readers that only list the files of a generation, too, whoever is
//! killed when. What is put down, and in which order:
//!
//! 1. the intent: an object named by the partition and the first offset says where the range ends. It is created, never written
//!    over: of two archivers one decides, and the other keeps to it.
//! 2. the file of that range, in the generation that counts. Its name is the range and its bytes follow from the records: who does
//!    it again lands on it. If another generation counts by then it is put there as well.
//! 3. the position in the log.
//!
//! A generation is never changed but by files of new ranges: small files are merged into larger ones of a new generation
//! ([`merge`]), which counts from the moment on that the object that names it is created.
//!
//! ```text
//! readings/_log/00003/00000000000000001200          {"to":1450}
//! readings/_generations/0000000002                  {"folder":"g0000000002-9f3c…"}
//! readings/g0000000002-9f3c…/p00003/00000000000000000000-00000000000000001200.parquet
//! ```
//!
//! A batch that a device sent again is in the log twice; the second time is left out.

pub mod archiver;
pub mod audit_counts;
pub mod bucket;
pub mod columns;
mod encode;
pub mod files;
pub mod folder;
pub mod generations;
pub mod merge;
mod names;
pub mod reading;
mod rows;
mod seen;

pub(crate) use encode::plain_parquet;
pub(crate) use rows::clock_named;

#[cfg(test)]
mod tests;

/// Records as a file of the archive.
#[cfg(test)]
pub(crate) fn file_of(records: &[model::Record]) -> bytes::Bytes {
    encode::file(&rows::Rows::of(records).arrow().unwrap()).unwrap()
}

/// Why something cannot be archived.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or the object store.
    #[error("files of the archive: {0}")]
    Files(#[from] files::Error),
    /// The audit log, whose entries are counted.
    #[error("the audit log: {0}")]
    Log(#[from] store::Error),
    /// Rows cannot be written as Parquet, or not be read again.
    #[error("Parquet of the archive: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Files cannot be merged.
    #[error("files of the archive cannot be merged: {0}")]
    Merge(#[from] datafusion::error::DataFusionError),
    /// What stands there is not what is put there.
    #[error("{key} is damaged: {what}")]
    Damaged {
        /// Key of the object that is at fault.
        key: String,
        /// What is wrong with it.
        what: String,
    },
}
