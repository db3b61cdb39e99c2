//! Which pairs a step trains on, and what is known about them.

use std::collections::HashSet;

use samtone_data::{BatchConfig, Dataset, Pair, PairBatches, Positives};
use samtone_loss::Relations;
use samtone_text::{Key, TokenCache};

use crate::config::{ExperimentConfig, Sampler};
use crate::error::TrainError;
use crate::run::prepare::{Prepared, TokenRows, TrainSet};
use crate::run::training::{Place, not_finite};
use crate::step::engine::StepRows;

/// The batches of a run, each a pure function of its step.
pub(crate) struct Batches<'a> {
    sources: Vec<Source<'a>>,
    /// For each step, the source it draws from and how many steps drew from that one before.
    turns: Vec<(usize, u64)>,
    hard_negatives: usize,
    key: Key,
}

/// A training set and its batches.
struct Source<'a> {
    set: &'a TrainSet,
    tokens: &'a TokenRows,
    order: PairBatches,
    positives: Positives,
}

/// What a step trains on.
pub(crate) struct StepBatch {
    /// Its training set.
    source: usize,
    /// Its pairs, as indices into the set's.
    rows: Vec<usize>,
    /// Their texts.
    pub(crate) texts: StepRows,
}

impl<'a> Batches<'a> {
    /// # Errors
    /// [`TrainError::TooFewNegatives`].
    pub(crate) fn new(
        prepared: &'a Prepared,
        config: &ExperimentConfig,
    ) -> Result<Self, TrainError> {
        let train = &config.train;
        let key = Key::new(config.seed);
        let how = BatchConfig {
            batch_size: train.batch_size,
            distinct: train.sampler == Sampler::NoDuplicates,
            keep_last: false,
            bucket: train.bucket,
        };
        let sources: Vec<Source<'_>> = prepared
            .train
            .iter()
            .enumerate()
            .map(|(i, set)| {
                let tokens = prepared.train_rows(set);
                let length = |document| tokens.documents.row_len(document);
                let lengths = set.pairs.iter().map(|pair| length(pair.document)).collect();
                let key = if i == 0 { key } else { key.child("source").at(i as u64) };
                let order = PairBatches::new(&set.dataset, &set.pairs, key, how.clone());
                Source {
                    set,
                    tokens,
                    order: order.with_lengths(lengths),
                    positives: set.dataset.positives(&[&set.split]),
                }
            })
            .collect();
        let per_epoch: Vec<f64> =
            sources.iter().map(|source| source.order.per_epoch() as f64).collect();
        let steps = steps(config, per_epoch.iter().sum());
        let weights = config.data.train.weights().unwrap_or(per_epoch);
        let turns = turns(&weights, steps, key.child("turns"));
        let (hard_negatives, key) = (train.negatives(), key.child("negatives"));
        let batches = Self { sources, turns, hard_negatives, key };
        batches.check_negatives(train.batch_size)?;
        Ok(batches)
    }

    /// Checks that every row of every step finds its hard negatives, no document twice.
    fn check_negatives(&self, batch_size: usize) -> Result<(), TrainError> {
        let wanted = self.hard_negatives;
        if wanted == 0 {
            return Ok(());
        }
        // What the batches with the most relevant documents leave: most data sets have plenty.
        let is_tight: Vec<bool> = self
            .sources
            .iter()
            .map(|Source { set, positives, .. }| {
                let queries: HashSet<usize> =
                    set.pairs.iter().map(|pair| set.dataset.query_keys()[pair.query]).collect();
                let mut relevant: Vec<usize> =
                    queries.into_iter().map(|query| positives.of(query).len()).collect();
                relevant.sort_unstable_by(|a, b| b.cmp(a));
                let most: usize = relevant.iter().take(batch_size).sum();
                distinct_documents(set).count() < most + wanted
            })
            .collect();
        for (step, &(index, turn)) in self.turns.iter().enumerate() {
            if !is_tight[index] {
                continue;
            }
            let Source { set, order, positives, .. } = &self.sources[index];
            let relevant = relevant(set, positives, &order.batch(turn));
            let free = distinct_documents(set).filter(|key| !relevant.contains(key)).count();
            if free < wanted {
                return Err(TrainError::TooFewNegatives { wanted, step, available: free });
            }
        }
        Ok(())
    }

