//! How patients are spread over the log's partitions and the store's buckets: murmur2, exactly as Kafka's Java client and
//! librdkafka's `murmur2_random` choose a partition. Where the buckets are a multiple of the partitions, the records of
//! one partition fall into few buckets, and a writer's poll forms large batches.
//!
//! Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`.

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

/// The place of a key among `places` (0 counts as 1).
pub fn spread(key: &[u8], places: u16) -> u16 {
    // below 2^31, and the remainder of a u16 fits a u16
    ((murmur2(key) & i32::MAX) as u32 % u32::from(places.max(1))) as u16
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
    fn places_are_in_range_all_used_and_refined_by_multiples() {
        let mut seen = [0; 8];
        for n in 0..1000u128 {
            let key = n.to_be_bytes();
            seen[usize::from(spread(&key, 8))] += 1;
            assert_eq!(spread(&key, 64) % 8, spread(&key, 8));
        }
        assert!(seen.iter().all(|&n| n > 80), "{seen:?}");
        assert_eq!((spread(b"foobar", 1), spread(b"foobar", 0)), (0, 0));
        assert_eq!(i32::from(spread(b"foobar", 10)), (-790332482i32 & i32::MAX) % 10);
    }
}
