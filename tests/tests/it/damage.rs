//! Lost and damaged data folders: a start refuses them by name, and what the log still has is written again.

use bus::{Commits, Publish, Subscribe, embedded::Log};
use std::{fs, path::Path, time::Duration};
use store::Registry as _;
use tests::{Bed, Sandbox, builders::pulse};
use wardline::repair::{self, Options};
use writer::recovery;

async fn with_readings(n_batches: u64) -> anyhow::Result<(Sandbox, Bed)> {
    let (mut sandbox, bed) = (Sandbox::start(1).await?, Bed::numbered(0));
    write(&sandbox, &bed, 1..=n_batches).await?;
    sandbox.readable(&bed, n_batches as usize).await?;
    sandbox.stop().await?;
    Ok((sandbox, bed))
}

async fn write(sandbox: &Sandbox, bed: &Bed, sequences: impl IntoIterator<Item = u64>) -> anyhow::Result<()> {
    let now = guard::clock::now();
    for sequence in sequences {
        sandbox
            .write(bed, sequence, vec![pulse(60.0 + sequence as f64, now.plus(-1_000_000 * sequence as i64))])
            .await?;
    }
    Ok(())
}

async fn refusal(sandbox: &mut Sandbox) -> anyhow::Result<String> {
    match sandbox.run().await {
        Err(error) => Ok(format!("{error:#}")),
        Ok(()) => anyhow::bail!("the node started on a damaged folder"),
    }
}

async fn repair(sandbox: &Sandbox, options: Options) -> anyhow::Result<String> {
    let mut said = Vec::new();
    repair::run(&sandbox.config()?, options, &mut said).await?;
    Ok(String::from_utf8(said)?)
}

/// Everything that a folder holds, and what stands beside it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_store_is_no_empty_one_and_comes_back_from_the_log() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(5).await?;
    fs::remove_dir_all(sandbox.dir.path().join("store"))?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("store") && said.contains("missing"), "{said}");
    assert!(repair(&sandbox, Options { write: true, begin_anew: false }).await.is_err(), "it cannot be mended");
    let said = repair(&sandbox, Options { write: true, begin_anew: true }).await?;
    assert!(said.contains("again"), "{said}");
    sandbox.run().await?;
    sandbox.readable(&bed, 5).await?;
    sandbox.stop().await
}

#[tokio::test]
async fn a_flipped_byte_in_a_journal_is_named_and_repaired() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(5).await?;
    let path = sandbox.dir.path().join("store/0.jnl");
    let mut bytes = fs::read(&path)?;
    // the kind of an item somewhere in the middle: the engine alone would take it for the end
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    bytes[used / 2] ^= 0x40;
    fs::write(&path, &bytes)?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("store/0.jnl at byte "), "{said}");
    let said = repair(&sandbox, Options { write: true, begin_anew: false }).await?;
    assert!(said.contains("0.jnl at byte "), "{said}");
    sandbox.run().await?;
    sandbox.readable(&bed, 5).await?;
    sandbox.stop().await
}

#[tokio::test]
async fn an_older_copy_of_the_store_is_brought_up_to_date() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(3).await?;
    let (dir, kept) = (sandbox.dir.path().to_owned(), tempfile::tempdir()?);
    let beside = ["store.mark", "store.manifest"];
    copy(&dir.join("store"), &kept.path().join("store"))?;
    beside.iter().try_for_each(|name| fs::copy(dir.join(name), kept.path().join(name)).map(drop))?;
    copy(&dir.join("audit"), &kept.path().join("audit"))?;
    sandbox.run().await?;
    write(&sandbox, &bed, 4..=6).await?;
    sandbox.readable(&bed, 6).await?;
    sandbox.stop().await?;
    for name in ["store", "audit"] {
        fs::remove_dir_all(dir.join(name))?;
        copy(&kept.path().join(name), &dir.join(name))?;
    }
    beside.iter().try_for_each(|name| fs::copy(kept.path().join(name), dir.join(name)).map(drop))?;
    sandbox.run().await?;
    sandbox.readable(&bed, 6).await?;
    sandbox.stop().await
}

#[tokio::test]
async fn a_log_that_lost_what_the_store_has_is_refused() -> anyhow::Result<()> {
    let (mut sandbox, _) = with_readings(3).await?;
    for name in ["log", "log.manifest"] {
        let path = sandbox.dir.path().join(name);
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("the log lost records"), "{said}");
    repair(&sandbox, Options { write: true, begin_anew: false }).await?;
    sandbox.run().await?;
    sandbox.stop().await
}

