use super::JudgedRanking;

/// Binary preference: how rarely judged irrelevant documents stand above relevant ones.
///
/// `bpref = 1/R · Σ_(r found) (1 − min(n_r, R) / min(N, R))`, where `n_r` counts the judged
/// irrelevant documents above `r`, R and N all judged relevant and irrelevant ones. Documents
/// without judgment, and negative grades, are passed over.
///
/// Source: Buckley and Voorhees 2004, doi:10.1145/1008992.1009000, in trec_eval's form.
pub fn bpref(ranking: &JudgedRanking, threshold: i32) -> f64 {
    let relevant = ranking.relevant(threshold);
    if relevant == 0 {
        return 0.0;
    }
    let irrelevant = ranking.relevant(0).saturating_sub(relevant);
    let mut above = 0;
    let mut sum = 0.0;
    for grade in ranking.top(None).iter().flatten().copied() {
        if grade >= threshold {
            sum += if above == 0 {
                1.0
            } else {
                1.0 - above.min(relevant) as f64 / irrelevant.min(relevant) as f64
            };
        } else if grade >= 0 {
            above += 1;
        }
    }
    sum / relevant as f64
}
