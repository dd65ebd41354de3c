//! Configuration: defaults (the manual) < file < environment < flags. Unknown keys are refused, and every mistake is
//! reported at once.

use anyhow::{Context, anyhow, bail};
use merge::{merge, put, set};
use serde::{Deserialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Settings that are one of some words: an enum for each, with the word of each choice.
#[macro_export]
macro_rules! choices {
    ($($name:ident { $($choice:ident = $text:literal),+ })+) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[expect(missing_docs, reason = "node.default.toml is the manual")]
        pub enum $name { $(#[serde(rename = $text)] $choice),+ }
    )+};
}

mod api;
mod devices;
pub mod issuer;
mod limits;
mod merge;
mod rpcs;
#[cfg(test)]
mod tests;
mod tls;
pub use api::{Listen, Origins};
pub use issuer::Issuer;

/// The defaults file, compiled in.
pub const MANUAL: &str = include_str!("node.default.toml");
/// Variables that set a key: `WARDLINE__LOG__KAFKA__BROKERS`.
const PREFIX: &str = "WARDLINE__";
/// Keys, in any section, whose values are never printed.
const SECRETS: [&str; 4] = ["password", "cursor_key", "secret_access_key", "session_token"];
/// Whose values are never printed: librdkafka has passwords and keys under many names.
const SECRET_SECTION: &str = "extra";
/// Whose `url` is never printed: receivers often know a sender by what follows the host.
const SECRET_ADDRESS: &str = "webhook";

/// Where settings come from, beside the defaults. Passed in, so that tests need no process-wide state.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    /// Path of a TOML file; `None`: there is none.
    pub file: Option<PathBuf>,
    /// Environment variables, as names and values; those that begin with `WARDLINE__` count.
    pub environment: Vec<(String, String)>,
    /// Settings of the command line, as `section.key=value`; they come last.
    pub flags: Vec<String>,
}

/// What a service finds wrong with sections of the settings that it alone reads, one line a mistake.
pub type Check = fn(&Table) -> Vec<String>;

/// All settings, merged and checked. Sections of services that this crate does not know are in none of its fields: who brings
/// the service takes them by [`Config::section`].
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct Config {
    pub server: Server,
    pub memory: guard::bounds::Settings,
    pub quotas: Quotas,
    pub tls: Tls,
    pub data: Data,
    pub log: Log,
    pub store: Store,
    pub ingest: Ingest,
    pub writer: Writer,
    pub query: Query,
    pub study: Study,
    pub auth: Auth,
    pub devices: Devices,
    pub directory: Directory,
    pub audit: Audit,
    pub telemetry: Telemetry,
    #[serde(skip)]
    merged: Table,
}

/// Sections of the settings: a struct for each, which refuses keys that it does not have.
#[macro_export]
macro_rules! sections {
    ($($name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "node.default.toml is the manual")]
        pub struct $name { $(pub $field: $type),+ }
    )+};
}

sections! {
    Server {
        grpc_listen: SocketAddr, api_listen: Listen, api_origins: Origins, one_address: bool, http_listen: SocketAddr, max_streams: u32, max_connections: usize,
        max_connections_per_address: usize, connection_age_minutes: u64, write_timeout_seconds: u64, drain_seconds: u64,
    }
    Quotas {
        claims_a_second: u64, probes_a_second: u64, reads_a_second: u64, writes_a_second: u64, device_calls_a_second: u64,
        batches_a_second: u64, device_readings_a_second: u64, device_bytes_a_second: u64,
        organisation_readings_a_second: u64, organisation_bytes_a_second: u64,
    }
    Tls {
        cert_file: PathBuf, key_file: PathBuf, api: bool, client_ca_file: PathBuf, client_auth: ClientAuth,
        crl_files: Vec<PathBuf>, handshake_timeout_seconds: u64, reload_seconds: u64,
    }
    Data { dir: PathBuf, reserve_mib: u64 }
    Log { kind: LogKind, embedded: EmbeddedLog, kafka: Kafka }
    EmbeddedLog { partitions: u16, max_in_flight_mib: usize, retention_gib: u64, retention_hours: u64 }
    Kafka {
        brokers: String, topic: String, notices_topic: String, partitions: u16, replication_factor: u16,
        min_insync_replicas: u16, compression: Compression, max_in_flight_mib: usize, security_protocol: Protocol, ca_file: String,
        cert_file: String, key_file: String, sasl_mechanism: String, username: String, password: String,
        extra: BTreeMap<String, String>,
    }
    Store { kind: StoreKind, cql: Cql }
    Cql {
        nodes: Vec<String>, keyspace: String, replication: String, consistency: Consistency, datacenter: String,
        buckets: i16, username: String, password: String, ca_file: String, cert_file: String, key_file: String,
    }
    Ingest {
        max_in_flight: u32, max_readings: u32, max_message_kib: u32, idle_seconds: u64, max_clock_ahead_seconds: u64,
        max_streams_per_device: u32,
    }
    Writer { group: String, seal_every_seconds: u64, seal_quiet_seconds: u64 }
    Query { cursor_key: String }
    Study { key_file: PathBuf, max_days: u16 }
    Auth { demo: Demo, keys_every_seconds: u64, unknown_key_every_seconds: u64, issuers: Vec<Issuer> }
    Devices {
        token_issuer: String, token_key_file: PathBuf, token_public_key_files: Vec<PathBuf>, token_minutes: u16,
        ca_cert_file: PathBuf, ca_key_file: PathBuf,
    }
    Directory { dir: PathBuf }
    Audit { dir: PathBuf }
    Telemetry { level: String, format: Format }
}