    /// Steps of the whole run.
    pub(crate) fn steps(&self) -> usize {
        self.turns.len()
    }

    /// What `step` trains on.
    pub(crate) fn at(&self, step: usize) -> StepBatch {
        let (index, turn) = self.turns[step];
        let source = &self.sources[index];
        let Source { set, tokens, positives, .. } = source;
        let rows = source.order.batch(turn);
        let pairs = || rows.iter().map(|&row| &set.pairs[row]);
        let query_keys: Vec<usize> =
            pairs().map(|pair| set.dataset.query_keys()[pair.query]).collect();
        let document_keys: Vec<usize> =
            pairs().map(|pair| set.dataset.document_keys()[pair.document]).collect();
        let known = positives.known(&query_keys, &document_keys);
        let key = self.key.at(index as u64).at(step as u64);
        let negatives = choose_negatives(set, positives, &rows, self.hard_negatives, key);
        let negative_key = |negative: &Negative| set.dataset.document_keys()[negative.document];
        let hard_negative_ids = negatives.iter().map(|n| negative_key(n) as u64).collect();
        let teacher = if self.hard_negatives > 0 && pairs().any(|pair| !pair.scores.is_empty()) {
            let scores = pairs().zip(negatives.chunks(self.hard_negatives));
            scores
                .flat_map(|(pair, negatives)| {
                    let own = pair.scores.first().copied().unwrap_or(f64::NAN);
                    std::iter::once(own).chain(negatives.iter().map(|negative| negative.score))
                })
                .collect()
        } else {
            Vec::new()
        };
        let ids = |keys: Vec<usize>| Some(keys.into_iter().map(|key| key as u64).collect());
        let rows_of = |cache: &TokenCache, indices: &mut dyn Iterator<Item = usize>| {
            indices.map(|index| cache.row(index)).collect()
        };
        let texts = StepRows {
            queries: rows_of(&tokens.queries, &mut pairs().map(|pair| pair.query)),
            documents: rows_of(&tokens.documents, &mut pairs().map(|pair| pair.document)),
            hard_negatives: rows_of(&tokens.documents, &mut negatives.iter().map(|n| n.document)),
            relations: Relations {
                query_ids: ids(query_keys),
                document_ids: ids(document_keys),
                hard_negative_ids: Some(hard_negative_ids).filter(|ids: &Vec<u64>| !ids.is_empty()),
                known,
            },
            teacher,
        };
        StepBatch { source: index, rows, texts }
    }

    /// The first `count` pairs of the first step with their hard negatives, and the data that they are of.
    pub(crate) fn first_rows(&self, count: usize) -> (&Dataset, Vec<(&Pair, Vec<usize>)>) {
        let (index, turn) = self.turns[0];
        let Source { set, order, positives, .. } = &self.sources[index];
        let rows = order.batch(turn);
        let (wanted, key) = (self.hard_negatives, self.key.at(index as u64).at(0));
        let negatives = choose_negatives(set, positives, &rows, wanted, key);
        let negatives: Vec<usize> =
            negatives.into_iter().map(|negative| negative.document).collect();
        let own = |place: usize| negatives[place * wanted..(place + 1) * wanted].to_vec();
        let pairs = rows.iter().take(count).enumerate();
        (&*set.dataset, pairs.map(|(place, &row)| (&set.pairs[row], own(place))).collect())
    }

    /// The error for a batch that gave no finite number, its ids saved in `place`.
    pub(crate) fn save_not_finite(
        &self,
        step: usize,
        what: String,
        batch: &StepBatch,
        place: &Place<'_>,
    ) -> TrainError {
        let TrainSet { dataset, pairs, .. } = self.sources[batch.source].set;
        let ids: Vec<[&str; 2]> = batch
            .rows
            .iter()
            .map(|&row| {
                let pair = &pairs[row];
                [&*dataset.queries()[pair.query].id, dataset.document(pair.document).id]
            })
            .collect();
        not_finite(place, step, what, &ids)
    }
}

