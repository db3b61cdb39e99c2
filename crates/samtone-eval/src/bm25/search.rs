//! The best documents for a query, without a look at most of the others.
//!
//! Documents are gone through in windows. In each, a term is worth at most the greatest maximum of its
//! blocks there; the terms that together cannot lift a document over the worst of the k best so far are
//! spared (MaxScore: Turtle and Flood 1995, doi:10.1016/0306-4573(95)00020-H; with the maxima of blocks as
//! in Ding and Suel 2011, doi:10.1145/2009916.2010048). Only documents that hold another term are
//! candidates, and the spared terms are looked up for them one by one, while they can still matter.
//!
//! A candidate's weights stand in a row, a place for each term, and are summed in the terms' order: the
//! score has the bits of the plain sum over all postings, whatever was spared.

use std::ops::Range;

use super::index::Index;
use super::postings::Cursor;
use super::weight::Weights;
use crate::search::{Best, Hit};

/// Documents of a window for a query of few terms, and places of a window's rows in all: what a
/// second-level cache holds.
const WINDOW: usize = 2048;
const ROOM: usize = 1 << 15;

/// What a thread needs for its searches, one after the other.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The weights of the window's documents, a row each; zeros between searches.
    rows: Vec<f32>,
    /// The window's candidates, a bit each; zeros between searches.
    candidates: Vec<u64>,
}

/// A term of the query.
struct Clause<'a> {
    /// How often it counts.
    times: u32,
    rarity: f64,
    postings: Cursor<'a>,
    /// What it adds at most to the score of a document in the window.
    bound: f64,
}

/// The `k` best documents for `terms`, which are ascending.
pub(super) fn search(
    index: &Index,
    weights: &Weights,
    terms: &[u32],
    k: usize,
    room: &mut Room,
) -> Vec<Hit> {
    if k == 0 {
        return Vec::new();
    }
    let clause = |same: &[u32]| {
        let postings = index.postings.of(same[0]);
        let rarity = weights.rarity(postings.holding());
        Clause { times: same.len() as u32, rarity, postings, bound: 0.0 }
    };
    let clauses: Vec<Clause<'_>> = terms.chunk_by(|a, b| a == b).map(clause).collect();
    let width = (ROOM / clauses.len().max(1)).clamp(64, WINDOW) / 64 * 64;
    room.rows.resize(room.rows.len().max(width * clauses.len()), 0.0);
    room.candidates.resize(WINDOW / 64, 0);
    let mut search = Search {
        lengths: &index.lengths,
        weights,
        order: (0..clauses.len()).collect(),
        bounds: Vec::with_capacity(clauses.len() + 1),
        spared: 0,
        clauses,
        slack: slack(terms.len()),
        best: Best::new(k),
        room,
    };
    let mut start = 0;
    while let Some(first) = search.next(start, width as u32) {
        let window = first..first.saturating_add(width as u32);
        start = window.end;
        search.window(&window);
    }
    search.best.into_hits()
}

/// What a sum of bounds is multiplied by so that it bounds a score in f32 whatever is rounded: each of the
/// score's additions by 2^-24 of it, a weight by 2^-23 where an index was built by another machine's
/// logarithm. (1 + u)^n is less than 1 + 2·n·u for n·u ≤ 1.
fn slack(terms: usize) -> f64 {
    1.0 + (terms + 2) as f64 * f64::from(f32::EPSILON)
}

struct Search<'a> {
    lengths: &'a [u32],
    weights: &'a Weights,
    clauses: Vec<Clause<'a>>,
    /// The clauses by their bounds, the least first.
    order: Vec<usize>,
    /// What the first clauses of the order add at most, for each number of them.
    bounds: Vec<f64>,
    /// How many of the order are spared.
    spared: usize,
    slack: f64,
    best: Best,
    room: &'a mut Room,
}

