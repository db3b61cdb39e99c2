use super::{JudgedRanking, is_relevant, ratio};

/// Average precision: the mean, over the relevant documents, of the precision where each is found.
///
/// `AP@k = Σ_(i≤k, i relevant) P@i  ÷  R`, R being **all** relevant documents, as in trec_eval,
/// whatever the cutoff. MAP is its mean over queries.
pub fn average_precision(ranking: &JudgedRanking, cutoff: Option<usize>, threshold: i32) -> f64 {
    average(ranking, cutoff, threshold, ranking.relevant(threshold))
}

/// Average precision over `min(k, R)`, the most relevant documents that a ranking of k can hold.
///
/// Otherwise as [`average_precision`]; this is what sentence-transformers prints as MAP@k.
pub fn average_precision_capped(
    ranking: &JudgedRanking,
    cutoff: Option<usize>,
    threshold: i32,
) -> f64 {
    let relevant = ranking.relevant(threshold).min(cutoff.unwrap_or(usize::MAX));
    average(ranking, cutoff, threshold, relevant)
}

fn average(
    ranking: &JudgedRanking,
    cutoff: Option<usize>,
    threshold: i32,
    denominator: usize,
) -> f64 {
    if denominator == 0 {
        return 0.0;
    }
    let mut found = 0;
    let mut sum = 0.0;
    for (rank, &grade) in (1..).zip(ranking.top(cutoff)) {
        if is_relevant(grade, threshold) {
            found += 1;
            sum += ratio(found, rank);
        }
    }
    sum / denominator as f64
}
