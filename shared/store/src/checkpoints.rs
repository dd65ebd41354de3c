//! Checkpoints in a folder: one file a writer, one line of hexadecimal digits a checkpoint, only ever added to.

use crate::{Checkpoints, Error};
use async_trait::async_trait;
use disk::private;
use model::{WriterId, audit::Checkpoint};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

const EXTENSION: &str = "checkpoints";
/// More than a checkpoint's line can have.
const MAX_LINE: u64 = 512;

/// A folder of checkpoints. Best on another disk or share than the log's, where what is written cannot be changed.
#[derive(Debug, Clone)]
pub struct FolderCheckpoints {
    dir: Arc<Path>,
}

impl FolderCheckpoints {
    /// Checkpoints in a folder, which is made when missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir: PathBuf = dir.into();
        private::create_dir_all(&dir).and_then(|()| private::tighten(&dir)).map_err(|cause| failed(&dir, &cause))?;
        Ok(Self { dir: dir.into() })
    }

    fn path(&self, writer: WriterId) -> PathBuf {
        self.dir.join(format!("{}.{EXTENSION}", writer.uuid()))
    }

    /// Runs blocking work where it may block.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.map_err(|cause| Error::Unavailable(Box::new(cause)))?
    }

    fn read_all(&self) -> Result<Vec<Checkpoint>, Error> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|cause| failed(&self.dir, &cause))? {
            let path = entry.map_err(|cause| failed(&self.dir, &cause))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                read(&path, &mut kept)?;
            }
        }
        kept.sort_by_key(|checkpoint| (checkpoint.writer, checkpoint.sequence));
        Ok(kept)
    }
}

#[async_trait]
impl Checkpoints for FolderCheckpoints {
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let mut line: String = checkpoint.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        line.push('\n');
        let path = self.path(checkpoint.writer);
        self.blocking(move |this| add(&this.dir, &path, &line).map_err(|cause| failed(&path, &cause))).await
    }

    async fn kept(&self) -> Result<Vec<Checkpoint>, Error> {
        self.blocking(Self::read_all).await
    }

    async fn try_keeping(&self) -> Result<(), Error> {
        self.blocking(|this| {
            let path = this.dir.join("try");
            // as much as a line, really on the disk
            let tried = add(&this.dir, &path, &"0".repeat(MAX_LINE as usize));
            let gone = match fs::remove_file(&path) {
                // another process with the same folder tried it at once
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
                gone => gone,
            };
            tried.and(gone).map_err(|cause| failed(&path, &cause))
        })
        .await
    }
}

/// Adds a line, on disk when it returns.
fn add(dir: &Path, path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    drop_torn_line(&mut file)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    // the file's name, too: whoever tries again need not know whether the file was new
    File::open(dir)?.sync_all()
}

/// A line that was begun and not finished, on a full disk perhaps, would spoil the next.
fn drop_torn_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(MAX_LINE).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
    if from + whole < length { file.set_len(from + whole) } else { Ok(()) }
}

/// Reads the checkpoints of a file. A last line without an end was never said to be kept.
fn read(path: &Path, kept: &mut Vec<Checkpoint>) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(|cause| failed(path, &cause))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    if whole == 0 {
        return Ok(());
    }
    for (number, line) in (1..).zip(bytes[..whole].split(|byte| *byte == b'\n')) {
        let checkpoint = unhex(line).and_then(|bytes| Checkpoint::decode(&bytes).ok());
        let bad = || Error::Corrupt(format!("{}: line {number} is no checkpoint", path.display()));
        kept.push(checkpoint.ok_or_else(bad)?);
    }
    Ok(())
}

fn unhex(line: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = line.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

fn failed(path: &Path, cause: &io::Error) -> Error {
    if cause.kind() == io::ErrorKind::StorageFull {
        return Error::NoSpace(format!("{}: {cause}", path.display()));
    }
    Error::Unavailable(Box::new(io::Error::new(cause.kind(), format!("{}: {cause}", path.display()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Nanos;
    use std::os::unix::fs::PermissionsExt;

    fn checkpoint(writer: u8, sequence: u64) -> Checkpoint {
        let writer = WriterId::from_bytes([writer; 16]);
        Checkpoint { writer, sequence, hash: [0xab; 32], at: Nanos(-1), key_id: [1; 8], signature: [0xff; 64] }
    }

    #[tokio::test]
    async fn two_may_try_at_once_and_a_folder_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = FolderCheckpoints::open(dir.path()).unwrap();
        let trying = || async {
            for _ in 0..100 {
                folder.try_keeping().await.unwrap();
            }
        };
        tokio::join!(trying(), trying(), trying());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        dir.close().unwrap();
        assert!(folder.try_keeping().await.is_err());
    }

    #[tokio::test]
    async fn what_was_kept_is_read_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = FolderCheckpoints::open(dir.path().join("made")).unwrap();
        assert_eq!(folder.kept().await.unwrap(), []);
        for (writer, sequence) in [(2, 7), (1, 3), (2, 900)] {
            folder.keep(&checkpoint(writer, sequence)).await.unwrap();
        }
        let all = [checkpoint(1, 3), checkpoint(2, 7), checkpoint(2, 900)];
        assert_eq!(folder.kept().await.unwrap(), all);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&folder.dir), mode(&folder.path(all[0].writer))], [0o700, 0o600]);

        // cut anywhere, the last line is not read, and the next one stands in its place
        let path = folder.path(all[2].writer);
        let whole = fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in [first, first + 1, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(folder.kept().await.unwrap(), all[..2], "{cut}");
            folder.keep(&all[2]).await.unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "{cut}");
        }
        let only = folder.path(all[0].writer);
        fs::write(&only, "01ab").unwrap();
        assert_eq!(folder.kept().await.unwrap(), all[1..]);

        // a line before the last is no accident
        let mut changed = whole.clone();
        changed[first - 2] = b'x';
        fs::write(&path, changed).unwrap();
        assert!(matches!(folder.kept().await, Err(Error::Corrupt(_))));
    }
}
