//! Makes a damaged folder one that can be opened again, keeping everything that can still be read, and says what is lost.
//!
//! Nothing is thrown away: what is replaced lies in `NAME.damaged` afterwards.

use crate::{
    Damage, Error, Manifest, Mark,
    chain::{last_link, tables_go_on},
    check::{EngineFiles, VERSION, check, journal_files, lock},
    journal::{Journal, batches_within},
    manifest::{MarkFile, beside, replace},
    private, tree,
};
use fjall::{Database, KeyspaceCreateOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder has at most so many faults that can be mended one after the other.
const MAX_STEPS: usize = 10_000;

/// What a repair found and did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// In order: what is wrong, and what is done about it.
    pub steps: Vec<(Damage, String)>,
    /// Whether batches are missing afterwards: what was in them must be written again.
    pub has_gaps: bool,
    /// What cannot be mended in place: the folder can only be set aside as a whole.
    pub hopeless: Option<Damage>,
}

/// What to do about a damage.
enum Remedy {
    Version,
    Manifest,
    Mark,
    Current(Vec<u8>),
    Empty(PathBuf),
    Gap(u64),
    Salvage,
    Shorter,
}

/// Checks the folder of an engine that is not open, to the last byte of each table, and mends it when `write` is set;
/// otherwise it stops at the first fault. `link_keyspace` is where the numbers of batches are kept.
pub fn repair(dir: &Path, link_keyspace: &str, write: bool) -> Result<Repair, Error> {
    let mut done = Repair::default();
    for _ in 0..MAX_STEPS {
        let damage = match check(dir, true).and_then(|found| tables(dir, link_keyspace, &found)) {
            Ok(()) => return Ok(done),
            Err(Error::Damaged(damage)) => damage,
            Err(error) => return Err(error),
        };
        let Some((remedy, what, loses)) = remedy(dir, &damage)? else {
            done.hopeless = Some(damage);
            return Ok(done);
        };
        done.has_gaps |= loses;
        done.steps.push((damage.clone(), what));
        if !write {
            return Ok(done);
        }
        apply(dir, &damage, remedy)?;
    }
    done.hopeless = Some(Damage { path: dir.to_owned(), offset: None, what: "there is no end to its faults".into() });
    Ok(done)
}

impl Repair {
    /// Sets a folder aside as a whole, with what stands beside it: the next start makes a new one.
    pub fn set_aside(dir: &Path) -> Result<PathBuf, Error> {
        let kept = keep_in(dir)?;
        for path in [dir.to_owned(), beside(dir, "manifest"), beside(dir, "mark")] {
            let to = kept.join(path.file_name().unwrap_or_default());
            match fs::rename(&path, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path)(error)),
                _ => {}
            }
        }
        Ok(kept)
    }

    /// Forgets that a folder was ever there.
    pub fn forget(dir: &Path) -> Result<(), Error> {
        let path = beside(dir, "manifest");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
            _ => Ok(()),
        }
    }
}

/// Whether journals and tables go together: it ends where it should, and nothing is missing between them.
fn tables(dir: &Path, link_keyspace: &str, found: &EngineFiles) -> Result<(), Error> {
    let Some(mark) = found.mark.filter(|mark| mark.count > 0) else { return Ok(()) };
    let database = Database::builder(dir).worker_threads(1).open()?;
    let keyspace = database.keyspace(link_keyspace, KeyspaceCreateOptions::default)?;
    let count = last_link(&keyspace)?.map_or(0, |link| link.count);
    if count < mark.count {
        let what = format!("it ends with batch {count}, and batch {} was durable", mark.count);
        return Err(Error::damaged(dir, None, what));
    }
    tables_go_on(dir, &keyspace, found)
}

/// What can be done, in words, and whether batches are lost by it; `None`: nothing.
fn remedy(dir: &Path, damage: &Damage) -> Result<Option<(Remedy, String, bool)>, Error> {
    let path = &damage.path;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_journal = path.parent() == Some(dir) && name.ends_with(".jnl");
    let found = if *path == dir.join("version") {
        Some((Remedy::Version, "it is written anew".to_owned(), false))
    } else if *path == beside(dir, "manifest") {
        Some((Remedy::Manifest, "it is made from the keyspaces that are there".into(), false))
    } else if *path == beside(dir, "mark") {
        Some((Remedy::Mark, "it is made from the journals that are there".into(), false))
    } else if name == "current" {
        current(path)?
            .map(|bytes| (Remedy::Current(bytes), "it is written anew for the one version there is".into(), false))
    } else if *path == dir && dir.exists() {
        Some((Remedy::Mark, "the batches that are missing are given up".into(), true))
    } else if is_journal && !path.exists() {
        Some((Remedy::Empty(path.clone()), "what was in it is given up".into(), true))
    } else if let (true, Some(offset)) = (is_journal, damage.offset) {
        Some(in_journal(dir, path, offset)?)
    } else {
        None
    };
    Ok(found)
}

