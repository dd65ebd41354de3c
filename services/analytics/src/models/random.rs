//! Everything random of a training follows from its seed: one stream for each purpose, so that one more draw for one
//! purpose changes no other.

use rand::{SeedableRng, rngs::StdRng};

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Folds = 1,
    Trees = 2,
    Starts = 3,
    Bootstrap = 4,
    Permutations = 5,
    Silhouette = 6,
    ImportanceRows = 7,
}

/// The seed of one draw: the training's seed, the purpose and a number mixed by the finaliser of SplitMix64 (G. L.
/// Steele, D. Lea, C. H. Flood, OOPSLA 2014).
pub(super) fn seed(seed: u64, purpose: Purpose, index: usize) -> u64 {
    let mut mixed = mix(seed.wrapping_add(mix(purpose as u64)));
    mixed = mix(mixed.wrapping_add(index as u64));
    mixed
}

/// The generator of one draw.
pub(super) fn generator(training: u64, purpose: Purpose, index: usize) -> StdRng {
    StdRng::seed_from_u64(seed(training, purpose, index))
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
