use super::{JudgedRanking, count_relevant, ratio};

/// Precision: relevant documents among the first k, over k, however few were found.
pub fn precision(ranking: &JudgedRanking, cutoff: usize, threshold: i32) -> f64 {
    ratio(count_relevant(ranking.top(Some(cutoff)), threshold), cutoff)
}

/// R-precision: precision at R, the number of relevant documents.
pub fn r_precision(ranking: &JudgedRanking, threshold: i32) -> f64 {
    precision(ranking, ranking.relevant(threshold), threshold)
}

/// Success: 1 if a relevant document is among the first k, else 0.
pub fn success(ranking: &JudgedRanking, cutoff: usize, threshold: i32) -> f64 {
    f64::from(u8::from(count_relevant(ranking.top(Some(cutoff)), threshold) > 0))
}
