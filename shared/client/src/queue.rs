//! Batches that wait on the device's own disk until the server has them.
//!
//! What it promises: a batch is on the disk when [`Queue::append`] returns, under the sequence that it keeps for good. It
//! leaves the disk when it is acknowledged, or when the queue is full and [`WhenFull::DropOldest`] was chosen; what is dropped
//! is counted, also over restarts. After a restart the sequences go on where they were.
//!
//! **When the disk is asked to be sure** (`fdatasync`): after each batch; after each new file, and its folder; before a file is
//! removed. So a batch outlasts `kill -9` and, on a disk that keeps its word, a power failure. The cost is one `fdatasync` a
//! batch: put more readings into a batch to have fewer.
//!
//! **Damage**: each batch has a checksum. At open everything is read. A last batch that was not written to its end, which
//! nobody was told to be stored, is cut off, and [`Queue::cut`] says so. Anything else that is not what was written is
//! [`Error::Damaged`], with file and byte; nothing is then read from the queue, and nothing is changed.
//!
//! A folder has: `lock`, held while the queue is open; `mark`, how far batches are acknowledged; and batches in files that are
//! named by their first sequence. All of it may be read by its owner only.

mod error;
mod file;
mod mark;
mod opening;
mod segment;
#[cfg(test)]
mod tests;

use crate::wire;
use bytes::Bytes;
use mark::{Mark, MarkFile};
use proto::telemetry::v1::Reading;
use segment::Segment;
use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use uuid::Uuid;

pub use error::Error;

/// The least bound of a queue: 64 KiB.
pub const MAX_BYTES_LEAST: u64 = 64 << 10;
/// The most bytes of one file, but for a batch that is larger alone.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// How large a queue may become, and what happens then.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of its files, at least [`MAX_BYTES_LEAST`]. Files leave the disk as a whole, each an eighth of this and at most
    /// 4 MiB: so much of it may be taken by batches that are acknowledged already.
    pub max_bytes: u64,
    /// What happens to a batch that does not fit.
    pub when_full: WhenFull,
}

/// What happens to a batch that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused: [`Error::Full`].
    Refuse,
    /// The oldest batches make room for it, a whole file of them. They are counted in [`Depth::dropped_batches`]; one that was on
    /// its way to the server at that time may still arrive.
    DropOldest,
}

/// A batch that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence in the stream, from 1.
    pub sequence: u64,
    /// Older batches that were dropped to make room for it.
    pub dropped_batches: u64,
}

/// What is in a queue, and what became of what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// The sequence of the next batch.
    pub next_sequence: u64,
    /// Everything up to this sequence is acknowledged.
    pub acknowledged: u64,
    /// Batches that are not acknowledged yet.
    pub batches: u64,
    /// Bytes of the files, those of acknowledged batches that are still there included.
    pub bytes: u64,
    /// Batches that were dropped while they waited, since the queue was made.
    pub dropped_batches: u64,
    /// Readings in the batches that were dropped.
    pub dropped_readings: u64,
}

/// A last batch that was not written to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Path of the file that was cut.
    pub path: PathBuf,
    /// The first byte of the file that was taken away.
    pub byte: u64,
    /// How many bytes were taken away.
    pub bytes: u64,
}

/// A batch as it is on the disk.
pub(crate) struct Batch {
    pub(crate) sequence: u64,
    pub(crate) n_readings: u32,
    /// The batch as it is sent: an encoded protobuf message.
    pub(crate) bytes: Bytes,
}

/// Batches of one device that wait on the disk; calls block while the disk works.
pub struct Queue {
    inner: Mutex<Inner>,
    cut: Option<Cut>,
    newest: watch::Sender<u64>,
}

struct Inner {
    dir: PathBuf,
    /// Held until the queue is dropped.
    _lock: File,
    options: Options,
    mark: Mark,
    mark_file: MarkFile,
    /// Oldest first; the last one takes new batches.
    segments: VecDeque<Segment>,
    active: File,
    next: u64,
    reader: Option<segment::Reader>,
    broken: Option<Error>,
}

