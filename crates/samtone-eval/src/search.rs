//! Exact search: the k nearest embeddings by dot product or cosine, and those whose signs are nearest.
//!
//! The scores are a matrix product of which only the k best of each row are wanted, so the score
//! matrix is never stored: see `scan.rs`. Beyond the embeddings themselves, which may be memory-mapped,
//! memory holds one packed tile of documents for each thread and the candidates of at most 2048
//! queries, however many documents there are.

mod best;
#[cfg(feature = "burn")]
mod device;
mod hamming;
mod numbers;
mod scan;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::{EvalError, Result};
pub(crate) use best::Best;
use best::{Candidates, best};
#[cfg(feature = "burn")]
pub use device::top_k_on;
pub use hamming::top_k_signs;
pub use numbers::{Dtype, Ranges, cut, signs};
pub(crate) use scan::dot;
use scan::{Packed, Scan, Shape, inverse_length_of};

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

impl Similarity {
    /// What [`top_k`] scores `document` with for `query`, but for rounding.
    ///
    /// # Panics
    /// If they differ in length.
    pub fn score(self, query: &[f32], document: &[f32]) -> f32 {
        assert_eq!(query.len(), document.len(), "embeddings of one space have one length");
        let product = dot(query, document);
        if self == Self::Dot {
            return product;
        }
        let lengths = [inverse_length_of(query), inverse_length_of(document)];
        let both = lengths[0] * lengths[1];
        if product.is_finite() && both.is_normal() {
            return product * both;
        }
        // Very great or very small numbers: their product or their lengths' leaves f32.
        let pairs = query.iter().zip(document);
        let product: f64 = pairs.map(|(&q, &d)| f64::from(q) * f64::from(d)).sum();
        (product * f64::from(lengths[0]) * f64::from(lengths[1])) as f32
    }
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
/// [`EvalError::NotFinite`] if an embedding holds a NaN or an infinity, [`EvalError::Overflow`] if the
/// score of two finite ones does; unless all such scores are minus infinity and too low to be found.
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
    let documents = Documents { rows: documents, dim, k, similarity };
    let mut hits = Vec::with_capacity(count);
    for (block, rows) in queries.chunks(QUERIES * dim).enumerate() {
        let excluded = excluded.get(block * QUERIES..).unwrap_or_default();
        hits.extend(documents.search(rows, excluded).map_err(|mistake| match mistake {
            EvalError::NotFinite { side: "query", row } => {
                EvalError::NotFinite { side: "query", row: block * QUERIES + row }
            }
            EvalError::Overflow { query, document } => {
                EvalError::Overflow { query: block * QUERIES + query, document }
            }
            other => other,
        })?);
    }
    Ok(hits)
}

/// [`top_k_excluding`] over documents that lie in several places, one after the other: one part at a
/// time is held, and what is found does not depend on where they are cut.
///
/// # Errors
/// As [`top_k`]; rows are those among all documents.
///
/// # Panics
/// As [`top_k_excluding`].
///
/// # Examples
///
/// ```
/// use samtone_eval::search::{Similarity, top_k, top_k_of_parts};
///
/// let documents = [1.0, 0.0, /* */ 0.0, 1.0, /* */ 0.6, 0.8];
/// let (query, similarity) = ([0.0, 2.0], Similarity::Cosine);
/// let parts = [&documents[..2], &documents[2..]];
/// let found = top_k_of_parts(&query, parts, 2, 2, similarity, &[])?;
/// assert_eq!(found, top_k(&query, &documents, 2, 2, similarity)?);
/// # Ok::<(), samtone_eval::EvalError>(())
/// ```
pub fn top_k_of_parts<P: AsRef<[f32]>>(
    queries: &[f32],
    parts: impl IntoIterator<Item = P>,
    dim: usize,
    k: usize,
    similarity: Similarity,
    excluded: &[Option<usize>],
) -> Result<Vec<Vec<Hit>>> {
    let mut found = top_k_excluding(queries, &[], dim, k, similarity, excluded)?;
    let mut first = 0;
    for part in parts {
        let rows = part.as_ref();
        let inside = first..first + rows.len() / dim;
        let own = excluded.iter().map(|row| row.filter(|row| inside.contains(row)));
        let own: Vec<Option<usize>> = own.map(|row| row.map(|row| row - first)).collect();
        let hits = top_k_excluding(queries, rows, dim, k, similarity, &own);
        let hits = hits.map_err(|mistake| match mistake {
            EvalError::NotFinite { side: "document", row } => {
                EvalError::NotFinite { side: "document", row: first + row }
            }
            EvalError::Overflow { query, document } => {
                EvalError::Overflow { query, document: first + document }
            }
            other => other,
        })?;
        for (all, hits) in found.iter_mut().zip(hits) {
            all.extend(hits.into_iter().map(|hit| Hit { index: first + hit.index, ..hit }));
            *all = best(std::mem::take(all), k);
        }
        first = inside.end;
    }
    Ok(found)
}

