//! Exact search against a sort of all scores.

use proptest::prelude::*;
use samtone_eval::search::{Hit, Similarity, top_k, top_k_excluding, top_k_of_parts};
use samtone_eval::{EvalError, Run};

/// Cosines are of the order of 1 and rounded to f32 a few times.
const ROUNDING: f32 = 1e-6;

/// All scores in f64, sorted: what `top_k` must equal where f32 sums are exact.
fn by_sorting(queries: &[f32], documents: &[f32], dim: usize, k: usize) -> Vec<Vec<Hit>> {
    queries
        .chunks(dim)
        .map(|query| {
            let mut hits: Vec<Hit> = documents
                .chunks(dim)
                .map(|document| query.iter().zip(document).map(|(a, b)| f64::from(a * b)).sum())
                .enumerate()
                .map(|(index, score): (usize, f64)| Hit { index, score: score as f32 + 0.0 })
                .collect();
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            hits.truncate(k);
            hits
        })
        .collect()
}

/// Small whole numbers: their sums are exact in f32, and ties are many.
fn whole_numbers(count: usize, range: u16, seed: u64) -> Vec<f32> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % (2 * u64::from(range) + 1)) as f32 - f32::from(range)
    })
    .take(count)
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn search_equals_sorting(
        queries in 0_usize..70, documents in 0_usize..400, dim in 1_usize..40,
        k in 0_usize..60, seed: u64,
    ) {
        let q = whole_numbers(queries * dim, 3, seed);
        let d = whole_numbers(documents * dim, 3, seed ^ 1);
        prop_assert_eq!(top_k(&q, &d, dim, k, Similarity::Dot).unwrap(), by_sorting(&q, &d, dim, k));
    }
}

#[test]
fn many_tiles_blocks_and_threads_equal_sorting() {
    let (queries, documents, dim, k) = (2100, 3000, 8, 5);
    let (q, d) = (whole_numbers(queries * dim, 2, 3), whole_numbers(documents * dim, 2, 4));
    // The dimensions are padded so that a tile holds few documents.
    let wide = |rows: &[f32]| -> Vec<f32> {
        rows.chunks(dim).flat_map(|row| row.iter().copied().chain([0.0; 1016])).collect()
    };
    let expected = by_sorting(&q, &d, dim, k);
    assert_eq!(top_k(&q, &d, dim, k, Similarity::Dot).unwrap(), expected);
    let some = 30;
    let wide_hits = top_k(&wide(&q[..some * dim]), &wide(&d), 1024, k, Similarity::Dot).unwrap();
    assert_eq!(wide_hits, expected[..some]);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let hits = pool.install(|| top_k(&q, &d, dim, k, Similarity::Dot).unwrap());
        assert_eq!(hits, expected, "{threads} threads");
    }
}

#[test]
fn cosine_ignores_lengths_and_takes_zero_for_zero() {
    let documents = [3.0, 4.0, 0.0, 0.0, 0.0, 5.0, -6.0, -8.0];
    let hits = top_k(&[30.0, 40.0], &documents, 2, 4, Similarity::Cosine).unwrap();
    assert_eq!(hits[0].iter().map(|hit| hit.index).collect::<Vec<_>>(), [0, 2, 1, 3]);
    for (hit, expected) in hits[0].iter().zip([1.0, 0.8, 0.0, -1.0]) {
        assert!((hit.score - expected).abs() < ROUNDING, "{hit:?}");
    }
}

#[test]
fn equal_embeddings_tie_wherever_they_stand() {
    let dim = 37;
    let row: Vec<f32> = (0..dim).map(|i| (i as f32 * 0.7).sin()).collect();
    let documents = row.repeat(1000);
    let query: Vec<f32> = (0..dim).map(|i| (i as f32 * 1.3).cos()).collect();
    for similarity in [Similarity::Dot, Similarity::Cosine] {
        let hits = &top_k(&query, &documents, dim, 700, similarity).unwrap()[0];
        assert!(hits.iter().map(|hit| hit.index).eq(0..700), "{similarity:?}");
        assert!(hits.iter().all(|hit| hit.score.to_bits() == hits[0].score.to_bits()));
    }
}

#[test]
fn an_excluded_document_is_not_found() {
    let rows = whole_numbers(50 * 6, 4, 9);
    let own: Vec<Option<usize>> = (0..50).map(|i| (i % 2 == 0).then_some(i)).collect();
    let hits = top_k_excluding(&rows, &rows, 6, 50, Similarity::Dot, &own).unwrap();
    for (query, hits) in hits.iter().enumerate() {
        assert_eq!(hits.len(), if query % 2 == 0 { 49 } else { 50 });
        assert_eq!(hits.iter().any(|hit| hit.index == query), query % 2 == 1);
    }
}

