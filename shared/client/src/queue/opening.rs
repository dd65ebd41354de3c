//! Finds out what is in a queue's folder: all of it is read, and must fit together.

use super::{
    Cut, Error, Inner, MAX_BYTES_LEAST, Options, file,
    mark::{Mark, MarkFile},
    segment::{self, Segment},
};
use std::{
    collections::VecDeque,
    fs::{self, TryLockError},
    path::{Path, PathBuf},
};
use uuid::Uuid;

pub(super) struct Opened {
    pub(super) inner: Inner,
    pub(super) cut: Option<Cut>,
}

pub(super) fn open(dir: &Path, device: Uuid, options: Options) -> Result<Opened, Error> {
    if options.max_bytes < MAX_BYTES_LEAST {
        return Err(Error::Bound { max_bytes: options.max_bytes });
    }
    file::make_dir(dir)?;
    let lock = file::open(&dir.join("lock"))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::InUse { path: dir.to_owned() },
        TryLockError::Error(cause) => Error::disk(&dir.join("lock"), cause),
    })?;
    let (mut mark_file, mark) = MarkFile::open(dir)?;
    let mut files = segment::list(dir)?;
    let mark = match mark {
        Some(mark) => mark,
        None => {
            let mark = begin(dir, device, &files)?;
            mark_file.create(&mark)?;
            file::sync_dir(dir)?;
            files = segment::list(dir)?;
            mark
        }
    };
    if mark.device != device {
        return Err(Error::OtherDevice { path: dir.to_owned(), device: mark.device });
    }
    let (segments, cut) = read(dir, &mark, files)?;
    let Some(last) = segments.back() else {
        return Err(Error::damaged(&dir.join("mark"), 0, "the files with the batches are not there"));
    };
    let (next, active) = (last.next, file::open(&last.path)?);
    if let Some(Cut { path, byte, .. }) = &cut {
        active.set_len(*byte).map_err(|cause| Error::disk(path, cause))?;
    }
    // written before a `kill -9`, and perhaps not on the disk yet
    active.sync_all().map_err(|cause| Error::disk(&last.path, cause))?;
    let dir = dir.to_owned();
    let inner =
        Inner { dir, _lock: lock, options, mark, mark_file, segments, active, next, reader: None, broken: None };
    Ok(Opened { inner, cut })
}

/// The first file of a new queue. A folder without a mark may have it already: then making it came no further.
fn begin(dir: &Path, device: Uuid, files: &[(u64, PathBuf)]) -> Result<Mark, Error> {
    if let Some((first, path)) = files.first() {
        let bytes = fs::read(path).map_err(|cause| Error::disk(path, cause))?;
        if files.len() > 1 || *first != 1 || segment::has_record(&bytes, 1) {
            return Err(Error::damaged(&dir.join("mark"), 0, "it is not there, and batches are"));
        }
    }
    let stream = Uuid::new_v4();
    segment::create(dir, stream, 1)?;
    Ok(Mark::new(device, stream))
}

/// Reads all files; they must be what is left after the mark, without a gap.
fn read(dir: &Path, mark: &Mark, mut files: Vec<(u64, PathBuf)>) -> Result<(VecDeque<Segment>, Option<Cut>), Error> {
    let mut may_be_torn = true;
    if let [.., (first, path)] = &files[..]
        && files.len() > 1
    {
        // a new file that was not made to its end: no batch is in it, and the one before it was finished
        let bytes = fs::read(path).map_err(|cause| Error::disk(path, cause))?;
        if segment::stream_of(&bytes, *first).is_none() && !segment::has_record(&bytes, *first) {
            fs::remove_file(path).map_err(|cause| Error::disk(path, cause))?;
            files.pop();
            may_be_torn = false;
        }
    }
    let (mut segments, mut cut) = (VecDeque::<Segment>::new(), None);
    let n_files = files.len();
    for (at, (first, path)) in files.into_iter().enumerate() {
        let expected = segments.back().map_or(mark.released() + 1, |before| before.next);
        let fits = if at == 0 { first <= expected } else { first == expected };
        if !fits {
            return Err(Error::damaged(&path, 0, format!("batches {expected} to {} are missing before it", first - 1)));
        }
        let is_last = at + 1 == n_files;
        let scanned = segment::scan(&path, first, mark.stream, is_last && may_be_torn)?;
        if scanned.torn_bytes > 0 {
            cut = Some(Cut { path, byte: scanned.segment.bytes, bytes: scanned.torn_bytes });
        }
        segments.push_back(scanned.segment);
    }
    if let Some(last) = segments.back()
        && last.next <= mark.released()
    {
        let what = format!("batches {} to {} are missing after it", last.next, mark.released());
        return Err(Error::damaged(&last.path, last.bytes, what));
    }
    // files that were to be removed
    while segments.len() > 1 && segments[0].next - 1 <= mark.released() {
        let Some(oldest) = segments.pop_front() else { break };
        fs::remove_file(&oldest.path).map_err(|cause| Error::disk(&oldest.path, cause))?;
    }
    file::sync_dir(dir)?;
    Ok((segments, cut))
}
