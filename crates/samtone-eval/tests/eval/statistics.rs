//! The tower analysis' numbers against numpy, scipy and closed forms.

use samtone_eval::search::Hit;
use samtone_eval::statistics::{
    alignment, centroid_gap, effective_rank, hubness, tower_separability, uniformity,
};

/// A few operations in f64 on numbers of the order of 1.
const ROUNDING: f64 = 1e-12;
/// Rows of f32 whose lengths and products are sums in f32, on numbers of the order of 1.
const OF_F32: f64 = 1e-6;
/// The means of such rows, at a distance of the order of 0.01.
const OF_F32_MEANS: f64 = 1e-7;
/// The logarithm of a mean of exponentials of such products, each taken times 4 (2 for the square of a
/// distance, 2 for the kernel).
const OF_F32_EXPONENTIALS: f64 = 1e-5;
/// Distances of a point from itself, where all that is left is rounding, times the same 4.
const OF_F32_NOUGHT: f64 = 1e-4;
/// 300 independent directions of 256 dimensions, whose products have a deviation of 1/16.
const SPREAD: f64 = 0.05;
/// Two to three standard errors of the area under a curve of 1000 against 1000: 0.013 by chance, less
/// where they are apart.
const CHANCE: f64 = 0.03;
const LIKELY: f64 = 0.02;
/// Eigenvalues of a matrix whose numbers are exact.
const OF_EIGENVALUES: f64 = 1e-9;

/// `sin(a + 1.7i + 0.9j + 0.31ij)`, `[n, dim]`.
fn wave(a: f64, n: usize, dim: usize) -> Vec<f32> {
    let value = |i: f64, j: f64| (a + 1.7 * i + 0.9 * j + 0.31 * i * j).sin() as f32;
    (0..n).flat_map(|i| (0..dim).map(move |j| value(i as f64, j as f64))).collect()
}

/// Independent normal numbers, the first of each row shifted.
fn normal(count: usize, dim: usize, shift: f64, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    let mut rows: Vec<f32> = (0..count * dim)
        .map(|_| {
            ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32
        })
        .collect();
    rows.iter_mut().step_by(dim).for_each(|x| *x += shift as f32);
    rows
}

#[track_caller]
fn close(got: f64, expected: f64, tolerance: f64) {
    assert!((got - expected).abs() < tolerance, "{got}, expected {expected}");
}

/// Expected numbers: numpy 2.4.6 in f64 over the same f32 rows.
#[test]
fn numpy_gives_the_same_numbers() {
    let (q, d) = (wave(0.0, 40, 6), wave(1.0, 40, 6));
    close(alignment(&q, &d, 6), 2.814_352_734_333_185, OF_F32);
    close(uniformity(&q, 6), -3.562_765_378_117_938_5, OF_F32_EXPONENTIALS);
    close(centroid_gap(&q, &d, 6), 0.030_437_778_612_519_964, OF_F32_MEANS);
    close(effective_rank(&q, 6), 5.911_947_322_677_379, OF_F32);
    close(effective_rank(&q[..18], 6), 2.622_328_518_538_884_7, OF_F32);
}

#[test]
fn effective_rank_runs_from_one_line_to_all_directions() {
    close(effective_rank(&[1.0, 2.0, 2.0, 4.0, -3.0, -6.0], 2), 1.0, OF_F32);
    let mut identity = vec![0.0; 50 * 50];
    identity.iter_mut().step_by(51).for_each(|x| *x = 1.0);
    close(effective_rank(&identity, 50), 50.0, OF_EIGENVALUES);
    close(effective_rank(&[0.0; 12], 4), 0.0, ROUNDING);
}

#[test]
fn uniformity_is_nought_for_one_point_and_least_for_many_directions() {
    close(uniformity(&wave(0.0, 1, 33).repeat(20), 33), 0.0, OF_F32_NOUGHT);
    let mut rows = normal(300, 256, 0.0, 3);
    for row in rows.chunks_mut(256) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        for x in row.iter_mut() {
            *x /= length;
        }
    }
    close(uniformity(&rows, 256), -4.0, SPREAD);
}

#[test]
fn hubness_is_the_skewness_of_the_occurrences() {
    let hit = |index| Hit { index, score: 0.0 };
    let hits = vec![vec![hit(0), hit(3), hit(4)], vec![hit(0), hit(4)], vec![hit(0)]];
    let found = hubness(&hits, 8);
    // scipy 1.17.1: skew([3, 0, 0, 1, 2, 0, 0, 0])
    close(found.skewness, 1.086_706_107_807_924, ROUNDING);
    assert_eq!(found.largest, 3);
    close(found.never, 5.0 / 8.0, ROUNDING);
    close(hubness(&[], 5).skewness, 0.0, ROUNDING);
}

#[test]
fn a_probe_separates_as_well_as_the_distributions_allow() {
    let probe = |shift| {
        let (q, d) = (normal(1000, 20, shift, 1), normal(1000, 20, 0.0, 2));
        tower_separability(&q, &d, 20, 0)
    };
    // Two normal distributions δ apart: Φ(δ/√2) = 0.5, 0.7602 (δ = 1), 0.9996 (δ = 4.7).
    close(probe(0.0), 0.5, CHANCE);
    close(probe(1.0), 0.7602, LIKELY);
    assert!(probe(4.7) > 0.999);
}

#[test]
fn a_probe_copes_with_directions_that_are_never_used() {
    let pad = |rows: Vec<f32>| -> Vec<f32> {
        rows.chunks(4).flat_map(|row| row.iter().copied().chain([0.0; 4])).collect()
    };
    let (q, d) = (pad(normal(200, 4, 3.0, 1)), pad(normal(200, 4, 0.0, 2)));
    assert!(tower_separability(&q, &d, 8, 0) > 0.95);
}
