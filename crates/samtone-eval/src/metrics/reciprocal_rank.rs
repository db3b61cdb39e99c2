use super::{JudgedRanking, is_relevant};

/// Reciprocal rank: 1 over the rank of the first relevant document, 0 if none is found.
///
/// MRR is its mean over queries.
pub fn reciprocal_rank(ranking: &JudgedRanking, cutoff: Option<usize>, threshold: i32) -> f64 {
    ranking
        .top(cutoff)
        .iter()
        .position(|&grade| is_relevant(grade, threshold))
        .map_or(0.0, |place| 1.0 / (place + 1) as f64)
}
