//! Which partition a key belongs to: murmur2, exactly as Kafka's Java client and librdkafka's `murmur2_random`.
//!
//! Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`. The store buckets patients by it too,
//! so that a partition's records fall into that partition's buckets.

use crate::Partition;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// MurmurHash2 of 32 bits with Kafka's seed.
pub fn murmur2(bytes: &[u8]) -> i32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    for (place, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key among `partitions` (0 counts as 1).
pub fn partition(key: &[u8], partitions: u16) -> Partition {
    Partition((murmur2(key) & i32::MAX) % i32::from(partitions.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn known_answers() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_in_range_and_all_used() {
        let mut seen = [0; 8];
        for n in 0..1000u128 {
            seen[partition(&n.to_be_bytes(), 8).0 as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 80), "{seen:?}");
        assert_eq!(partition(b"foobar", 1), Partition(0));
        assert_eq!(partition(b"foobar", 0), Partition(0));
        assert_eq!(partition(b"foobar", 10), Partition((-790332482i32 & i32::MAX) % 10));
    }
}
