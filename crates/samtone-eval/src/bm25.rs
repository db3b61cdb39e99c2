//! BM25, the lexical baseline.

mod analyzer;
mod build;
mod config;
mod file;
mod index;
mod postings;
mod search;
mod sparse;
mod store;
mod terms;
mod weight;

use std::path::Path;

use rayon::prelude::*;

pub use analyzer::{Analyzer, StopWords};
use build::build;
pub use config::Bm25Config;
use file::Origin;
use index::Index;
use search::{Room, search};
pub use sparse::SparseVector;
use weight::Weights;

use crate::error::{EvalError, Result};
use crate::search::Hit;

/// An index that ranks documents by BM25, in Lucene's form.
///
/// `score(q, d) = Σ_(t in q) ln(1 + (N − n_t + ½) / (n_t + ½)) · f / (f + k1·(1 − b + b·|d| / avg))`
///
/// with f the occurrences of t in d, `n_t` the documents that hold t, N all documents, `|d|` the
/// terms of d. Unlike Lucene, lengths are not rounded to a byte.
///
/// Source: Robertson et al. 1994 (Okapi at TREC-3); the form is compared in Kamphuis et al. 2020,
/// doi:10.1007/978-3-030-45442-5_4.
///
/// # Examples
///
/// ```
/// use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
///
/// let texts = ["the cat sat", "a dog barked", "the cat and the dog"];
/// let index = Bm25::build(texts, Analyzer::default(), Bm25Config::default());
/// let hits = index.search("Cat", 10);
/// assert_eq!(hits.iter().map(|hit| hit.index).collect::<Vec<_>>(), [0, 2]);
/// ```
#[derive(Debug)]
pub struct Bm25 {
    analyzer: Analyzer,
    index: Index,
    weights: Weights,
    count_query_terms: bool,
}

