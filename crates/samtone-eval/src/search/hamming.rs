//! Search over the signs of embeddings.

use rayon::prelude::*;

use super::best::{Candidates, best};
use super::numbers::{Dtype, Ranges, signs};
use super::{Hit, Similarity, blame};
use crate::error::Result;

/// The `k` nearest documents of each query where of the documents the [`signs`] are stored.
///
/// `rescore` × `k` documents whose signs differ least from the query's are scored by the query's own
/// numbers against 1 and −1; with a `rescore` of 0 the signs alone decide, and the score is that of two
/// rows of 1 and −1. Equal ones are ranked by row, the smaller first.
///
/// # Shapes
/// - `queries`: `[queries, dim]`; `documents`: `[documents, ⌈dim / 8⌉]`
/// - returns `queries` lists of `min(k, documents)` hits
///
/// # Errors
/// As [`top_k`](super::top_k).
///
/// # Panics
/// If the lengths are no whole rows, or `excluded` is neither empty nor as long as there are queries.
pub fn top_k_signs(
    queries: &[f32],
    documents: &[u8],
    dim: usize,
    k: usize,
    rescore: usize,
    similarity: Similarity,
    excluded: &[Option<usize>],
) -> Result<Vec<Vec<Hit>>> {
    assert!(dim > 0, "embeddings have at least one dimension");
    let row = dim.div_ceil(8);
    assert_eq!(queries.len() % dim, 0, "{} query numbers in rows of {dim}", queries.len());
    assert_eq!(documents.len() % row, 0, "{} bytes in rows of {row}", documents.len());
    let count = queries.len() / dim;
    assert!(excluded.is_empty() || excluded.len() == count, "an exclusion for each query");
    let length = if similarity == Similarity::Cosine { dim as f32 } else { 1.0 };
    let search = |(at, query): (usize, &[f32])| {
        let own = excluded.get(at).copied().flatten();
        let asked = signs(query, dim);
        let wanted = k.saturating_mul(rescore.max(1));
        let mut candidates = Candidates::default();
        let mut threshold = f32::NEG_INFINITY;
        for (index, document) in documents.chunks_exact(row).enumerate() {
            let score = (dim as f32 - 2.0 * differing(&asked, document) as f32) / length;
            if score > threshold
                && own != Some(index)
                && let Some(higher) = candidates.push(Hit { index, score }, wanted)
            {
                threshold = higher;
            }
        }
        let mut found = best(candidates.into_hits(), wanted);
        if rescore > 0 {
            for hit in &mut found {
                let stored = &documents[hit.index * row..][..row];
                let document = Dtype::Binary.decode(stored, dim, &Ranges::default());
                hit.score = similarity.score(query, &document) + 0.0;
                if !hit.score.is_finite() {
                    return Err(blame((query, at), (&document, hit.index)));
                }
            }
            found = best(found, k);
        }
        Ok(found)
    };
    queries.par_chunks_exact(dim).enumerate().map(search).collect()
}

/// The bits in which two rows differ.
fn differing(a: &[u8], b: &[u8]) -> u32 {
    let ((a8, a), (b8, b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a8.iter().zip(b8);
    let words = words.map(|(&a, &b)| (u64::from_ne_bytes(a) ^ u64::from_ne_bytes(b)).count_ones());
    words.sum::<u32>() + a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::top_k;

    const DIM: usize = 70;

    /// Numbers between −1 and 1 without an order.
    fn rows(count: usize, seed: u64) -> Vec<f32> {
        let word = |at| crate::random::word(seed, at, 0) >> 40;
        (0..(count * DIM) as u64)
            .map(|at| word(at) as f32 / f32::from(1_u16 << 15) / 256.0 - 1.0)
            .collect()
    }

    fn indices(hits: &[Vec<Hit>]) -> Vec<Vec<usize>> {
        hits.iter().map(|hits| hits.iter().map(|hit| hit.index).collect()).collect()
    }

    #[test]
    fn signs_alone_find_what_exact_search_finds_among_rows_of_ones() {
        let (queries, documents) = (rows(5, 1), rows(300, 2));
        let (asked, stored) = (signs(&queries, DIM), signs(&documents, DIM));
        let unpacked = |bytes: &[u8]| Dtype::Binary.decode(bytes, DIM, &Ranges::default());
        for similarity in [Similarity::Cosine, Similarity::Dot] {
            let expected =
                top_k(&unpacked(&asked), &unpacked(&stored), DIM, 12, similarity).unwrap();
            let found = top_k_signs(&queries, &stored, DIM, 12, 0, similarity, &[]).unwrap();
            // Cosines of equally many signs differ in their last digits, products do not.
            if similarity == Similarity::Dot {
                assert_eq!(indices(&found), indices(&expected));
            }
            for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((a.score - b.score).abs() < 1e-5, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn rescoring_all_is_exact_search_over_the_stored() {
        let (queries, documents) = (rows(5, 3), rows(300, 4));
        let stored = signs(&documents, DIM);
        let unpacked = Dtype::Binary.decode(&stored, DIM, &Ranges::default());
        let expected = top_k(&queries, &unpacked, DIM, 10, Similarity::Cosine).unwrap();
        let found = top_k_signs(&queries, &stored, DIM, 10, 30, Similarity::Cosine, &[]).unwrap();
        assert_eq!(indices(&found), indices(&expected));
        let own: Vec<_> = expected.iter().map(|hits| Some(hits[0].index)).collect();
        let others = top_k_signs(&queries, &stored, DIM, 9, 30, Similarity::Cosine, &own).unwrap();
        let rest: Vec<Vec<usize>> =
            indices(&expected).iter().map(|all| all[1..].to_vec()).collect();
        assert_eq!(indices(&others), rest);
    }

    #[test]
    fn a_query_that_is_no_number_is_named() {
        let mut queries = rows(2, 5);
        queries[DIM + 3] = f32::NAN;
        let stored = signs(&rows(4, 6), DIM);
        let error = top_k_signs(&queries, &stored, DIM, 2, 1, Similarity::Dot, &[]).unwrap_err();
        assert!(matches!(error, crate::EvalError::NotFinite { side: "query", row: 1 }), "{error}");
    }
}
