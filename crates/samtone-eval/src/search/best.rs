//! The best hits so far.

use std::cmp::Ordering;

use super::Hit;

/// Best first: by score, and equal scores by index.
fn order(a: &Hit, b: &Hit) -> Ordering {
    b.score.total_cmp(&a.score).then(a.index.cmp(&b.index))
}

/// The `k` best of `hits`, best first, in no more room than they need.
pub(crate) fn best(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
    keep(&mut hits, k);
    hits.sort_unstable_by(order);
    hits.shrink_to_fit();
    hits
}

/// Reduces `hits` to its `k` best in any order; returns the worst of them if `k` are left.
fn keep(hits: &mut Vec<Hit>, k: usize) -> Option<Hit> {
    if k == 0 {
        hits.clear();
    }
    if hits.len() < k || k == 0 {
        return None;
    }
    let (_, &mut worst, _) = hits.select_nth_unstable_by(k - 1, order);
    hits.truncate(k);
    Some(worst)
}

/// A query's candidates: everything better than [`Candidates::threshold`], cut back to the k best
/// whenever twice as many have gathered, so that a candidate costs constant time on average.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    hits: Vec<Hit>,
}

impl Candidates {
    /// Takes a hit; returns the new threshold if it rose: only a greater score can still matter
    /// from a document that comes later.
    #[inline]
    pub(crate) fn push(&mut self, hit: Hit, k: usize) -> Option<f32> {
        self.hits.push(hit);
        if self.hits.len() < k.saturating_mul(2).max(64) {
            return None;
        }
        keep(&mut self.hits, k).map(|worst| worst.score)
    }

    pub(crate) fn into_hits(self) -> Vec<Hit> {
        self.hits
    }
}
