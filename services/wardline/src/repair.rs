//! `wardline repair`: checks the folders of the embedded engines, and makes log and store agree again.

use anyhow::{Context, bail, ensure};
use bus::{READINGS, embedded::Log};
use bytes::Bytes;
use disk::{Damage, Manifest, Repair};
use node::{
    config::{Config, LogKind, StoreKind},
    engines,
};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use store::{
    Audit, Checkpoints, FolderCheckpoints,
    embedded::{Store, Through},
};

/// Where both engines keep the numbers of their batches.
const LINK_KEYSPACE: &str = "meta";

/// What `wardline repair` is asked to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Do it. Without this, the first fault of each folder is named, and what would be done about it.
    pub write: bool,
    /// Set aside what cannot be mended, and begin anew: a store gets its readings from the log again, as far as that goes back,
    /// and loses its audit log and its registry.
    pub begin_anew: bool,
}

/// A folder of an embedded engine.
struct EngineFolder {
    name: &'static str,
    dir: PathBuf,
    /// Of a log: the folder that the engine's own lies in, and how it is opened.
    log: Option<(PathBuf, bus::embedded::Settings)>,
}

impl EngineFolder {
    /// Opens what a repair mended, which may still lack what everything else hangs from; what had to be done for it.
    ///
    /// # Errors
    /// Within: what is wrong with it. Outside: it could not be tried.
    fn open(&self) -> anyhow::Result<Result<Vec<String>, String>> {
        Ok(match &self.log {
            Some((outer, settings)) => match Log::forgive(outer, settings) {
                Err(bus::Error::Fatal(what)) => Err(what),
                opened => Ok(opened?),
            },
            None => match Store::open(&self.dir) {
                Err(store::Error::Corrupt(what)) => Err(what),
                opened => opened.map(|_| Ok(Vec::new()))?,
            },
        })
    }
}

/// Checks the embedded engines' folders, and mends them if asked to.
///
/// # Errors
/// A node has them open, or something cannot be mended.
pub async fn run(config: &Config, options: Options, out: &mut impl Write) -> anyhow::Result<()> {
    let data = &config.data.dir;
    let log = |name, settings| {
        let outer = data.join(name);
        EngineFolder { name, dir: outer.join("log"), log: Some((outer, settings)) }
    };
    let mut places = Vec::new();
    if config.log.kind == LogKind::Embedded {
        places.push(log("log", engines::readings_log(config)));
        places.push(log("notices", engines::notices_log(config)));
    }
    if config.store.kind == StoreKind::Embedded {
        places.push(EngineFolder { name: "store", dir: data.join("store"), log: None });
    }
    let (mut lost, mut hopeless) = (Vec::new(), 0);
    for place in &places {
        let done = mend(place, options, out)?;
        if done.has_gaps {
            lost.push(place.name);
        }
        hopeless += u32::from(done.hopeless.is_some());
    }
    ensure!(hopeless == 0, "{hopeless} of the folders cannot be mended; --begin-anew --write sets them aside");
    if options.write && config.store.kind == StoreKind::Embedded {
        let store = Store::open(data.join("store"))?;
        if config.log.kind == LogKind::Embedded {
            together(config, &store, lost.contains(&"store"), out).await?;
        }
        unfollowed(&data.join("store.damaged"), &store, out).await?;
        signatures(&config.audit_dir().join("checkpoints"), &store, out).await?;
    }
    if options.write {
        writeln!(out, "done: start the node")?;
    }
    Ok(())
}

/// Mends one folder; in the answer nothing is hopeless that was set aside.
fn mend(place: &EngineFolder, options: Options, out: &mut impl Write) -> anyhow::Result<Repair> {
    let EngineFolder { name, dir, log } = place;
    let mut done = disk::repair(dir, LINK_KEYSPACE, options.write).with_context(|| format!("{name} is not checked"))?;
    if let Some((outer, _)) = log {
        outer_manifest(outer, dir, options, &mut done)?;
    }
    if done.steps.is_empty() && done.hopeless.is_none() {
        writeln!(out, "{name}: whole")?;
    }
    let verb = if options.write { "done" } else { "with --write" };
    for (damage, what) in &done.steps {
        writeln!(out, "{name}: {damage}\n    {verb}: {what}")?;
    }
    if options.write && done.hopeless.is_none() && dir.exists() {
        match place.open()? {
            Ok(lines) => lines.iter().try_for_each(|line| writeln!(out, "{name}: {line}"))?,
            Err(what) => done.hopeless = Some(Damage { path: dir.clone(), offset: None, what }),
        }
    }
    let Some(damage) = &done.hopeless else { return Ok(done) };
    writeln!(out, "{name}: {damage}\n    this cannot be mended")?;
    match *name {
        "store" => writeln!(out, "    anew: readings come from the log again; audit log and registry are lost")?,
        _ => writeln!(out, "    anew: records that were not written to the store are lost")?,
    }
    if options.write && options.begin_anew {
        let outer = log.as_ref().map(|(outer, _)| outer.as_path());
        set_aside(dir, outer, out)?;
        done = Repair { hopeless: None, has_gaps: true, ..done };
    }
    Ok(done)
}