/// Queries scored in one pass over the documents: enough that reading the documents costs little,
/// few enough that their candidates stay small.
const QUERIES: usize = 2048;

/// The rows that are searched, and what for.
struct Documents<'a> {
    rows: &'a [f32],
    dim: usize,
    k: usize,
    similarity: Similarity,
}

impl Documents<'_> {
    /// One pass over the documents for up to [`QUERIES`] queries.
    fn search(&self, queries: &[f32], excluded: &[Option<usize>]) -> Result<Vec<Vec<Hit>>> {
        let shape = Shape::get();
        let cosine = self.similarity == Similarity::Cosine;
        let packed = Packed::new(queries, self.dim, shape, |row| {
            if cosine { inverse_length_of(row) } else { 1.0 }
        });
        let next = AtomicUsize::new(0);
        // Every worker takes tiles in ascending order, so within a worker later documents have
        // greater indices, and a score equal to the threshold cannot displace an earlier one.
        let parts: Vec<Result<Vec<Candidates>>> = (0..rayon::current_num_threads())
            .into_par_iter()
            .with_max_len(1)
            .map(|_| self.work(queries, excluded, &packed, shape.tile(self.dim), &next))
            .collect();
        let mut parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        Ok((0..queries.len() / self.dim)
            .map(|query| {
                let gathered =
                    parts.iter_mut().flat_map(|part| std::mem::take(&mut part[query]).into_hits());
                best(gathered.collect(), self.k)
            })
            .collect())
    }

    /// Scans tiles until there are none left.
    fn work(
        &self,
        queries: &[f32],
        excluded: &[Option<usize>],
        packed: &Packed,
        tile: usize,
        next: &AtomicUsize,
    ) -> Result<Vec<Candidates>> {
        let count = queries.len() / self.dim;
        let mut candidates = vec![Candidates::default(); count];
        let mut thresholds = vec![f32::INFINITY; packed.padded()];
        thresholds[..count].fill(if self.k == 0 { f32::INFINITY } else { f32::NAN });
        let mut room = Vec::new();
        loop {
            let first = next.fetch_add(tile, Ordering::Relaxed);
            let Some(rows) = self.rows.get(first * self.dim..).filter(|rows| !rows.is_empty())
            else {
                return Ok(candidates);
            };
            let mut mistake = None;
            Scan {
                queries: packed,
                documents: &rows[..rows.len().min(tile * self.dim)],
                cosine: self.similarity == Similarity::Cosine,
                room: &mut room,
                thresholds: &mut thresholds,
                take: |query: usize, document, score: f32| {
                    let index = first + document;
                    if !score.is_finite() {
                        mistake.get_or_insert((query, index));
                        return None;
                    }
                    if excluded.get(query).is_some_and(|&skip| skip == Some(index)) {
                        return None;
                    }
                    // Adding 0 turns -0 into 0: equal scores must be the same number.
                    candidates[query].push(Hit { index, score: score + 0.0 }, self.k)
                },
            }
            .run();
            if let Some((query, index)) = mistake {
                // What the queries are padded with is no row of theirs.
                let row = |at: usize| at * self.dim..(at + 1) * self.dim;
                let query = (queries.get(row(query)).unwrap_or_default(), query);
                return Err(blame(query, (&self.rows[row(index)], index)));
            }
        }
    }
}

/// What made a score that is not finite: one of the two embeddings, each with its row, or their size.
fn blame((query, row): (&[f32], usize), (document, index): (&[f32], usize)) -> EvalError {
    let is_finite = |row: &[f32]| row.iter().all(|x| x.is_finite());
    match (is_finite(query), is_finite(document)) {
        (true, true) => EvalError::Overflow { query: row, document: index },
        (false, true) => EvalError::NotFinite { side: "query", row },
        (_, false) => EvalError::NotFinite { side: "document", row: index },
    }
}
