//! Which rows a model has seen: so that it can be judged by others.

use sha2::{Digest, Sha256};

/// The rows that a model was made of, each by the first 4 bytes of the SHA-256 of its id. One row of two thousand that it
/// has not seen passes for seen where it learnt from as many as may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LearntFrom(Vec<u32>); // ascending, each once

impl LearntFrom {
    /// Of the rows with these ids.
    pub fn of<'a>(ids: impl Iterator<Item = &'a str>) -> Self {
        let mut rows: Vec<u32> = ids.map(short).collect();
        rows.sort_unstable();
        rows.dedup();
        Self(rows)
    }

    /// Whether the row of an id is one of them.
    pub fn has(&self, id: &str) -> bool {
        self.0.binary_search(&short(id)).is_ok()
    }

    /// One after the other, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|row| row.to_le_bytes()).collect()
    }

    /// `None`: not such a list.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (rows, rest) = bytes.as_chunks();
        let rows: Vec<u32> = rows.iter().map(|row| u32::from_le_bytes(*row)).collect();
        (rest.is_empty() && rows.is_sorted_by(|one, next| one < next)).then_some(Self(rows))
    }
}

fn short(id: &str) -> u32 {
    let hash: [u8; 32] = Sha256::digest(id).into();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_known_again_in_any_order_and_lists_that_are_none_are_refused() {
        let rows = LearntFrom::of(["b", "a", "b"].into_iter());
        assert!(rows.has("a") && rows.has("b") && !rows.has("c"));
        let bytes = rows.to_bytes();
        assert_eq!((bytes.len(), LearntFrom::from_bytes(&bytes)), (8, Some(rows)));
        let reversed = [&bytes[4..], &bytes[..4]].concat();
        assert_eq!([&bytes[..7], &reversed].map(LearntFrom::from_bytes), [None, None]);
    }
}