/// Checks the file that says that there was a log: nothing else is in it, so that it can be written anew.
fn outer_manifest(outer: &Path, dir: &Path, options: Options, done: &mut Repair) -> anyhow::Result<()> {
    let was_made = match Manifest::read(outer) {
        Err(disk::Error::Damaged(damage)) => {
            if options.write {
                Manifest::default().write(outer)?;
            }
            done.steps.push((damage, "it is written anew".to_owned()));
            true
        }
        read => read?.is_some(),
    };
    if was_made && !dir.exists() && done.hopeless.is_none() {
        done.hopeless = Some(Damage { path: dir.to_owned(), offset: None, what: "the folder is missing".into() });
    }
    Ok(())
}

fn set_aside(dir: &Path, outer: Option<&Path>, out: &mut impl Write) -> anyhow::Result<()> {
    let kept = Repair::set_aside(dir)?;
    if let Some(outer) = outer {
        Repair::forget(outer)?;
    }
    Ok(writeln!(out, "    set aside in {}", kept.display())?)
}

/// Makes log and store agree again; `lost`: the store lacks rows.
async fn together(config: &Config, store: &Store, lost: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let engines::Log::Embedded(log) = engines::Log::open(config)? else { bail!("the log is not embedded") };
    let group = &config.writer.group;
    let mut standing = log.standing(group);
    if lost {
        let lows: Vec<_> = standing.iter().map(|[low, ..]| *low).collect();
        log.rewind(group, &lows)?;
        standing = log.standing(group);
        let n_records: i64 = standing.iter().map(|[low, _, end]| end - low).sum();
        writeln!(
            out,
            "store: the next start writes {n_records} records of the log again; hours, seals and rollups follow"
        )?;
        for (partition, [low, ..]) in standing.iter().enumerate().filter(|(_, [low, ..])| *low > 0) {
            writeln!(out, "store: records before {low} of partition {partition} are no longer in the log")?;
        }
    }
    let next: Vec<_> = match store.through(READINGS).await? {
        Through::Next(next) if !lost => {
            let at = |(p, [_, _, end]): (i32, &[i64; 3])| (p, next.get(&p).copied().unwrap_or(0).min(*end));
            (0..).zip(&standing).map(at).collect()
        }
        _ => (0..).zip(&standing).map(|(p, [_, committed, _])| (p, *committed)).collect(),
    };
    Ok(store.set_through(READINGS, &next).await?)
}

/// Puts changes of the registry aside that follow one which is lost.
async fn unfollowed(kept: &Path, store: &Store, out: &mut impl Write) -> anyhow::Result<()> {
    let Some((missing, later)) = store.unfollowed().await? else { return Ok(()) };
    let n_later = later.len();
    let changes = store.give_up(later).await?;
    let hex =
        |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect::<String>();
    disk::private::create_dir_all(kept)?;
    let path = kept.join(format!("registry-changes-after-{missing}"));
    fs::write(&path, changes.iter().map(hex).collect::<String>())?;
    let path = path.display();
    Ok(writeln!(
        out,
        "registry: change {missing} is lost; {n_later} after it are no longer in force, and kept in {path}"
    )?)
}

/// Puts signatures aside of which the store no longer has the entries: a start would refuse them.
async fn signatures(dir: &Path, store: &Store, out: &mut impl Write) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let kept = FolderCheckpoints::open(dir)?.kept().await?;
    let lasts: BTreeMap<_, _> = kept.iter().map(|one| (one.writer, one.sequence)).collect();
    for (writer, sequence) in lasts {
        let found = store.entries(writer, sequence, 1).await?;
        if found.first().is_some_and(|(number, _)| *number == sequence) {
            continue;
        }
        let path = dir.join(format!("{}.checkpoints", writer.uuid()));
        fs::rename(&path, path.with_extension("lost"))?;
        store.note_signed(writer, 0).await?;
        writeln!(out, "audit: entry {sequence} of writer {} is lost, its signatures are put aside", writer.uuid())?;
    }
    Ok(())
}
