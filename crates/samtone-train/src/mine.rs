//! Hard negatives: documents that rank high for a query without being relevant to it.
//!
//! A [`CandidateSource`] ranks documents for each query of the training pairs: [`Dense`] of a model,
//! [`Lexical`] search (BM25), or a [`Ranked`] run of any system. [`mine()`] passes over every document
//! known to be relevant and every copy of one, takes a range of ranks, drops what scores too near the
//! positive (it is likely relevant too), and picks from the rest. A [`Filter`] asks a second model which
//! of those picked are relevant after all.

mod source;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::str::FromStr;

use samtone_data::{Dataset, Pair};
use samtone_eval::search::Hit;
use samtone_text::{DocumentText, Key};
use serde::Serialize;

pub use source::{CandidateSource, Dense, Lexical, Ranked};

use crate::error::TrainError;

/// Pairs that are filtered at once.
const STEP: usize = 1024;

/// Which documents become negatives.
#[derive(Clone, Debug, PartialEq)]
pub struct MineConfig {
    /// The ranks they come from.
    pub ranks: Ranks,
    /// How many each pair gets, at most.
    pub count: usize,
    /// How far below the positive's score they are.
    pub margin: ScoreMargin,
    /// Which of those in range are taken.
    pub pick: Pick,
    /// For [`Pick::Random`]: which draw.
    pub seed: u64,
    /// Whether pairs with fewer than `count` negatives are left out.
    pub whole_rows: bool,
    /// What of a document will be read: one that has none of it is no negative.
    pub document_text: DocumentText,
}

impl Default for MineConfig {
    /// NV-Retriever's: the 4 best of the ranks 1 to 100 below 95 % of the positive's score.
    fn default() -> Self {
        Self {
            ranks: Ranks { first: 1, last: 100 },
            count: 4,
            margin: ScoreMargin::default(),
            pick: Pick::Top,
            seed: 0,
            whole_rows: false,
            document_text: DocumentText::TitleText,
        }
    }
}

impl MineConfig {
    /// The places of `hits` in the order in which they are taken for the pair at `row`.
    fn order(&self, hits: usize, row: usize) -> Vec<usize> {
        match self.pick {
            Pick::Random => Key::new(self.seed).child("mine").at(row as u64).permutation(hits),
            Pick::Top => (0..hits).collect(),
        }
    }
}

/// A range of ranks, counted from 1 over the documents not known to be relevant, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    first: usize,
    last: usize,
}

impl Ranks {
    /// The ranks from `first` to `last`; `None` unless `1 <= first <= last`.
    ///
    /// ```
    /// use samtone_train::mine::Ranks;
    ///
    /// assert_eq!(Ranks::new(10, 60), "10-60".parse().ok());
    /// assert_eq!(Ranks::new(0, 5), None);
    /// ```
    pub fn new(first: usize, last: usize) -> Option<Self> {
        (1 <= first && first <= last).then_some(Self { first, last })
    }
}

impl std::fmt::Display for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Ranks {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed = s.split_once('-').and_then(|(first, last)| {
            Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
        });
        parsed.ok_or("expected FIRST-LAST with 1 <= FIRST <= LAST")
    }
}

/// How far below its positive's score s⁺ a negative's score s must be.
///
/// `s <= s⁺ - absolute` and `s <= s⁺ - relative · |s⁺|`, each where it is given.
///
/// Source: Moreira et al. 2024, arXiv:2407.15831 (NV-Retriever): `relative` = 0.05 is its best,
/// TopK-PercPos at 95 %; `absolute` = 0.05 its TopK-MarginPos.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreMargin {
    /// In units of the score.
    pub absolute: Option<f64>,
    /// As a fraction of the positive's score.
    pub relative: Option<f64>,
}

impl Default for ScoreMargin {
    /// `relative` = 0.05.
    fn default() -> Self {
        Self { absolute: None, relative: Some(0.05) }
    }
}

impl ScoreMargin {
    /// Every score is low enough.
    pub const NONE: Self = Self { absolute: None, relative: None };

    /// Whether a document that scores `score` may be a negative beside a positive that scores
    /// `positive`, if it is known.
    fn keeps(self, score: f64, positive: Option<f64>) -> bool {
        let below = |limit: &dyn Fn(f64) -> f64| positive.is_some_and(|s| score <= limit(s));
        self.relative.is_none_or(|relative| below(&|s| s - relative * s.abs()))
            && self.absolute.is_none_or(|absolute| below(&|s| s - absolute))
    }
}

/// Which of the documents in range are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// The best.
    #[default]
    Top,
    /// Any, with equal chance, for each pair its own draw.
    Random,
}

/// Scores documents for queries, pairs of a query's index and a document's.
pub type ScorePairs<'a> = dyn Fn(&[(usize, usize)]) -> Result<Vec<f32>, TrainError> + 'a;

