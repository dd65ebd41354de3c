//! Records that were written together and follow each other in one partition lie under one key, that of the first:
//! fjall's work is by key, and a record is small.

use super::layout::corrupt;
use crate::Error;
use bytes::Bytes;

/// A chunk begun below this size takes another record. One is read as a whole, whatever of it is wanted.
pub(super) const FULL_BYTES: usize = 64 << 10;
const LENGTH: usize = size_of::<u32>();

/// Appends a record: its length, little-endian, and its bytes.
pub(super) fn push(chunk: &mut Vec<u8>, payload: &[u8]) {
    chunk.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    chunk.extend_from_slice(payload);
}

/// Takes the first record off; `None` at the end.
pub(super) fn pop(chunk: &mut Bytes) -> Option<Result<Bytes, Error>> {
    if chunk.is_empty() {
        return None;
    }
    let length = chunk.first_chunk::<LENGTH>().map(|length| u32::from_le_bytes(*length) as usize);
    let Some(length) = length.filter(|length| *length <= chunk.len() - LENGTH) else {
        chunk.clear();
        return Some(Err(corrupt("records")));
    };
    let mut record = chunk.split_to(LENGTH + length);
    Some(Ok(record.split_off(LENGTH)))
}

/// How many records it holds.
pub(super) fn count(chunk: &[u8]) -> Result<i64, Error> {
    let mut chunk = Bytes::copy_from_slice(chunk);
    let mut n_records = 0;
    while let Some(record) = pop(&mut chunk) {
        record?;
        n_records += 1;
    }
    Ok(n_records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_cuts_are_noticed() {
        let mut chunk = Vec::new();
        for record in [&b"one"[..], b"", b"three"] {
            push(&mut chunk, record);
        }
        assert_eq!(count(&chunk).unwrap(), 3);
        assert!(count(&chunk[..chunk.len() - 1]).is_err());
        assert!(count(&chunk[..2]).is_err());
        let mut chunk = Bytes::from(chunk);
        assert_eq!(pop(&mut chunk).unwrap().unwrap(), "one");
        assert_eq!(pop(&mut chunk).unwrap().unwrap(), "");
        assert_eq!(pop(&mut chunk).unwrap().unwrap(), "three");
        assert!(pop(&mut chunk).is_none());
    }
}
