//! How the log lies in fjall: keys and values, big-endian so that they sort.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `records-<n>` | partition u16, offset of the first record u64 | records that follow each other, a [`chunk`](super::chunk) |
//! | `meta` | `p` | number of partitions u16 |
//! | `meta` | `b` | bytes ever written u64 |
//! | `meta` | `s`, number of the segment u64 | milliseconds since 1970 u64, bytes written before u64, first offset i64 of each partition |
//! | `meta` | `g`, name length u8, name, partition u16 | committed next offset i64 |

use crate::Error;
use fjall::Keyspace;

pub(super) const RECORDS: &str = "records-";
pub(super) const META: &str = "meta";
pub(super) const PARTITIONS: &[u8] = b"p";
pub(super) const BYTES: &[u8] = b"b";
const SEGMENTS: &[u8] = b"s";
const GROUPS: &[u8] = b"g";

/// The key of a chunk, by its first record.
pub(super) fn record(partition: usize, offset: i64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&(partition as u16).to_be_bytes());
    key[2..].copy_from_slice(&(offset as u64).to_be_bytes());
    key
}

/// The offset in a record's key.
pub(super) fn offset(key: &[u8]) -> Result<i64, Error> {
    key.get(2..).and_then(number).ok_or_else(|| corrupt("a record's key"))
}

/// The key of a group's position in a partition. The name has at most 255 bytes.
pub(super) fn position(group: &str, partition: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + 4);
    key.extend_from_slice(GROUPS);
    key.push(group.len() as u8);
    key.extend_from_slice(group.as_bytes());
    key.extend_from_slice(&(partition as u16).to_be_bytes());
    key
}

/// Every group's position: name, partition, next offset.
pub(super) fn positions(meta: &Keyspace) -> Result<Vec<(String, usize, i64)>, Error> {
    let mut found = Vec::new();
    for guard in meta.prefix(GROUPS) {
        let (key, value) = guard.into_inner().map_err(super::unreadable)?;
        let read = || {
            let length = usize::from(*key.get(1)?);
            let name = String::from_utf8(key.get(2..2 + length)?.to_vec()).ok()?;
            let partition = u16::from_be_bytes(key.get(2 + length..)?.try_into().ok()?);
            Some((name, usize::from(partition), number(&value)?))
        };
        found.push(read().ok_or_else(|| corrupt("a group's position"))?);
    }
    Ok(found)
}

/// What `meta` says of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentEntry {
    pub number: u64,
    pub since_ms: u64,
    pub bytes: u64,
    pub starts: Vec<i64>,
}

impl SegmentEntry {
    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = [self.since_ms.to_be_bytes(), self.bytes.to_be_bytes()].concat();
        value.extend(self.starts.iter().flat_map(|start| start.to_be_bytes()));
        value
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let number = number(key.get(1..)?)? as u64;
        let mut numbers = value.chunks(8).map(self::number);
        let (since_ms, bytes) = (numbers.next()?? as u64, numbers.next()?? as u64);
        Some(Self { number, since_ms, bytes, starts: numbers.collect::<Option<_>>()? })
    }
}

/// The key of a segment's entry.
pub(super) fn segment(number: u64) -> [u8; 9] {
    let mut key = [b's'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Every segment's entry, ascending.
pub(super) fn segments(meta: &Keyspace) -> Result<Vec<SegmentEntry>, Error> {
    let mut found = Vec::new();
    for guard in meta.prefix(SEGMENTS) {
        let (key, value) = guard.into_inner().map_err(super::unreadable)?;
        found.push(SegmentEntry::decode(&key, &value).ok_or_else(|| corrupt("a segment's entry"))?);
    }
    Ok(found)
}

/// A big-endian number; `None` when there are not eight bytes.
pub(super) fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

/// The number under a key of `meta`, if there is one.
pub(super) fn stored(meta: &Keyspace, key: &[u8]) -> Result<Option<i64>, Error> {
    let Some(value) = meta.get(key).map_err(super::unreadable)? else { return Ok(None) };
    number(&value).map(Some).ok_or_else(|| corrupt("a number"))
}

pub(super) fn corrupt(what: &str) -> Error {
    Error::Fatal(format!("the log's files hold {what} that cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_partition_and_offset() {
        assert!(record(0, i64::MAX) < record(1, 0));
        assert!(record(3, 255) < record(3, 256));
        assert_eq!(offset(&record(3, 256)).unwrap(), 256);
        assert!(position("a", 0) != position("a0", 0));
    }

    #[test]
    fn a_segment_comes_back() {
        let entry = SegmentEntry { number: 3, since_ms: 7, bytes: 9, starts: vec![1, 0, 5] };
        assert_eq!(SegmentEntry::decode(&segment(3), &entry.value()), Some(entry.clone()));
        assert_eq!(SegmentEntry::decode(&segment(3), &entry.value()[..15]), None);
    }
}