#[tokio::test]
async fn a_log_that_lost_what_everything_hangs_from_is_set_aside() -> anyhow::Result<()> {
    for name in ["log", "notices"] {
        let (mut sandbox, bed) = with_readings(3).await?;
        let path = sandbox.dir.path().join(name).join("log/0.jnl");
        let mut bytes = fs::read(&path)?;
        // its first batch says how many partitions there are
        bytes[0] ^= 0x40;
        fs::write(&path, &bytes)?;
        let said = refusal(&mut sandbox).await?;
        assert!(said.contains(&format!("{name}/log/0.jnl at byte 0")), "{said}");
        assert!(repair(&sandbox, Options { write: true, begin_anew: false }).await.is_err(), "{name} cannot be mended");
        let said = repair(&sandbox, Options { write: true, begin_anew: true }).await?;
        assert!(said.contains("this cannot be mended") && said.contains("set aside"), "{said}");
        sandbox.run().await?;
        sandbox.readable(&bed, 3).await?;
        write(&sandbox, &bed, 4..=5).await?;
        sandbox.readable(&bed, 5).await?;
        sandbox.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_damaged_manifest_is_written_anew() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(3).await?;
    for name in ["log.manifest", "log/log.manifest", "notices.manifest", "notices/log.manifest", "store.manifest"] {
        fs::write(sandbox.dir.path().join(name), "wardline")?;
        let said = refusal(&mut sandbox).await?;
        assert!(said.contains(name), "{said}");
        let said = repair(&sandbox, Options { write: true, begin_anew: false }).await?;
        assert!(said.contains(name), "{said}");
        sandbox.run().await?;
        sandbox.readable(&bed, 3).await?;
        sandbox.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_audit_log_without_what_was_signed_is_refused() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(1).await?;
    sandbox.run().await?;
    sandbox.readable(&bed, 1).await?;
    sandbox.stop().await?;
    let (checkpoints, away) = (sandbox.config()?.audit_dir().join("checkpoints"), sandbox.dir.path().join("away"));
    fs::rename(&checkpoints, &away)?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("checkpoints is missing"), "{said}");
    fs::rename(&away, &checkpoints)?;
    let key = sandbox.config()?.audit_dir().join("key.pk8");
    fs::rename(&key, &away)?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("key.pk8 is missing"), "{said}");
    fs::rename(&away, &key)?;
    sandbox.run().await?;
    sandbox.stop().await
}

#[tokio::test]
async fn signatures_and_what_they_sign_must_be_there() -> anyhow::Result<()> {
    let (mut sandbox, bed) = with_readings(1).await?;
    let (dir, kept) = (sandbox.dir.path().to_owned(), tempfile::tempdir()?);
    let store = ["store.mark", "store.manifest"];
    let put = |from: &Path, to: &Path| {
        if to.join("store").exists() {
            fs::remove_dir_all(to.join("store"))?;
        }
        copy(&from.join("store"), &to.join("store"))?;
        store.iter().try_for_each(|name| fs::copy(from.join(name), to.join(name)).map(drop))?;
        anyhow::Ok(())
    };
    put(&dir, kept.path())?;
    sandbox.run().await?;
    sandbox.readable(&bed, 1).await?;
    sandbox.stop().await?;
    // the youngest: its writer began last
    let checkpoints = sandbox.config()?.audit_dir().join("checkpoints");
    let mut files: Vec<_> =
        fs::read_dir(&checkpoints)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.sort();
    let path = files.pop().expect("it was signed");
    let whole = fs::read(&path)?;
    let mut flipped = whole.clone();
    // a digit of the last signature
    let at = whole.len() - 9;
    flipped[at] = if whole[at] == b'0' { b'1' } else { b'0' };
    fs::write(&path, &flipped)?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("the signature of entry"), "{said}");
    fs::write(&path, "")?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("ends at entry 0"), "{said}");
    fs::write(&path, &whole)?;
    // an older store has not what was signed since
    let newer = tempfile::tempdir()?;
    put(&dir, newer.path())?;
    put(kept.path(), &dir)?;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains("the audit log lacks entry"), "{said}");
    put(newer.path(), &dir)?;
    sandbox.run().await?;
    sandbox.stop().await
}

#[tokio::test]
async fn a_registry_with_a_gap_is_refused_and_what_follows_it_is_put_aside() -> anyhow::Result<()> {
    let (mut sandbox, _) = with_readings(1).await?;
    let open = || store::embedded::Store::open(sandbox.dir.path().join("store"));
    let store = open()?;
    let n_changes = store.changes(1, 1_000).await?.len() as u64;
    assert!(store.put_change(n_changes + 2, b"later").await?);
    drop(store);
    let missing = n_changes + 1;
    let said = refusal(&mut sandbox).await?;
    assert!(said.contains(&format!("change {missing} of the registry is missing")), "{said}");
    let said = repair(&sandbox, Options { write: true, begin_anew: false }).await?;
    assert!(said.contains(&format!("change {missing} is lost; 1 after it")), "{said}");
    let aside = sandbox.dir.path().join(format!("store.damaged/registry-changes-after-{missing}"));
    assert_eq!(fs::read_to_string(aside)?, "6c61746572\n");
    sandbox.run().await?;
    sandbox.stop().await
}

#[tokio::test]
async fn rows_that_neither_store_nor_log_has_refuse_the_start() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = bus::embedded::Settings {
        partitions: 1,
        retention_bytes: 1,
        retention_age: Duration::ZERO,
        ..Default::default()
    };
    let log = Log::open(&dir.path().join("log"), settings)?;
    let mut reader = log.subscribe("writer")?;
    // until the log has let go of something
    for _ in 0..1_000 {
        if log.standing("writer")[0][0] > 0 {
            break;
        }
        for _ in 0..4 {
            let (key, payload) = (Bed::numbered(0).patient, vec![7; 256 << 10].into());
            log.publish(bus::Outgoing { key, payload }).await?.await?;
        }
        let mut read = Commits::default();
        reader.poll(100, 16 << 20, Duration::from_secs(1)).await?.iter().for_each(|delivery| read.add(delivery));
        reader.commit(&read).await?;
        log.trim()?;
    }
    assert!(log.standing("writer")[0][0] > 0, "{:?}", log.standing("writer"));
    drop(reader);
    let store = store::embedded::Store::open(dir.path().join("store"))?;
    let refused = recovery::compare(&log, &store, "writer").await.err();
    let said = refused.map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("the store lacks the rows of records 0 to"), "{said}");
    Ok(())
}
