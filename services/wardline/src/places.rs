//! Where analytics gets data sets from and copies results to, as the settings say.

use analytics::{
    postgres::{Gone, Postgres},
    sources::{
        Source, SourceLocation, Sources,
        bucket::{Bucket, Keys},
        web::Web,
    },
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use wardline::settings::{AnalyticsSettings, GoneRows, S3Keys, Settings, SourceSettings, SslMode};

/// The sources of the settings.
pub(crate) fn sources(settings: &AnalyticsSettings) -> Sources {
    let source = |source: &SourceSettings| Source {
        name: source.name.clone(),
        kind: source.kind.clone(),
        place: place(source, &settings.s3),
    };
    Sources(settings.sources.iter().map(source).collect())
}

/// The database, if there is one.
pub(crate) fn postgres(settings: &AnalyticsSettings) -> Option<Postgres> {
    let set = &settings.postgres;
    let gone = match set.gone {
        GoneRows::Keep => Gone::Keep,
        GoneRows::Mark => Gone::Mark,
        GoneRows::Delete => Gone::Delete,
    };
    (!set.host.is_empty()).then(|| Postgres {
        host: set.host.clone(),
        port: set.port,
        database: set.database.clone(),
        user: set.user.clone(),
        password: set.password.clone(),
        password_file: file(&set.password_file),
        tls: set.sslmode == SslMode::VerifyFull,
        ca_file: file(&set.ca_file),
        schema: set.schema.clone(),
        gone,
        tables: set.tables.clone(),
    })
}

fn place(source: &SourceSettings, s3: &S3Keys) -> SourceLocation {
    let (max_bytes, max_time) = (source.max_mib << 20, Duration::from_secs(source.max_minutes * 60));
    if !source.url.is_empty() {
        return SourceLocation::Web(Web {
            url: source.url.clone(),
            allowed_hosts: source.allowed_hosts.clone(),
            allow_private: source.allow_private,
            file_name: text(&source.file_name),
            sha256: text(&source.sha256),
            ca_file: file(&source.ca_file),
            max_bytes,
            max_time,
        });
    }
    if source.bucket.is_empty() {
        return SourceLocation::Path(source.path.clone(), max_time);
    }
    SourceLocation::Bucket(Bucket {
        bucket: source.bucket.clone(),
        prefix: source.prefix.clone(),
        endpoint: text(&source.endpoint),
        region: source.region.clone(),
        keys: keys(&source.access_key_id_file, &source.secret_access_key_file, s3),
        ca_file: file(&source.ca_file),
        allow_private: source.allow_private,
        max_bytes,
        max_time,
    })
}

/// The bucket of the archive, if it is in one.
pub(crate) fn archive_bucket(settings: &Settings) -> Option<Bucket> {
    let set = &settings.archive.bucket;
    (!set.name.is_empty()).then(|| Bucket {
        bucket: set.name.clone(),
        endpoint: text(&set.endpoint),
        region: set.region.clone(),
        keys: keys(&set.access_key_id_file, &set.secret_access_key_file, &settings.analytics.s3),
        ca_file: file(&set.ca_file),
        allow_private: set.allow_private,
        ..Bucket::default()
    })
}

fn keys(access_key_id_file: &Path, secret_access_key_file: &Path, s3: &S3Keys) -> Keys {
    match file(access_key_id_file).zip(file(secret_access_key_file)) {
        Some((access_key_id, secret_access_key)) => Keys::Files { access_key_id, secret_access_key },
        None if s3.access_key_id.is_empty() => Keys::None,
        None => Keys::Given {
            access_key_id: s3.access_key_id.clone(),
            secret_access_key: s3.secret_access_key.clone(),
            session_token: s3.session_token.clone(),
        },
    }
}

/// An empty text means none.
fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn file(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}