/// A hard negative of a row.
struct Negative {
    /// Index of the document.
    document: usize,
    /// The teacher's score; not a number where there is none.
    score: f64,
}

/// How often a random document is drawn until one may be taken.
const DRAWS: u64 = 100;

/// The documents of `set`, copies aside, each by its key.
fn distinct_documents(set: &TrainSet) -> impl Iterator<Item = usize> {
    let keys = set.dataset.document_keys().iter().enumerate();
    keys.filter(|(document, key)| document == *key).map(|(document, _)| document)
}

/// The keys of all documents that are known to be relevant to a query of `rows`.
fn relevant(set: &TrainSet, positives: &Positives, rows: &[usize]) -> HashSet<usize> {
    let queries = rows.iter().map(|&row| set.dataset.query_keys()[set.pairs[row].query]);
    queries.flat_map(|query| positives.of(query)).copied().collect()
}

/// `wanted` negatives for each of `rows`, row by row: of the row's own, in random order, then random
/// documents. None is known to be relevant to a query of the batch, and none is in a row twice; there
/// are enough, as [`Batches::check_negatives`] found.
fn choose_negatives(
    set: &TrainSet,
    positives: &Positives,
    rows: &[usize],
    wanted: usize,
    key: Key,
) -> Vec<Negative> {
    if wanted == 0 {
        return Vec::new();
    }
    let TrainSet { dataset, pairs, .. } = set;
    let relevant = relevant(set, positives, rows);
    let mut chosen = Vec::with_capacity(rows.len() * wanted);
    for (place, &row) in rows.iter().enumerate() {
        let pair = &pairs[row];
        let key = key.at(place as u64);
        // What may no longer be taken: the relevant, and what the row has.
        let mut taken = HashSet::new();
        let mut is_new = |document: usize| {
            let document = dataset.document_keys()[document];
            !relevant.contains(&document) && taken.insert(document)
        };
        let own = key.child("own").permutation(pair.negatives.len()).into_iter();
        let own = own.filter(|&i| is_new(pair.negatives[i])).take(wanted);
        let score = |i: usize| pair.scores.get(i + 1).copied().unwrap_or(f64::NAN);
        let start = chosen.len();
        chosen.extend(own.map(|i| Negative { document: pair.negatives[i], score: score(i) }));
        for missing in chosen.len() - start..wanted {
            let key = key.child("random").at(missing as u64);
            let draw = |i| key.below(i, dataset.documents().len());
            // Where so many are taken that chance misses the others, they are gone through.
            let document = (0..DRAWS)
                .map(draw)
                .chain(0..dataset.documents().len())
                .find(|&document| is_new(document))
                .expect("there are enough documents, as was checked");
            chosen.push(Negative { document, score: f64::NAN });
        }
    }
    chosen
}

/// Steps of a run whose sources have `per_epoch` batches together.
#[expect(clippy::cast_sign_loss, reason = "the number is at least 1")]
fn steps(config: &ExperimentConfig, per_epoch: f64) -> usize {
    config.train.steps.unwrap_or_else(|| {
        let epochs = config.train.epochs.unwrap_or(1.0);
        (epochs * per_epoch).round().max(1.0) as usize
    })
}

