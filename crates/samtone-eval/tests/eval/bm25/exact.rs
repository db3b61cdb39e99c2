//! What is skipped, packed and kept in a file changes no bit of what is found.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use samtone_eval::EvalError;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config, StopWords};
use samtone_eval::search::Hit;

use super::plain::Plain;

/// Index and the bits of the score.
pub(super) fn bits(hits: &[Hit]) -> Vec<(usize, u32)> {
    hits.iter().map(|hit| (hit.index, hit.score.to_bits())).collect()
}

fn analyzer() -> Analyzer {
    Analyzer::new(StopWords::None, false)
}

/// Holds `Bm25` to [`Plain`] for every query and several k.
#[track_caller]
fn check(documents: &[String], queries: &[String], config: Bm25Config) {
    let index = Bm25::build(documents, analyzer(), config);
    let plain = Plain::build(documents, analyzer(), config);
    for k in [0, 1, 2, 10, 100, documents.len() + 5, usize::MAX] {
        let found = index.search_all(queries, k);
        for (query, found) in queries.iter().zip(&found) {
            assert_eq!(
                bits(found),
                bits(&plain.search(query, k)),
                "`{query}`, k = {k}, {config:?}"
            );
        }
    }
    for query in queries.iter().take(3) {
        let mut scores = vec![0.0_f32; documents.len()];
        plain.search(query, usize::MAX).iter().for_each(|hit| scores[hit.index] = hit.score);
        for (document, score) in scores.iter().enumerate().take(200) {
            assert_eq!(index.score(query, document).to_bits(), score.to_bits());
        }
    }
}

/// A text of words of which few are frequent and many are rare.
fn text(words: &[u32]) -> String {
    words.iter().map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ")
}

/// The number of a word out of `most`, of a uniform number: r about as often as 1/r.
#[expect(clippy::cast_sign_loss, reason = "a power of a positive number is positive")]
fn rank(most: f64, unit: f64) -> u32 {
    most.powf(unit) as u32
}

fn words(most: usize) -> impl Strategy<Value = String> {
    let word = (0.0..1.0_f64).prop_map(|unit| rank(300.0, unit));
    prop::collection::vec(word, 0..most).prop_map(|words| text(&words))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn small_collections(
        documents in prop::collection::vec(words(12), 0..150),
        queries in prop::collection::vec(words(9), 1..6),
        (k1, b) in (0.0..3.0_f32, 0.0..=1.0_f32),
        count_query_terms: bool,
    ) {
        check(&documents, &queries, Bm25Config { k1, b, count_query_terms });
    }
}

/// A pseudo-random number below `bound`.
fn below(seed: u64, bound: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % bound
}

/// Documents of several windows and postings of many blocks; every tenth document is empty, some are
/// equal, some words stand in one stretch of the collection alone.
fn large(seed: u64, count: u64) -> Vec<String> {
    let document = |i: u64| {
        if i % 10 == 3 {
            return String::new();
        }
        // Every seventh document is the one before it once more.
        let i = if i % 7 == 6 { i - 1 } else { i };
        let length = 1 + below(seed + 31 * i, 24);
        let word = |place| {
            let draw = below(seed ^ (i * 64 + place) << 20, 1 << 20) as f64 / f64::from(1 << 20);
            let rank = rank(3000.0, draw);
            // The rare words of a stretch of 500 documents.
            let stretch = if rank > 100 { 10_000 * (i / 500) } else { 0 };
            rank + stretch as u32
        };
        text(&(0..length).map(word).collect::<Vec<_>>())
    };
    (0..count).map(document).collect()
}

fn queries(seed: u64, documents: &[String]) -> Vec<String> {
    let mut queries = vec![
        "w1".into(),
        "w1 w2 w3 w4 w5 w6 w7 w8".into(),
        "w1 w1 w1 w40".into(),
        "w90".into(),
        "w10150 w1".into(),
        "nothing like it".into(),
        String::new(),
        // More terms than a window of the usual width has room for.
        text(&(1..700).collect::<Vec<_>>()),
    ];
    queries.extend(
        (0..12).map(|i| documents[below(seed + i, documents.len() as u64) as usize].clone()),
    );
    queries
}

