//! Lost and damaged data folders: a start refuses them by name, and what the log still has is written again.

use node::recovery::{self, Options};
use std::{fs, path::Path};
use tests::{Bed, Sandbox, builders::pulse};

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
    recovery::repair(&sandbox.config()?, options, &mut said).await?;
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
