//! Damage that one flipped or missing byte does not do: whole batches and journals, a mark, folders from before there were numbers.

use super::*;

/// Where batches begin in a journal: at a start, behind the end of the one before.
fn starts(journal: &[u8]) -> Vec<usize> {
    let ends = journal.windows(4).enumerate().filter(|(_, bytes)| *bytes == b"FJL\x03").map(|(at, _)| at + 4);
    [0].into_iter().chain(ends).filter(|at| journal.get(*at) == Some(&1)).collect()
}

#[test]
fn a_whole_batch_that_is_gone_or_stands_elsewhere_is_found() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    let starts = starts(&whole);
    assert_eq!(starts.len() as u64, N_BATCHES);
    // what is before the first one only the tables tell
    for pair in starts[1..].windows(3) {
        let [at, next, end] = pair.try_into().unwrap();
        // each batch by itself is as it was written
        let gone = [&whole[..at], &whole[next..]].concat();
        let twice = [&whole[..next], &whole[at..]].concat();
        let turned = [&whole[..at], &whole[next..end], &whole[at..next], &whole[end..]].concat();
        for (what, bytes) in [("gone", gone), ("twice", twice), ("turned", turned)] {
            fs::write(&path, bytes).unwrap();
            let found = damage(check(&engine, false), &format!("{what} at {at}"));
            assert_eq!(found.path, path, "{what} at {at}");
        }
    }
}

#[test]
fn a_first_batch_that_is_in_no_table_is_missed_and_given_up_by_a_repair() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    for n_gone in [1, 2] {
        fs::write(&path, &whole[starts(&whole)[n_gone]..]).unwrap();
        match Engine::open(&engine).map(drop) {
            Err(Error::Damaged(damage)) => assert_eq!((damage.path, damage.offset), (path.clone(), Some(0))),
            other => panic!("{n_gone}: {other:?}"),
        }
        let repaired = repair(&engine, LINKS, true).unwrap();
        assert!(repaired.has_gaps && repaired.hopeless.is_none(), "{repaired:?}");
        let opened = Engine::open(&engine).unwrap();
        assert_eq!(opened.rows(), (n_gone as u64..N_BATCHES).collect::<Vec<_>>());
    }
}

#[test]
fn a_sequence_number_that_is_too_high_is_found_also_in_the_last_batch() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    let last = *starts(&whole).last().unwrap();
    // a kind, the number of items, and then eight bytes: the engine would count on from there
    for byte in 1..8 {
        let mut changed = whole.clone();
        changed[last + 5 + byte] ^= 0x10;
        fs::write(&path, &changed).unwrap();
        assert_eq!(damage(check(&engine, false), &format!("byte {byte}")).path, path);
    }
}

#[test]
fn what_was_synced_since_the_start_is_known_to_be_durable() {
    let (_dir, engine) = made();
    let path = engine.join("0.jnl");
    let opened = Engine::open(&engine).unwrap();
    let before = fs::read(&path).unwrap();
    opened.write([N_BATCHES]);
    drop(opened);
    // cut where the last start had found it: an honest end, if nothing was promised since
    let used = before.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(&path, &before[..used]).unwrap();
    let found = damage(check(&engine, false), "cut");
    assert!(found.what.contains("was durable"), "{found}");
}

#[test]
fn a_mark_that_is_missing_is_no_mark_of_nothing() {
    let (_dir, engine) = made();
    let mark = engine.with_file_name("store.mark");
    fs::remove_file(&mark).unwrap();
    assert_eq!(damage(check(&engine, false), "no mark").path, mark);
}

/// A folder from before batches had numbers, and its journal.
fn made_before() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("store");
    let database = Database::builder(&engine).worker_threads(1).open().unwrap();
    let rows = database.keyspace("rows", KeyspaceCreateOptions::default).unwrap();
    for n in 0..N_BATCHES {
        rows.insert(n.to_be_bytes(), format!("row {n}")).unwrap();
    }
    database.persist(fjall::PersistMode::SyncAll).unwrap();
    drop((rows, database));
    (dir, engine)
}

#[test]
fn damage_is_found_also_where_batches_have_no_numbers() {
    let (_dir, engine) = made_before();
    let path = engine.join("0.jnl");
    let whole = fs::read(&path).unwrap();
    let starts = starts(&whole);
    // of the last batch nothing that follows tells
    for at in starts[1..].iter().flat_map(|at| [*at, *at + 14]) {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        fs::write(&path, &changed).unwrap();
        assert_eq!(damage(check(&engine, false), &format!("byte {at}")).path, path, "byte {at}");
    }
}

/// Writes so many bytes that nothing makes shorter.
fn fill(engine: &Engine, n_bytes: usize) {
    const VALUE: usize = 64 << 10;
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    for n in 0..n_bytes.div_ceil(VALUE) as u64 {
        let mut batch = engine.database.batch();
        let value: Vec<_> = (0..VALUE / 8).flat_map(|_| next()).collect();
        batch.insert(&engine.rows, [&[0xff][..], &n.to_be_bytes()].concat(), value);
        engine.chain.commit(batch, Need::Data).unwrap();
    }
    engine.chain.sync().unwrap();
    engine.rows.rotate_memtable_and_wait().unwrap();
}

#[test]
fn a_journal_that_is_missing_is_found_whichever_it_is() {
    let (_dir, engine) = made();
    let opened = Engine::open(&engine).unwrap();
    // full enough that with the table there comes another one; the numbers of the batches are in no table
    fill(&opened, 65 << 20);
    opened.write([N_BATCHES]);
    drop(opened);
    let [first, second, third] = ["0.jnl", "1.jnl", "2.jnl"].map(|name| engine.join(name));
    assert!(first.exists() && second.exists() && !third.exists());
    check(&engine, false).unwrap();
    // the newest; one between two others, whose batches would follow each other; the oldest
    let away = engine.with_file_name("away");
    fs::rename(&second, &away).unwrap();
    assert_eq!(damage(check(&engine, false), "the newest").path, second);
    fs::rename(&away, &third).unwrap();
    assert_eq!(damage(check(&engine, false), "between").path, second);
    fs::rename(&third, &second).unwrap();
    fs::remove_file(&first).unwrap();
    match Engine::open(&engine).map(drop) {
        Err(Error::Damaged(damage)) => assert_eq!(damage.path, first),
        other => panic!("the oldest: {other:?}"),
    }
    let repaired = repair(&engine, LINKS, true).unwrap();
    assert!(repaired.has_gaps && repaired.hopeless.is_none(), "{repaired:?}");
    assert!(!Engine::open(&engine).unwrap().rows.is_empty().unwrap(), "what came after it is kept");
}

#[test]
fn of_a_large_table_the_contents_are_checked_at_each_start() {
    let (_dir, engine) = made();
    let opened = Engine::open(&engine).unwrap();
    fill(&opened, 3 << 20);
    drop(opened);
    let mut files = Vec::new();
    list(&engine, &mut files);
    let table = files
        .into_iter()
        .find(|path| path.parent().unwrap().ends_with("tables") && path.metadata().unwrap().len() > 1 << 20);
    let path = table.expect("a large table");
    let whole = fs::read(&path).unwrap();
    // the trailer, and the contents before it
    for from_end in [4, 20, 40, 60] {
        let mut changed = whole.clone();
        let at = whole.len() - from_end;
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert_eq!(damage(check(&engine, false), &format!("{from_end} from the end")).path, path);
    }
}