#[test]
fn collections_of_many_blocks_and_windows() {
    for (seed, config) in [
        Bm25Config::default(),
        Bm25Config { count_query_terms: true, ..Bm25Config::default() },
        // Every occurrence and every length is the same: nothing but ties.
        Bm25Config { k1: 0.0, b: 0.0, count_query_terms: false },
        Bm25Config { k1: 1.2, b: 1.0, count_query_terms: true },
    ]
    .into_iter()
    .enumerate()
    {
        let documents = large(seed as u64, 9000);
        check(&documents, &queries(seed as u64, &documents), config);
    }
}

#[test]
fn the_same_is_found_whatever_the_number_of_threads() {
    let documents = large(9, 3000);
    let queries = queries(9, &documents);
    let found = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let index = Bm25::build(&documents, analyzer(), Bm25Config::default());
            let found = index.search_all(&queries, 20);
            found.iter().map(|hits| bits(hits)).collect::<Vec<_>>()
        })
    });
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
}

fn kept(path: &Path, documents: &[String], config: Bm25Config) -> Result<Bm25, EvalError> {
    Bm25::kept(path, documents, analyzer(), config)
}

#[test]
fn an_index_is_kept_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faq.bm25");
    let documents = large(4, 3000);
    let queries = queries(4, &documents);
    let built = Bm25::build(&documents, analyzer(), Bm25Config::default());
    let expected = built.search_all(&queries, 30);
    let first = kept(&path, &documents, Bm25Config::default()).unwrap();
    assert_eq!(first.search_all(&queries, 30), expected);
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    // What only a query decides is no part of the index.
    let config = Bm25Config { count_query_terms: true, ..Bm25Config::default() };
    kept(&path, &documents, config).unwrap();
    let again = kept(&path, &documents, Bm25Config::default()).unwrap();
    assert_eq!(again.search_all(&queries, 30), expected);
    assert_eq!(again.len(), documents.len());
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // One without a document is one, too.
    let empty = kept(&folder.path().join("empty"), &[], Bm25Config::default()).unwrap();
    assert!(empty.is_empty() && empty.search("w1", 3).is_empty());
}

#[test]
fn an_index_that_does_not_fit_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faq.bm25");
    let documents = large(4, 50);
    kept(&path, &documents, Bm25Config::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for others in [&documents[1..], &[&documents[..], &[String::new()]].concat()] {
        let error = kept(&path, others, Bm25Config::default()).unwrap_err();
        assert!(matches!(error, EvalError::OtherDocuments { .. }), "{error}");
    }
    let error = kept(&path, &documents, Bm25Config { k1: 1.2, ..Bm25Config::default() });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("index with k1 0.9, b 0.4") && error.contains("are k1 1.2"), "{error}");
    let stems = Analyzer::new(StopWords::None, true);
    let error = Bm25::kept(&path, &documents, stems, Bm25Config::default()).unwrap_err();
    assert!(matches!(error, EvalError::OtherSettings { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_that_is_no_whole_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faq.bm25");
    let documents = large(4, 50);
    kept(&path, &documents, Bm25Config::default()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let refusal = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        kept(&path, &documents, Bm25Config::default()).unwrap_err()
    };
    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    for torn in [&altered[..], &bytes[..bytes.len() - 8], &bytes[..400]] {
        let error = refusal(torn);
        assert!(matches!(error, EvalError::TornIndex { .. }), "{error}");
    }
    let mut version = bytes.clone();
    version[16] += 1;
    for other in [&version[..], b"", b"q1 Q0 d1 1 0.5 me\n", &bytes[..100]] {
        let error = refusal(other);
        assert!(matches!(error, EvalError::NoIndex { .. }), "{error}");
    }
    let error = kept(folder.path(), &documents, Bm25Config::default()).unwrap_err();
    assert!(matches!(error, EvalError::Read { .. }), "{error}");
}
