//! Which bucket of a CQL partition a patient falls into: murmur2, as Kafka assigns its partitions.
//!
//! With a number of buckets that is a multiple of the topic's partitions, all rows of one topic partition fall into
//! few buckets, so that a writer's poll forms large batches.
//!
//! Source: `org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The bucket of a key among `buckets` (at least 1).
pub(crate) fn bucket(key: &[u8], buckets: i16) -> i16 {
    // the remainder of an i16 fits an i16
    ((murmur2(key) & i32::MAX) % i32::from(buckets.max(1))) as i16
}

/// MurmurHash2 of 32 bits with Kafka's seed.
pub(crate) fn murmur2(bytes: &[u8]) -> i32 {
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
    fn buckets_refine_partitions() {
        for n in 0..1000u128 {
            assert_eq!(bucket(&n.to_be_bytes(), 64) % 8, bucket(&n.to_be_bytes(), 8));
        }
    }
}
