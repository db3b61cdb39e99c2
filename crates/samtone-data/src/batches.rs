//! Which rows make which batch.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use samtone_text::Key;

use crate::dataset::Dataset;
use crate::record::Pair;

/// How rows are gathered into batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Rows of a batch.
    pub batch_size: usize,
    /// Keeps two rows with the same query or the same document out of one batch, where that is
    /// possible.
    pub distinct: bool,
    /// Whether an epoch ends with a smaller batch, or leaves its last rows out.
    pub keep_last: bool,
    /// Sorts rows by length within windows of this many batches, so that a batch needs little
    /// padding; 0 and 1 sort nothing.
    pub bucket: usize,
}

impl BatchConfig {
    /// Distinct rows, no smaller last batch, no sorting.
    pub fn new(batch_size: usize) -> Self {
        Self { batch_size, distinct: true, keep_last: false, bucket: 0 }
    }
}

/// The batches of a training run: a pure function of the seed and the step.
///
/// Every epoch orders the rows anew and uses each once, but for the last `rows % batch_size` unless
/// `keep_last`. A run is resumed at any step by asking for that step.
///
/// # Examples
///
/// ```
/// use samtone_data::{BatchConfig, PairBatches};
/// use samtone_data::embedded::World;
/// use samtone_text::Key;
///
/// let dataset = World::generate(0, 500).dataset();
/// let pairs = dataset.pairs("train");
/// let batches = PairBatches::new(&dataset, &pairs, Key::new(0), BatchConfig::new(32));
/// assert_eq!(batches.batch(7), batches.batch(7));
/// assert_eq!(batches.batch(7).len(), 32);
/// ```
#[derive(Debug)]
pub struct PairBatches {
    rows: Vec<(usize, usize)>,
    lengths: Vec<usize>,
    key: Key,
    config: BatchConfig,
    /// The plan of the epoch asked for last: a cache, never a state.
    latest: Mutex<Option<(u64, Arc<Plan>)>>,
}

type Plan = Vec<Vec<usize>>;

/// How far ahead a batch looks for rows that fit, and how often a clash is tried to be swapped away, in
/// batches.
const PATIENCE: usize = 32;

impl PairBatches {
    /// The batches of these pairs of `dataset`. Rows are told apart by the data set's keys: a copy of a
    /// document under another id is the same document.
    ///
    /// # Panics
    /// If there is no pair or the batch size is 0.
    pub fn new(dataset: &Dataset, pairs: &[Pair], key: Key, config: BatchConfig) -> Self {
        assert!(!pairs.is_empty(), "batches need at least one pair");
        assert!(config.batch_size > 0, "a batch needs at least one row");
        let (queries, documents) = (dataset.query_keys(), dataset.document_keys());
        let rows = pairs.iter().map(|pair| (queries[pair.query], documents[pair.document]));
        Self {
            rows: rows.collect(),
            lengths: Vec::new(),
            key: key.child("batches"),
            config,
            latest: Mutex::new(None),
        }
    }

    /// Gives each row a length, in tokens, for [`BatchConfig::bucket`] to sort by.
    ///
    /// # Panics
    /// If there is not one length per pair.
    #[must_use]
    pub fn with_lengths(mut self, lengths: Vec<usize>) -> Self {
        assert_eq!(lengths.len(), self.rows.len(), "one length per pair");
        self.lengths = lengths;
        self.latest = Mutex::new(None);
        self
    }

    /// Batches in one pass over the rows; 1 if there are fewer rows than a batch holds.
    pub fn per_epoch(&self) -> u64 {
        let (rows, size) = (self.rows.len(), self.config.batch_size);
        let batches = if self.config.keep_last { rows.div_ceil(size) } else { rows / size };
        batches.max(1) as u64
    }

    /// The rows of the batch at `step` (from 0), as indices into the pairs.
    pub fn batch(&self, step: u64) -> Vec<usize> {
        let (epoch, index) = (step / self.per_epoch(), step % self.per_epoch());
        self.plan(epoch)[index as usize].clone()
    }

