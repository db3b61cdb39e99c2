//! The best hits so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

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

/// The `k` best of hits that come in the order of their index and have scores above 0: a heap of `k`.
#[derive(Debug)]
pub(crate) struct Best {
    k: usize,
    heap: BinaryHeap<Worst>,
    threshold: f32,
}

/// A hit; the greatest is the worst.
#[derive(Debug)]
struct Worst(Hit);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        order(&self.0, &other.0)
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Worst {}

impl Best {
    /// # Panics
    /// If `k` is 0.
    pub(crate) fn new(k: usize) -> Self {
        assert!(k > 0, "of no hits none is the worst");
        Self { k, heap: BinaryHeap::new(), threshold: 0.0 }
    }

    /// What a later hit's score must be above to be taken.
    #[inline]
    pub(crate) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes a hit unless `k` are better.
    pub(crate) fn push(&mut self, hit: Hit) {
        if hit.score <= self.threshold {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(Worst(hit));
        } else if let Some(mut worst) = self.heap.peek_mut() {
            *worst = Worst(hit);
        }
        if self.heap.len() == self.k {
            self.threshold = self.heap.peek().map_or(0.0, |worst| worst.0.score);
        }
    }

    /// The hits, best first, in no more room than they need.
    pub(crate) fn into_hits(self) -> Vec<Hit> {
        let mut hits: Vec<Hit> =
            self.heap.into_sorted_vec().into_iter().map(|worst| worst.0).collect();
        hits.shrink_to_fit();
        hits
    }
}