impl Bm25 {
    /// Indexes texts in order, on all threads: the first is document 0.
    ///
    /// # Panics
    /// If k1 or b is out of its range, or there are 2^32 documents or terms.
    pub fn build<T: AsRef<str> + Sync>(
        texts: impl IntoIterator<Item = T>,
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Self {
        config.check();
        let index = build(texts, &analyzer, config);
        Self::new(index, analyzer, config)
    }

    /// The index of `texts` that is kept in the file at `path`, built and written if there is none.
    ///
    /// The file is read through a memory map, so that an index may be larger than memory. `texts` are gone
    /// through once to see that the index is theirs, and once more to build it.
    ///
    /// # Errors
    /// A file that is no index of this version ([`EvalError::NoIndex`]), is not whole
    /// ([`EvalError::TornIndex`]) or was made of other texts ([`EvalError::OtherDocuments`]) or otherwise
    /// ([`EvalError::OtherSettings`]), or that cannot be read or written.
    ///
    /// # Panics
    /// As [`build`](Self::build).
    pub fn kept<T: AsRef<str> + Sync>(
        path: &Path,
        texts: impl IntoIterator<Item = T> + Clone,
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Result<Self> {
        config.check();
        let origin = Origin {
            documents: file::hash_of(texts.clone()),
            settings: format!(
                "k1 {}, b {}, {analyzer}",
                // Both zeros are one.
                config.k1 + 0.0,
                config.b + 0.0
            ),
        };
        if let Some(index) = file::open(path, &origin)? {
            return Ok(Self::new(index, analyzer, config));
        }
        let unwritable = |source| EvalError::Write { path: path.to_owned(), source };
        samtone_files::prepare_file(path).map_err(unwritable)?;
        file::write(&build(texts, &analyzer, config), &origin, path)?;
        let changed = || {
            let source = std::io::Error::other("it was removed as soon as it was written");
            EvalError::Read { path: path.to_owned(), source }
        };
        let index = file::open(path, &origin)?.ok_or_else(changed)?;
        Ok(Self::new(index, analyzer, config))
    }

    fn new(index: Index, analyzer: Analyzer, config: Bm25Config) -> Self {
        let weights = Weights::new(config, &index.lengths);
        Self { analyzer, index, weights, count_query_terms: config.count_query_terms }
    }

    /// A hash of `texts` in their order, in hexadecimal: whether two indexes are of the same.
    pub fn fingerprint<T: AsRef<str> + Sync>(texts: impl IntoIterator<Item = T>) -> String {
        blake3::Hash::from_bytes(file::hash_of(texts)).to_hex().to_string()
    }

    /// How many documents are indexed.
    pub fn len(&self) -> usize {
        self.index.lengths.len()
    }

    /// Whether no document is indexed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `k` best documents that share a term with `text`, best first; equal scores in order.
    pub fn search(&self, text: &str, k: usize) -> Vec<Hit> {
        self.search_with(text, k, &mut Room::default())
    }

    /// What document `document` scores for `text`: what [`search`](Self::search) ranks it by, 0 if they
    /// share no term.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn score(&self, text: &str, document: usize) -> f32 {
        assert!(document < self.len(), "no document {document}: there are {}", self.len());
        let length = self.index.lengths[document];
        let weight = |term: u32| {
            let mut postings = self.index.postings.of(term);
            let count = postings.count_at(document as u32)?;
            Some(self.weights.weight(self.weights.rarity(postings.holding()), count, length))
        };
        self.terms_of(text).into_iter().filter_map(weight).fold(0.0, |sum, weight| sum + weight)
    }

    /// [`search`](Self::search) for many texts on all threads.
    ///
    /// Beside the hits, memory holds a window of the documents for each thread.
    pub fn search_all<T: AsRef<str> + Sync>(&self, texts: &[T], k: usize) -> Vec<Vec<Hit>> {
        texts
            .par_iter()
            .map_init(Room::default, |room, text| self.search_with(text.as_ref(), k, room))
            .collect()
    }

    fn search_with(&self, text: &str, k: usize, room: &mut Room) -> Vec<Hit> {
        search(&self.index, &self.weights, &self.terms_of(text), k, room)
    }

    /// The indexed terms of a query, as often as they count.
    fn terms_of(&self, text: &str) -> Vec<u32> {
        let mut terms: Vec<u32> = Vec::new();
        self.analyzer.for_each_term(text, |term| terms.extend(self.index.terms.find(term)));
        // Sorted, so that the order of a query's words cannot change a score's last bit.
        terms.sort_unstable();
        if !self.count_query_terms {
            terms.dedup();
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 3] = ["red red blue", "blue", "green"];

    /// One rounding to f32 of a score below 1.
    const ROUNDING: f64 = 1e-7;
    /// Two such scores, one of them doubled.
    const ROUNDING_OF_SUMS: f32 = 1e-6;

    fn index(config: Bm25Config) -> Bm25 {
        Bm25::build(TEXTS, Analyzer::default(), config)
    }

    #[test]
    fn scores_are_the_formula() {
        // N = 3, average length 5/3. "red": in 1 text, twice; |d| = 3.
        let rarity = (1.0 + 2.5 / 1.5_f64).ln();
        let expected = rarity * 2.0 / (2.0 + 0.9 * (1.0 - 0.4 + 0.4 * 3.0 / (5.0 / 3.0)));
        let hits = index(Bm25Config::default()).search("red", 10);
        assert_eq!(hits.len(), 1);
        assert!((f64::from(hits[0].score) - expected).abs() < ROUNDING, "{hits:?}, {expected}");
    }

    #[test]
    fn shorter_documents_rank_higher_and_ties_by_order() {
        let order = |text| {
            let hits = index(Bm25Config::default()).search(text, 10);
            hits.iter().map(|hit| hit.index).collect::<Vec<_>>()
        };
        assert_eq!(order("blue"), [1, 0]);
        let same = Bm25::build(["x", "x", "y", "x"], Analyzer::default(), Bm25Config::default());
        assert_eq!(same.search("x", 2).iter().map(|hit| hit.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(order("purple"), [0; 0]);
    }

    #[test]
    fn repeated_query_terms_count_once_unless_asked() {
        let score = |count_query_terms, text| {
            let config = Bm25Config { count_query_terms, ..Bm25Config::default() };
            index(config).search(text, 1)[0].score
        };
        assert_eq!(score(false, "red red"), score(false, "red"));
        assert!((score(true, "red red") - 2.0 * score(true, "red")).abs() < ROUNDING_OF_SUMS);
    }

    #[test]
    fn the_score_of_one_document_is_the_one_it_is_found_with() {
        for count_query_terms in [false, true] {
            let index = index(Bm25Config { count_query_terms, ..Bm25Config::default() });
            for text in ["red blue red", "green", "purple blue", ""] {
                let mut scores = [0.0; 3];
                for hit in index.search(text, 3) {
                    scores[hit.index] = hit.score;
                }
                assert_eq!(std::array::from_fn(|document| index.score(text, document)), scores);
            }
        }
    }

    #[test]
    fn what_many_searches_hold_is_bounded_by_their_hits() {
        // Every document shares a term with every query.
        let texts: Vec<String> =
            (0..3000).map(|i| format!("x {} y", "z ".repeat(i % 11))).collect();
        let index = Bm25::build(&texts, Analyzer::default(), Bm25Config::default());
        let all = index.search("x", usize::MAX);
        assert_eq!(all.len(), texts.len());
        for k in [0, 1, 7, 100] {
            let found = index.search_all(&["x"; 40], k);
            for hits in &found {
                assert_eq!(hits, &all[..k]);
                assert_eq!(hits.capacity(), k);
            }
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        let empty = Bm25::build([""; 0], Analyzer::default(), Bm25Config::default());
        assert!(empty.is_empty() && empty.search("red", 3).is_empty());
        let blank = Bm25::build(["", "the"], Analyzer::default(), Bm25Config::default());
        assert!(blank.search("red", 3).is_empty());
    }
}
