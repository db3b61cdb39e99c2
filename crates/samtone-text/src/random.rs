//! Randomness as a pure function of what it is for.
//!
//! Nothing in samtone keeps a generator's state: every random number is computed from a [`Key`]
//! (the run's seed and a chain of labels: purpose, step, row, layer, …) and an index. A resumed run,
//! a run cut into other chunks and a run on other threads therefore draw the same numbers.

/// A position in the tree of all random streams: the seed and the labels chained onto it.
///
/// # Examples
///
/// ```
/// use samtone_text::Key;
///
/// let dropout = Key::new(42).child("dropout").at(7);
/// assert_eq!(dropout.word(3), Key::new(42).child("dropout").at(7).word(3));
/// assert_ne!(dropout.word(3), dropout.word(4));
/// assert!((0.0..1.0).contains(&dropout.unit(0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

/// The odd constant of `SplitMix64`: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SplitMix64`'s finaliser (Steele et al. 2014): a bijection that mixes every bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Key {
    /// The root of a run's randomness.
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GOLDEN)))
    }

    /// The stream for a named purpose below this one.
    #[must_use]
    pub const fn child(self, purpose: &str) -> Self {
        let bytes = purpose.as_bytes();
        let mut key = self.at(bytes.len() as u64);
        let mut i = 0;
        while i < bytes.len() {
            key = key.at(bytes[i] as u64);
            i += 1;
        }
        key
    }

    /// The stream for a number (a step, a row, a layer) below this one.
    #[must_use]
    pub const fn at(self, number: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ mix(number.wrapping_add(GOLDEN))))
    }

    /// The `index`-th word of this stream: 64 uniform bits.
    pub const fn word(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// The `index`-th uniform number of this stream, in `[0, 1)`.
    pub const fn unit(self, index: u64) -> f64 {
        (self.word(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The `index`-th uniform integer of this stream, in `0..bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub const fn below(self, index: u64, bound: usize) -> usize {
        assert!(bound > 0, "no integer lies below 0");
        ((self.word(index) as u128 * bound as u128) >> 64) as usize
    }

    /// The `index`-th standard normal number of this stream (Box and Muller's transform).
    pub fn normal(self, index: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit(2 * index)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit(2 * index + 1)).cos()
    }

    /// The `index`-th element of a permutation of `0..n`, in constant memory: for orders too long to
    /// hold.
    ///
    /// Four rounds of a Feistel network over the next power of four, walked until inside (Black and
    /// Rogaway 2002).
    ///
    /// # Panics
    /// If `index` is not below `n`.
    pub const fn shuffled(self, index: u64, n: u64) -> u64 {
        assert!(index < n, "an index beyond what is shuffled");
        let half = (64 - (n - 1).leading_zeros()).div_ceil(2);
        let mask = (1 << half) - 1;
        let mut at = index;
        loop {
            let (mut left, mut right) = (at >> half, at & mask);
            let mut round = 0;
            while round < 4 {
                (left, right) = (right, left ^ (self.at(round).word(right) & mask));
                round += 1;
            }
            at = left << half | right;
            if at < n {
                return at;
            }
        }
    }

    /// A uniform permutation of `0..n` (Fisher and Yates).
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64, i + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_number() {
        let words = [
            Key::new(0).word(0),
            Key::new(1).word(0),
            Key::new(0).child("a").word(0),
            Key::new(0).child("b").word(0),
            Key::new(0).child("ab").word(0),
            Key::new(0).child("a").child("b").word(0),
            Key::new(0).at(0).word(0),
            Key::new(0).at(1).word(0),
            Key::new(0).at(1).at(0).word(0),
            Key::new(0).at(0).at(1).word(0),
        ];
        for (i, a) in words.iter().enumerate() {
            assert!(!words[i + 1..].contains(a), "streams {i} and a later one coincide");
        }
    }

    #[test]
    fn the_first_words_never_change() {
        // Written down once: a change here changes every trained model.
        assert_eq!(Key::new(0).word(0), 12_035_550_249_420_947_055);
        assert_eq!(Key::new(7).child("shuffle").at(3).word(5), 14_747_761_461_009_836_153);
    }

    #[test]
    fn units_are_uniform_and_normals_are_standard() {
        let key = Key::new(3).child("moments");
        let n = 100_000;
        let mean = |f: &dyn Fn(u64) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        assert!((mean(&|i| key.unit(i)) - 0.5).abs() < 0.005);
        assert!((mean(&|i| key.unit(i).powi(2)) - 1.0 / 3.0).abs() < 0.005);
        assert!(mean(&|i| key.normal(i)).abs() < 0.02);
        assert!((mean(&|i| key.normal(i).powi(2)) - 1.0).abs() < 0.03);
    }

    #[test]
    fn a_shuffle_in_constant_memory_is_a_permutation() {
        for n in [1, 2, 3, 4, 5, 16, 17, 1000, 4097] {
            let key = Key::new(2).at(n);
            let mut order: Vec<u64> = (0..n).map(|index| key.shuffled(index, n)).collect();
            assert!(n < 16 || order != (0..n).collect::<Vec<_>>());
            let neighbours = order.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
            assert!(neighbours as u64 <= 3 + n / 50, "{neighbours} of {n} keep their neighbour");
            order.sort_unstable();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_permutation_holds_every_number_once() {
        let mut order = Key::new(1).permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
