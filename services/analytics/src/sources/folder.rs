//! A file or a folder of the worker's machine.

use super::trouble::{Trouble, within};
use crate::jobs::work::Work;
use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_blocking,
};

/// Bytes that are copied at once: between two pieces the copy can be ended.
const PIECE_BYTES: usize = 1 << 20;

/// Copies the file, or the files of the folder, to another folder: what is still being written there must not change while it is
/// read. Only plain files are opened, for a pipe may never open, and nobody could end that.
pub(super) async fn copy(path: &Path, to: &Path, max_time: Duration, work: &Work) -> Result<Vec<PathBuf>, Trouble> {
    within(max_time, async {
        let (is_folder, files) = blocking(path, |path| list(&path)).await?;
        let mut copies = Vec::new();
        for file in files {
            let copy = to.join(file.file_name().unwrap_or_default());
            one(&file, is_folder, &copy, work).await?;
            copies.push(copy);
        }
        Ok(copies)
    })
    .await
}

/// Whether it is a folder, and its files in the order of their names; each is looked at before the first is copied.
fn list(path: &Path) -> Result<(bool, Vec<PathBuf>), Trouble> {
    if !path.is_dir() {
        return Ok((false, vec![path.to_owned()]));
    }
    let listed = fs::read_dir(path).map_err(|error| failed(path, &error))?;
    let entries: io::Result<Vec<_>> = listed.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = entries.map_err(|error| failed(path, &error))?;
    if files.is_empty() {
        return Err(Trouble::Final("its folder has no files: put files there, or set another path".to_owned()));
    }
    files.sort_unstable();
    files.iter().try_for_each(|file| look(file, true).map(drop))?;
    Ok((true, files))
}

async fn one(file: &Path, is_in_folder: bool, copy: &Path, work: &Work) -> Result<(), Trouble> {
    let mut from = File::from_std(blocking(file, move |file| open(&file, is_in_folder)).await?);
    let mut out = File::create(copy).await.map_err(Trouble::unwritten)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        if work.stop().is_cancelled() {
            return Err(Trouble::again("nobody wants the result any more"));
        }
        let n = from.read(&mut piece).await.map_err(|error| failed(file, &error))?;
        if n == 0 {
            return out.flush().await.map_err(Trouble::unwritten);
        }
        out.write_all(&piece[..n]).await.map_err(Trouble::unwritten)?;
    }
}

/// Opens a plain file.
fn open(file: &Path, is_in_folder: bool) -> Result<fs::File, Trouble> {
    let looked = look(file, is_in_folder)?;
    let opened = fs::File::open(file).map_err(|error| failed(file, &error))?;
    let found = opened.metadata().map_err(|error| failed(file, &error))?;
    // a link may have taken its place since
    match (found.dev(), found.ino()) == (looked.dev(), looked.ino()) {
        true => Ok(opened),
        false => Err(Trouble::changed()),
    }
}

/// Refuses what is no plain file. In a folder a link is none either, wherever it leads; a path of the settings may be one.
fn look(file: &Path, is_in_folder: bool) -> Result<Metadata, Trouble> {
    let looked = if is_in_folder { fs::symlink_metadata(file) } else { fs::metadata(file) };
    let looked = looked.map_err(|error| failed(file, &error))?;
    if looked.is_file() {
        return Ok(looked);
    }
    let name = model::quoted(&file.file_name().unwrap_or_default().to_string_lossy());
    Err(Trouble::Final(format!("{name} is no plain file: move it elsewhere, or put the file itself in its place")))
}

/// Does what the system may take its time for.
async fn blocking<T: Send + 'static>(
    path: &Path,
    doing: impl FnOnce(PathBuf) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let path = path.to_owned();
    spawn_blocking(move || doing(path)).await.map_err(|error| Trouble::again(error.to_string()))?
}

fn failed(path: &Path, error: &io::Error) -> Trouble {
    // the caller knows the source, and not where it is
    tracing::warn!(path = %path.display(), %error, "a source cannot be read");
    Trouble::again(format!("it cannot be read: {}", error.kind()))
}
