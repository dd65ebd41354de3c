//! The schema: numbered files, applied once and in order by [`migrate`].
//!
//! One migrator works at a time: it holds a row with a time to live, so that a dead one blocks the next for a minute
//! at most. Every statement says `IF NOT EXISTS`, so a migration that was cut short is simply run again. A file
//! that was applied may not change: its checksum is kept.

use super::{Settings, connect, statements::named, took_effect, unreadable};
use crate::{Error, sheet};
use model::{Nanos, murmur2};
use scylla::{
    client::session::Session, response::query_result::QueryResult, serialize::row::SerializeRow, statement::Statement,
};
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// Name and text, version 1 first. Add at the end; never change one that was released.
const MIGRATIONS: [(&str, &str); 10] = [
    ("rows", include_str!("../../migrations/0001_rows.cql")),
    ("positions_quarantine", include_str!("../../migrations/0002_positions_quarantine.cql")),
    ("seals", include_str!("../../migrations/0003_seals.cql")),
    ("rollups", include_str!("../../migrations/0004_rollups.cql")),
    ("audit", include_str!("../../migrations/0005_audit.cql")),
    ("registry", include_str!("../../migrations/0006_registry.cql")),
    ("sightings", include_str!("../../migrations/0007_sightings.cql")),
    ("sequences", include_str!("../../migrations/0008_sequences.cql")),
    ("histories", include_str!("../../migrations/0009_histories.cql")),
    ("last_streams", include_str!("../../migrations/0010_last_streams.cql")),
];
/// How long a dead migrator blocks the next; must be longer than any one migration takes.
const LOCK_TTL_SECONDS: i32 = 60;
/// How long to wait for another migrator before giving up.
const LOCK_PATIENCE: Duration = Duration::from_secs(120);
/// Between two checks whether it has finished.
const LOCK_POLL: Duration = Duration::from_millis(500);
/// Changes of the schema take longer than reads and writes.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(60);

/// How every statement of a migration starts.
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS ";

/// A migration that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its number, from 1.
    pub version: i32,
    /// Name of the migration, as in its file's name.
    pub name: String,
    /// When it was applied.
    pub applied_at: Nanos,
    /// Whether this very call did it.
    pub now: bool,
}

/// Brings the keyspace (created when missing) to this version's schema. Returns all migrations in force.
///
/// Safe to call again and from several places at once. A keyspace that is newer than this version is left alone.
pub async fn migrate(settings: &Settings) -> Result<Vec<Applied>, Error> {
    let session = connect::session(settings).await?;
    let schema = Schema { session: &session, settings };
    let keyspace = &settings.keyspace;
    let replication = &settings.replication;
    let create = format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}");
    query(schema, &create, ()).await?;
    for table in [
        "CREATE TABLE IF NOT EXISTS KS.schema_migrations \
         (version int PRIMARY KEY, name text, checksum text, applied_at bigint)",
        "CREATE TABLE IF NOT EXISTS KS.schema_lock (name text PRIMARY KEY, holder uuid)",
    ] {
        query(schema, table, ()).await?;
    }
    let holder = Uuid::new_v4();
    lock(schema, holder).await?;
    let applied = apply(schema).await;
    let unlock = "DELETE FROM KS.schema_lock WHERE name = 'migrate' IF holder = ?";
    if let Err(cause) = lightweight(schema, unlock, (holder,)).await {
        tracing::warn!(error = %cause, "the migrators' lock was not released, it will run out by itself");
    }
    applied
}

/// Refuses a schema that is missing, older than this version's or laid out otherwise.
pub(super) async fn check(session: &Session, settings: &Settings) -> Result<(), Error> {
    let schema = Schema { session, settings };
    let help = "run `wardline migrate`";
    let keyspace = &settings.keyspace;
    let exists = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let missing = || Error::Config(format!("keyspace {keyspace} has no schema: {help}"));
    if !any(schema, exists, (keyspace,)).await? {
        return Err(missing());
    }
    let table = "SELECT keyspace_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
    if !any(schema, table, (keyspace, "schema_migrations")).await? {
        return Err(missing());
    }
    let found = applied(schema).await?;
    for (version, (name, _)) in (1..).zip(MIGRATIONS) {
        if !found.contains_key(&version) {
            return Err(Error::Config(format!(
                "the schema of keyspace {keyspace} is older than this version (no migration {version}, {name}): {help}"
            )));
        }
    }
    check_checksums(&found)?;
    check_buckets(schema).await
}

/// Runs the migrations that are missing.
async fn apply(schema: Schema<'_>) -> Result<Vec<Applied>, Error> {
    let mut found = applied(schema).await?;
    check_checksums(&found)?;
    for (version, (name, text)) in (1..).zip(MIGRATIONS) {
        if found.contains_key(&version) {
            continue;
        }
        for statement in statements(text) {
            query(schema, &statement, ()).await?;
        }
        let applied_at = sheet::now();
        let note =
            "INSERT INTO KS.schema_migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?) IF NOT EXISTS";
        lightweight(schema, note, (version, name, checksum(text), applied_at.0)).await?;
        tracing::info!(version, name, "migration applied");
        let applied = Applied { version, name: name.into(), applied_at, now: true };
        found.insert(version, (applied, checksum(text)));
    }
    let note = "INSERT INTO KS.layout (name, value) VALUES ('buckets', ?) IF NOT EXISTS";
    lightweight(schema, note, (i32::from(schema.settings.buckets),)).await?;
    check_buckets(schema).await?;
    Ok(found.into_values().map(|(applied, _)| applied).collect())
}

