//! The command line.

use crate::{
    analytics, opening,
    operator::{Sending, TokenArgs},
    people::cli as people,
    replay, simulate, timeline,
};
use anyhow::{Context, ensure};
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use client::{Remote, Tls};
use model::on_one_line;
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Carries readings from monitoring devices to the people who act on them. Not a primary alarm system.
///
/// Without a command: everything on embedded engines, demo people, a replay of a real recording.
#[derive(Debug, Parser)]
#[command(name = "wardline", version)]
pub struct Cli {
    /// Where settings come from.
    #[command(flatten)]
    pub settings: Settings,
    /// Command; without one the demo runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Reads the command line; where it is wrong, or asks for help, this says so and ends the process.
    pub fn read() -> Self {
        let words: Vec<_> = env::args_os().collect();
        let cli = Self::of(&words).unwrap_or_else(|refused| refused.exit());
        // clap lets those after the command hide those before it
        let is_set = |word: &OsString| word == "--set" || word.as_encoded_bytes().starts_with(b"--set=");
        if words.iter().filter(|&word| is_set(word)).count() != cli.settings.set.len() {
            let text = "--set before and after the command: put all of them in one place";
            Self::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        cli
    }

    /// Reads these words. A refusal repeats them, so it is of the words as they can be printed.
    fn of(words: &[OsString]) -> Result<Self, clap::Error> {
        let shown = || words.iter().map(|word| on_one_line(&word.to_string_lossy()).into_owned());
        Self::try_parse_from(words).map_err(|refused| Self::try_parse_from(shown()).err().unwrap_or(refused))
    }
}

/// Where settings come from; `wardline config --manual` shows all.
#[derive(Debug, Args)]
pub struct Settings {
    /// Path of a TOML file with settings.
    #[arg(long, global = true)]
    pub config: Option<PathBuf>,
    /// One setting, repeatable: section.key=value.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Server for the commands that are clients; several, with commas or repeated, are tried in turn when one does not answer
    /// [default: server.grpc_listen, over https when tls.cert_file is set].
    #[arg(long = "endpoint", global = true, value_delimiter = ',', value_name = "URI")]
    pub endpoints: Vec<String>,
    /// How they speak to it when it is https.
    #[command(flatten)]
    pub files: Files,
}

/// PEM files of a client.
#[derive(Debug, Clone, Default, Args)]
pub struct Files {
    /// Authorities to believe when the server is https:// (PEM).
    #[arg(long = "ca", global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Certificate to show to the server (PEM).
    #[arg(long = "cert", global = true, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate (PEM).
    #[arg(long = "key", global = true, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl Files {
    /// Servers that serve the same, tried in turn; the first is `default` when there are none.
    ///
    /// # Errors
    /// As [`Files::remote`].
    pub fn remotes(&self, uris: &[String], default: &str) -> anyhow::Result<Remote> {
        let Some((first, others)) = uris.split_first() else { return self.remote(default) };
        others.iter().try_fold(self.remote(first)?, |remote, uri| Ok(remote.or(self.remote(uri)?)))
    }

    /// A server at a URI; `https` with these files.
    ///
    /// # Errors
    /// A file cannot be read, or files and URI do not go together.
    pub fn remote(&self, uri: &str) -> anyhow::Result<Remote> {
        if !uri.starts_with("https:") {
            ensure!(self.ca.is_none() && self.cert.is_none(), "--ca and --cert are for https://, not for {uri}");
            return Ok(Remote::from(uri));
        }
        let ca = self.ca.as_ref().with_context(|| format!("{uri} needs --ca FILE, the authorities to believe"))?;
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read("--cert", cert)?, read("--key", key)?)),
            _ => None,
        };
        Ok(Remote::encrypted(uri, Tls { authorities: read("--ca", ca)?, identity }))
    }
}

fn read(flag: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    opening::read(path).with_context(|| format!("{flag} {}", path.display()))
}

