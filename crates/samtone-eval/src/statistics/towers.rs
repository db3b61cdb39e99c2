//! The geometry of two towers: every number at once.

use super::{alignment, centroid_gap, effective_rank, hubness, tower_separability, uniformity};
use crate::search::Hit;

/// Documents of a query that count for hubness.
const HUBNESS_K: usize = 10;

/// The embeddings of both towers, scaled to length 1, and who belongs together.
#[derive(Clone, Debug)]
pub struct Towers<'a> {
    queries: Vec<f32>,
    documents: Vec<f32>,
    dim: usize,
    /// The pairs' queries and documents, row after row.
    pairs: [Vec<f32>; 2],
    hits: &'a [Vec<Hit>],
}

/// What [`Towers::geometry`] finds. All but the hubness is over the pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// How well a linear classifier tells queries from documents, 0.5 is not at all:
    /// [`tower_separability`].
    pub probe_auc: f64,
    /// Distance of the towers' means: [`centroid_gap`].
    pub centroid_gap: f64,
    /// Mean squared distance in a pair: [`alignment`].
    pub alignment: f64,
    /// How evenly each tower, queries then documents, lies on the sphere; lower is more even:
    /// [`uniformity`].
    pub uniformity: [f64; 2],
    /// Dimensions in use by each tower: [`effective_rank`].
    pub effective_rank: [f64; 2],
    /// Skewness of how often a document is among a query's first 10: [`hubness`].
    pub hubness: f64,
    /// The share of documents that never are.
    pub never_found: f64,
}

impl<'a> Towers<'a> {
    /// Of embeddings `[queries, dim]` and `[documents, dim]`, row after row, of any length; `pairs` are
    /// a query's row and the row of a document that answers it; `hits` are each query's documents,
    /// best first.
    ///
    /// # Panics
    /// If a row does not exist, or the numbers are not whole rows.
    pub fn new(
        queries: &[f32],
        documents: &[f32],
        dim: usize,
        pairs: &[(usize, usize)],
        hits: &'a [Vec<Hit>],
    ) -> Self {
        let (queries, documents) = (normalised(queries, dim), normalised(documents, dim));
        let rows = |all: &[f32], indices: &mut dyn Iterator<Item = usize>| {
            indices.flat_map(|index| row(all, dim, index)).copied().collect()
        };
        let pairs = [
            rows(&queries, &mut pairs.iter().map(|pair| pair.0)),
            rows(&documents, &mut pairs.iter().map(|pair| pair.1)),
        ];
        Self { queries, documents, dim, pairs, hits }
    }

    /// The numbers; `seed` draws the probe's folds.
    pub fn geometry(&self, seed: u64) -> Geometry {
        let ([q, d], dim) = (&self.pairs, self.dim);
        let first = |hits: &Vec<Hit>| hits[..hits.len().min(HUBNESS_K)].to_vec();
        let hubs: Vec<Vec<Hit>> = self.hits.iter().map(first).collect();
        let hubs = hubness(&hubs, self.documents.len() / dim);
        Geometry {
            probe_auc: tower_separability(q, d, dim, seed),
            centroid_gap: centroid_gap(q, d, dim),
            alignment: alignment(q, d, dim),
            uniformity: [uniformity(q, dim), uniformity(d, dim)],
            effective_rank: [effective_rank(q, dim), effective_rank(d, dim)],
            hubness: hubs.skewness,
            never_found: hubs.never,
        }
    }

    /// The first `pairs` queries, then their documents, row after row: what a plane shows.
    pub fn first_pairs(&self, pairs: usize) -> Vec<f32> {
        let [q, d] = &self.pairs;
        [&q[..pairs * self.dim], &d[..pairs * self.dim]].concat()
    }