fn in_journal(dir: &Path, path: &Path, offset: u64) -> Result<(Remedy, String, bool), Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let tail = bytes.get(offset as usize..).unwrap_or_default();
    let mut whole = batches_within(tail, offset).peekable();
    let first = whole.peek().copied();
    let n_batches = whole.count();
    if let Some(batch) = first.filter(|batch| batch.offset == offset)
        && let Some(link) = batch.link.filter(|link| link.allows(batch.seqno))
        && !gaps(dir)?.contains(&link.count)
    {
        let what = format!("the batches before number {} are given up", link.count);
        return Ok((Remedy::Gap(link.count), what, true));
    }
    if first.is_none() && tail.iter().all(|byte| *byte == 0) {
        return Ok((Remedy::Shorter, "the batches that are missing are given up".into(), true));
    }
    let what = format!("what cannot be read is left out, {n_batches} whole batches behind it are kept");
    Ok((Remedy::Salvage, what, true))
}

fn apply(dir: &Path, damage: &Damage, remedy: Remedy) -> Result<(), Error> {
    let path = &damage.path;
    let put = |path: &Path, bytes: &[u8]| {
        keep(dir, path)?;
        replace(path, bytes).map_err(Error::io(path))
    };
    match remedy {
        Remedy::Version => put(path, VERSION),
        Remedy::Current(bytes) => put(path, &bytes),
        Remedy::Empty(path) => fs::write(&path, []).map_err(Error::io(&path)),
        Remedy::Manifest => {
            keep(dir, path)?;
            let mut manifest = Manifest::default();
            let folder = dir.join("keyspaces");
            for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
                let path = entry.map_err(Error::io(&folder))?.path();
                let id: Option<u64> =
                    path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
                manifest.keyspaces.extend(id.filter(|id| *id != 0 && path.join("current").exists()));
            }
            manifest.write(dir)
        }
        Remedy::Mark => mark(dir),
        Remedy::Gap(count) => add_gap(dir, count),
        Remedy::Shorter => mark(dir),
        Remedy::Salvage => salvage(dir, path, damage.offset.unwrap_or_default()),
    }
}

/// Makes the mark say what the journals say.
fn mark(dir: &Path) -> Result<(), Error> {
    let path = beside(dir, "mark");
    keep(dir, &path)?;
    if path.exists() {
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    let gaps = gaps(dir)?;
    let mut mark = Mark::default();
    let mut before: Option<Journal> = None;
    for (id, path) in journal_files(dir)? {
        let journal = Journal::read(id, &path, before.as_ref(), &gaps).map_err(Error::io(&path))?;
        mark.count = journal.last_link.map_or(mark.count, |link| link.count);
        before = Some(journal);
    }
    // who opens the folder next finds out what the tables hold, and notes it
    MarkFile::open(dir, mark).map(drop)
}

/// Writes a journal anew, without what cannot be read.
fn salvage(dir: &Path, path: &Path, offset: u64) -> Result<(), Error> {
    keep(dir, path)?;
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let at = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let (whole, tail) = bytes.split_at(at);
    let mut saved = whole.to_vec();
    for batch in batches_within(tail, offset) {
        // one that cannot be where it stands is what was found
        if batch.offset == offset || batch.link.is_some_and(|link| !link.allows(batch.seqno)) {
            continue;
        }
        saved.extend_from_slice(&bytes[batch.offset as usize..batch.end as usize]);
    }
    replace(path, &saved).map_err(Error::io(path))
}

/// What `current` should say, when there is only one version that it can name.
fn current(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix('v')?.parse().ok());
        if let Some(number) = number {
            found.push((number, fs::read(&path).map_err(Error::io(&path))?));
        }
    }
    Ok(match &found[..] {
        [(number, version)] => tree::current_of(*number, version),
        _ => None,
    })
}

fn gaps(dir: &Path) -> Result<Vec<u64>, Error> {
    Ok(Manifest::read(dir)?.unwrap_or_default().gaps)
}

fn add_gap(dir: &Path, count: u64) -> Result<(), Error> {
    let mut manifest = Manifest::read(dir)?.unwrap_or_default();
    manifest.gaps.push(count);
    manifest.write(dir)
}

/// Copies a file to where what is replaced is kept.
fn keep(dir: &Path, path: &Path) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let _lock = dir.exists().then(|| lock(dir)).transpose()?;
    let to = keep_in(dir)?.join(path.file_name().unwrap_or_default());
    fs::copy(path, &to).map(drop).map_err(Error::io(&to))
}

/// A new folder for what is replaced.
fn keep_in(dir: &Path) -> Result<PathBuf, Error> {
    let folder = beside(dir, "damaged");
    let free = (1..).map(|n: u64| folder.join(n.to_string())).find(|path| !path.exists());
    let free = free.unwrap_or(folder);
    private::create_dir_all(&free).map_err(Error::io(&free))?;
    Ok(free)
}
