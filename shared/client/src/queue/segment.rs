//! A file of batches: a header, then one record a batch, their sequences without a gap.

use super::{Batch, Error, file};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"WLQUEUE1";
/// Magic, stream, first sequence, checksum.
pub(super) const HEADER: u64 = 40;
const RECORD_MAGIC: &[u8; 4] = b"WLqb";
/// Magic, bytes, sequence, readings, checksum of these, checksum of the batch.
pub(super) const HEAD: usize = 32;
/// What is read at once: bytes, but at least one batch.
const READ_BYTES: usize = 256 << 10;
/// A file's name ends so.
const ENDING: &str = "batches";

/// A file of batches from `first` up to `next`, which is not in it.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) bytes: u64,
}

impl Segment {
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.first
    }
}

/// A batch with what surrounds it on the disk.
pub(super) fn record(sequence: u64, n_readings: u32, batch: &[u8]) -> Vec<u8> {
    // a batch of 4 GiB cannot be made: messages end at 2 GiB
    let length = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + batch.len());
    bytes.extend(RECORD_MAGIC);
    bytes.extend(length.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(n_readings.to_le_bytes());
    bytes.extend((xxh3_64(&bytes) as u32).to_le_bytes());
    bytes.extend(xxh3_64(batch).to_le_bytes());
    bytes.extend(batch);
    bytes
}

/// What stands before a batch.
struct Head {
    length: usize,
    sequence: u64,
    n_readings: u32,
    checksum: u64,
}

impl Head {
    /// `None`: these bytes do not begin with one.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let short = |at: usize| Some(u32::from_le_bytes(bytes[at..at + 4].try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        if bytes[..4] != *RECORD_MAGIC || short(20)? != xxh3_64(&bytes[..20]) as u32 {
            return None;
        }
        let length = usize::try_from(short(4)?).ok()?;
        Some(Self { length, sequence: long(8)?, n_readings: short(16)?, checksum: long(24)? })
    }

    /// The batch behind it, if it is whole.
    fn batch<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let batch = bytes.get(HEAD..HEAD.checked_add(self.length)?)?;
        (xxh3_64(batch) == self.checksum).then_some(batch)
    }
}

/// Makes a file that takes batches from `first` on.
pub(super) fn create(dir: &Path, stream: Uuid, first: u64) -> Result<(Segment, File), Error> {
    let path = dir.join(format!("{first:020}.{ENDING}"));
    let mut file = file::open(&path)?;
    let mut header = MAGIC.to_vec();
    header.extend(stream.as_bytes());
    header.extend(first.to_le_bytes());
    header.extend(xxh3_64(&header).to_le_bytes());
    // of one that could not be finished before
    file.set_len(0).map_err(|cause| Error::disk(&path, cause))?;
    file::append(&mut file, 0, &header).map_err(|failed| Error::disk(&path, failed.cause))?;
    file::sync_dir(dir)?;
    Ok((Segment { path, first, next: first, bytes: HEADER }, file))
}

