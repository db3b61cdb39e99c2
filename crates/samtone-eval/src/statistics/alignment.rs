use rayon::prelude::*;

use super::{centroid, count};
use crate::search::dot;

/// Alignment: how far a query is from its document on average.
///
/// `mean_i ‖q_i − d_i‖²`; 0 is best, 2 that of unrelated directions.
///
/// Source: Wang and Isola 2020, arXiv:2005.10242, with α = 2.
///
/// # Shapes
/// - `queries`, `documents`: `[pairs, dim]`, row i of both one pair
///
/// # Panics
/// If there are no pairs or the shapes differ.
pub fn alignment(queries: &[f32], documents: &[f32], dim: usize) -> f64 {
    let pairs = count(queries, dim);
    assert_eq!(queries.len(), documents.len(), "one document for each query");
    assert!(pairs > 0, "the mean over no pairs");
    let squares = queries.iter().zip(documents).map(|(&q, &d)| f64::from(q - d).powi(2));
    squares.sum::<f64>() / pairs as f64
}

/// Uniformity: how evenly rows fill the sphere.
///
/// `ln mean_(i<j) e^(−2·‖x_i − x_j‖²)`; 0 when all rows are one, about −4 when rows of length 1
/// and many dimensions point everywhere.
///
/// Source: Wang and Isola 2020, arXiv:2005.10242, with t = 2.
///
/// # Shapes
/// - `rows`: `[rows, dim]`
///
/// # Panics
/// If there are fewer than two rows.
pub fn uniformity(rows: &[f32], dim: usize) -> f64 {
    let count = count(rows, dim);
    assert!(count > 1, "uniformity is over pairs of rows, got {count} rows");
    let squares: Vec<f32> = rows.par_chunks_exact(dim).map(|row| dot(row, row)).collect();
    let sums: Vec<f64> = rows
        .par_chunks_exact(dim)
        .enumerate()
        .map(|(i, a)| {
            let later = rows[(i + 1) * dim..].chunks_exact(dim).zip(&squares[i + 1..]);
            later
                .map(|(b, square)| {
                    let distance = (squares[i] + square - 2.0 * dot(a, b)).max(0.0);
                    f64::from(-2.0 * distance).exp()
                })
                .sum()
        })
        .collect();
    let pairs = count as f64 * (count - 1) as f64 / 2.0;
    (sums.iter().sum::<f64>() / pairs).ln()
}

/// Centroid gap: the distance between the mean query and the mean document.
///
/// `‖mean q − mean d‖`; 0 when both towers fill the same region.
///
/// Source: the modality gap of Liang et al. 2022, arXiv:2203.02053.
///
/// # Shapes
/// - `queries`: `[queries, dim]`; `documents`: `[documents, dim]`
pub fn centroid_gap(queries: &[f32], documents: &[f32], dim: usize) -> f64 {
    let (q, d) = (centroid(queries, dim), centroid(documents, dim));
    q.iter().zip(&d).map(|(q, d)| (q - d).powi(2)).sum::<f64>().sqrt()
}
