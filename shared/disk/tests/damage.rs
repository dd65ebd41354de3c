//! A small engine's folder, damaged in every place: nothing is taken for an honest end, and an honest end is never damage.

use disk::{Chain, Error, Need, Space, check, repair};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

#[path = "damage/more.rs"]
mod more;

const N_BATCHES: u64 = 12;
const LINKS: &str = "meta";

/// An open engine, as log and store open theirs.
struct Engine {
    chain: Chain,
    rows: Keyspace,
    database: Database,
}

impl Engine {
    fn open(dir: &Path) -> Result<Self, Error> {
        let found = check(dir, false)?;
        let database = Database::builder(dir).worker_threads(1).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (meta, rows) = (keyspace(LINKS)?, keyspace("rows")?);
        let space = Space::new(dir, 0);
        let chain = Chain::open(dir, database.clone(), meta.clone(), &[&meta, &rows], &found, space)?;
        Ok(Self { chain, rows, database })
    }

    fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            let mut batch = self.database.batch();
            batch.insert(&self.rows, n.to_be_bytes(), format!("row {n}"));
            self.chain.commit(batch, Need::Data).unwrap();
            self.chain.sync().unwrap();
        }
    }

    fn rows(&self) -> Vec<u64> {
        let key = |guard: fjall::Guard| u64::from_be_bytes((*guard.key().unwrap()).try_into().unwrap());
        self.rows.iter().map(key).collect()
    }
}

/// A folder with batches in its journal, which ends with them.
fn made() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("store");
    Engine::open(&engine).unwrap().write(0..N_BATCHES);
    // opened once more, the journal is cut off where it ends
    drop(Engine::open(&engine).unwrap());
    (dir, engine)
}

fn damage(result: Result<disk::EngineFiles, Error>, context: &str) -> disk::Damage {
    match result {
        Err(Error::Damaged(damage)) => damage,
        Err(other) => panic!("{context}: {other}"),
        Ok(_) => panic!("{context}: nothing was noticed"),
    }
}

/// What is found; `None` when the engine, opened on a copy, has every row and takes more.
fn damage_or_harmless(engine: &Path, context: &str) -> Option<disk::Damage> {
    match check(engine, false) {
        Err(Error::Damaged(damage)) => return Some(damage),
        Err(other) => panic!("{context}: {other}"),
        Ok(_) => {}
    }
    let dir = tempfile::tempdir().unwrap();
    copy(engine.parent().unwrap(), dir.path());
    let opened = Engine::open(&dir.path().join("store")).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(opened.rows(), (0..N_BATCHES).collect::<Vec<_>>(), "{context}: nothing was noticed");
    opened.write([N_BATCHES]);
    assert_eq!(opened.rows().len() as u64, N_BATCHES + 1, "{context}");
    None
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn any_flipped_bit_of_the_journal_is_found_and_named() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    assert!((500..10_000).contains(&whole.len()), "{} bytes", whole.len());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let Some(damage) = damage_or_harmless(&engine, &format!("byte {at}")) else { continue };
        assert_eq!(damage.path, path, "byte {at}");
        // a sequence number that is a little too high shows in the next batch
        assert!(damage.offset.is_some_and(|offset| offset <= at as u64 + 100), "byte {at}: {damage}");
        assert_eq!(fs::read(&path).unwrap(), changed, "nothing may be changed");
    }
}

#[test]
fn any_cut_of_the_journal_is_found_and_named() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    for at in 1..whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let opened = check(&engine, false).and_then(|_| Engine::open(&engine).map(drop));
        match opened {
            Err(Error::Damaged(damage)) => assert!(damage.path.starts_with(&engine), "{at}: {damage}"),
            Err(other) => panic!("{at}: {other}"),
            Ok(()) => panic!("cut at {at}: nothing was noticed"),
        }
    }
}