    fn plan(&self, epoch: u64) -> Arc<Plan> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((planned, plan)) if *planned == epoch => Arc::clone(plan),
            _ => {
                let plan = Arc::new(self.make_plan(self.key.at(epoch)));
                *latest = Some((epoch, Arc::clone(&plan)));
                plan
            }
        }
    }

    fn make_plan(&self, key: Key) -> Plan {
        let size = self.config.batch_size.min(self.rows.len());
        let mut order = key.child("rows").permutation(self.rows.len());
        let sorted = self.config.bucket > 1 && !self.lengths.is_empty();
        if sorted {
            for window in order.chunks_mut(self.config.bucket * size) {
                window.sort_by_key(|&row| self.lengths[row]);
            }
        }
        let mut plan = if self.config.distinct {
            self.fill_distinct(order, size, key.child("swaps"))
        } else {
            let batches = self.per_epoch() as usize;
            order.chunks(size).take(batches).map(<[usize]>::to_vec).collect()
        };
        if sorted {
            // Training should not go from short to long: whole batches change places.
            let full = plan.iter().take_while(|batch| batch.len() == size).count();
            let places = key.child("places").permutation(full);
            let mut shuffled: Plan = places.iter().map(|&i| std::mem::take(&mut plan[i])).collect();
            shuffled.extend(plan.drain(full..));
            plan = shuffled;
        }
        plan
    }

    /// Fills batches in order, leaving a row that clashes for a later one.
    fn fill_distinct(&self, order: Vec<usize>, size: usize, key: Key) -> Plan {
        let mut left = order.len();
        let mut fresh = order.into_iter();
        let mut deferred: VecDeque<usize> = VecDeque::new();
        let mut plan: Plan = Vec::new();
        let mut clashes = Vec::new();
        for index in 0..self.per_epoch() as usize {
            let size = size.min(left);
            left -= size;
            let mut batch = Batch::default();
            for _ in 0..deferred.len().min(PATIENCE * size) {
                if batch.rows.len() == size {
                    break;
                }
                let Some(row) = deferred.pop_front() else { break };
                if !batch.add(row, self.rows[row]) {
                    deferred.push_back(row);
                }
            }
            let mut patience = PATIENCE * size;
            while batch.rows.len() < size && patience > 0 {
                let Some(row) = fresh.next() else { break };
                patience -= 1;
                if !batch.add(row, self.rows[row]) {
                    deferred.push_back(row);
                }
            }
            while batch.rows.len() < size {
                let Some(row) = deferred.pop_front().or_else(|| fresh.next()) else { break };
                clashes.push((index, batch.rows.len()));
                batch.rows.push(row);
            }
            plan.push(batch.rows);
        }
        self.swap_clashes_away(&mut plan, &clashes, key);
        plan
    }

    /// Exchanges rows that clash for rows of other batches, where both then fit.
    fn swap_clashes_away(&self, plan: &mut Plan, clashes: &[(usize, usize)], key: Key) {
        let fits = |plan: &Plan, row: usize, batch: usize, place: usize| {
            let (query, document) = self.rows[row];
            plan[batch].iter().enumerate().all(|(i, &other)| {
                i == place || (self.rows[other].0 != query && self.rows[other].1 != document)
            })
        };
        let mut tries = 0..(PATIENCE * plan.len()) as u64;
        for &(batch, place) in clashes {
            for t in tries.by_ref().take(PATIENCE) {
                let row = plan[batch][place];
                if fits(plan, row, batch, place) {
                    break;
                }
                let other = key.below(2 * t, plan.len());
                let other_place = key.below(2 * t + 1, plan[other].len());
                let other_row = plan[other][other_place];
                if other != batch
                    && fits(plan, row, other, other_place)
                    && fits(plan, other_row, batch, place)
                {
                    plan[batch][place] = other_row;
                    plan[other][other_place] = row;
                    break;
                }
            }
        }
    }
}

/// A batch being filled.
#[derive(Default)]
struct Batch {
    rows: Vec<usize>,
    queries: HashSet<usize>,
    documents: HashSet<usize>,
}

