//! The measures themselves, one a file, over one query's [`JudgedRanking`].
//!
//! Every function returns a fraction in `[0, 1]` and 0 where its denominator is 0. Means over
//! queries are [`evaluate`](crate::evaluate)'s work.

mod average_precision;
mod bpref;
mod judged;
mod ndcg;
mod precision;
mod recall;
mod reciprocal_rank;

pub use average_precision::{average_precision, average_precision_capped};
pub use bpref::bpref;
pub use judged::{holes, judged};
pub use ndcg::{ndcg, ndcg_exp};
pub use precision::{precision, r_precision, success};
pub use recall::recall;
pub use reciprocal_rank::reciprocal_rank;

/// One query's ranking and judgments, as grades.
///
/// # Examples
///
/// ```
/// use samtone_eval::metrics::{JudgedRanking, ndcg};
///
/// // Ranked: a document of grade 1, then one of grade 2. (1 + 2/log2 3) / (2 + 1/log2 3)
/// let ranking = JudgedRanking::new(vec![Some(1), Some(2)], vec![1, 2]);
/// assert!((ndcg(&ranking, None) - 0.8597).abs() < 1e-4);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedRanking {
    ranked: Vec<Option<i32>>,
    judged: Vec<i32>,
}

impl JudgedRanking {
    /// The grades in rank order, `None` for a document without judgment, and the grades of all
    /// judged documents in any order.
    pub fn new(ranked: Vec<Option<i32>>, mut judged: Vec<i32>) -> Self {
        judged.sort_unstable_by(|a, b| b.cmp(a));
        Self { ranked, judged }
    }

    /// The grades down to `cutoff`, best rank first.
    pub fn top(&self, cutoff: Option<usize>) -> &[Option<i32>] {
        &self.ranked[..cutoff.unwrap_or(usize::MAX).min(self.ranked.len())]
    }

    /// All judged grades, highest first.
    pub fn judged(&self) -> &[i32] {
        &self.judged
    }

    /// How many judged documents have at least the grade `threshold`.
    pub fn relevant(&self, threshold: i32) -> usize {
        self.judged.partition_point(|&grade| grade >= threshold)
    }
}

fn is_relevant(grade: Option<i32>, threshold: i32) -> bool {
    grade.is_some_and(|grade| grade >= threshold)
}

fn count_relevant(top: &[Option<i32>], threshold: i32) -> usize {
    top.iter().filter(|&&grade| is_relevant(grade, threshold)).count()
}

fn ratio(numerator: usize, denominator: usize) -> f64 {
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Option<i32> = None;
    /// A few operations in f64 on numbers of the order of 1.
    const ROUNDING: f64 = 1e-12;

    #[track_caller]
    fn check(got: f64, expected: f64) {
        assert!((got - expected).abs() < ROUNDING, "{got}, expected {expected}");
    }

    #[test]
    fn a_ranking_worked_by_hand() {
        // Relevant: grades 3 (rank 2), 1 (rank 4), 2 (not found); judged irrelevant at rank 1.
        let ranking = JudgedRanking::new(
            vec![Some(0), Some(3), NONE, Some(1), Some(-1)],
            vec![0, 3, 1, 2, -1, 0],
        );
        let (second, third, fifth) = (3_f64.log2(), 2.0, 5_f64.log2());
        let ideal = 3.0 + 2.0 / second + 1.0 / third;
        check(ndcg(&ranking, None), (3.0 / second + 1.0 / fifth) / ideal);
        check(ndcg(&ranking, Some(2)), (3.0 / second) / (3.0 + 2.0 / second));
        let exponential = 7.0 + 3.0 / second + 1.0 / third;
        check(ndcg_exp(&ranking, None), (7.0 / second + 1.0 / fifth) / exponential);
        check(reciprocal_rank(&ranking, None, 1), 0.5);
        check(reciprocal_rank(&ranking, Some(1), 1), 0.0);
        check(average_precision(&ranking, None, 1), (0.5 + 0.5) / 3.0);
        check(average_precision(&ranking, Some(2), 1), 0.5 / 3.0);
        check(average_precision_capped(&ranking, Some(2), 1), 0.5 / 2.0);
        check(recall(&ranking, Some(2), 1), 1.0 / 3.0);
        check(recall(&ranking, None, 2), 0.5);
        check(precision(&ranking, 10, 1), 0.2);
        check(success(&ranking, 1, 1), 0.0);
        check(success(&ranking, 2, 1), 1.0);
        check(r_precision(&ranking, 1), 1.0 / 3.0);
        // One irrelevant document above both found; R = 3, two judged irrelevant.
        check(bpref(&ranking, 1), 2.0 * (1.0 - 1.0 / 2.0) / 3.0);
        check(judged(&ranking, Some(3)), 2.0 / 3.0);
        check(holes(&ranking, Some(10)), 1.0 / 5.0);
    }

    #[test]
    fn nothing_found_or_nothing_relevant_is_a_plain_zero() {
        let nothing_found = JudgedRanking::new(vec![], vec![1]);
        let nothing_relevant = JudgedRanking::new(vec![Some(0), NONE], vec![0]);
        for ranking in [nothing_found, nothing_relevant] {
            for value in [
                ndcg(&ranking, None),
                ndcg_exp(&ranking, Some(1)),
                reciprocal_rank(&ranking, None, 1),
                average_precision(&ranking, None, 1),
                average_precision_capped(&ranking, Some(1), 1),
                recall(&ranking, None, 1),
                precision(&ranking, 1, 1),
                success(&ranking, 1, 1),
                r_precision(&ranking, 1),
                bpref(&ranking, 1),
            ] {
                assert_eq!(value.to_bits(), 0, "{value} for {ranking:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn values_are_fractions_and_a_better_document_upward_never_hurts(
            grades in proptest::collection::vec(proptest::option::of(-1..4), 1..12),
            place in 0_usize..11, k in 1_usize..12,
        ) {
            let judged: Vec<i32> = grades.iter().flatten().copied().chain([1]).collect();
            let ranking = JudgedRanking::new(grades.clone(), judged.clone());
            let mut swapped = grades.clone();
            let place = place % grades.len();
            if place > 0 && swapped[place] > swapped[place - 1].max(Some(0)) {
                swapped.swap(place, place - 1);
            }
            let better = JudgedRanking::new(swapped, judged);
            let all = |ranking: &JudgedRanking| [
                ndcg(ranking, Some(k)), ndcg_exp(ranking, Some(k)),
                reciprocal_rank(ranking, Some(k), 1), average_precision(ranking, Some(k), 1),
                average_precision_capped(ranking, Some(k), 1), recall(ranking, Some(k), 1),
                precision(ranking, k, 1), success(ranking, k, 1), r_precision(ranking, 1),
                bpref(ranking, 1),
            ];
            for (before, after) in all(&ranking).into_iter().zip(all(&better)) {
                proptest::prop_assert!((0.0..=1.0 + ROUNDING).contains(&before), "{before}");
                proptest::prop_assert!(after >= before - ROUNDING, "{before} {after}");
            }
        }
    }
}
