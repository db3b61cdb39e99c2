use serde::Serialize;

use crate::search::Hit;

/// How unevenly a search finds its documents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hubness {
    /// The skewness of the k-occurrences: 0 for a symmetric distribution, above 1 for marked hubs.
    pub skewness: f64,
    /// How often the document found most often is found.
    pub largest: usize,
    /// The share of documents that is never found, in `[0, 1]`.
    pub never: f64,
}

/// Hubness: the skew of `N_k`, how often each of `documents` is among the hits of a query.
///
/// `skewness = mean (N_k − μ)³ / σ³` over all documents; 0 where all are found equally often.
///
/// Source: Radovanović et al. 2010, JMLR 11.
///
/// # Panics
/// If a hit's index is not below `documents`.
pub fn hubness(hits: &[Vec<Hit>], documents: usize) -> Hubness {
    let mut occurrences = vec![0_usize; documents];
    for hit in hits.iter().flatten() {
        occurrences[hit.index] += 1;
    }
    let count = documents.max(1) as f64;
    let mean = occurrences.iter().sum::<usize>() as f64 / count;
    let moment =
        |power| occurrences.iter().map(|&n| (n as f64 - mean).powi(power)).sum::<f64>() / count;
    let variance = moment(2);
    Hubness {
        skewness: if variance > 0.0 { moment(3) / variance.powf(1.5) } else { 0.0 },
        largest: occurrences.iter().copied().max().unwrap_or(0),
        never: occurrences.iter().filter(|&&n| n == 0).count() as f64 / count,
    }
}