/// Drops negatives that a second model takes to be relevant: false ones.
///
/// Source: Qu et al. 2021, arXiv:2010.08191 (RocketQA), which denoises mined negatives by a
/// cross-encoder.
pub struct Filter<'a> {
    /// The second model.
    pub score: &'a ScorePairs<'a>,
    /// A document is dropped that scores more than the positive less this much.
    pub margin: f32,
    /// Is told how many pairs are done, of how many.
    pub observe: &'a dyn Fn(usize, usize),
}

impl Filter<'_> {
    /// Drops documents from each row's order until `count` are left, or all were looked at; gives how
    /// many. What is not needed is not scored.
    fn apply(&self, rows: &mut [Row], count: usize) -> Result<usize, TrainError> {
        let positives: Vec<_> =
            rows.iter().map(|row| (row.pair.query, row.pair.document)).collect();
        let positives = (self.score)(&positives)?;
        // Of each row, how many of those that come first have passed.
        let mut passed = vec![0; rows.len()];
        let mut dropped = 0;
        loop {
            let asked: Vec<(usize, Range<usize>)> = rows
                .iter()
                .zip(&passed)
                .map(|(row, &passed)| passed..row.order.len().min(count))
                .enumerate()
                .filter(|(_, range)| !range.is_empty())
                .collect();
            if asked.is_empty() {
                return Ok(dropped);
            }
            let pairs = asked.iter().flat_map(|(at, range)| {
                let row = &rows[*at];
                row.order[range.clone()]
                    .iter()
                    .map(|&place| (row.pair.query, row.hits[place].index))
            });
            let mut scores = (self.score)(&pairs.collect::<Vec<_>>())?.into_iter();
            for (at, range) in asked {
                let (start, limit) = (range.start, positives[at] - self.margin);
                let looked_at = range.len();
                let order = &mut rows[at].order;
                let scored: Vec<_> = order.drain(range).zip(scores.by_ref()).collect();
                let kept = scored.into_iter().filter(|&(_, score)| score <= limit);
                let kept: Vec<usize> = kept.map(|(place, _)| place).collect();
                dropped += looked_at - kept.len();
                passed[at] += kept.len();
                order.splice(start..start, kept);
            }
        }
    }
}

/// A pair, and what may be its negatives.
struct Row {
    pair: Pair,
    /// Best first.
    hits: Vec<Hit>,
    /// Places among the hits, in the order in which they are taken.
    order: Vec<usize>,
}

impl Row {
    /// The first `count` of the order, best first.
    fn taken(&self, count: usize) -> Vec<Hit> {
        let mut places = self.order[..self.order.len().min(count)].to_vec();
        places.sort_unstable();
        places.into_iter().map(|place| self.hits[place]).collect()
    }
}

/// Training pairs with mined negatives.
#[derive(Clone, Debug, PartialEq)]
pub struct Mined {
    /// The pairs in their order, their negatives by rank.
    pub rows: Vec<Pair>,
    /// What was found.
    pub report: MineReport,
}

/// What mining found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MineReport {
    /// Pairs mined for.
    pub pairs: usize,
    /// Pairs that came out.
    pub rows: usize,
    /// Negatives of all of them.
    pub negatives: usize,
    /// Pairs for which fewer negatives than asked for were found, those with none included.
    pub short: usize,
    /// Pairs for which none was found.
    pub without: usize,
    /// Documents in range that scored too near the positive, over all pairs.
    pub too_near: usize,
    /// Documents that the filter took to be relevant, of those that it looked at, over all pairs.
    pub false_negatives: usize,
    /// Pairs whose positive the source does not score: with a margin, they get no negative.
    pub unscored_positives: usize,
    /// The mean score of the positives that have one; absent if none has.
    pub mean_positive_score: Option<f64>,
    /// The mean score of the negatives; absent if there is none.
    pub mean_negative_score: Option<f64>,
}

/// Finds negatives for every pair of a split.
///
/// What is relevant to a query in any split that `dataset` was read with is no negative of it, nor is a
/// copy of that, nor a document that is the query's own text. Of copies of one document one at most is
/// taken. Negatives that the pairs had before are not kept.
///
/// # Errors
/// What `source` fails with.
///
/// # Examples
///
/// ```
/// use samtone_data::embedded::World;
/// use samtone_eval::bm25::{Analyzer, Bm25Config};
/// use samtone_train::mine::{Lexical, MineConfig, mine};
///
/// let dataset = World::generate(0, 200).dataset();
/// let config = MineConfig { count: 2, ..MineConfig::default() };
/// let bm25 =
///     Lexical::new(&dataset, config.document_text, Analyzer::default(), Bm25Config::default());
/// let mined = mine(&dataset, "train", &bm25, &config)?;
/// assert!(mined.rows.iter().all(|row| row.negatives.len() <= 2));
/// # Ok::<(), samtone_train::TrainError>(())
/// ```
pub fn mine(
    dataset: &Dataset,
    split: &str,
    source: &impl CandidateSource,
    config: &MineConfig,
) -> Result<Mined, TrainError> {
    mine_filtered(dataset, split, source, config, None)
}

