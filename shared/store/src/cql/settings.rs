//! How to reach a cluster, and how its tables are laid out.

use crate::Error;
use model::ClockTolerance;
use std::{fmt, path::PathBuf, time::Duration};

/// How to reach a cluster, and how its tables are laid out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Contact points, `host:port`; the other nodes are found through them.
    pub nodes: Vec<String>,
    /// The keyspace: lower-case letters, digits and `_`.
    pub keyspace: String,
    /// Replication as a CQL map, used when [`super::migrate`] creates the keyspace.
    pub replication: String,
    /// How many replicas answer for a read or a write.
    pub consistency: Consistency,
    /// The nearest data centre; without it `LocalQuorum` means that of whichever node is asked.
    pub datacenter: Option<String>,
    /// User name and password; `None`: no sign-in.
    pub credentials: Option<Credentials>,
    /// How to encrypt connections; `None`: they are not encrypted.
    pub tls: Option<Tls>,
    /// Partitions a day's rows are spread over. Fixed by the first [`super::migrate`]. Best a multiple of the log's
    /// partitions; a partition should stay below 100 MB: 64 serve about 2,000 patients at a row every ten seconds.
    pub buckets: i16,
    /// Rollups are made under this rule: of hours whose rollups were stored under another one they are made when read.
    pub tolerance: ClockTolerance,
    /// Batches under way at once, over all calls.
    pub write_concurrency: usize,
    /// Days of one timeline read at once.
    pub read_concurrency: usize,
    /// Rows of one page of a read, as the driver asks for them.
    pub page_rows: i32,
    /// How long one attempt to write may take.
    pub write_timeout: Duration,
    /// How long one attempt to read a page may take.
    pub read_timeout: Duration,
    /// How long connecting to a node may take.
    pub connect_timeout: Duration,
}

/// How many replicas must answer a read or a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// More than half of the replicas in the data centre: what was written is read.
    LocalQuorum,
    /// One: for a single node; with more replicas, reads may lag.
    One,
}

/// A name and a password; `Debug` hides the password.
#[derive(Clone)]
pub struct Credentials {
    /// Name of the role that signs in.
    pub username: String,
    /// Password; left out of `Debug` and logs.
    pub password: String,
}

/// Files in PEM form. A node's certificate must name its IP address: that is what the driver checks.
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM file with the authorities whose certificates are trusted.
    pub ca: PathBuf,
    /// Our own certificate and its key, when the cluster wants one.
    pub identity: Option<TlsIdentity>,
}

/// The client certificate that is shown to the cluster, and its key.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// PEM file with the certificate chain, our own certificate first.
    pub cert: PathBuf,
    /// PEM file with the private key of the certificate.
    pub key: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: vec!["127.0.0.1:9042".into()],
            keyspace: "wardline".into(),
            replication: "{'class': 'SimpleStrategy', 'replication_factor': 1}".into(),
            consistency: Consistency::LocalQuorum,
            datacenter: None,
            credentials: None,
            tls: None,
            buckets: 64,
            tolerance: ClockTolerance::default(),
            write_concurrency: 64,
            read_concurrency: 8,
            page_rows: 5_000,
            write_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// Refuses what cannot work, before anything is tried.
    pub(super) fn check(&self) -> Result<(), Error> {
        let bad = |what: &str| Err(Error::Config(what.into()));
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.nodes.is_empty() {
            return bad("no nodes");
        }
        if self.keyspace.is_empty() || self.keyspace.len() > 48 || !self.keyspace.chars().all(name) {
            return bad("keyspace: 1 to 48 lower-case letters, digits or `_`");
        }
        // it becomes part of a statement
        if !self.replication.starts_with('{') || !self.replication.ends_with('}') || self.replication.contains(';') {
            return bad("replication: a map like {'class': 'SimpleStrategy', 'replication_factor': 1}");
        }
        if self.buckets < 1 || self.write_concurrency < 1 || self.read_concurrency < 1 || self.page_rows < 1 {
            return bad("buckets, write_concurrency, read_concurrency and page_rows: at least 1");
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).field("password", &"(hidden)").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let credentials = Some(Credentials { username: "wardline".into(), password: "hunter2".into() });
        let shown = format!("{:?}", Settings { credentials, ..Settings::default() });
        assert!(shown.contains("wardline") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let good = Settings::default;
        assert!(good().check().is_ok());
        for bad in [
            Settings { nodes: vec![], ..good() },
            Settings { keyspace: "x; DROP".into(), ..good() },
            Settings { replication: "1".into(), ..good() },
            Settings { buckets: 0, ..good() },
        ] {
            assert!(matches!(bad.check(), Err(Error::Config(_))), "{bad:?}");
        }
    }
}
