//! BM25, the lexical baseline.

mod analyzer;

use std::collections::HashMap;

use rayon::prelude::*;

pub use analyzer::{Analyzer, StopWords};

use crate::search::{Candidates, Hit, best};

/// BM25's two parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25Config {
    /// How late further occurrences of a term stop counting; at least 0.
    pub k1: f32,
    /// How much a document's length counts, in `[0, 1]`.
    pub b: f32,
    /// Whether a term counts as often as it stands in the query, as in Lucene, or once.
    pub count_query_terms: bool,
}

impl Default for Bm25Config {
    /// k1 = 0.9 and b = 0.4, what BEIR and Anserini quote; each query term once.
    fn default() -> Self {
        Self { k1: 0.9, b: 0.4, count_query_terms: false }
    }
}

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
    terms: HashMap<Box<str>, u32>,
    /// Where each term's postings start, and where the last one's end.
    starts: Vec<usize>,
    /// The documents that hold a term, ascending.
    documents: Vec<u32>,
    /// What each of them scores for one occurrence of the term in the query.
    weights: Vec<f32>,
    len: usize,
    count_query_terms: bool,
}

impl Bm25 {
    /// Indexes texts in order: the first is document 0.
    ///
    /// # Panics
    /// If there are more than 2^32 documents or terms.
    pub fn build<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Self {
        let mut terms: HashMap<Box<str>, u32> = HashMap::new();
        // (term, document, occurrences)
        let mut triples: Vec<(u32, u32, u32)> = Vec::new();
        let mut lengths: Vec<u32> = Vec::new();
        let mut of_document: Vec<u32> = Vec::new();
        for (document, text) in (0..).zip(texts) {
            of_document.clear();
            analyzer.for_each_term(text.as_ref(), |term| {
                let next = u32::try_from(terms.len()).expect("fewer than 2^32 terms");
                let id = match terms.get(term) {
                    Some(&id) => id,
                    None => *terms.entry(term.into()).or_insert(next),
                };
                of_document.push(id);
            });
            lengths.push(u32::try_from(of_document.len()).expect("fewer than 2^32 terms"));
            of_document.sort_unstable();
            for same in of_document.chunk_by(|a, b| a == b) {
                triples.push((same[0], document, same.len() as u32));
            }
        }
        let mut starts = vec![0_usize; terms.len() + 1];
        for &(term, ..) in &triples {
            starts[term as usize + 1] += 1;
        }
        for term in 0..terms.len() {
            starts[term + 1] += starts[term];
        }
        let total: f64 = lengths.iter().map(|&length| f64::from(length)).sum();
        let average = total / lengths.len().max(1) as f64;
        let (k1, b) = (f64::from(config.k1), f64::from(config.b));
        let mut next = starts.clone();
        let mut documents = vec![0; triples.len()];
        let mut weights = vec![0.0; triples.len()];
        for (term, document, occurrences) in triples {
            let term = term as usize;
            let holding = (starts[term + 1] - starts[term]) as f64;
            let rarity = (1.0 + (lengths.len() as f64 - holding + 0.5) / (holding + 0.5)).ln();
            let f = f64::from(occurrences);
            let length = f64::from(lengths[document as usize]) / average;
            documents[next[term]] = document;
            weights[next[term]] = (rarity * f / (f + k1 * (1.0 - b + b * length))) as f32;
            next[term] += 1;
        }
        Self {
            analyzer,
            terms,
            starts,
            documents,
            weights,
            len: lengths.len(),
            count_query_terms: config.count_query_terms,
        }
    }

    /// How many documents are indexed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no document is indexed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `k` best documents that share a term with `text`, best first; equal scores in order.
    ///
    /// Takes room for a score of every document; [`search_all`](Self::search_all) does so once a thread.
    pub fn search(&self, text: &str, k: usize) -> Vec<Hit> {
        self.search_with(text, k, &mut vec![0.0; self.len])
    }

    /// What document `document` scores for `text`: what [`search`](Self::search) ranks it by, 0 if they
    /// share no term.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn score(&self, text: &str, document: usize) -> f32 {
        assert!(document < self.len, "no document {document}: there are {}", self.len);
        let weight = |term: u32| {
            let postings = self.starts[term as usize]..self.starts[term as usize + 1];
            let at = self.documents[postings.clone()].binary_search(&(document as u32));
            at.map_or(0.0, |at| self.weights[postings][at])
        };
        self.terms_of(text).into_iter().map(weight).sum()
    }

    /// [`search`](Self::search) for many texts on all threads.
    ///
    /// Beside the hits, memory holds a score of every document and 2·`k` candidates for each thread.
    pub fn search_all<T: AsRef<str> + Sync>(&self, texts: &[T], k: usize) -> Vec<Vec<Hit>> {
        texts
            .par_iter()
            .map_init(
                || vec![0.0; self.len],
                |scores, text| self.search_with(text.as_ref(), k, scores),
            )
            .collect()
    }

    /// Adds the terms' weights up in `scores`, a zero for every document, and leaves zeros behind.
    fn search_with(&self, text: &str, k: usize, scores: &mut [f32]) -> Vec<Hit> {
        for term in self.terms_of(text) {
            let postings = self.starts[term as usize]..self.starts[term as usize + 1];
            for (&document, &weight) in
                self.documents[postings.clone()].iter().zip(&self.weights[postings])
            {
                scores[document as usize] += weight;
            }
        }
        let mut found = Candidates::default();
        let mut threshold = 0.0;
        for (index, score) in scores.iter_mut().enumerate() {
            let score = std::mem::take(score);
            if score > threshold
                && let Some(higher) = found.push(Hit { index, score }, k)
            {
                threshold = higher;
            }
        }
        best(found.into_hits(), k)
    }

    /// The indexed terms of a query, as often as they count.
    fn terms_of(&self, text: &str) -> Vec<u32> {
        let mut terms: Vec<u32> = Vec::new();
        self.analyzer.for_each_term(text, |term| terms.extend(self.terms.get(term)));
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