impl Search<'_> {
    /// The first document from `from` on that may hold a term.
    fn next(&mut self, from: u32, width: u32) -> Option<u32> {
        self.clauses.iter_mut().filter_map(|clause| clause.postings.next(from, width)).min()
    }

    /// Whether a document that scores at most `bound`, a sum in f64, cannot be among the best.
    fn is_hopeless(&self, bound: f64) -> bool {
        bound * self.slack <= f64::from(self.best.threshold())
    }

    /// Takes the window's documents that are among the best so far.
    fn window(&mut self, window: &Range<u32>) {
        for clause in &mut self.clauses {
            clause.bound = f64::from(clause.postings.most_in(window)) * f64::from(clause.times);
        }
        let clauses = &self.clauses;
        self.order.sort_unstable_by(|&a, &b| clauses[a].bound.total_cmp(&clauses[b].bound));
        let sums = self.order.iter().scan(0.0, |sum, &clause| {
            *sum += clauses[clause].bound;
            Some(*sum)
        });
        self.bounds.clear();
        self.bounds.push(0.0);
        self.bounds.extend(sums);
        self.spared = self.bounds[1..].partition_point(|&bound| self.is_hopeless(bound));
        for place in self.spared..self.order.len() {
            self.fill(self.order[place], window);
        }
        if self.spared == self.order.len() {
            return;
        }
        for word in 0..self.room.candidates.len() {
            let mut bits = std::mem::take(&mut self.room.candidates[word]);
            while bits != 0 {
                let offset = 64 * word + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                self.candidate(window.start + offset as u32, offset);
            }
        }
    }

    /// Writes a term's weights into the rows of the window's documents that hold it.
    fn fill(&mut self, clause: usize, window: &Range<u32>) {
        let (width, threshold) = (self.clauses.len(), f64::from(self.best.threshold()));
        let (lengths, weights, slack) = (self.lengths, self.weights, self.slack);
        let Room { rows, candidates } = &mut *self.room;
        let Clause { times, rarity, ref mut postings, bound } = self.clauses[clause];
        // A block whose documents not even all other terms could lift: their scores are too low with this
        // term's weights, and so without. The difference is rounded up.
        let all = self.bounds[width];
        let others = all - bound + all * width as f64 * f64::EPSILON;
        let skip = |most: f32| (others + f64::from(most) * f64::from(times)) * slack <= threshold;
        postings.each_in(window, skip, |document, count| {
            let offset = (document - window.start) as usize;
            rows[offset * width + clause] =
                weights.weight(rarity, count, lengths[document as usize]);
            candidates[offset / 64] |= 1 << (offset % 64);
        });
    }

    /// Takes a candidate if it is among the best so far, and clears its row.
    fn candidate(&mut self, document: u32, offset: usize) {
        let row = offset * self.clauses.len()..(offset + 1) * self.clauses.len();
        if self.complete(document, row.clone()) {
            let mut score = 0.0;
            for (weight, clause) in self.room.rows[row.clone()].iter().zip(&self.clauses) {
                for _ in 0..clause.times {
                    score += weight;
                }
            }
            self.best.push(Hit { index: document as usize, score });
        }
        self.room.rows[row].fill(0.0);
    }

    /// Looks the spared terms up; false as soon as the document is hopeless.
    fn complete(&mut self, document: u32, row: Range<usize>) -> bool {
        if self.spared == 0 {
            return true;
        }
        let weights = self.room.rows[row.clone()].iter().zip(&self.clauses);
        let mut known: f64 =
            weights.map(|(&weight, clause)| f64::from(weight) * f64::from(clause.times)).sum();
        for place in (0..self.spared).rev() {
            if self.is_hopeless(known + self.bounds[place + 1]) {
                return false;
            }
            let clause = self.order[place];
            let Clause { times, rarity, ref mut postings, .. } = self.clauses[clause];
            let times = f64::from(times);
            let most = f64::from(postings.most_at(document)) * times;
            if (known + most + self.bounds[place]) * self.slack <= f64::from(self.best.threshold())
            {
                return false;
            }
            if let Some(count) = postings.count_at(document) {
                let weight = self.weights.weight(rarity, count, self.lengths[document as usize]);
                self.room.rows[row.start + clause] = weight;
                known += f64::from(weight) * times;
            }
        }
        true
    }
}