impl Batch {
    /// Adds a row unless its query or document is there already.
    fn add(&mut self, row: usize, (query, document): (usize, usize)) -> bool {
        if self.queries.contains(&query) || self.documents.contains(&document) {
            return false;
        }
        self.queries.insert(query);
        self.documents.insert(document);
        self.rows.push(row);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batches(rows: Vec<(usize, usize)>, config: BatchConfig) -> PairBatches {
        PairBatches {
            rows,
            lengths: Vec::new(),
            key: Key::new(1),
            config,
            latest: Mutex::new(None),
        }
    }

    fn is_distinct(batches: &PairBatches, batch: &[usize]) -> bool {
        let queries: HashSet<_> = batch.iter().map(|&row| batches.rows[row].0).collect();
        let documents: HashSet<_> = batch.iter().map(|&row| batches.rows[row].1).collect();
        queries.len() == batch.len() && documents.len() == batch.len()
    }

    #[test]
    fn a_step_is_the_same_whatever_was_asked_before() {
        let rows: Vec<_> = (0..100).map(|i| (i, i / 3)).collect();
        let one = batches(rows.clone(), BatchConfig::new(8));
        let other = batches(rows, BatchConfig::new(8));
        let forward: Vec<_> = (0..40).map(|step| one.batch(step)).collect();
        let mut backward: Vec<_> = (0..40).rev().map(|step| other.batch(step)).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_ne!(forward[0], forward[12], "a new epoch, a new order");
    }

    #[test]
    fn copies_are_kept_apart_where_there_is_room() {
        // 40 documents asked for 6 times each, in batches of 40: every batch must hold each once.
        let rows: Vec<_> = (0..240).map(|i| (i, i % 40)).collect();
        let batches = batches(rows, BatchConfig::new(40));
        for step in 0..12 {
            assert!(is_distinct(&batches, &batches.batch(step)), "step {step}");
        }
    }

    #[test]
    fn copies_share_a_batch_where_there_is_no_room() {
        let batches = batches((0..12).map(|i| (i, 0)).collect(), BatchConfig::new(4));
        assert_eq!(batches.per_epoch(), 3);
        assert_eq!(batches.batch(0).len(), 4);
    }

    #[test]
    fn a_set_smaller_than_a_batch_is_one_batch() {
        let batches = batches((0..5).map(|i| (i, i)).collect(), BatchConfig::new(64));
        assert_eq!(batches.per_epoch(), 1);
        assert_eq!(batches.batch(3).len(), 5);
    }

    #[test]
    fn buckets_need_less_padding() {
        let rows: Vec<_> = (0..1000).map(|i| (i, i)).collect();
        let lengths: Vec<_> = (0..1000_usize).map(|i| 5 + (i * 7919) % 97).collect();
        let padded = |bucket| {
            let config = BatchConfig { bucket, ..BatchConfig::new(20) };
            let batches = batches(rows.clone(), config).with_lengths(lengths.clone());
            let longest = |batch: Vec<usize>| batch.iter().map(|&row| lengths[row]).max().unwrap();
            (0..50).map(|step| 20 * longest(batches.batch(step))).sum::<usize>()
        };
        assert!(padded(10) * 10 < padded(0) * 7, "{} against {}", padded(10), padded(0));
    }

    proptest! {
        #[test]
        fn an_epoch_uses_each_row_once(
            rows in prop::collection::vec((0_usize..30, 0_usize..20), 1..200),
            batch_size in 1_usize..20,
            distinct: bool,
            keep_last: bool,
            bucket in 0_usize..4,
        ) {
            let count = rows.len();
            let config = BatchConfig { batch_size, distinct, keep_last, bucket };
            let lengths = rows.iter().map(|row| row.0).collect();
            let batches = batches(rows, config).with_lengths(lengths);
            let per_epoch = batches.per_epoch();
            for epoch in 0..2 {
                let steps = epoch * per_epoch..(epoch + 1) * per_epoch;
                let used: Vec<usize> = steps.flat_map(|step| batches.batch(step)).collect();
                let unique: HashSet<_> = used.iter().collect();
                prop_assert_eq!(unique.len(), used.len());
                let expected =
                    if keep_last || count < batch_size { count } else { count - count % batch_size };
                prop_assert_eq!(used.len(), expected);
            }
        }
    }
}
