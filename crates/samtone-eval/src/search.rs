//! Exact search: the k nearest embeddings by dot product or cosine.

use rayon::prelude::*;

use crate::error::{EvalError, Result};

/// A document found: its row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The document's row, counted from 0.
    pub index: usize,
    /// Its score: the greater, the nearer.
    pub score: f32,
}

/// How two embeddings are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// The dot product of the embeddings over their lengths, in `[-1, 1]`.
    #[default]
    Cosine,
    /// The dot product as it is.
    Dot,
}

/// The `k` nearest of `documents` for each of `queries`, best first.
///
/// Both are rows of `dim` numbers. Equal scores are ranked by row, the smaller first, so the
/// result does not depend on threads. An embedding of length 0 has the cosine 0 with everything.
///
/// # Shapes
/// - `queries`: `[queries, dim]`; `documents`: `[documents, dim]`
/// - returns `queries` lists of `min(k, documents)` hits
///
/// # Errors
/// [`EvalError::NotFinite`] if an embedding holds a NaN or an infinity.
///
/// # Panics
/// If `dim` is 0 or does not divide the lengths.
///
/// # Examples
///
/// ```
/// use samtone_eval::search::{Similarity, top_k};
///
/// let documents = [1.0, 0.0, /* */ 0.0, 1.0, /* */ 0.6, 0.8];
/// let hits = top_k(&[0.0, 2.0], &documents, 2, 2, Similarity::Cosine)?;
/// assert_eq!(hits[0].iter().map(|hit| hit.index).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn top_k(
    queries: &[f32],
    documents: &[f32],
    dim: usize,
    k: usize,
    similarity: Similarity,
) -> Result<Vec<Vec<Hit>>> {
    top_k_excluding(queries, documents, dim, k, similarity, &[])
}

/// [`top_k`] where query `i` never finds the document `excluded[i]`, such as itself.
///
/// # Errors
/// As [`top_k`].
///
/// # Panics
/// As [`top_k`], or if `excluded` is neither empty nor as long as there are queries.
pub fn top_k_excluding(
    queries: &[f32],
    documents: &[f32],
    dim: usize,
    k: usize,
    similarity: Similarity,
    excluded: &[Option<usize>],
) -> Result<Vec<Vec<Hit>>> {
    assert!(dim > 0, "embeddings have at least one dimension");
    assert_eq!(queries.len() % dim, 0, "{} query numbers in rows of {dim}", queries.len());
    assert_eq!(documents.len() % dim, 0, "{} document numbers in rows of {dim}", documents.len());
    let count = queries.len() / dim;
    assert!(
        excluded.is_empty() || excluded.len() == count,
        "{} exclusions for {count} queries",
        excluded.len()
    );
    check_finite("query", queries, dim)?;
    check_finite("document", documents, dim)?;
    Ok((0..count)
        .into_par_iter()
        .map(|query| {
            let row = &queries[query * dim..][..dim];
            let skip = excluded.get(query).copied().flatten();
            let mut hits: Vec<Hit> = documents
                .chunks_exact(dim)
                .enumerate()
                .filter(|&(index, _)| Some(index) != skip)
                .map(|(index, document)| Hit { index, score: score(row, document, similarity) })
                .collect();
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            hits.truncate(k);
            hits
        })
        .collect())
}

fn score(a: &[f32], b: &[f32], similarity: Similarity) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    match similarity {
        Similarity::Dot => dot(a, b),
        Similarity::Cosine => {
            let lengths = (dot(a, a) * dot(b, b)).sqrt();
            if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
        }
    }
}

fn check_finite(side: &'static str, rows: &[f32], dim: usize) -> Result<()> {
    match rows.iter().position(|x| !x.is_finite()) {
        Some(place) => Err(EvalError::NotFinite { side, row: place / dim }),
        None => Ok(()),
    }
}

/// The `k` best of `hits`, best first; equal scores by index.
pub(crate) fn best(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
    let order = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index));
    if k == 0 {
        return Vec::new();
    }
    if hits.len() > k {
        hits.select_nth_unstable_by(k - 1, order);
        hits.truncate(k);
    }
    hits.sort_unstable_by(order);
    hits
}