/// The migrations in force, with their checksums.
async fn applied(schema: Schema<'_>) -> Result<BTreeMap<i32, (Applied, String)>, Error> {
    let select = "SELECT version, name, checksum, applied_at FROM KS.schema_migrations";
    let rows = query(schema, select, ()).await?.into_rows_result().map_err(unreadable)?;
    let mut found = BTreeMap::new();
    for row in rows.rows::<(i32, String, String, i64)>().map_err(unreadable)? {
        let (version, name, checksum, applied_at) = row.map_err(unreadable)?;
        found.insert(version, (Applied { version, name, applied_at: Nanos(applied_at), now: false }, checksum));
    }
    Ok(found)
}

fn check_checksums(found: &BTreeMap<i32, (Applied, String)>) -> Result<(), Error> {
    for (version, (name, text)) in (1..).zip(MIGRATIONS) {
        if found.get(&version).is_some_and(|(_, have)| *have != checksum(text)) {
            return Err(Error::Config(format!("migration {version} ({name}) was applied with another text")));
        }
    }
    Ok(())
}

async fn check_buckets(schema: Schema<'_>) -> Result<(), Error> {
    let select = "SELECT value FROM KS.layout WHERE name = 'buckets'";
    let rows = query(schema, select, ()).await?.into_rows_result().map_err(unreadable)?;
    let found = rows.maybe_first_row::<(i32,)>().map_err(unreadable)?.map(|(n,)| n);
    let settings = schema.settings;
    if found != Some(i32::from(settings.buckets)) {
        return Err(Error::Config(format!(
            "keyspace {} has {} buckets, the settings say {}: the number cannot change",
            settings.keyspace,
            found.map_or("no".into(), |n| n.to_string()),
            settings.buckets
        )));
    }
    Ok(())
}

/// Waits until no other migrator works.
async fn lock(schema: Schema<'_>, holder: Uuid) -> Result<(), Error> {
    let claim = "INSERT INTO KS.schema_lock (name, holder) VALUES ('migrate', ?) IF NOT EXISTS USING TTL ?";
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    while !lightweight(schema, claim, (holder, LOCK_TTL_SECONDS)).await? {
        if tokio::time::Instant::now() > deadline {
            return Err(Error::Config("another migrator is at work".into()));
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
    Ok(())
}

/// A keyspace, and the session to change it through.
#[derive(Clone, Copy)]
struct Schema<'a> {
    session: &'a Session,
    settings: &'a Settings,
}

/// Runs one statement (`KS` stands for the keyspace), on its own and with time enough for a change of the schema.
async fn query(schema: Schema<'_>, text: &str, values: impl SerializeRow) -> Result<QueryResult, Error> {
    let mut statement = Statement::new(named(text, &schema.settings.keyspace));
    statement.set_is_idempotent(true);
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    connect::again(|| schema.session.query_unpaged(statement.clone(), &values)).await
}

/// Whether a query finds anything.
async fn any(schema: Schema<'_>, text: &str, values: impl SerializeRow) -> Result<bool, Error> {
    Ok(query(schema, text, values).await?.into_rows_result().map_err(unreadable)?.rows_num() > 0)
}

/// Whether it was applied, which has an `IF`.
async fn lightweight(schema: Schema<'_>, text: &str, values: impl SerializeRow) -> Result<bool, Error> {
    took_effect(query(schema, text, values).await?)
}

/// The statements of a file, without comments; `KS` stands for the keyspace. (A file that was released cannot say it.)
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let text = lines.join("\n").replace(CREATE_TABLE, &format!("{CREATE_TABLE}KS."));
    text.split(';').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// Tells a changed file from the one that was applied: murmur2 and the length.
fn checksum(text: &str) -> String {
    format!("{:08x}-{}", murmur2(text.as_bytes()), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_split_into_statements() {
        let all: Vec<_> = MIGRATIONS.iter().flat_map(|(_, text)| statements(text)).collect();
        assert_eq!(all.len(), 22);
        // a migration that was cut short is run again
        assert!(all.iter().all(|s| s.starts_with("CREATE TABLE IF NOT EXISTS KS.")), "{all:?}");
    }

    #[test]
    fn released_files_do_not_change() {
        assert_eq!(
            MIGRATIONS.map(|(_, text)| checksum(text)),
            [
                "640e5c75-814",
                "d1d8a338-475",
                "f7d6950d-997",
                "43d66cf9-343",
                "41e7a50a-1693",
                "a13b8bc6-485",
                "b239fe15-184",
                "1f10cbf3-434",
                "12b5832e-482",
                "6a8e8fba-217",
            ]
        );
    }
}
