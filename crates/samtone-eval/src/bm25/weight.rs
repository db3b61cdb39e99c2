//! What a term is worth in a document.

use super::config::Bm25Config;

/// Lengths whose part of the formula is computed once.
const LENGTHS: u32 = 4096;

/// The parts of BM25's formula that depend on the collection.
#[derive(Debug)]
pub(super) struct Weights {
    k1: f64,
    b: f64,
    /// Documents, and the terms of one on average.
    documents: f64,
    average: f64,
    /// `k1·(1 − b + b·|d| / avg)` of short documents, by their length.
    norms: Vec<f64>,
}

impl Weights {
    /// Of a collection whose documents have so many terms each.
    pub(super) fn new(config: Bm25Config, lengths: &[u32]) -> Self {
        let terms: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut weights = Self {
            k1: f64::from(config.k1),
            b: f64::from(config.b),
            documents: lengths.len() as f64,
            average: terms as f64 / lengths.len().max(1) as f64,
            norms: Vec::new(),
        };
        let short = 0..=longest.min(LENGTHS - 1);
        weights.norms = short.map(|length| weights.norm_of(length)).collect();
        weights
    }

    /// How rare a term is that `holding` documents hold.
    pub(super) fn rarity(&self, holding: u32) -> f64 {
        let holding = f64::from(holding);
        (1.0 + (self.documents - holding + 0.5) / (holding + 0.5)).ln()
    }

    /// What a document of `length` terms scores for one occurrence, in the query, of a term that it has
    /// `occurrences` times.
    #[inline]
    pub(super) fn weight(&self, rarity: f64, occurrences: u32, length: u32) -> f32 {
        let f = f64::from(occurrences);
        let norm = match self.norms.get(length as usize) {
            Some(&norm) => norm,
            None => self.norm_of(length),
        };
        (rarity * f / (f + norm)) as f32
    }

    fn norm_of(&self, length: u32) -> f64 {
        let length = f64::from(length) / self.average;
        self.k1 * (1.0 - self.b + self.b * length)
    }
}
