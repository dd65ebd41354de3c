//! The log in pieces: a segment holds the records of all partitions from one moment to the next, in a keyspace of its
//! own. New records go into the last one; forgetting is dropping the first one, which costs nothing, where removing
//! records one by one would cost as much as writing them and make fjall rewrite what it keeps.

use super::{Settings, layout};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, compaction::Leveled, config};
use std::{
    ops::Range,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Segments per retention: forgetting is that coarse.
const PER_RETENTION: u32 = 16;
/// Making a segment costs some milliseconds.
const MIN_BYTES: u64 = 256 << 10;
/// Some ten flushed tables, which are merged when read: compacting them would cost more.
const MAX_BYTES: u64 = 128 << 20;
/// Up to six of them in memory before writing halts: fjall's own 64 MiB would be 384 MiB.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// More tables than a segment gets: it is never compacted.
const NO_COMPACTION_TABLES: u8 = 28;
/// Read in order, so large blocks: fewer of them.
const BLOCK_BYTES: u32 = 32 << 10;

/// A part of the log with the records of some time, deleted as a whole.
#[derive(Clone)]
pub(super) struct Segment {
    /// Number of the segment, from 0, without gaps.
    pub number: u64,
    /// When it was begun, in milliseconds since 1970: everything before it is older.
    pub since_ms: u64,
    /// Bytes written before it was begun.
    pub bytes: u64,
    /// First offset in each partition.
    pub starts: Vec<i64>,
    /// Keyspace with the chunks of records of this segment.
    pub records: Keyspace,
}

impl Segment {
    /// Opens its keyspace, or makes it.
    pub(super) fn open(database: &Database, entry: layout::SegmentEntry) -> Result<Self, fjall::Error> {
        let records = database.keyspace(&name(entry.number), options)?;
        let layout::SegmentEntry { number, since_ms, bytes, starts } = entry;
        Ok(Self { number, since_ms, bytes, starts, records })
    }

    /// Whether the next record belongs into a new one.
    pub(super) fn is_over(&self, settings: &Settings, now_ms: u64, bytes: u64) -> bool {
        let age_ms = settings.retention_age.as_millis() as u64 / u64::from(PER_RETENTION);
        let size = (settings.retention_bytes / u64::from(PER_RETENTION)).clamp(MIN_BYTES, MAX_BYTES);
        let written = bytes.saturating_sub(self.bytes);
        written >= size || written > 0 && now_ms.saturating_sub(self.since_ms) >= age_ms
    }
}

/// All segments of the log, ascending by number.
pub(super) type Segments = Arc<Vec<Segment>>;

/// The parts of `offsets` in their segments, ascending.
pub(super) fn parts(
    segments: &[Segment],
    partition: usize,
    offsets: Range<i64>,
) -> impl Iterator<Item = (&Keyspace, Range<i64>)> {
    let first = segments.partition_point(|segment| segment.starts[partition] <= offsets.start).saturating_sub(1);
    segments[first..].iter().enumerate().map_while(move |(place, segment)| {
        let end = segments.get(first + place + 1).map_or(offsets.end, |next| next.starts[partition].min(offsets.end));
        let start = segment.starts[partition].max(offsets.start);
        (segment.starts[partition] < offsets.end || place == 0).then_some((&segment.records, start..end.max(start)))
    })
}

pub(super) fn name(number: u64) -> String {
    format!("{}{number}", layout::RECORDS)
}

pub(super) fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .compaction_strategy(Arc::new(Leveled::default().with_l0_threshold(NO_COMPACTION_TABLES)))
        .data_block_size_policy(config::BlockSizePolicy::all(BLOCK_BYTES))
        // Whole indexes would stay in memory: a long backlog has many.
        .index_block_partitioning_policy(config::PartitioningPolicy::all(true))
        // Only ranges are read: a filter for single keys would cost and never help.
        .filter_policy(config::FilterPolicy::disabled())
}

/// The time by our clock, in milliseconds since 1970 (UTC).
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
