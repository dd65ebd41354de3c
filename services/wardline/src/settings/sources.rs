//! Where data sets come from and where results go, in the settings, and what can be wrong with it.

use super::{AnalyticsSettings, PostgresSettings, SslMode};
use node::config::is_set;
use serde::Deserialize;
use std::{collections::HashSet, path::PathBuf};
use tonic::codegen::http::Uri;

/// `[[analytics.sources]]`. Everything has a default, so that each key can be checked alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "node.default.toml is the manual")]
pub struct SourceSettings {
    pub name: String,
    pub kind: String,
    pub path: PathBuf,
    pub url: String,
    pub allowed_hosts: Vec<String>,
    pub file_name: String,
    pub sha256: String,
    pub bucket: String,
    pub endpoint: String,
    pub prefix: String,
    pub region: String,
    pub access_key_id_file: PathBuf,
    pub secret_access_key_file: PathBuf,
    pub ca_file: PathBuf,
    pub allow_private: bool,
    pub max_mib: u64,
    pub max_minutes: u64,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: String::new(),
            path: PathBuf::new(),
            url: String::new(),
            allowed_hosts: Vec::new(),
            file_name: String::new(),
            sha256: String::new(),
            bucket: String::new(),
            endpoint: String::new(),
            prefix: String::new(),
            region: "us-east-1".to_owned(),
            access_key_id_file: PathBuf::new(),
            secret_access_key_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            allow_private: false,
            max_mib: 4_096,
            max_minutes: 60,
        }
    }
}

impl SourceSettings {
    /// What is wrong, with the key that is at fault.
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(mistake.to_owned());
            }
        };
        let (path, web, bucket) = (is_set(&self.path), !self.url.is_empty(), !self.bucket.is_empty());
        let is_name = |text: &str| (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        unless(is_name(&self.name), "name: 1 to 64 characters, none of them a control character");
        unless(!self.kind.is_empty(), "kind: the kind of data set that it has");
        unless(usize::from(path) + usize::from(web) + usize::from(bucket) == 1, "one of path, url and bucket");
        unless(web || self.allowed_hosts.is_empty(), "allowed_hosts: is for url");
        unless(web || self.file_name.is_empty(), "file_name: is for url");
        unless(web || self.sha256.is_empty(), "sha256: is for url");
        unless(bucket || self.endpoint.is_empty(), "endpoint: is for bucket");
        unless(bucket || self.prefix.is_empty(), "prefix: is for bucket");
        unless(!path || !is_set(&self.ca_file), "ca_file: is for url and bucket");
        unless((1..=65_536).contains(&self.max_mib), "max_mib: 1 to 65536");
        unless((1..=1_440).contains(&self.max_minutes), "max_minutes: 1 to 1440");
        if web {
            unless(address(&self.url).is_some(), "url: http://... or https://..., without user and password");
            let host = address(&self.url).unwrap_or_default();
            let allowed = self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host));
            unless(allowed, "allowed_hosts: the host of the url, and each to which the publisher may send on");
        }
        let is_sum = self.sha256.len() == 64 && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        unless(self.sha256.is_empty() || is_sum, "sha256: 64 hexadecimal digits");
        if bucket {
            let at = address(&self.endpoint).is_some();
            unless(self.endpoint.is_empty() || at, "endpoint: http://... or https://..., without user and password");
        }
        let keys = [&self.access_key_id_file, &self.secret_access_key_file].map(|file| is_set(file));
        unless(bucket || keys == [false; 2], "access_key_id_file and secret_access_key_file: are for bucket");
        unless(keys[0] == keys[1], "access_key_id_file and secret_access_key_file: both or none");
        mistakes
    }
}

/// The host of an address that may be set, without the brackets of IPv6.
fn address(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let is_plain = !uri.authority()?.as_str().contains('@') && !text.contains('#');
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    (is_plain && matches!(uri.scheme_str(), Some("http" | "https"))).then_some(host)
}

impl PostgresSettings {
    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |holds: bool, mistake: &str| {
            if !holds {
                mistakes.push(format!("analytics.postgres.{mistake}"));
            }
        };
        if self.host.is_empty() {
            return mistakes;
        }
        unless(!self.database.is_empty(), "database: its name");
        unless(!self.user.is_empty(), "user: its name");
        unless(self.port != 0, "port: 1 to 65535");
        unless(self.password.is_empty() || !is_set(&self.password_file), "password or password_file, not both");
        let plain = self.schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest = self.schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        unless(plain && rest && self.schema.len() < 64, "schema: lower-case letters, digits and _");
        let (socket, tls) = (self.host.starts_with('/'), self.sslmode == SslMode::VerifyFull);
        unless(!(socket && tls), "sslmode: a Unix socket has no TLS: disable");
        unless(tls || !is_set(&self.ca_file), "ca_file: is for sslmode verify-full");
        mistakes
    }
}

