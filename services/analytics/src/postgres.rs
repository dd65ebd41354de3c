//! Results copied into a PostgreSQL database, for other tools.
//!
//! A table there has the name and the columns of a report or of a kind of data set. Rows come by COPY into a temporary table, and
//! from there into the table by their key: what is new is inserted, what is other is updated, what is gone stays, is marked or is
//! deleted, as the settings say. A run is one transaction, over all its tables: whoever reads sees all of it or nothing, and of a
//! run that fails, or whose job is somebody else's by now, nothing is left.

mod connect;
mod copy;
mod encode;
mod job;
mod table;
#[cfg(test)]
mod tests;
mod tls;

pub use self::job::CopyPostgres;
use std::{fmt, path::PathBuf};

/// The PostgreSQL database into which results are copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Its name, its address, or the folder of its Unix socket.
    pub host: String,
    /// Port of the server, with a Unix socket too: it is part of the socket's name.
    pub port: u16,
    /// Which one of the server's.
    pub database: String,
    /// Database user, who may create tables in the schema.
    pub user: String,
    /// The password; empty: none, or that of the file.
    pub password: String,
    /// File with the password, read for each run.
    pub password_file: Option<PathBuf>,
    /// TLS, with the certificate and the name checked; not over a Unix socket.
    pub tls: bool,
    /// PEM file of authorities that are believed beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the tables are: lower-case letters, digits and `_`.
    pub schema: String,
    /// What becomes of rows that are not among what is copied.
    pub gone: Gone,
    /// Names of reports and kinds that a job copies which names none.
    pub tables: Vec<String>,
}

/// What becomes of rows that are not among what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// They stay as they are.
    Keep,
    /// Their column `gone_at` says since when.
    Mark,
    /// They are deleted.
    Delete,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("host", &self.host).field("database", &self.database).finish_non_exhaustive()
    }
}
