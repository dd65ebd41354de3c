//! Reads a journal as the engine does (fjall 3.1), but says where and why it stopped.
//!
//! A batch is a start (`1`, number of items `u32`, sequence number `u64`), items (`2`, or `4` for a cleared keyspace) and an
//! end (`3`, XXH3-64 of the items, `FJL3`); little-endian. The start is not under the checksum: a changed number of items
//! shows in what follows, a changed sequence number in its neighbours and in our link.

use crate::link::{LINK_KEY, Link};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = *b"FJL\x03";
/// What an item has before its key: type, compression, keyspace, lengths of key, value and value on disk.
const ITEM_HEAD: usize = 1 + 1 + 8 + 2 + 4 + 4;
const READ_BYTES: usize = 256 << 10;

/// A complete batch of a journal: where it begins and ends in the file, in bytes, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub offset: u64,
    pub end: u64,
    pub seqno: u64,
    /// Those written before there were links have none.
    pub link: Option<Link>,
}

/// Why there is no further batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The file ends behind a batch.
    End,
    /// A zero where a batch would begin: the part of the file that is not written yet.
    Blank,
    /// The file ends, or zeros begin, within a batch.
    Torn,
    /// Something that a cut-off write does not leave behind.
    Bad(&'static str),
}

/// Reads batches one after the other.
pub(crate) struct Reader<R> {
    input: R,
    at: u64,
}

/// Why a batch could not be read.
enum Failed {
    Io(io::Error),
    Stop(Stop),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Stop(Stop::Torn),
            _ => Self::Io(error),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// `at` is where the input begins in its file.
    pub fn new(input: R, at: u64) -> Self {
        Self { input, at }
    }

    /// The next batch, or why there is none.
    pub fn batch(&mut self) -> io::Result<Result<Batch, Stop>> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(Err(Stop::End));
        }
        match self.read() {
            Ok(batch) => Ok(Ok(batch)),
            Err(Failed::Stop(stop)) => Ok(Err(stop)),
            Err(Failed::Io(error)) => Err(error),
        }
    }

    fn read(&mut self) -> Result<Batch, Failed> {
        let offset = self.at;
        match self.byte()? {
            START => {}
            0 => return Err(Failed::Stop(Stop::Blank)),
            _ => return bad("no batch begins here"),
        }
        let n_items = u32::from_le_bytes(self.array()?);
        let seqno = u64::from_le_bytes(self.array()?);
        if n_items == 0 {
            return bad("a batch without items");
        }
        let (mut hash, mut link) = (Xxh3::new(), None);
        for _ in 0..n_items {
            let tag = self.byte()?;
            hash.update(&[tag]);
            match tag {
                ITEM => self.item(&mut hash, &mut link)?,
                CLEAR => hash.update(&self.array::<8>()?),
                0 => return Err(Failed::Stop(Stop::Torn)),
                END => return bad("a batch has fewer items than it says"),
                START => return bad("a batch begins within a batch"),
                _ => return bad("an unknown kind of item"),
            }
        }
        match self.byte()? {
            END => {}
            0 => return Err(Failed::Stop(Stop::Torn)),
            _ => return bad("a batch has more items than it says"),
        }
        let checksum = u64::from_le_bytes(self.array()?);
        match self.array()? {
            TRAILER if checksum == hash.digest() => Ok(Batch { offset, end: self.at, seqno, link }),
            TRAILER => bad("a batch's checksum is wrong"),
            [.., 0] => Err(Failed::Stop(Stop::Torn)),
            _ => bad("a batch's end is not one"),
        }
    }

    fn item(&mut self, hash: &mut Xxh3, link: &mut Option<Link>) -> Result<(), Failed> {
        let head: [u8; ITEM_HEAD] = self.array()?;
        hash.update(&head);
        if !matches!(head[0], 0..=2) || head[1] > 1 {
            return bad("an unknown kind of value");
        }
        let [key_a, key_b, _, _, _, _, disk @ ..] = *head.last_chunk::<10>().unwrap_or(&[0; 10]);
        let key_bytes = u16::from_le_bytes([key_a, key_b]);
        let value_bytes = u32::from_le_bytes(disk);
        if usize::from(key_bytes) == LINK_KEY.len() && value_bytes as usize == Link::BYTES {
            let key: [u8; LINK_KEY.len()] = self.array()?;
            let value: [u8; Link::BYTES] = self.array()?;
            hash.update(&key);
            hash.update(&value);
            if key == LINK_KEY {
                *link = Some(Link::decode(&value));
            }
            return Ok(());
        }
        self.pass(u64::from(key_bytes) + u64::from(value_bytes), hash)
    }

    /// Reads over so many bytes, however many a damaged length says, without holding them.
    fn pass(&mut self, mut n: u64, hash: &mut Xxh3) -> Result<(), Failed> {
        while n > 0 {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Err(Failed::Stop(Stop::Torn));
            }
            let taken = buffer.len().min(usize::try_from(n).unwrap_or(usize::MAX));
            hash.update(&buffer[..taken]);
            self.input.consume(taken);
            self.at += taken as u64;
            n -= taken as u64;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Failed> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failed> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }
}

