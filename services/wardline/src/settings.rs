//! The settings of analytics and of the archive: sections of the one file of settings that the crate `node` does not know.

mod schedules;
mod sources;

pub use schedules::{MissedFirings, NotifySettings, ScheduleSettings, SmtpSettings, SmtpTls, Tell, WebhookSettings};
pub use sources::SourceSettings;

use node::{
    choices,
    config::{Config, is_set, out_of_range, read},
    engines, sections,
};
use serde::Deserialize;
use std::path::PathBuf;
use toml::Table;

/// The sections as they are in the file.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct Settings {
    pub analytics: AnalyticsSettings,
    pub archive: ArchiveSettings,
}

sections! {
    ArchiveSettings { group: String, dir: PathBuf, flush_seconds: u64, merge_minutes: u64, bucket: ArchiveBucket }
    ArchiveBucket {
        name: String, endpoint: String, region: String, access_key_id_file: PathBuf, secret_access_key_file: PathBuf,
        ca_file: PathBuf, allow_private: bool,
    }
    AnalyticsSettings {
        workers: usize, lease_seconds: u64, follow_milliseconds: u64, objects_dir: PathBuf, memory_mib: usize, spill_gib: u64,
        sql_seconds: u64, sql_rows: usize, sql_at_once: usize, retry_pause_seconds: u32, sources: Vec<SourceSettings>, s3: S3Keys, postgres: PostgresSettings,
        schedules: Vec<ScheduleSettings>, notify: NotifySettings,
    }
    S3Keys { access_key_id: String, secret_access_key: String, session_token: String }
    PostgresSettings {
        host: String, port: u16, database: String, user: String, password: String, password_file: PathBuf, sslmode: SslMode,
        ca_file: PathBuf, schema: String, gone: GoneRows, tables: Vec<String>,
    }
}

choices! {
    SslMode { Disable = "disable", VerifyFull = "verify-full" }
    GoneRows { Keep = "keep", Mark = "mark", Delete = "delete" }
}

impl Settings {
    /// Those of a node.
    ///
    /// # Errors
    /// A key is not what it must be; when the node's settings were loaded with [`mistakes`], none is.
    pub fn of(config: &Config) -> anyhow::Result<Self> {
        config.section()
    }

    /// Where analytics keeps its files.
    pub fn objects_dir(&self, config: &Config) -> PathBuf {
        let dir = &self.analytics.objects_dir;
        if is_set(dir) { dir.clone() } else { config.data.dir.join("analytics") }
    }

    /// The archive's group in the log: one for each of the writer's.
    pub fn archive_group(&self, config: &Config) -> String {
        let group = &self.archive.group;
        if group.is_empty() { format!("{}-archive", config.writer.group) } else { group.clone() }
    }

    /// Where the archive's files are, if not in a bucket.
    pub fn archive_dir(&self, config: &Config) -> PathBuf {
        let dir = &self.archive.dir;
        if is_set(dir) { dir.clone() } else { config.data.dir.join("archive") }
    }

    /// Name, value, least and most of each that is a number.
    fn numbers(&self) -> [(&'static str, u64, u64, u64); 11] {
        let Self { analytics, archive } = self;
        [
            ("analytics.workers", analytics.workers as u64, 0, 256),
            ("analytics.lease_seconds", analytics.lease_seconds, 1, 600),
            ("analytics.follow_milliseconds", analytics.follow_milliseconds, 50, 60_000),
            ("analytics.retry_pause_seconds", analytics.retry_pause_seconds.into(), 0, 86_400),
            ("analytics.memory_mib", analytics.memory_mib as u64, 16, 1 << 20),
            ("analytics.spill_gib", analytics.spill_gib, 0, 1 << 20),
            ("analytics.sql_seconds", analytics.sql_seconds, 1, 3_600),
            ("analytics.sql_at_once", analytics.sql_at_once as u64, 1, 256),
            ("analytics.sql_rows", analytics.sql_rows as u64, 1, 1 << 40),
            ("archive.flush_seconds", archive.flush_seconds, 1, 86_400),
            ("archive.merge_minutes", archive.merge_minutes, 1, 10_080),
        ]
    }
}

/// What is wrong with these sections, one line a mistake; empty: nothing is.
pub fn mistakes(merged: &Table) -> Vec<String> {
    let settings = match read::<Settings>(merged) {
        Ok(settings) => settings,
        Err(mistakes) => return mistakes,
    };
    let mut mistakes = sources::mistakes(&settings.analytics);
    mistakes.extend(schedules::mistakes(&settings.analytics));
    mistakes.extend(out_of_range(settings.numbers()));
    mistakes
}

/// Makes topics, consumer groups, keyspace and tables, or brings them up to date; says what was done.
///
/// # Errors
/// An engine does not answer, or refuses.
pub async fn migrate(config: &Config) -> anyhow::Result<Vec<String>> {
    engines::migrate(config, &[Settings::of(config)?.archive_group(config)]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::config::{Check, Sources};

    /// The settings of a node and these, with every mistake of both.
    pub(super) fn load(sources: &Sources) -> Result<(Config, Settings), String> {
        let config = Config::load_for(sources, [mistakes as Check]).map_err(|error| error.to_string())?;
        let settings = Settings::of(&config).map_err(|error| error.to_string())?;
        Ok((config, settings))
    }

    fn with(flags: &[&str]) -> Result<(Config, Settings), String> {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        load(&Sources { flags, ..Sources::default() })
    }

    #[test]
    fn the_manual_has_these_sections_and_says_where_files_are() {
        let (config, settings) = with(&["data.dir=d", "writer.group=w"]).unwrap();
        assert_eq!(settings.objects_dir(&config), PathBuf::from("d/analytics"));
        assert_eq!(settings.archive_dir(&config), PathBuf::from("d/archive"));
        assert_eq!(settings.archive_group(&config), "w-archive");
        let (config, settings) = with(&["archive.dir=a", "archive.group=g", "analytics.objects_dir=o"]).unwrap();
        assert_eq!(settings.objects_dir(&config), PathBuf::from("o"));
        assert_eq!(settings.archive_dir(&config), PathBuf::from("a"));
        assert_eq!(settings.archive_group(&config), "g");
    }

    #[test]
    fn mistakes_of_the_node_and_of_its_services_are_named_at_once() {
        let flags = ["server.max_streams=0", "analytics.workers=many", "archive.flush_minutes=1"];
        let text = with(&flags).unwrap_err();
        for part in ["server.max_streams: 0 is not in 1 to ", "analytics.workers: ", "archive.flush_minutes"] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        let text = with(&["archive.flush_seconds=0", "analytics.lease_seconds=601"]).unwrap_err();
        for part in ["archive.flush_seconds: 0 is not in 1 to ", "analytics.lease_seconds: 601 is not in 1 to 600"] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }
}