/// As [`mine()`], without what `filter` drops: `config.count` are taken of the rest.
///
/// # Errors
/// What `source` or `filter` fails with.
pub fn mine_filtered(
    dataset: &Dataset,
    split: &str,
    source: &impl CandidateSource,
    config: &MineConfig,
    filter: Option<&Filter<'_>>,
) -> Result<Mined, TrainError> {
    let pairs = dataset.pairs(split);
    let known = Known::new(dataset);
    let mut seen = HashSet::new();
    let queries: Vec<usize> =
        pairs.iter().map(|pair| pair.query).filter(|&query| seen.insert(query)).collect();
    // Deep enough that `last` documents are left when all that may be passed over is.
    let passed = queries.iter().map(|&query| known.relevant(query)).max().unwrap_or(0);
    let depth = config.ranks.last.saturating_add(passed).min(dataset.documents().len());
    let found = source.search(&queries, depth)?;
    let found: HashMap<usize, Vec<Hit>> = queries.into_iter().zip(found).collect();

    let mut report = MineReport { pairs: pairs.len(), ..MineReport::default() };
    let (mut positive_scores, mut negative_scores) = (Mean::default(), Mean::default());
    let mut rows = Vec::with_capacity(pairs.len());
    for (step, some) in pairs.chunks(STEP).enumerate() {
        let mut candidates = Vec::with_capacity(some.len());
        for (at, pair) in some.iter().enumerate() {
            let hits = &found[&pair.query];
            let own = hits.iter().find(|hit| hit.index == pair.document).map(|hit| hit.score);
            let positive = own.or_else(|| source.score(pair.query, pair.document)).map(f64::from);
            match positive {
                Some(score) => positive_scores.add(score),
                None => report.unscored_positives += 1,
            }
            let mut hits = known.range(pair, hits, config);
            let reached = hits.len();
            hits.retain(|hit| config.margin.keeps(f64::from(hit.score), positive));
            if positive.is_some() {
                report.too_near += reached - hits.len();
            }
            let order = config.order(hits.len(), step * STEP + at);
            candidates.push(Row { pair: pair.clone(), hits, order });
        }
        if let Some(filter) = filter {
            report.false_negatives += filter.apply(&mut candidates, config.count)?;
            (filter.observe)(step * STEP + some.len(), pairs.len());
        }
        for row in candidates {
            let left = row.taken(config.count);
            report.short += usize::from(left.len() < config.count);
            report.without += usize::from(left.is_empty());
            if config.whole_rows && left.len() < config.count {
                continue;
            }
            for hit in &left {
                negative_scores.add(f64::from(hit.score));
            }
            let negatives = left.iter().map(|hit| hit.index).collect();
            // A teacher's scores were of other negatives.
            rows.push(Pair { negatives, scores: Vec::new(), ..row.pair });
        }
    }
    report.rows = rows.len();
    report.negatives = negative_scores.count;
    report.mean_positive_score = positive_scores.mean();
    report.mean_negative_score = negative_scores.mean();
    Ok(Mined { rows, report })
}

/// What is known of the documents of a data set.
struct Known<'a> {
    dataset: &'a Dataset,
    positives: samtone_data::Positives,
    /// How many documents share a key, by the key.
    copies: Vec<u32>,
}

impl<'a> Known<'a> {
    fn new(dataset: &'a Dataset) -> Self {
        let splits: Vec<&str> = dataset.split_names().collect();
        let mut copies = vec![0; dataset.documents().len()];
        for &key in dataset.document_keys() {
            copies[key] += 1;
        }
        Self { dataset, positives: dataset.positives(&splits), copies }
    }

    /// How many documents are relevant to a query, copies included.
    fn relevant(&self, query: usize) -> usize {
        let keys = self.positives.of(self.dataset.query_keys()[query]);
        keys.iter().map(|&key| self.copies[key] as usize).sum()
    }

    /// The hits that may be negatives of `pair` and stand in the range of ranks, best first.
    fn range(&self, pair: &Pair, hits: &[Hit], config: &MineConfig) -> Vec<Hit> {
        let query = self.dataset.query_keys()[pair.query];
        let keys = self.dataset.document_keys();
        let text = self.dataset.queries()[pair.query].text.trim();
        let others = hits.iter().filter(|hit| !self.positives.contains(query, keys[hit.index]));
        let ranked = others.skip(config.ranks.first - 1);
        let ranked = ranked.take(config.ranks.last - config.ranks.first + 1);
        let mut taken = HashSet::new();
        let readable = |hit: &&Hit| {
            let passage = self.dataset.document(hit.index).passage(config.document_text);
            !passage.is_empty() && *passage != *text
        };
        ranked.filter(readable).filter(|hit| taken.insert(keys[hit.index])).copied().collect()
    }
}

/// A mean in the making.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests;