choices! {
    ClientAuth { Optional = "optional", Required = "required" }
    LogKind { Embedded = "embedded", Kafka = "kafka" }
    StoreKind { Embedded = "embedded", Cql = "cql" }
    Compression { Zstd = "zstd", Lz4 = "lz4", None = "none" }
    Protocol { Plaintext = "plaintext", Ssl = "ssl", SaslPlaintext = "sasl_plaintext", SaslSsl = "sasl_ssl" }
    Consistency { LocalQuorum = "local_quorum", One = "one" }
    Demo { Auto = "auto", On = "on", Off = "off" }
    Format { Json = "json", Text = "text" }
}

impl Config {
    /// Merges all sources; fails with every mistake found in the sections that a node itself reads.
    pub fn load(sources: &Sources) -> anyhow::Result<Self> {
        Self::load_for(sources, [])
    }

    /// The same, with every mistake in the sections of services, too.
    pub fn load_for(sources: &Sources, checks: impl IntoIterator<Item = Check>) -> anyhow::Result<Self> {
        let mut merged: Table = MANUAL.parse().context("the compiled-in defaults")?;
        let mut mistakes = Vec::new();
        if let Some(path) = &sources.file {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("configuration file {}", path.display()))?;
            let table: Table = text.parse().with_context(|| format!("configuration file {}", path.display()))?;
            merge(&mut merged, table, "", &mut mistakes);
        }
        for (name, text) in &sources.environment {
            if let Some(path) = name.strip_prefix(PREFIX) {
                let path: Vec<_> = path.split("__").map(str::to_lowercase).collect();
                set(&mut merged, &path, text, name, &mut mistakes);
            }
        }
        for flag in &sources.flags {
            match flag.split_once('=') {
                Some((path, text)) => {
                    let path: Vec<_> = path.split('.').map(str::to_owned).collect();
                    set(&mut merged, &path, text, flag, &mut mistakes);
                }
                None => mistakes.push(format!("--set {flag}: section.key=value")),
            }
        }
        let config = read::<Self>(&merged);
        mistakes.extend(config.as_ref().map_or_else(Clone::clone, Self::contradictions));
        mistakes.extend(checks.into_iter().flat_map(|check| check(&merged)));
        match config {
            Ok(config) if mistakes.is_empty() => Ok(Self { merged, ..config }),
            _ => bail!("{} mistakes in the configuration:\n  {}", mistakes.len(), mistakes.join("\n  ")),
        }
    }

    /// Sections of a service: `T` has a field for each that it reads.
    pub fn section<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        read(&self.merged).map_err(|mistakes| anyhow!(mistakes.join("\n")))
    }

    /// The merged settings as TOML, secrets hidden.
    pub fn shown(&self) -> String {
        let mut table = self.merged.clone();
        hide(&mut table, "");
        table.to_string()
    }

    /// Whether a setting is as the manual has it.
    pub(crate) fn is_default(&self, section: &str, key: &str) -> bool {
        let manual = MANUAL.parse::<Table>().unwrap_or_default();
        let of = |table: &Table| table.get(section).and_then(|section| section.get(key)).cloned();
        of(&manual) == of(&self.merged)
    }

    /// Whether the demo issuer is on.
    pub fn demo(&self) -> bool {
        match self.auth.demo {
            Demo::On => true,
            Demo::Off => false,
            Demo::Auto => self.auth.issuers.is_empty() && self.on_loopback(),
        }
    }

    /// Where the directory's files are.
    pub fn directory_dir(&self) -> PathBuf {
        if is_set(&self.directory.dir) { self.directory.dir.clone() } else { self.data.dir.join("directory") }
    }

    /// Where the audit log's signing key and checkpoints are.
    pub fn audit_dir(&self) -> PathBuf {
        if is_set(&self.audit.dir) { self.audit.dir.clone() } else { self.data.dir.join("audit") }
    }

    /// Where the key is from which subjects of studies get their names; none: studies are not offered.
    pub fn study_key_file(&self) -> Option<PathBuf> {
        if is_set(&self.study.key_file) {
            return Some(self.study.key_file.clone());
        }
        // of several nodes each would make its own
        (self.store.kind == StoreKind::Embedded).then(|| self.data.dir.join("study.key"))
    }

    /// Where the demo's authority for certificates is.
    pub fn demo_ca_dir(&self) -> PathBuf {
        self.demo_dir().join("ca")
    }

    /// Where the demo issuer's key is.
    pub fn demo_dir(&self) -> PathBuf {
        self.data.dir.join("demo")
    }

    fn on_loopback(&self) -> bool {
        let Server { grpc_listen, http_listen, api_listen, .. } = &self.server;
        [Some(*grpc_listen), Some(*http_listen), api_listen.0].iter().flatten().all(|at| at.ip().is_loopback())
    }

    fn contradictions(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.auth.demo == Demo::On && !self.on_loopback() {
            mistakes
                .push("auth.demo: the demo issuer is for loopback listeners only; its tokens open everything".into());
        }
        if !self.demo() && self.auth.issuers.is_empty() {
            mistakes.push("auth.issuers: name at least one issuer (auth.demo is off)".into());
        }
        mistakes.extend(issuer::mistakes(&self.auth.issuers));
        mistakes.extend(self.devices.contradictions());
        if !self.query.cursor_key.is_empty() && self.cursor_key().is_none() {
            mistakes.push("query.cursor_key: 64 hexadecimal digits".into());
        }
        mistakes.extend(self.tls.contradictions());
        mistakes.extend(out_of_range(limits::of(self)).chain(out_of_range(limits::of_memory(&self.memory))));
        if self.telemetry.level.parse::<tracing_subscriber::filter::Targets>().is_err() {
            let level = model::quoted(&self.telemetry.level);
            mistakes.push(format!("telemetry.level: {level} is no list like `info,store=debug`"));
        }
        mistakes
    }

    /// The key that page tokens are encrypted with, when one is set.
    pub fn cursor_key(&self) -> Option<Vec<u8>> {
        let text = &self.query.cursor_key;
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        (text.len() == 64).then(|| (0..64).step_by(2).map(byte).collect())?
    }
}