#[test]
fn what_a_killed_process_leaves_behind_is_cut_off() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let before = fs::read(&path).unwrap().len();
    let mark = fs::read(engine.with_file_name("store.mark")).unwrap();
    Engine::open(&engine).unwrap().write([N_BATCHES]);
    let whole = fs::read(&path).unwrap();
    for cut in before..whole.len() {
        for preallocated in [0, 4_000] {
            // the last batch was not synced when the process died
            fs::write(engine.with_file_name("store.mark"), &mark).unwrap();
            let mut left = whole[..cut].to_vec();
            left.resize(cut + preallocated, 0);
            fs::write(&path, &left).unwrap();
            check(&engine, false).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        }
    }
    let opened = Engine::open(&engine).unwrap();
    assert_eq!(opened.rows(), (0..N_BATCHES).collect::<Vec<_>>());
    opened.write([N_BATCHES]);
    drop(opened);
    assert_eq!(Engine::open(&engine).unwrap().rows().len() as u64, N_BATCHES + 1);
}

#[test]
fn any_missing_file_is_found_and_named() {
    let (_dir, engine) = made();
    let opened = Engine::open(&engine).unwrap();
    opened.rows.rotate_memtable_and_wait().unwrap();
    drop(opened);
    let mut files = Vec::new();
    list(&engine, &mut files);
    files.push(engine.with_file_name("store.mark"));
    files.push(engine.with_file_name("store.manifest"));
    assert!(files.len() > 8 && files.iter().any(|path| path.parent().unwrap().ends_with("tables")), "{files:?}");
    for path in files.into_iter().filter(|path| !path.ends_with("lock")) {
        let away = engine.with_file_name("away");
        fs::rename(&path, &away).unwrap();
        // versions that are no longer in force may go
        if let Some(damage) = damage_or_harmless(&engine, &path.display().to_string()) {
            assert_eq!(damage.path, path);
        }
        fs::rename(&away, &path).unwrap();
    }
    for folder in ["", "keyspaces", "keyspaces/0", "keyspaces/1"] {
        let (path, away) = (engine.join(folder), engine.with_file_name("away"));
        fs::rename(&path, &away).unwrap();
        damage(check(&engine, false), folder);
        fs::rename(&away, &path).unwrap();
    }
    check(&engine, true).unwrap();
}

#[test]
fn any_flipped_bit_of_the_other_files_is_found() {
    let (_dir, engine) = made();
    let opened = Engine::open(&engine).unwrap();
    opened.rows.rotate_memtable_and_wait().unwrap();
    drop(opened);
    let mut files = Vec::new();
    list(&engine, &mut files);
    for path in files {
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(1 + whole.len() / 60) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            damage_or_harmless(&engine, &format!("{} byte {at}", path.display()));
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_repair_keeps_whatever_can_be_read() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let mut changed = fs::read(&path).unwrap();
    let at = changed.len() / 2;
    changed[at] ^= 0x10;
    fs::write(&path, &changed).unwrap();
    let planned = repair(&engine, LINKS, false).unwrap();
    assert_eq!((planned.steps.len(), planned.hopeless), (1, None));
    assert_eq!(fs::read(&path).unwrap(), changed, "only read");
    let done = repair(&engine, LINKS, true).unwrap();
    assert!(done.has_gaps && done.hopeless.is_none(), "{done:?}");
    let opened = Engine::open(&engine).unwrap();
    assert_eq!(opened.rows().len() as u64, N_BATCHES - 1, "one batch was damaged");
    opened.write([N_BATCHES]);
    drop(opened);
    assert_eq!(Engine::open(&engine).unwrap().rows().len() as u64, N_BATCHES);
    assert!(fs::read_dir(engine.with_file_name("store.damaged")).unwrap().count() > 0, "what was there is kept");
}

#[test]
fn a_repair_gives_up_what_is_gone() {
    let (_dir, engine) = made();
    fs::remove_file(engine.join("0.jnl")).unwrap();
    let done = repair(&engine, LINKS, true).unwrap();
    assert!(done.has_gaps && done.hopeless.is_none(), "{done:?}");
    assert_eq!(Engine::open(&engine).unwrap().rows(), [] as [u64; 0]);
}

#[test]
fn a_folder_from_before_there_were_marks_is_taken_over() {
    let (_dir, engine) = made();
    let fresh = engine.with_file_name("old");
    let database = Database::builder(&fresh).worker_threads(1).open().unwrap();
    let rows = database.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
    rows.insert([0; 8], "from before").unwrap();
    drop((rows, database));
    Engine::open(&fresh).unwrap().write([7]);
    assert_eq!(Engine::open(&fresh).unwrap().rows(), [0, 7]);
}

fn list(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, found),
            false if path.metadata().unwrap().len() > 0 => found.push(path),
            false => {}
        }
    }
}
