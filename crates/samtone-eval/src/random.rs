//! Random words as a pure function of a seed and two indices, so that no result depends on threads.

/// The finaliser of `SplitMix64` (Steele et al. 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The odd constant of `SplitMix64`.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The `index`-th 64 random bits of stream `stream` of `seed`.
pub(crate) fn word(seed: u64, stream: u64, index: u64) -> u64 {
    let key = mix(mix(seed.wrapping_add(GOLDEN)) ^ stream.wrapping_mul(GOLDEN));
    mix(key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// The `index`-th uniform integer in `0..bound`.
pub(crate) fn below(seed: u64, stream: u64, index: u64, bound: usize) -> usize {
    ((u128::from(word(seed, stream, index)) * bound as u128) >> 64) as usize
}