#[test]
fn parts_find_what_the_whole_finds_to_the_last_bit() {
    let (queries, documents, dim) = (50, 700, 24);
    // Sums that round, and rows that are there twice.
    let numbers = |count, seed| -> Vec<f32> {
        whole_numbers(count, 1000, seed).into_iter().map(|x| x / 777.0).collect()
    };
    let q = numbers(queries * dim, 5);
    let mut d = numbers(documents / 2 * dim, 6);
    d.extend_from_within(..);
    let own: Vec<Option<usize>> = (0..queries).map(|i| (i % 3 > 0).then_some(13 * i)).collect();
    for similarity in [Similarity::Cosine, Similarity::Dot] {
        for k in [1, 9, 800] {
            let whole = top_k_excluding(&q, &d, dim, k, similarity, &own).unwrap();
            for cuts in [&[][..], &[1], &[0, 350, 350, 699], &[100, 101, 413]] {
                let ends = cuts.iter().copied().chain([documents]);
                let starts = [0].into_iter().chain(cuts.iter().copied());
                let parts = starts.zip(ends).map(|(start, end)| &d[start * dim..end * dim]);
                let found = top_k_of_parts(&q, parts, dim, k, similarity, &own).unwrap();
                assert_eq!(found, whole, "{similarity:?} {k} {cuts:?}");
            }
        }
    }
    assert_eq!(top_k_of_parts(&q, [&[]; 0], dim, 3, Similarity::Dot, &[]).unwrap().len(), queries);
    d[600 * dim] = f32::NAN;
    let parts = d.chunks(250 * dim);
    let error = top_k_of_parts(&q, parts, dim, 3, Similarity::Dot, &[]).unwrap_err();
    assert!(matches!(error, EvalError::NotFinite { side: "document", row: 600 }), "{error}");
}

#[test]
fn a_nan_or_an_infinity_is_named() {
    let good = whole_numbers(300 * 5, 3, 1);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut documents = good.clone();
        documents[207 * 5 + 3] = bad;
        let error = top_k(&good, &documents, 5, 3, Similarity::Dot).unwrap_err();
        assert!(matches!(error, EvalError::NotFinite { side: "document", row: 207 }), "{error}");
        let error = top_k(&documents, &good, 5, 3, Similarity::Cosine).unwrap_err();
        assert!(matches!(error, EvalError::NotFinite { side: "query", row: 207 }), "{error}");
    }
}

#[test]
fn a_score_that_overflows_blames_both() {
    let (dim, query, document) = (5, 2100, 207);
    let (mut q, mut d) = (whole_numbers(2150 * dim, 3, 1), whole_numbers(300 * dim, 3, 2));
    q[query * dim] = 1e20;
    d[document * dim] = 1e20;
    let error = top_k(&q, &d, dim, 3, Similarity::Dot).unwrap_err();
    assert!(matches!(&error, EvalError::Overflow { query: 2100, document: 207 }), "{error}");
    assert_eq!(error.to_string(), "the score of query 2100 and document 207 overflows");
    // The cosine of the same two does not.
    let hits = top_k(&q, &d, dim, 1, Similarity::Cosine).unwrap();
    assert!((hits[query][0].score - 1.0).abs() < ROUNDING, "{:?}", hits[query]);
}

#[test]
fn the_cosine_of_extreme_numbers_is_that_of_their_directions() {
    let (dim, queries, documents) = (3, 20, 60);
    let (q, d) = (whole_numbers(queries * dim, 9, 3), whole_numbers(documents * dim, 9, 4));
    let expected = top_k(&q, &d, dim, 5, Similarity::Cosine).unwrap();
    // Powers of two change no digit, but squares of these are no f32.
    for scale in [2.0_f32.powi(100), 2.0_f32.powi(-80)] {
        let scaled = |rows: &[f32]| -> Vec<f32> { rows.iter().map(|x| x * scale).collect() };
        let hits = top_k(&scaled(&q), &scaled(&d), dim, 5, Similarity::Cosine).unwrap();
        for (hits, expected) in hits.iter().zip(&expected) {
            for (hit, expected) in hits.iter().zip(expected) {
                assert!((hit.score - expected.score).abs() < ROUNDING, "{hit:?}, {expected:?}");
            }
        }
        let score = Similarity::Cosine.score(&scaled(&q[..dim]), &scaled(&q[..dim]));
        assert!((score - 1.0).abs() < ROUNDING, "{score}");
    }
}

#[test]
fn hits_survive_a_run_file_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.trec");
    let (mut q, mut d) = (whole_numbers(20 * 16, 1000, 5), whole_numbers(200 * 16, 1000, 6));
    q.iter_mut().chain(&mut d).for_each(|x| *x /= 7.0);
    let hits = top_k(&q, &d, 16, 30, Similarity::Cosine).unwrap();
    let queries: Vec<String> = (0..20).map(|i| format!("q{i}")).collect();
    let documents: Vec<String> = (0..200).map(|i| format!("d{i}")).collect();
    let run = Run::from_hits(&queries, &documents, &hits).unwrap();
    run.write(&path, "test").unwrap();
    let read = Run::read(&path).unwrap();
    for (query, hits) in queries.iter().zip(&hits) {
        let expected = hits.iter().map(|hit| (documents[hit.index].as_str(), hit.score));
        assert!(read.documents(query).map(|(id, score)| (id, score as f32)).eq(expected));
        assert!(read.documents(query).eq(run.documents(query)));
    }
}