/// What is wrong with the settings of analytics, one line a mistake; empty: nothing is.
pub(super) fn mistakes(analytics: &AnalyticsSettings) -> Vec<String> {
    let mut names = HashSet::new();
    let mut mistakes = analytics.postgres.mistakes();
    let s3 = &analytics.s3;
    if s3.access_key_id.is_empty() != s3.secret_access_key.is_empty() {
        mistakes.push("analytics.s3: access_key_id and secret_access_key, both or none".to_owned());
    }
    for (at, source) in analytics.sources.iter().enumerate() {
        mistakes.extend(source.mistakes().into_iter().map(|mistake| format!("analytics.sources[{at}].{mistake}")));
        if !names.insert((&source.kind, &source.name)) {
            mistakes.push(format!("analytics.sources[{at}].name: another source of the kind has it already"));
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use node::config::{Config, Sources};

    fn load(flags: &[&str]) -> Result<Config, String> {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        crate::settings::tests::load(&Sources { flags, ..Sources::default() }).map(|(config, _)| config)
    }

    fn load_sources(sources: &str) -> Result<Config, String> {
        load(&[&format!("analytics.sources=[{sources}]")])
    }

    const NAMED: &str = r#"name = "a", kind = "sites""#;

    #[test]
    fn a_source_is_a_path_a_url_or_a_bucket() {
        for place in [
            r#"path = "/data/sites""#,
            r#"url = "https://data.example.gov/sites.csv", allowed_hosts = ["DATA.example.gov", "cdn.example.gov"]"#,
            r#"url = "http://[::1]:80/a.csv", allowed_hosts = ["::1"], max_mib = 5, ca_file = "ca.pem""#,
            r#"bucket = "b", endpoint = "http://minio:9000", prefix = "sites/", region = "eu-west-1""#,
            r#"bucket = "b", access_key_id_file = "id", secret_access_key_file = "secret""#,
        ] {
            load_sources(&format!("{{{NAMED}, {place}}}")).unwrap();
        }
    }

    #[test]
    fn every_mistake_in_every_source_is_named() {
        let web = r#"url = "https://a.example/x.csv""#;
        for (keys, expected) in [
            (r#"max_mib = 1"#.to_owned(), "one of path, url and bucket"),
            (r#"path = "a", bucket = "b""#.to_owned(), "one of path, url and bucket"),
            (web.to_owned(), "allowed_hosts: "),
            (format!(r#"{web}, allowed_hosts = ["b.example"]"#), "allowed_hosts: "),
            (r#"url = "ftp://a.example/x.csv", allowed_hosts = ["a.example"]"#.to_owned(), "url: "),
            (r#"url = "https://u:p@a.example/x.csv", allowed_hosts = ["a.example"]"#.to_owned(), "url: "),
            (format!(r#"{web}, allowed_hosts = ["a.example"], sha256 = "12""#), "sha256: "),
            (format!(r#"{web}, allowed_hosts = ["a.example"], max_mib = 0"#), "max_mib: "),
            (r#"path = "a", allowed_hosts = ["x"]"#.to_owned(), "allowed_hosts: is for url"),
            (r#"bucket = "b", endpoint = "minio""#.to_owned(), "endpoint: "),
            (r#"bucket = "b", access_key_id_file = "x""#.to_owned(), "both or none"),
            (r#"path = "a", secret = "x""#.to_owned(), "secret"),
        ] {
            let text = load_sources(&format!("{{{NAMED}, {keys}}}")).unwrap_err();
            assert!(text.contains("analytics.sources[0]") && text.contains(expected), "{keys}: {text}");
        }
        let twice = format!(r#"{{{NAMED}, path = "a"}}, {{{NAMED}, path = "b"}}"#);
        assert!(load_sources(&twice).unwrap_err().contains("[1].name: another"));
    }

    #[test]
    fn a_name_has_characters_not_bytes() {
        let named = |name: &str| load_sources(&format!(r#"{{name = "{name}", kind = "sites", path = "a"}}"#));
        for good in ["a".to_owned(), "x".repeat(64), "\u{e9}".repeat(64)] {
            named(&good).unwrap();
        }
        for bad in [String::new(), "x".repeat(65), "\u{e9}".repeat(65), "a\\tb".to_owned()] {
            let text = named(&bad).unwrap_err();
            assert!(text.contains("analytics.sources[0].name: 1 to 64 characters"), "{bad}: {text}");
        }
    }

    #[test]
    fn a_database_is_named_whole_and_its_password_is_not_shown() {
        let named = ["analytics.postgres.host=db", "analytics.postgres.database=d", "analytics.postgres.user=u"];
        let with = |more: &[&str]| load(&[&named[..], more].concat());
        let shown = with(&["analytics.postgres.password=hunter2"]).unwrap().shown();
        assert!(shown.contains("(hidden)") && !shown.contains("hunter2"), "{shown}");
        for (flags, expected) in [
            (&["analytics.postgres.user="][..], "analytics.postgres.user"),
            (&["analytics.postgres.schema=a-b"], "analytics.postgres.schema"),
            (&["analytics.postgres.sslmode=require"], "analytics.postgres.sslmode"),
            (&["analytics.postgres.sslmode=verify-full", "analytics.postgres.host=/run"], "a Unix socket has no TLS"),
            (&["analytics.postgres.password=a", "analytics.postgres.password_file=b"], "not both"),
        ] {
            let text = with(flags).unwrap_err();
            assert!(text.contains(expected), "{flags:?}: {text}");
        }
        let keys = load(&["analytics.s3.secret_access_key=hunter2"]).unwrap_err();
        assert!(keys.contains("analytics.s3") && !keys.contains("hunter2"), "{keys}");
    }
}
