//! Opening a folder: making it, refusing one that a newer version wrote, repairing a first start that was cut short.

use super::{Error, Inner, Known, Written, failed, on_disk, seal::Writing};
use disk::{Chain, Need, Space, private};
use fjall::{Database, KeyspaceCreateOptions, compaction::Leveled, config};
use std::{
    fs::{self, File},
    path::Path,
    sync::{Arc, Mutex},
};

/// Version of the keys and values in [`super::keys`], [`crate::payload`] and [`crate::sheet`]. Version 2 added seals,
/// version 3 their rollups, version 4 the rule by which these leave out clocks that are ahead, and the index of sequences: a
/// program that knows less would append to a sealed hour and leave what was derived from it, or rows that are not found by
/// their identity, so it must not open the folder. (The audit log, the registry and histories came later and need no version: nothing else is derived from them.)
const SCHEMA: u32 = 4;
/// The oldest version that this one opens; such a folder is raised to [`SCHEMA`].
const OLDEST_SCHEMA: u32 = 1;
const SCHEMA_KEY: &str = "schema";
/// Rows in memory before they go to a file: one fills and up to four wait, each twice that size with its index.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Seals, their list, or the index of sequences, in memory before they go to a file: written rarely, so that less will do.
const SEALS_MEMTABLE_BYTES: u64 = 4 << 20;
/// Entries of the audit log in memory before they go to a file: there are as many as requests by people.
const AUDIT_MEMTABLE_BYTES: u64 = 2 << 20;
/// Changes of the registry in memory before they go to a file: people are slow.
const REGISTRY_MEMTABLE_BYTES: u64 = 1 << 20;
/// Rows read and compressed together: a timeline wants neighbours, an append only whether a row is there.
const BLOCK_BYTES: u32 = 16 << 10;
/// Files that rows are merged into: a few of them are in memory while that goes on.
const TABLE_BYTES: u64 = 16 << 20;
/// Blocks of files kept in memory for reads.
const CACHE_BYTES: u64 = 32 << 20;
/// Journals kept until their rows are in files: bounds the disk they take and the time a start needs to read them.
const JOURNAL_BYTES: u64 = 128 << 20;

pub(super) fn open(dir: &Path, space: Space) -> Result<Inner, Error> {
    let found = disk::check(dir, false).map_err(|cause| at(dir, on_disk(cause)))?;
    if found.manifest.is_none() {
        private::create_dir_all(dir).and_then(|()| clear_unfinished(dir)).map_err(|cause| failed(cause.into()))?;
    }
    private::tighten(dir).map_err(|cause| failed(cause.into()))?;
    let db = Database::builder(dir)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .open()
        .map_err(|cause| at(dir, failed(cause)))?;
    let sized = |name, memtable_bytes| db.keyspace(name, || options(memtable_bytes)).map_err(failed);
    let keyspace = |name| sized(name, MEMTABLE_BYTES);
    let meta = keyspace("meta")?;
    if let Some(bytes) = meta.get(SCHEMA_KEY).map_err(failed)? {
        check_schema(&bytes).map_err(|cause| at(dir, cause))?;
    }
    let blocks = keyspace("blocks")?;
    let hours = keyspace("hours")?;
    let seals = sized("seals", SEALS_MEMTABLE_BYTES)?;
    let rollups = sized("rollups", SEALS_MEMTABLE_BYTES)?;
    let unsealed = sized("unsealed", SEALS_MEMTABLE_BYTES)?;
    let sequences = sized("sequences", SEALS_MEMTABLE_BYTES)?;
    let positions = keyspace("positions")?;
    let quarantine = keyspace("quarantine")?;
    let audit = sized("audit", AUDIT_MEMTABLE_BYTES)?;
    let audit_by_patient = sized("audit_by_patient", AUDIT_MEMTABLE_BYTES)?;
    let audit_by_time = sized("audit_by_time", AUDIT_MEMTABLE_BYTES)?;
    let registry_changes = sized("registry_changes", REGISTRY_MEMTABLE_BYTES)?;
    let profiles = sized("profiles", REGISTRY_MEMTABLE_BYTES)?;
    let things = sized("things", REGISTRY_MEMTABLE_BYTES)?;
    let steps = sized("steps", AUDIT_MEMTABLE_BYTES)?;
    let all = [
        [&meta, &blocks, &hours, &seals, &rollups, &unsealed, &sequences, &positions],
        [&quarantine, &audit, &audit_by_patient, &audit_by_time, &registry_changes, &profiles, &things, &steps],
    ];
    let chain = Chain::open(dir, db.clone(), meta.clone(), all.as_flattened(), &found, space).map_err(on_disk)?;
    if meta.get(SCHEMA_KEY).map_err(failed)?.is_none_or(|stored| *stored != SCHEMA.to_be_bytes()) {
        let mut batch = db.batch();
        batch.insert(&meta, SCHEMA_KEY, SCHEMA.to_be_bytes());
        chain.commit(batch, Need::Asked).and_then(|()| chain.sync()).map_err(on_disk)?;
    }
    let (known, indexed, writing) = (Known::new(), Written::new(), Mutex::new(Writing::new()));
    Ok(Inner {
        db,
        blocks,
        hours,
        seals,
        rollups,
        unsealed,
        sequences,
        positions,
        quarantine,
        audit,
        audit_by_patient,
        audit_by_time,
        registry_changes,
        profiles,
        things,
        steps,
        meta,
        known,
        indexed,
        writing,
        chain,
    })
}