impl Queue {
    /// Opens the queue in a folder, or makes it. One that is new begins a stream of its own.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Damaged`], [`Error::InUse`], [`Error::OtherDevice`], [`Error::Bound`].
    pub fn open(dir: impl AsRef<Path>, device: Uuid, options: Options) -> Result<Self, Error> {
        let opened = opening::open(dir.as_ref(), device, options)?;
        let newest = watch::Sender::new(opened.inner.next - 1);
        if let Some(Cut { path, byte, bytes }) = &opened.cut {
            tracing::warn!(path = %path.display(), byte, bytes, "a batch that was not written to its end was cut off");
        }
        Ok(Self { inner: Mutex::new(opened.inner), cut: opened.cut, newest })
    }

    /// What was cut off at the end when the queue was opened: a batch of which [`Queue::append`] had not returned.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Id of the device whose batches these are.
    pub fn device(&self) -> Uuid {
        self.lock().mark.device
    }

    /// The stream that its sequences are of.
    pub fn stream(&self) -> Uuid {
        self.lock().mark.stream
    }

    /// Number and bytes of what waits, and of what was dropped.
    pub fn depth(&self) -> Depth {
        self.lock().depth()
    }

    /// Stores one batch under the next sequence; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLarge`]: it is not stored, and the next one gets its sequence. [`Error::Disk`]: so, too, but
    /// where `fdatasync` failed it may be there when the queue is opened again.
    pub fn append(&self, readings: Vec<Reading>) -> Result<Stored, Error> {
        let stored = self.lock().append(readings)?;
        self.newest.send_replace(stored.sequence);
        Ok(stored)
    }

