//! The parameters.

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

impl Bm25Config {
    /// # Panics
    /// If k1 or b is out of its range.
    pub(super) fn check(&self) {
        let Self { k1, b, .. } = *self;
        assert!(k1 >= 0.0 && k1.is_finite(), "k1 is a number of at least 0, not {k1}");
        assert!((0.0..=1.0).contains(&b), "b is a number from 0 to 1, not {b}");
    }
}
