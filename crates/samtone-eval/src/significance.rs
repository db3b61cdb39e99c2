//! Whether a difference is more than chance.
//!
//! [`compare`] does what a paper's table needs; the tests it is made of are here as functions of
//! plain slices. Everything random is a function of a seed: the same numbers on every machine.

mod compare;
mod table;

use rayon::prelude::*;

use crate::random::{below, word};

pub use compare::{Change, CompareConfig, ComparedRun, Comparison, compare};
pub use table::Style;

/// The two-sided p-value of the paired randomisation test on the mean of `differences`.
///
/// Under the null hypothesis each difference is as likely to have the other sign. The p-value is
/// the share of sign patterns whose mean is at least as far from 0 as the one observed: of all
/// patterns where there are no more than `samples`, else of `samples` random ones and the observed
/// one, so it is never 0.
///
/// Source: Fisher 1935; for retrieval Smucker et al. 2007, doi:10.1145/1321440.1321528.
///
/// # Examples
///
/// ```
/// use samtone_eval::significance::paired_randomisation;
///
/// // Three differences of one sign: 2 of the 8 patterns are as extreme.
/// assert_eq!(paired_randomisation(&[0.1, 0.2, 0.3], 10_000, 0), 0.25);
/// ```
pub fn paired_randomisation(differences: &[f64], samples: usize, seed: u64) -> f64 {
    // Signs of differences that are 0 make no pattern.
    let differences: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let observed = differences.iter().sum::<f64>().abs();
    // Sums that are equal but for rounding are equal.
    let extreme = observed * (1.0 - 1e-12);
    let patterns = u32::try_from(differences.len()).ok().and_then(|n| 1_usize.checked_shl(n));
    let is_extreme = |signs: &dyn Fn(usize) -> u64| {
        let mut sum = 0.0;
        for (place, block) in differences.chunks(64).enumerate() {
            let bits = signs(place);
            for (bit, &difference) in block.iter().enumerate() {
                // Moves the bit to where a float has its sign.
                let sign = (bits >> bit & 1) << 63;
                sum += f64::from_bits(difference.to_bits() ^ sign);
            }
        }
        sum.abs() >= extreme
    };
    if let Some(patterns) = patterns.filter(|&patterns| patterns <= samples) {
        let count = (0..patterns).filter(|&pattern| is_extreme(&|_| pattern as u64)).count();
        return count as f64 / patterns as f64;
    }
    let count = (0..samples as u64)
        .into_par_iter()
        .filter(|&sample| is_extreme(&|place| word(seed, sample, place as u64)))
        .count();
    (count + 1) as f64 / (samples + 1) as f64
}

/// The bootstrap's percentile interval of the mean of `values` at confidence `level`.
///
/// The middle `level` of the means of `samples` resamples with replacement.
///
/// Source: Efron and Tibshirani 1993, chapter 13.
///
/// # Panics
/// If there are no values or no samples, or `level` is not in `(0, 1)`.
///
/// # Examples
///
/// ```
/// use samtone_eval::significance::bootstrap_interval;
///
/// let (low, high) = bootstrap_interval(&[0.0, 1.0, 0.5, 0.5], 10_000, 0.95, 0);
/// assert!(low < 0.5 && 0.5 < high);
/// ```
pub fn bootstrap_interval(values: &[f64], samples: usize, level: f64, seed: u64) -> (f64, f64) {
    assert!(!values.is_empty(), "the mean of nothing has no interval");
    assert!(samples > 0, "an interval needs at least one resample");
    assert!(0.0 < level && level < 1.0, "a confidence level is between 0 and 1, got {level}");
    let mut means: Vec<f64> = (0..samples as u64)
        .into_par_iter()
        .map(|sample| {
            let draw = |index| values[below(seed, sample, index, values.len())];
            (0..values.len() as u64).map(draw).sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    let at = |share: f64| means[(share * (samples - 1) as f64).round() as usize];
    (at((1.0 - level) / 2.0), at(f64::midpoint(1.0, level)))
}

/// Holm's correction: p-values that may all be read together.
///
/// The i-th smallest of m becomes `(m − i + 1)·p`, at least the one before it and at most 1. To call
/// all those below α significant is wrong even once with a probability of at most α.
///
/// Source: Holm 1979, Scandinavian Journal of Statistics 6.
///
/// # Examples
///
/// ```
/// use samtone_eval::significance::holm;
///
/// assert_eq!(holm(&[0.25, 0.0625, 0.5]), [0.5, 0.1875, 0.5]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least = 0.0_f64;
    for (place, index) in order.into_iter().enumerate() {
        least = least.max((p_values.len() - place) as f64 * p_values[index]).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// The paired effect size `d_z`: the mean of the differences over their standard deviation.
///
/// 0 for fewer than two differences, infinite for equal differences that are not 0. About 0.2 is called small,
/// 0.5 medium, 0.8 large (Cohen 1988).
///
/// # Examples
///
/// ```
/// use samtone_eval::significance::effect_size;
///
/// assert!((effect_size(&[1.0, 2.0, 3.0]) - 2.0).abs() < 1e-12);
/// ```
pub fn effect_size(differences: &[f64]) -> f64 {
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    if differences.len() < 2 || mean == 0.0 {
        return 0.0;
    }
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    mean / (squares / (count - 1.0)).sqrt()
}