    /// Takes note that everything up to `through` is durable at the server, or refused, and removes files that hold nothing else.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn acknowledge(&self, through: u64) -> Result<(), Error> {
        self.lock().acknowledge(through)
    }

    /// Writes down how far batches are acknowledged; when all are, none stays on the disk. Without it a restart may find some
    /// that the server has already: they are sent again, and it knows them.
    ///
    /// # Errors
    /// [`Error::Disk`].
    pub fn settle(&self) -> Result<(), Error> {
        self.lock().settle()
    }

    /// The last sequence that was given out, as it changes.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Everything up to here needs not be sent: it is acknowledged, or dropped.
    pub(crate) fn released(&self) -> u64 {
        self.lock().mark.released()
    }

    /// The batches after a sequence, oldest first, a few at a time. The first one's number is higher than the next when those
    /// between were dropped.
    pub(crate) fn read(&self, after: u64) -> Result<Vec<Batch>, Error> {
        self.lock().read(after)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn depth(&self) -> Depth {
        Depth {
            next_sequence: self.next,
            acknowledged: self.mark.acknowledged,
            batches: self.next - 1 - self.mark.released(),
            bytes: self.bytes(),
            dropped_batches: self.mark.dropped_batches,
            dropped_readings: self.mark.dropped_readings,
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn segment_bytes_max(&self) -> u64 {
        (self.options.max_bytes / 8).min(SEGMENT_BYTES_MAX)
    }

    /// The file that takes new batches: there is always one.
    fn last(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    fn append(&mut self, readings: Vec<Reading>) -> Result<Stored, Error> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let sequence = self.next;
        let n_readings = u32::try_from(readings.len()).unwrap_or(u32::MAX);
        let record = segment::record(sequence, n_readings, &wire::batch(sequence, readings));
        let before = self.mark.dropped_batches;
        self.make_room(record.len() as u64)?;
        let dropped_batches = self.mark.dropped_batches - before;
        let bytes = self.last().bytes;
        let path = self.last().path.clone();
        if let Err(cause) = file::append(&mut self.active, bytes, &record) {
            let error = Error::disk(&path, cause.cause);
            if cause.is_unknown {
                self.broken = Some(error.clone());
            }
            return Err(error);
        }
        let last = self.last();
        last.bytes += record.len() as u64;
        last.next += 1;
        self.next += 1;
        Ok(Stored { sequence, dropped_batches })
    }

    /// Sees to it that a record fits into the last file, and into the bound.
    fn make_room(&mut self, record: u64) -> Result<(), Error> {
        let max_bytes = self.options.max_bytes;
        if segment::HEADER + record > max_bytes {
            return Err(Error::TooLarge { bytes: segment::HEADER + record, max_bytes });
        }
        loop {
            let (segment_max, last) = (self.segment_bytes_max(), self.last());
            let is_new = !last.is_empty() && last.bytes + record > segment_max;
            let needed = record + if is_new { segment::HEADER } else { 0 };
            if self.bytes() + needed <= max_bytes {
                return if is_new { self.roll() } else { Ok(()) };
            }
            // what is acknowledged goes first, whatever the policy
            if self.last().next - 1 <= self.mark.acknowledged && !self.last().is_empty() {
                self.roll()?;
                self.remove_released()?;
                continue;
            }
            if self.options.when_full == WhenFull::Refuse {
                return Err(Error::Full { bytes: self.bytes(), max_bytes });
            }
            self.drop_oldest()?;
        }
    }

    /// Begins a new last file.
    fn roll(&mut self) -> Result<(), Error> {
        let (segment, file) = segment::create(&self.dir, self.mark.stream, self.next)?;
        self.segments.push_back(segment);
        self.active = file;
        Ok(())
    }

    fn drop_oldest(&mut self) -> Result<(), Error> {
        if self.segments.len() == 1 {
            self.roll()?;
        }
        let Some(oldest) = self.segments.front() else { return Ok(()) };
        let released = self.mark.released();
        for (sequence, n_readings) in segment::heads(oldest, self.mark.stream)? {
            if sequence > released {
                self.mark.dropped_batches += 1;
                self.mark.dropped_readings += u64::from(n_readings);
            }
        }
        self.mark.dropped_through = self.mark.dropped_through.max(oldest.next - 1);
        self.remove_released()
    }

    fn acknowledge(&mut self, through: u64) -> Result<(), Error> {
        let through = through.min(self.next - 1);
        if through <= self.mark.acknowledged {
            return Ok(());
        }
        self.mark.acknowledged = through;
        // a last file that holds nothing else goes when that is worth a new one
        let (worth, last) = (self.segment_bytes_max() / 2, self.last());
        if last.next - 1 <= through && last.bytes >= worth {
            self.roll()?;
        }
        if self.segments.front().is_some_and(|oldest| oldest.next - 1 <= through && self.segments.len() > 1) {
            self.remove_released()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        let (through, last) = (self.mark.released(), self.last());
        if last.next - 1 <= through && !last.is_empty() {
            self.roll()?;
        }
        self.remove_released()
    }

    /// Writes the mark, then removes files that hold nothing after it.
    fn remove_released(&mut self) -> Result<(), Error> {
        self.mark_file.write(&self.mark)?;
        let released = self.mark.released();
        while self.segments.len() > 1 && self.segments[0].next - 1 <= released {
            let Some(oldest) = self.segments.pop_front() else { break };
            if self.reader.as_ref().is_some_and(|reader| reader.path == oldest.path) {
                self.reader = None;
            }
            fs::remove_file(&oldest.path).map_err(|cause| Error::disk(&oldest.path, cause))?;
        }
        Ok(())
    }

    fn read(&mut self, after: u64) -> Result<Vec<Batch>, Error> {
        let from = (after + 1).max(self.segments.front().map_or(1, |oldest| oldest.first));
        if from >= self.next {
            return Ok(Vec::new());
        }
        let mut reader = match self.reader.take() {
            Some(reader) if reader.next == from && !reader.is_at_end(&self.segments) => reader,
            _ => {
                let segment = self.segments.iter().find(|segment| from < segment.next);
                let Some(segment) = segment else { return Ok(Vec::new()) };
                segment::Reader::open(segment, from)?
            }
        };
        let batches = reader.read(self.next)?;
        self.reader = Some(reader);
        Ok(batches)
    }
}
