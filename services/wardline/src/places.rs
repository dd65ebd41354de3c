//! Where analytics gets data sets from and copies results to, as the settings say.

use analytics::{
    postgres::{Gone, Postgres},
    sources::{
        Place, Source, Sources,
        bucket::{Bucket, Keys},
        web::Web,
    },
};
use node::config::{self, Config, DataSource, S3};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The sources of the settings.
pub(crate) fn sources(config: &Config) -> Sources {
    let source = |source: &DataSource| Source {
        name: source.name.clone(),
        kind: source.kind.clone(),
        place: place(source, &config.analytics.s3),
    };
    Sources(config.analytics.sources.iter().map(source).collect())
}

/// The database, if there is one.
pub(crate) fn postgres(config: &Config) -> Option<Postgres> {
    let set = &config.analytics.postgres;
    let gone = match set.gone {
        config::Gone::Keep => Gone::Keep,
        config::Gone::Mark => Gone::Mark,
        config::Gone::Delete => Gone::Delete,
    };
    (!set.host.is_empty()).then(|| Postgres {
        host: set.host.clone(),
        port: set.port,
        database: set.database.clone(),
        user: set.user.clone(),
        password: set.password.clone(),
        password_file: file(&set.password_file),
        tls: set.sslmode == config::SslMode::VerifyFull,
        ca_file: file(&set.ca_file),
        schema: set.schema.clone(),
        gone,
        tables: set.tables.clone(),
    })
}

fn place(source: &DataSource, s3: &S3) -> Place {
    let (max_bytes, max_time) = (source.max_mib << 20, Duration::from_secs(source.max_minutes * 60));
    if !source.url.is_empty() {
        return Place::Web(Web {
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
        return Place::Path(source.path.clone());
    }
    Place::Bucket(Bucket {
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
pub(crate) fn archive_bucket(config: &Config) -> Option<Bucket> {
    let set = &config.archive.bucket;
    (!set.name.is_empty()).then(|| Bucket {
        bucket: set.name.clone(),
        endpoint: text(&set.endpoint),
        region: set.region.clone(),
        keys: keys(&set.access_key_id_file, &set.secret_access_key_file, &config.analytics.s3),
        ca_file: file(&set.ca_file),
        allow_private: set.allow_private,
        ..Bucket::default()
    })
}

fn keys(access_key_id_file: &Path, secret_access_key_file: &Path, s3: &S3) -> Keys {
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
