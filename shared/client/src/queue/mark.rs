//! How far batches are acknowledged or dropped: two places in one file, written in turn, so that one of them is always whole.
//! Both are there from the start: to write one needs no room on the disk, which may be full.

use super::{Error, file};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"WLQMARK1";
const BYTES: usize = 88;
/// From one place to the other: disks write no less at once.
const STRIDE: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Counts up: the higher one of two is the newer.
    generation: u64,
    pub(super) device: Uuid,
    pub(super) stream: Uuid,
    pub(super) acknowledged: u64,
    pub(super) dropped_through: u64,
    pub(super) dropped_batches: u64,
    pub(super) dropped_readings: u64,
}

impl Mark {
    pub(super) fn new(device: Uuid, stream: Uuid) -> Self {
        let generation = 0;
        Self {
            generation,
            device,
            stream,
            acknowledged: 0,
            dropped_through: 0,
            dropped_batches: 0,
            dropped_readings: 0,
        }
    }

    /// Nothing up to here needs to be sent.
    pub(super) fn released(&self) -> u64 {
        self.acknowledged.max(self.dropped_through)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.device.as_bytes());
        bytes.extend(self.stream.as_bytes());
        for number in [self.acknowledged, self.dropped_through, self.dropped_batches, self.dropped_readings] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.get(..BYTES)?.try_into().ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?));
        let id = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).ok();
        if bytes[..8] != *MAGIC || number(BYTES - 8)? != xxh3_64(&bytes[..BYTES - 8]) {
            return None;
        }
        Some(Self {
            generation: number(8)?,
            device: id(16)?,
            stream: id(32)?,
            acknowledged: number(48)?,
            dropped_through: number(56)?,
            dropped_batches: number(64)?,
            dropped_readings: number(72)?,
        })
    }
}

pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
    generation: u64,
}

impl MarkFile {
    /// Opens the file; `None`: there is no mark in it, because it has just been made.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<Mark>), Error> {
        let path = dir.join("mark");
        let mut file = file::open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|cause| Error::disk(&path, cause))?;
        let places = [0, STRIDE].map(|at| bytes.get(at..).and_then(Mark::decode));
        let mark = places.into_iter().flatten().max_by_key(|mark| mark.generation);
        // a file that is shorter was never finished
        if mark.is_none() && bytes.len() >= STRIDE + BYTES {
            return Err(Error::damaged(&path, 0, "neither of its two records is whole"));
        }
        let generation = mark.as_ref().map_or(0, |mark| mark.generation);
        Ok((Self { file, path, generation }, mark))
    }

    /// Writes the mark to both of its places in the file.
    pub(super) fn create(&mut self, mark: &Mark) -> Result<(), Error> {
        self.write(mark)?;
        self.write(mark)
    }

    /// Writes to the place that is the older one, and makes sure of it.
    pub(super) fn write(&mut self, mark: &Mark) -> Result<(), Error> {
        let generation = self.generation + 1;
        let bytes = Mark { generation, ..mark.clone() }.encode();
        let at = (generation % 2) * STRIDE as u64;
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&bytes));
        written.and_then(|()| self.file.sync_data()).map_err(|cause| Error::disk(&self.path, cause))?;
        self.generation = generation;
        Ok(())
    }
}