/// What the binary can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run services: all of them, or those named.
    Run {
        /// Which, repeatable: ingest, writer, query, registry, analytics, archive.
        #[arg(long = "service")]
        services: Vec<String>,
    },
    /// Bring topic, keyspace and tables up to date.
    Migrate,
    /// Print the settings in force, secrets hidden.
    Config {
        /// Print the defaults with their explanations instead.
        #[arg(long)]
        manual: bool,
    },
    /// Ask a node whether it serves; exit 1 when not.
    Health,
    /// Check whether the embedded log and store are whole, and mend them. The node must not run.
    ///
    /// A start refuses files that are not what was written, and names file and byte. This keeps what can still be read, says
    /// what is lost, and has the store's readings written again from the log. What is replaced is kept in NAME.damaged.
    Repair {
        /// Do it. Without this, the first fault of each folder is named, and what would be done about it.
        #[arg(long)]
        write: bool,
        /// Set aside what cannot be mended, and begin anew: a store gets its readings from the log again, as far as that goes back,
        /// and loses its audit log and its registry.
        #[arg(long)]
        begin_anew: bool,
    },
    /// Records that could not be stored.
    Quarantine {
        /// What to do with them.
        #[command(subcommand)]
        action: Quarantine,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// Who accessed whose data, and whether that record is whole.
    Audit {
        /// What to do with the audit log.
        #[command(subcommand)]
        what: Audit,
        /// Whose token is used.
        #[command(flatten)]
        access: TokenArgs,
    },
    /// People, devices, roles and relations.
    #[command(flatten)]
    Registry(people::Command),
    /// Who may do what.
    Access {
        /// What to show.
        #[command(subcommand)]
        what: Access,
    },
    /// Print the JSON API as an OpenAPI 3.1 document.
    Openapi,
    /// Print every metric of `/metrics`: name, kind, unit, labels and what it is.
    Metrics,
    /// Long work, data sets and reports.
    #[command(flatten)]
    Analytics(analytics::Command),
    /// Play a recording of real patients through the public API.
    Replay {
        /// Which recording is replayed, and how.
        #[command(flatten)]
        options: replay::Options,
        /// Whose token is used, and how long a server may be gone.
        #[command(flatten)]
        sending: Sending,
    },
    /// Send made-up readings of made-up patients, or make up something else.
    #[command(args_conflicts_with_subcommands = true)]
    Simulate {
        /// Something else than devices.
        #[command(subcommand)]
        other: Option<simulate::Other>,
        /// How many devices send, and what.
        #[command(flatten)]
        options: simulate::Options,
        /// Whose token is used, and how long a server may be gone.
        #[command(flatten)]
        sending: Sending,
    },
    /// Read a patient's readings: a plot, CSV or JSON.
    Timeline(timeline::Options),
    /// A demo token for a person or a device.
    Token {
        /// A role (doctor, nurse, patient, administrator, ...) or a device's UUID.
        who: String,
    },
    /// Certificates of the demo's authority, and their revocation.
    Certificate {
        /// What to do with certificates.
        #[command(subcommand)]
        what: Certificate,
    },
    /// Print completions for a shell.
    Completions {
        /// Shell for which completions are printed.
        shell: clap_complete::Shell,
    },
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum Certificate {
    /// A device's: with it the device needs no token. For 24 hours.
    Device {
        /// UUID of the device that the certificate names.
        #[arg(value_parser = model::uuid)]
        device: uuid::Uuid,
        /// Folder for cert.pem, key.pem and ca.pem.
        #[arg(long)]
        out: PathBuf,
    },
    /// A server's, for localhost and loopback. For 90 days.
    Server {
        /// Folder for cert.pem, key.pem and ca.pem.
        #[arg(long)]
        out: PathBuf,
    },
    /// One that names no device, for commands that have a token where a certificate is required. For 90 days.
    Client {
        /// Folder for cert.pem, key.pem and ca.pem.
        #[arg(long)]
        out: PathBuf,
    },
    /// A new key and a signing request: what a device makes for itself before it claims.
    Request {
        /// Folder for csr.pem and key.pem.
        #[arg(long)]
        out: PathBuf,
    },
    /// Put a certificate on the list of what is revoked.
    Revoke {
        /// Its serial number, in hexadecimal.
        serial: String,
    },
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Search the log; entries are printed newest first.
    Search {
        /// About whom, from when to when, and how many at most.
        #[command(flatten)]
        asked: AuditSearch,
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Entries as FHIR R4 AuditEvents, one JSON object a line, newest first.
    Export {
        /// About whom, from when to when, and how many at most.
        #[command(flatten)]
        asked: AuditSearch,
    },
    /// Read the whole log and say what is missing or was changed; exit 1 when anything is.
    Verify {
        /// Folder of checkpoints, as kept apart [default: checkpoints in audit.dir].
        #[arg(long)]
        checkpoints: Option<PathBuf>,
        /// Public key that is believed, repeatable [default: that of the key in audit.dir].
        #[arg(long = "public-key", value_name = "HEX")]
        public_keys: Vec<String>,
    },
    /// Print the public key that goes with the key in audit.dir.
    Key,
}

/// Which entries of the audit log.
#[derive(Debug, Args)]
pub struct AuditSearch {
    /// About one patient only.
    #[arg(long, value_parser = model::uuid)]
    pub patient: Option<uuid::Uuid>,
    /// Start: RFC 3339, `now`, or before now (-24h, -30m, -7d) [default: 24 h before --to].
    #[arg(long, allow_hyphen_values = true)]
    pub from: Option<String>,
    /// First instant after, in the same forms [default: now].
    #[arg(long, allow_hyphen_values = true)]
    pub to: Option<String>,
    /// The most entries; where there are more, that is said [default: 1,000 of a search, all of an export].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

/// What to show of the policy.
#[derive(Debug, Subcommand)]
pub enum Access {
    /// Roles, relations and purposes, and the rule of each rpc, as a table.
    Matrix,
}

/// What to do with records that could not be stored.
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// All of them, without contents.
    List {
        /// As one JSON array.
        #[arg(long)]
        json: bool,
    },
    /// One of them; its bytes in hexadecimal.
    Show {
        /// topic/partition/offset, as listed.
        log_position: String,
    },
    /// Publish again what can be read now.
    Replay {
        /// topic/partition/offset, as listed; none means all that were not replayed yet.
        log_positions: Vec<String>,
    },
}
