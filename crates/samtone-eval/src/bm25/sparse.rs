//! BM25 as dot products of sparse vectors, for engines that have these.

use std::collections::{BTreeMap, BTreeSet};

use super::{Analyzer, Bm25};

/// Numbers other than 0 at places of a very long vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// The places, ascending, none twice.
    pub indices: Vec<u32>,
    /// The numbers that stand there.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// Whether every number is 0.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

impl FromIterator<(u32, f32)> for SparseVector {
    /// The numbers at one place are added up.
    fn from_iter<I: IntoIterator<Item = (u32, f32)>>(numbers: I) -> Self {
        let mut all = BTreeMap::new();
        for (index, value) in numbers {
            *all.entry(index).or_insert(0.0) += value;
        }
        let (indices, values) = all.into_iter().unzip();
        Self { indices, values }
    }
}

impl Bm25 {
    /// What a document with this text is: the dot product with a [query's](Analyzer::query_vector) is
    /// its [`score`](Self::score), where a query's terms count once.
    ///
    /// A term's place is a hash, so that a query needs no more than its words; two terms in some
    /// thousand million pairs have one place, and count as one there.
    pub fn document_vector(&self, text: &str) -> SparseVector {
        let (mut counts, mut length) = (BTreeMap::<String, u32>::new(), 0);
        self.analyzer.for_each_term(text, |term| {
            *counts.entry(term.to_owned()).or_default() += 1;
            length += 1;
        });
        let weight = |(term, count): (String, u32)| {
            let holding = self.index.postings.of(self.index.terms.find(&term)?).holding();
            Some((place(&term), self.weights.weight(self.weights.rarity(holding), count, length)))
        };
        counts.into_iter().filter_map(weight).collect()
    }
}

impl Analyzer {
    /// What a query is beside [documents](Bm25::document_vector): a 1 for each of its terms.
    pub fn query_vector(&self, text: &str) -> SparseVector {
        let mut places = BTreeSet::new();
        self.for_each_term(text, |term| {
            places.insert(place(term));
        });
        places.into_iter().map(|place| (place, 1.0)).collect()
    }
}

/// Where a term stands: never at the last place, which Milvus does not have.
fn place(term: &str) -> u32 {
    let hash = blake3::hash(term.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u32::from_le_bytes(*first) % u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bm25::Bm25Config;

    #[test]
    fn the_dot_product_is_the_score() {
        const TEXTS: [&str; 4] =
            ["red red blue", "Blue, a blue sea", "green", "red sea of the blue and green"];
        let analyzer = Analyzer::default();
        let index = Bm25::build(TEXTS, Analyzer::default(), Bm25Config::default());
        for query in ["red", "blue sea blue", "green red purple", "the", ""] {
            let query_vector = analyzer.query_vector(query);
            for (document, text) in TEXTS.iter().enumerate() {
                let SparseVector { indices, values } = index.document_vector(text);
                assert!(indices.is_sorted() && !indices.contains(&u32::MAX));
                let of = |(index, value): (&u32, &f32)| {
                    let at = query_vector.indices.binary_search(index).ok()?;
                    Some(value * query_vector.values[at])
                };
                let score: f32 = indices.iter().zip(&values).filter_map(of).sum();
                // Two orders of adding up to three numbers below 2.
                let difference = (score - index.score(query, document)).abs();
                assert!(difference < 1e-6, "{query}, {text}: {difference}");
            }
        }
    }

    #[test]
    fn one_place_holds_a_sum() {
        let vector: SparseVector = [(7, 1.0), (3, 2.0), (7, 0.5)].into_iter().collect();
        assert_eq!(vector, SparseVector { indices: vec![3, 7], values: vec![2.0, 1.5] });
        assert!(SparseVector::default().is_empty() && !vector.is_empty());
    }
}
