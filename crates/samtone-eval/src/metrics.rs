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