/// Of a new folder: one that exists keeps those it was made with.
fn options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable_bytes)
        .data_block_size_policy(config::BlockSizePolicy::all(BLOCK_BYTES))
        // Whole ones would stay in memory, and grow with what is stored. The newest files are asked for every row: their
        // filters stay whole.
        .index_block_partitioning_policy(config::PartitioningPolicy::all(true))
        .filter_block_partitioning_policy(config::PartitioningPolicy::new([false, true]))
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
}

fn check_schema(bytes: &[u8]) -> Result<(), Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt(format!("a schema version of {} bytes", bytes.len())))?;
    match u32::from_be_bytes(bytes) {
        OLDEST_SCHEMA..=SCHEMA => Ok(()),
        newer if newer > SCHEMA => Err(Error::Config(format!(
            "the folder was written by a newer version (schema {newer}, this one knows {SCHEMA})"
        ))),
        older => Err(Error::Corrupt(format!("schema version {older}"))),
    }
}

/// Names the folder in a complaint about settings.
fn at(dir: &Path, error: Error) -> Error {
    match error {
        Error::Config(what) => Error::Config(format!("{}: {what}", dir.display())),
        other => other,
    }
}

/// A process killed while it made the folder leaves files that the engine then takes for somebody else's. Its
/// keyspaces come last, so a folder without any never held a row, and the files can go.
fn clear_unfinished(dir: &Path) -> std::io::Result<()> {
    let Ok(lock) = File::open(dir.join("lock")) else {
        return Ok(());
    };
    // whoever holds it is still making the folder
    if lock.try_lock().is_err() {
        return Ok(());
    }
    let empty = match fs::read_dir(dir.join("keyspaces")) {
        Ok(mut entries) => entries.next().is_none(),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => true,
        Err(cause) => return Err(cause),
    };
    if empty {
        for name in ["version", "0.jnl"] {
            match fs::remove_file(dir.join(name)) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Store;

    fn message(result: Result<Store, Error>) -> String {
        match result.err().expect("a refusal") {
            Error::Config(text) => text,
            other => panic!("not about settings: {other:?}"),
        }
    }

    #[test]
    fn a_folder_in_use_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::open(dir.path().join("store")).unwrap();
        assert!(message(Store::open(dir.path().join("store"))).contains("another process holds"));
        drop(held);
        Store::open(dir.path().join("store")).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        let meta = store.inner.db.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        meta.insert(SCHEMA_KEY, (SCHEMA + 1).to_be_bytes()).unwrap();
        drop((meta, store));
        assert!(message(Store::open(dir.path().join("store"))).contains("newer version"));
    }

    #[test]
    fn the_version_before_seals_is_raised() {
        let dir = tempfile::tempdir().unwrap();
        let schema = |store: &Store| store.inner.db.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        schema(&store).insert(SCHEMA_KEY, OLDEST_SCHEMA.to_be_bytes()).unwrap();
        drop(store);
        let store = Store::open(dir.path().join("store")).unwrap();
        assert_eq!(*schema(&store).get(SCHEMA_KEY).unwrap().unwrap(), SCHEMA.to_be_bytes());
    }

    #[test]
    fn a_first_start_cut_short_does_not_block_the_next() {
        for leftovers in [&["lock"][..], &["lock", "0.jnl"], &["lock", "0.jnl", "version"]] {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("store/keyspaces")).unwrap();
            for name in leftovers {
                File::create(dir.path().join("store").join(name)).unwrap();
            }
            Store::open(dir.path().join("store")).unwrap();
        }
    }
}