/// Draws a source for each step by weight; each has its count of earlier draws beside it. A longer
/// run begins with the turns of a shorter one.
fn turns(weights: &[f64], steps: usize, key: Key) -> Vec<(usize, u64)> {
    let total: f64 = weights.iter().sum();
    let mut drawn = vec![0; weights.len()];
    (0..steps as u64)
        .map(|step| {
            let mut left = key.unit(step) * total;
            let source = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let source = source.unwrap_or(weights.len() - 1);
            drawn[source] += 1;
            (source, drawn[source] - 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn set(path: &Path) -> TrainSet {
        let dataset = Dataset::load_pairs(path, "train").unwrap();
        let pairs = dataset.pairs("train");
        let (path, split) = (path.to_owned(), "train".to_owned());
        TrainSet { source: 0, path, split, dataset: Arc::new(dataset), pairs }
    }

    #[test]
    fn negatives_are_the_rows_own_then_random_and_never_known_to_be_relevant() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        let line = |query: &str, positive: &str, negatives: &[&str]| {
            let scores: Vec<f64> = (0..=negatives.len()).map(|i| i as f64).collect();
            let line = serde_json::json!({
                "query": query, "positive": positive, "negatives": negatives, "scores": scores,
            });
            format!("{line}\n")
        };
        // Documents in the order of their first place: a, n1, n2, n3, b, c, d.
        let text = [
            line("qa", "a", &["n1", "n2", "n3"]),
            line("qb", "b", &["a", "n1"]),
            line("qc", "c", &[]),
            line("qb", "d", &[]),
        ];
        std::fs::write(&path, text.concat()).unwrap();
        let set = set(&path);
        let positives = set.dataset.positives(&["train"]);
        let choose = |step| {
            let chosen = choose_negatives(&set, &positives, &[0, 1, 2], 2, Key::new(3).at(step));
            let pairs = chosen.into_iter().map(|n| (n.document, n.score)).collect::<Vec<_>>();
            pairs.chunks(2).map(<[_]>::to_vec).collect::<Vec<_>>()
        };
        let mut first_rows = HashSet::new();
        for step in 0..50 {
            let rows = choose(step);
            // Row 0: two of its three, each with its teacher's score.
            assert!(rows[0].iter().all(|&(d, score)| (1..=3).contains(&d) && score == d as f64));
            assert_ne!(rows[0][0].0, rows[0][1].0);
            first_rows.insert([rows[0][0].0, rows[0][1].0]);
            // Row 1: `a` is relevant to row 0's query, so one of its own is left.
            assert_eq!(rows[1][0], (1, 2.0));
            assert_ne!(rows[1][1].0, 1, "none is in a row twice");
            // What was filled up is relevant to no query of the batch: d is to qb.
            for &(document, score) in rows[2].iter().chain(&rows[1][1..]) {
                assert!((1..=3).contains(&document) && score.is_nan(), "{document}");
            }
        }
        assert_eq!(first_rows.len(), 6, "the choice varies with the step");
        assert_eq!(format!("{:?}", choose(7)), format!("{:?}", choose(7)));
    }

    #[test]
    fn all_that_is_left_is_found_however_rare_and_copies_are_one_document() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        // 300 rows of one query: two documents are not relevant to it, one of them there twice.
        let row = |positive: &str| format!("{{\"query\":\"q\",\"positive\":\"{positive}\"}}\n");
        let mut text: String = (0..300).map(|i| row(&format!("p{i}"))).collect();
        text += "{\"query\":\"q\",\"positive\":\"p0\",\"negatives\":[\"n1\",\" N1 \",\"n2\"]}\n";
        std::fs::write(&path, text).unwrap();
        let set = set(&path);
        let positives = set.dataset.positives(&["train"]);
        for step in 0..20 {
            let chosen = choose_negatives(&set, &positives, &[0], 2, Key::new(5).at(step));
            let keys: HashSet<usize> =
                chosen.iter().map(|n| set.dataset.document_keys()[n.document]).collect();
            assert_eq!(keys, HashSet::from([300, 302]));
        }
    }

    #[test]
    fn sources_take_turns_by_weight_and_each_goes_through_its_own_batches() {
        let turns_of = |steps| turns(&[3.0, 1.0], steps, Key::new(1));
        let drawn = turns_of(4000);
        let first = drawn.iter().filter(|(source, _)| *source == 0).count();
        assert!((2900..3100).contains(&first), "{first}");
        for source in 0..2 {
            let own = drawn.iter().filter(|(s, _)| *s == source).map(|(_, turn)| *turn);
            assert!(own.enumerate().all(|(i, turn)| i as u64 == turn));
        }
        assert_eq!(turns_of(100), drawn[..100]);
    }
}
