use super::{JudgedRanking, count_relevant, ratio};

/// Recall: relevant documents among the first k, over all relevant documents.
pub fn recall(ranking: &JudgedRanking, cutoff: Option<usize>, threshold: i32) -> f64 {
    ratio(count_relevant(ranking.top(cutoff), threshold), ranking.relevant(threshold))
}
