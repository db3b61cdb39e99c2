//! Exact search on any Burn backend.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::best::{Candidates, best};
use super::{Hit, Similarity, blame};
use crate::error::Result;

/// Queries of one product.
const QUERIES: usize = 1024;
/// Documents of one product: with [`QUERIES`] a score tile of 32 MiB.
const DOCUMENTS: usize = 8192;

/// [`top_k`](super::top_k) on a Burn backend: the device computes tiles of scores, the host keeps the
/// best of each.
///
/// Ties are ranked by row as there; scores are the backend's, in its precision.
///
/// # Shapes
/// - `queries`: `[queries, dim]`; `documents`: `[documents, dim]`
/// - returns `queries` lists of `min(k, documents)` hits
///
/// # Errors
/// [`NotFinite`](crate::EvalError::NotFinite) if an embedding is not finite,
/// [`Overflow`](crate::EvalError::Overflow) if the score of two finite ones is not.
pub fn top_k_on<B: Backend>(
    queries: &Tensor<B, 2>,
    documents: &Tensor<B, 2>,
    k: usize,
    similarity: Similarity,
) -> Result<Vec<Vec<Hit>>> {
    let [query_count, _] = queries.dims();
    let [document_count, _] = documents.dims();
    let mut found = Vec::with_capacity(query_count);
    for first_query in (0..query_count).step_by(QUERIES) {
        let rows = QUERIES.min(query_count - first_query);
        let block = prepared(queries.clone().narrow(0, first_query, rows), similarity);
        let mut candidates = vec![Candidates::default(); rows];
        let mut thresholds = vec![f32::NEG_INFINITY; rows];
        for first in (0..document_count).step_by(DOCUMENTS) {
            let width = DOCUMENTS.min(document_count - first);
            let tile = prepared(documents.clone().narrow(0, first, width), similarity);
            let scores = block.clone().matmul(tile.transpose()).into_data().convert::<f32>();
            let scores = scores.as_slice::<f32>().expect("converted to f32 above");
            for (query, scores) in scores.chunks_exact(width).enumerate() {
                for (document, &score) in scores.iter().enumerate() {
                    let index = first + document;
                    if !score.is_finite() {
                        let at = first_query + query;
                        let (query, document) = (row(queries, at), row(documents, index));
                        return Err(blame((&query, at), (&document, index)));
                    }
                    if k > 0 && score > thresholds[query] {
                        // Adding 0 turns -0 into 0: equal scores must be the same number.
                        let hit = Hit { index, score: score + 0.0 };
                        if let Some(higher) = candidates[query].push(hit, k) {
                            thresholds[query] = higher;
                        }
                    }
                }
            }
        }
        found.extend(candidates.into_iter().map(|candidates| best(candidates.into_hits(), k)));
    }
    Ok(found)
}

/// The numbers of a row.
fn row<B: Backend>(rows: &Tensor<B, 2>, at: usize) -> Vec<f32> {
    let numbers = rows.clone().narrow(0, at, 1).into_data().convert::<f32>();
    numbers.into_vec().expect("converted to f32 above")
}

/// Rows of length 1 for the cosine; a row of zeros stays one.
fn prepared<B: Backend>(rows: Tensor<B, 2>, similarity: Similarity) -> Tensor<B, 2> {
    match similarity {
        Similarity::Dot => rows,
        Similarity::Cosine => {
            let lengths = rows.clone().powi_scalar(2).sum_dim(1).sqrt();
            rows / lengths.clamp_min(f32::MIN_POSITIVE)
        }
    }
}
