//! What embeddings look like: the numbers of a tower analysis.
//!
//! All take rows of `dim` numbers as they are; most are defined for rows of length 1, so normalise
//! first where the model does not. None of them depends on threads.

mod alignment;
mod hubness;
mod probe;
mod spectrum;
mod towers;

pub use alignment::{alignment, centroid_gap, uniformity};
pub use hubness::{Hubness, hubness};
pub use probe::tower_separability;
pub use spectrum::effective_rank;
pub use towers::{Geometry, Towers};

use rayon::prelude::*;

/// How many rows of `dim` numbers there are.
///
/// # Panics
/// If `dim` is 0 or the numbers are not whole rows.
fn count(rows: &[f32], dim: usize) -> usize {
    assert!(dim > 0, "embeddings have at least one dimension");
    assert_eq!(rows.len() % dim, 0, "{} numbers in rows of {dim}", rows.len());
    rows.len() / dim
}

/// The mean row.
fn centroid(rows: &[f32], dim: usize) -> Vec<f64> {
    let count = count(rows, dim);
    let mut sums = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += f64::from(x);
        }
    }
    sums.into_iter().map(|sum| sum / count.max(1) as f64).collect()
}

/// `Σ x·xᵀ` over rows less `centre`: symmetric, `[dim, dim]`.
fn gram(rows: &[f32], dim: usize, centre: &[f64]) -> Vec<f64> {
    const BLOCK: usize = 16;
    let mut gram = vec![0.0; dim * dim];
    // Each block of the result walks all rows, so sums have one order whatever the threads.
    gram.par_chunks_mut(BLOCK * dim).enumerate().for_each(|(block, out)| {
        let first = block * BLOCK;
        let mut centred = vec![0.0; dim];
        for row in rows.chunks_exact(dim) {
            for ((to, &x), c) in centred.iter_mut().zip(row).zip(centre) {
                *to = f64::from(x) - c;
            }
            for (i, out) in (first..).zip(out.chunks_exact_mut(dim)) {
                let x = centred[i];
                for (sum, y) in out[first..].iter_mut().zip(&centred[first..]) {
                    *sum += x * y;
                }
            }
        }
    });
    for i in 0..dim {
        for j in 0..i {
            gram[i * dim + j] = gram[j * dim + i];
        }
    }
    gram
}
