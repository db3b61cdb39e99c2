use super::JudgedRanking;

/// Normalised discounted cumulative gain: the grade is the gain.
///
/// `nDCG@k = Σ_(i≤k) g_i / log2(i+1)  ÷  the same sum over the ideal ranking`, where the ideal
/// ranks all judged documents by grade. Unjudged documents and negative grades gain 0.
///
/// Source: Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418, in trec_eval's form.
pub fn ndcg(ranking: &JudgedRanking, cutoff: Option<usize>) -> f64 {
    normalised(ranking, cutoff, f64::from)
}

/// Normalised discounted cumulative gain with exponential gain: `2^grade − 1`.
///
/// Otherwise as [`ndcg`], and equal to it where grades are 0 and 1.
///
/// Source: Burges et al. 2005, doi:10.1145/1102351.1102363.
pub fn ndcg_exp(ranking: &JudgedRanking, cutoff: Option<usize>) -> f64 {
    // In units of 2^highest, a power of two: nothing is rounded by it, and no grade overflows.
    let highest = ranking.judged().first().map_or(0.0, |&grade| f64::from(grade));
    normalised(ranking, cutoff, |grade| (f64::from(grade) - highest).exp2() - (-highest).exp2())
}

fn normalised(ranking: &JudgedRanking, cutoff: Option<usize>, gain: impl Fn(i32) -> f64) -> f64 {
    let gain = |grade: i32| if grade > 0 { gain(grade) } else { 0.0 };
    let ideal = dcg(ranking.judged().iter().take(cutoff.unwrap_or(usize::MAX)).map(|&g| gain(g)));
    if ideal == 0.0 {
        return 0.0;
    }
    dcg(ranking.top(cutoff).iter().map(|grade| grade.map_or(0.0, &gain))) / ideal
}

fn dcg(gains: impl Iterator<Item = f64>) -> f64 {
    (2_u32..)
        .zip(gains)
        .filter(|&(_, gain)| gain > 0.0)
        // Not `sum`: that of nothing is −0.
        .fold(0.0, |sum, (place, gain)| sum + gain / f64::from(place).log2())
}