    /// For each query that found anything, its row, its first document's and their cosine.
    pub fn first_cosines(&self) -> Vec<(usize, usize, f64)> {
        let first = |(query, hits): (usize, &Vec<Hit>)| {
            let document = hits.first()?.index;
            let cosine =
                dot(row(&self.queries, self.dim, query), row(&self.documents, self.dim, document));
            Some((query, document, cosine))
        };
        self.hits.iter().enumerate().filter_map(first).collect()
    }

    /// `s(q_i, q_j) / s(q_i, d_j)` of the pairs of this number, i ≠ j, s the cosine: above 1, a query
    /// lies nearer to another query than to that one's document.
    pub fn ratio(&self, i: usize, j: usize) -> f64 {
        let [q, d] = &self.pairs;
        let anchor = row(q, self.dim, i);
        dot(anchor, row(q, self.dim, j)) / dot(anchor, row(d, self.dim, j))
    }
}

impl Geometry {
    /// How many of the [named](Self::named) numbers speak of both towers: the first ones.
    pub const BETWEEN: usize = 3;

    /// The numbers with their names, in the order to show them.
    pub fn named(&self) -> [(&'static str, f64); 9] {
        let &Self { probe_auc, centroid_gap, alignment, uniformity, effective_rank, .. } = self;
        [
            ("probe AUC", probe_auc),
            ("centroid gap", centroid_gap),
            ("alignment", alignment),
            ("uniformity of queries", uniformity[0]),
            ("uniformity of documents", uniformity[1]),
            ("effective rank of queries", effective_rank[0]),
            ("effective rank of documents", effective_rank[1]),
            ("hubness (skewness)", self.hubness),
            ("never found", self.never_found),
        ]
    }
}

fn row(rows: &[f32], dim: usize, index: usize) -> &[f32] {
    &rows[index * dim..][..dim]
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The rows at length 1; a row of zeros stays.
fn normalised(rows: &[f32], dim: usize) -> Vec<f32> {
    let scaled = |row: &[f32]| {
        let norm = dot(row, row).sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        row.iter().map(|x| (f64::from(*x) * scale) as f32).collect::<Vec<f32>>()
    };
    rows.chunks_exact(dim).flat_map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten pairs of two dimensions: query i at angle i, its document at i + 0.1, of other lengths.
    fn towers(hits: &[Vec<Hit>]) -> Towers<'_> {
        let at = |angle: f32, length: f32| [length * angle.cos(), length * angle.sin()];
        let queries: Vec<f32> = (0..10_u8).flat_map(|i| at(f32::from(i), 1.0)).collect();
        let documents: Vec<f32> = (0..10_u8).flat_map(|i| at(f32::from(i) + 0.1, 3.0)).collect();
        let pairs: Vec<(usize, usize)> = (0..10).map(|i| (i, i)).collect();
        Towers::new(&queries, &documents, 2, &pairs, hits)
    }

    /// f32 rows, f64 sums.
    const ROUNDING: f64 = 1e-6;

    #[test]
    fn lengths_do_not_count() {
        let hits: Vec<Vec<Hit>> = (0..10).map(|index| vec![Hit { index, score: 1.0 }]).collect();
        let towers = towers(&hits);
        for (query, document, cosine) in towers.first_cosines() {
            assert_eq!(query, document);
            assert!((cosine - 0.1_f64.cos()).abs() < ROUNDING, "{cosine}");
        }
        let geometry = towers.geometry(0);
        assert!((geometry.alignment - (2.0 - 2.0 * 0.1_f64.cos())).abs() < ROUNDING);
        assert_eq!((geometry.hubness, geometry.never_found), (0.0, 0.0));
        assert!((towers.ratio(0, 1) - 1.0_f64.cos() / 1.1_f64.cos()).abs() < ROUNDING);
        assert_eq!(towers.first_pairs(3).len(), 2 * 3 * 2);
    }

    #[test]
    fn documents_that_nobody_finds_are_counted() {
        let hits = vec![vec![Hit { index: 4, score: 1.0 }]; 10];
        assert!((towers(&hits).geometry(0).never_found - 0.9).abs() < ROUNDING);
    }
}