fn bad<T>(what: &'static str) -> Result<T, Failed> {
    Err(Failed::Stop(Stop::Bad(what)))
}

/// The batches of a journal, and how it ends.
#[derive(Debug)]
pub(crate) struct Journal {
    pub id: u64,
    pub path: PathBuf,
    /// Offset of the first byte behind the last whole batch.
    pub end: u64,
    /// Behind the last byte that is not zero, where that is further.
    pub used: u64,
    /// The first one of those that have a link.
    pub first: Option<Batch>,
    pub last: Option<Batch>,
    /// The last one of those that have a link.
    pub last_link: Option<Link>,
    pub stop: Stop,
    /// Where two neighbours do not fit together, and why.
    pub broken: Option<(u64, String)>,
}

impl Journal {
    /// Reads a file from its beginning to where no further batch is. `before` is the last batch of the journal before,
    /// `gaps` are the breaks in the chain that a repair left.
    pub fn read(id: u64, path: &Path, before: Option<&Self>, gaps: &[u64]) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut reader = Reader::new(BufReader::with_capacity(READ_BYTES, &file), 0);
        let mut journal = Self {
            id,
            path: path.to_owned(),
            end: 0,
            used: 0,
            first: None,
            last: None,
            last_link: before.and_then(|journal| journal.last_link),
            stop: Stop::End,
            broken: None,
        };
        let mut last_seqno = before.and_then(|journal| journal.last).map(|batch| batch.seqno);
        journal.stop = loop {
            let batch = match reader.batch()? {
                Ok(batch) => batch,
                Err(stop) => break stop,
            };
            if let Err(what) = follows(&batch, last_seqno, journal.last_link, gaps) {
                journal.broken = Some((batch.offset, what));
                break Stop::Bad("batches that do not follow each other");
            }
            last_seqno = Some(batch.seqno);
            journal.end = batch.end;
            journal.first = journal.first.or(batch.link.and(Some(batch)));
            journal.last = Some(batch);
            journal.last_link = batch.link.or(journal.last_link);
        };
        journal.used = last_used(&file, journal.end)?;
        Ok(journal)
    }

    /// Whether there is anything behind the last whole batch.
    pub fn has_tail(&self) -> bool {
        self.used > self.end
    }

    /// The first whole batch behind the end: what was cut off while it was written has none behind it.
    pub fn beyond(&self) -> io::Result<Option<Batch>> {
        let tail = self.tail()?;
        Ok(batches_within(&tail, self.end).next())
    }

    /// What lies behind the last whole batch, without the zeros at the end.
    pub fn tail(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.end))?;
        let mut tail = vec![0; usize::try_from(self.used - self.end).unwrap_or(usize::MAX)];
        io::Read::read_exact(&mut file, &mut tail)?;
        Ok(tail)
    }
}

/// All whole batches in these bytes, wherever they begin.
pub(crate) fn batches_within(bytes: &[u8], base: u64) -> impl Iterator<Item = Batch> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            // a slice is always there to be read
            let found = Reader::new(&bytes[at..], base + at as u64).batch();
            match found {
                Ok(Ok(batch)) => {
                    at = (batch.end - base) as usize;
                    return Some(batch);
                }
                _ => at += 1,
            }
            at += bytes[at.min(bytes.len())..].iter().take_while(|byte| **byte != START).count();
        }
        None
    })
}

/// Whether a batch can come next.
fn follows(batch: &Batch, last_seqno: Option<u64>, last: Option<Link>, gaps: &[u64]) -> Result<(), String> {
    if let Some(before) = last_seqno
        && batch.seqno <= before
    {
        return Err(format!("batch {} follows batch {before}", batch.seqno));
    }
    let Some(link) = batch.link else { return Ok(()) };
    if !link.allows(batch.seqno) {
        return Err(format!("a batch says that it is number {}, and cannot be", batch.seqno));
    }
    match last {
        Some(before) if link.count != before.count + 1 && !gaps.contains(&link.count) => {
            Err(format!("batch {} of ours follows batch {}", link.count, before.count))
        }
        _ => Ok(()),
    }
}

/// Behind the last byte that is not zero, from `from` on.
fn last_used(file: &File, from: u64) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut at, mut used, zeros) = (from, from, vec![0; READ_BYTES]);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(used);
        }
        let n = buffer.len();
        // most of a journal is not written yet: what is all zeros is passed over as a whole
        if *buffer != zeros[..n]
            && let Some(last) = buffer.iter().rposition(|byte| *byte != 0)
        {
            used = at + last as u64 + 1;
        }
        at += n as u64;
        reader.consume(n);
    }
}
