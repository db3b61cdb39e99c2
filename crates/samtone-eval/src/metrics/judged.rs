use super::{JudgedRanking, ratio};

/// The share of the documents found, down to the cutoff, that is judged.
///
/// `judged@k = judged among the first n ÷ n`, n being k or the ranking's length if that is less
/// (as in ir_measures). Any grade is a judgment.
pub fn judged(ranking: &JudgedRanking, cutoff: Option<usize>) -> f64 {
    let top = ranking.top(cutoff);
    ratio(top.iter().flatten().count(), top.len())
}

/// The share of the documents found, down to the cutoff, that has no judgment.
///
/// `1 − judged@k`, but 0 for an empty ranking.
pub fn holes(ranking: &JudgedRanking, cutoff: Option<usize>) -> f64 {
    let top = ranking.top(cutoff);
    ratio(top.iter().filter(|grade| grade.is_none()).count(), top.len())
}