/// Whether a path is given: an empty one means none.
pub fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// What is wrong with numbers, each given with its name, its least and its most.
pub fn out_of_range(numbers: impl IntoIterator<Item = (&'static str, u64, u64, u64)>) -> impl Iterator<Item = String> {
    let wrong = numbers.into_iter().filter(|(_, value, low, high)| !(low..=high).contains(&value));
    wrong.map(|(name, value, low, high)| format!("{name}: {value} is not in {low} to {high}"))
}

/// Reads the sections that `T` has as fields; where that fails, reads each key alone, so that every wrong one is named.
pub fn read<T: DeserializeOwned>(merged: &Table) -> Result<T, Vec<String>> {
    T::deserialize(Value::Table(merged.clone())).map_err(|error| {
        let mut mistakes = Vec::new();
        let defaults = MANUAL.parse::<Table>().unwrap_or_default();
        check_keys::<T>(&defaults, merged, &mut Vec::new(), &mut mistakes);
        if mistakes.is_empty() { vec![error.message().to_owned()] } else { mistakes }
    })
}

fn check_keys<T: DeserializeOwned>(
    defaults: &Table,
    merged: &Table,
    path: &mut Vec<String>,
    mistakes: &mut Vec<String>,
) {
    for (key, value) in merged {
        path.push(key.clone());
        match (defaults.get(key), value) {
            (Some(Value::Table(defaults)), Value::Table(merged)) => check_keys::<T>(defaults, merged, path, mistakes),
            _ => match check_items::<T>(value, path) {
                none if none.is_empty() => {
                    let wrong = check_alone::<T>(path, value.clone());
                    mistakes.extend(wrong.map(|text| format!("{}: {text}", path.join("."))));
                }
                wrong => mistakes.extend(wrong),
            },
        }
        path.pop();
    }
}

/// What is wrong with each key of each table of a list.
fn check_items<T: DeserializeOwned>(value: &Value, path: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        for (key, value) in item.as_table().into_iter().flatten() {
            let alone = Value::Array(vec![Value::Table(Table::from_iter([(key.clone(), value.clone())]))]);
            wrong.extend(check_alone::<T>(path, alone).map(|text| format!("{}[{at}].{key}: {text}", path.join("."))));
        }
    }
    wrong
}

/// What is wrong with one value among the defaults.
fn check_alone<T: DeserializeOwned>(path: &[String], value: Value) -> Option<String> {
    let mut alone = MANUAL.parse::<Table>().unwrap_or_default();
    put(&mut alone, path, value);
    T::deserialize(Value::Table(alone)).err().map(|error| error.message().to_owned())
}

fn hide(table: &mut Table, within: &str) {
    for (key, value) in table.iter_mut() {
        let is_secret = SECRETS.contains(&key.as_str())
            || within == SECRET_SECTION
            || (within, key.as_str()) == (SECRET_ADDRESS, "url");
        match value {
            Value::Table(inner) => hide(inner, key),
            Value::String(text) if is_secret && !text.is_empty() => *text = "(hidden)".into(),
            _ => {}
        }
    }
}