/// The files of a folder, oldest first, and their first sequences.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|cause| Error::disk(dir, cause))? {
        let path = entry.map_err(|cause| Error::disk(dir, cause))?.path();
        if path.extension().is_some_and(|ending| ending == ENDING) {
            let first = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let first = first.ok_or_else(|| Error::damaged(&path, 0, "its name is not a sequence"))?;
            found.push((first, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The stream of a file whose header is whole.
pub(super) fn stream_of(bytes: &[u8], first: u64) -> Option<Uuid> {
    let header = bytes.get(..HEADER as usize)?;
    let (body, checksum) = header.split_at(HEADER as usize - 8);
    let is_whole = body[..8] == *MAGIC && checksum == xxh3_64(body).to_le_bytes() && body[24..] == first.to_le_bytes();
    is_whole.then(|| Uuid::from_slice(&body[8..24]).ok())?
}

/// Whether some whole record's head follows, of a batch from `next` on.
pub(super) fn has_record(bytes: &[u8], next: u64) -> bool {
    let starts = bytes.windows(RECORD_MAGIC.len()).enumerate().filter(|(_, window)| *window == RECORD_MAGIC);
    starts.map(|(at, _)| &bytes[at..]).any(|bytes| Head::decode(bytes).is_some_and(|head| head.sequence >= next))
}

/// What a file has: its batches, and where they end.
pub(super) struct Scanned {
    pub(super) segment: Segment,
    /// Sequence and readings of each.
    pub(super) heads: Vec<(u64, u32)>,
    /// Bytes after the last whole record: a batch that was not written to its end.
    pub(super) torn_bytes: u64,
}

/// Reads a file whole. `may_be_torn`: it is the last one, and its last batch may not have been written to its end.
pub(super) fn scan(path: &Path, first: u64, stream: Uuid, may_be_torn: bool) -> Result<Scanned, Error> {
    let bytes = fs::read(path).map_err(|cause| Error::disk(path, cause))?;
    match stream_of(&bytes, first) {
        Some(found) if found == stream => {}
        Some(_) => return Err(Error::damaged(path, 8, "it is of another stream")),
        None => return Err(Error::damaged(path, 0, "its header is not whole")),
    }
    let mut heads = Vec::new();
    let mut at = HEADER as usize;
    while at < bytes.len() {
        let next = first + heads.len() as u64;
        let rest = &bytes[at..];
        let (fault, record_bytes) = match Head::decode(rest) {
            None => ("no batch begins here".to_owned(), HEAD),
            Some(head) if head.sequence != next => (format!("batch {} lies where {next} should", head.sequence), 0),
            Some(head) if head.batch(rest).is_none() => (format!("batch {next} is not whole"), HEAD + head.length),
            Some(head) => {
                heads.push((head.sequence, head.n_readings));
                at += HEAD + head.length;
                continue;
            }
        };
        // a write that was interrupted left too little, or a file that had grown already and has zeros at its end
        let is_torn = rest.len() < record_bytes || rest.ends_with(&[0; 8]);
        if !may_be_torn || record_bytes == 0 || !is_torn || has_record(&rest[1..], next) {
            return Err(Error::damaged(path, at as u64, fault));
        }
        break;
    }
    let next = first + heads.len() as u64;
    let segment = Segment { path: path.to_owned(), first, next, bytes: at as u64 };
    Ok(Scanned { segment, heads, torn_bytes: (bytes.len() - at) as u64 })
}

/// Sequence and readings of each batch of a file.
pub(super) fn heads(segment: &Segment, stream: Uuid) -> Result<Vec<(u64, u32)>, Error> {
    Ok(scan(&segment.path, segment.first, stream, false)?.heads)
}

/// Reads a file's batches in order.
pub(super) struct Reader {
    file: File,
    pub(super) path: PathBuf,
    at: u64,
    /// The sequence that is read next.
    pub(super) next: u64,
}

impl Reader {
    /// From a sequence on that is in the file.
    pub(super) fn open(segment: &Segment, from: u64) -> Result<Self, Error> {
        let file = File::open(&segment.path).map_err(|cause| Error::disk(&segment.path, cause))?;
        let mut reader = Self { file, path: segment.path.clone(), at: HEADER, next: segment.first };
        while reader.next < from {
            let head = reader.head()?;
            reader.at += (HEAD + head.length) as u64;
            reader.next += 1;
        }
        Ok(reader)
    }

    /// Whether what comes next is in a later file.
    pub(super) fn is_at_end(&self, segments: &VecDeque<Segment>) -> bool {
        segments.iter().any(|segment| segment.first == self.next && segment.path != self.path)
    }

    /// Some batches, at least one; `end` is the sequence that was not given out yet.
    pub(super) fn read(&mut self, end: u64) -> Result<Vec<Batch>, Error> {
        let length = self.file.metadata().map_err(|cause| Error::disk(&self.path, cause))?.len();
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while self.next < end && self.at < length && bytes < READ_BYTES {
            let head = self.head()?;
            let mut record = vec![0; HEAD + head.length];
            self.bytes(&mut record)?;
            let whole = || Error::damaged(&self.path, self.at, format!("batch {} is not whole", self.next));
            head.batch(&record).ok_or_else(whole)?;
            let batch = Bytes::from(record).slice(HEAD..);
            bytes += batch.len();
            batches.push(Batch { sequence: self.next, n_readings: head.n_readings, bytes: batch });
            self.at += (HEAD + head.length) as u64;
            self.next += 1;
        }
        Ok(batches)
    }

    fn head(&mut self) -> Result<Head, Error> {
        let mut head = [0; HEAD];
        self.bytes(&mut head)?;
        let head = Head::decode(&head).filter(|head| head.sequence == self.next);
        head.ok_or_else(|| Error::damaged(&self.path, self.at, format!("batch {} does not begin here", self.next)))
    }

    fn bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        let read = self.file.seek(SeekFrom::Start(self.at)).and_then(|_| self.file.read_exact(into));
        read.map_err(|cause| Error::disk(&self.path, cause))
    }
}
