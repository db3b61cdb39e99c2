//! What a run trains on, to be looked at: sizes, lengths, findings, and pairs as the model sees them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use burn::tensor::backend::Backend;
use samtone_data::lint::{Leakage, LintOptions, LintReport, TestSet as LintedSet, lint};
use samtone_data::{Dataset, Pair};
use samtone_model::{ModelError, Retriever, Side};
use serde::{Deserialize, Serialize};

use crate::config::ExperimentConfig;
use crate::error::TrainError;
use crate::run::batches::Batches;
use crate::run::identity::data_sum;
use crate::run::prepare::{Prepared, TestSet, TokenRows, TrainSet};
use crate::run::run_folder::RunFolder;

/// `data.json` of a run folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// What is trained on.
    pub train: Vec<TrainedSet>,
    /// What is judged on: the dev set, the test set, the zero-shot sets.
    pub judged: Vec<JudgedSet>,
    /// Hard negatives that every row of a batch takes.
    pub negatives: usize,
    /// The first rows of the first step.
    pub examples: Vec<SeenPair>,
}

/// A training set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainedSet {
    /// Its path and split.
    pub name: String,
    /// Its training pairs.
    pub pairs: usize,
    /// The different queries of these.
    pub queries: usize,
    /// Its documents.
    pub documents: usize,
    /// Tokens of the pairs' queries.
    pub query_tokens: TokenLengths,
    /// Tokens of the pairs' documents.
    pub document_tokens: TokenLengths,
    /// The fewest and the most hard negatives that a pair has of its own, and their mean.
    pub own_negatives: (usize, usize, f64),
    /// What `samtone lint` finds; none of a set of more than 100,000 texts, where it would take minutes.
    pub findings: Option<Findings>,
}

/// Lengths in tokens, prompts and special tokens among them, after the cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenLengths {
    /// Half of the texts have no more.
    pub p50: usize,
    /// 90 % of the texts have no more.
    pub p90: usize,
    /// 99 % of the texts have no more.
    pub p99: usize,
    /// The longest.
    pub max: usize,
    /// The limit.
    pub limit: usize,
    /// The share of texts that fill the limit, in `[0, 1]`: they are cut, or just as long.
    pub filled: f64,
}

/// What a check of a training set found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// How often each kind occurs, by the names that `samtone lint --deny` takes.
    pub counts: BTreeMap<String, usize>,
    /// Ids of a few of each kind.
    pub examples: BTreeMap<String, Vec<String>>,
    /// What of each judged set is in the training set.
    pub leaks: Vec<Leak>,
    /// Pairs of rows with the same document that a random batch holds on average.
    pub same_document: f64,
}

/// What of a judged set is in a training set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The judged set.
    pub set: String,
    /// Its queries.
    pub queries: usize,
    /// Of these, those that are a training query word for word, and those that nearly are.
    pub leaked_queries: (usize, usize),
    /// Its relevant documents.
    pub documents: usize,
    /// Of these, those that are a training positive word for word, and those that nearly are.
    pub leaked_documents: (usize, usize),
}

/// A set that the run is judged on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgedSet {
    /// What it is to the run: `dev`, `test` or `zero-shot`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its split.
    pub split: String,
    /// Its judged queries.
    pub queries: usize,
    /// Its documents.
    pub documents: usize,
    /// BLAKE3 of its documents, queries and judgments, in hexadecimal; empty if not known.
    #[serde(default)]
    pub sum: String,
}

/// A row of a batch as the model sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenPair {
    /// The query.
    pub query: SeenRow,
    /// Its document.
    pub document: SeenRow,
    /// Its hard negatives.
    pub negatives: Vec<SeenRow>,
}

/// A text as the model sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenRow {
    /// Its id.
    pub id: String,
    /// Its tokens; of many, the first and the last.
    pub tokens: Vec<SeenPiece>,
    /// Tokens of the whole text.
    pub whole: usize,
    /// What is cut off; only its beginning where it is long.
    pub cut: String,
}

/// A token, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeenPiece {
    /// The text.
    Text(String),
    /// The prompt before it.
    Prompt(String),
    /// Neither: a special token.
    Special(String),
    /// So many more tokens, which are not kept.
    More(usize),
}

/// The file in a run folder.
const FILE: &str = "data.json";

/// Rows shown.
const EXAMPLES: usize = 10;

/// Hard negatives shown of a row.
const NEGATIVES: usize = 3;

/// Tokens kept of a text's beginning, and of its end.
const KEPT_TOKENS: [usize; 2] = [150, 30];

/// Characters kept of what is cut off.
const CUT_CHARS: usize = 200;

/// A set with more queries and documents is not checked.
const MOST_TEXTS: usize = 100_000;

impl DataRecord {
    /// That of the run in `folder`; none of a run that was begun before it was written.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// Writes that of the run that begins in `folder`; one that goes on has it already.
    ///
    /// # Errors
    /// A text that cannot be tokenised, [`TrainError::Write`].
    pub(crate) fn keep<B: Backend>(
        folder: &RunFolder<'_>,
        prepared: &Prepared,
        batches: &Batches<'_>,
        retriever: &Retriever<B>,
        config: &ExperimentConfig,
    ) -> Result<(), TrainError> {
        if folder.has(FILE) {
            return Ok(());
        }
        let judged = prepared.judged();
        let trained = |set| TrainedSet::new(set, prepared, &judged, retriever, config);
        let record = Self {
            train: prepared.train.iter().map(trained).collect::<Result<_, _>>()?,
            judged: judged.iter().map(|&(role, set)| JudgedSet::new(role, set)).collect(),
            negatives: config.train.negatives(),
            examples: examples(batches, retriever, config)?,
        };
        folder.write_json(FILE, &record)
    }
}

impl TrainedSet {
    fn new<B: Backend>(
        set: &TrainSet,
        prepared: &Prepared,
        judged: &[(&str, &TestSet)],
        retriever: &Retriever<B>,
        config: &ExperimentConfig,
    ) -> Result<Self, TrainError> {
        let rows = prepared.train_rows(set);
        let limit = |side| retriever.max_tokens(side);
        let own = set.pairs.iter().map(|pair| pair.negatives.len());
        let mean = own.clone().sum::<usize>() as f64 / set.pairs.len().max(1) as f64;
        Ok(Self {
            name: format!("{}, {}", set.path.display(), set.split),
            pairs: set.pairs.len(),
            queries: set.pairs.iter().map(|pair| pair.query).collect::<HashSet<_>>().len(),
            documents: set.dataset.documents().len(),
            query_tokens: lengths(rows, &set.pairs, Side::Query, limit(Side::Query)),
            document_tokens: lengths(rows, &set.pairs, Side::Document, limit(Side::Document)),
            own_negatives: (own.clone().min().unwrap_or(0), own.max().unwrap_or(0), mean),
            findings: findings(set, judged, config)?,
        })
    }
}

fn lengths(rows: &TokenRows, pairs: &[Pair], side: Side, limit: usize) -> TokenLengths {
    let length = |pair: &Pair| match side {
        Side::Query => rows.queries.row_len(pair.query),
        Side::Document => rows.documents.row_len(pair.document),
    };
    let mut lengths: Vec<usize> = pairs.iter().map(length).collect();
    lengths.sort_unstable();
    let quantile = |percent: usize| {
        let place = (lengths.len() * percent).div_ceil(100).saturating_sub(1);
        lengths.get(place).copied().unwrap_or(0)
    };
    let filled = lengths.iter().filter(|&&length| length >= limit).count();
    TokenLengths {
        p50: quantile(50),
        p90: quantile(90),
        p99: quantile(99),
        max: quantile(100),
        limit,
        filled: filled as f64 / lengths.len().max(1) as f64,
    }
}

fn findings(
    set: &TrainSet,
    judged: &[(&str, &TestSet)],
    config: &ExperimentConfig,
) -> Result<Option<Findings>, TrainError> {
    let texts = |dataset: &Dataset| dataset.documents().len() + dataset.queries().len();
    let judged_texts = judged.iter().map(|(_, judged)| texts(&judged.dataset));
    if judged_texts.chain([texts(&set.dataset)]).max() > Some(MOST_TEXTS) {
        return Ok(None);
    }
    let names: Vec<String> =
        judged.iter().map(|(role, judged)| format!("{role}: {}", judged.name)).collect();
    let tests = judged.iter().zip(&names).map(|((_, judged), name)| LintedSet {
        name,
        dataset: &judged.dataset,
        split: &judged.split,
    });
    let options = LintOptions {
        split: set.split.clone(),
        batch_sizes: vec![config.train.batch_size],
        document_text: config.data.document_text(),
        ..LintOptions::default()
    };
    Ok(Some(Findings::from(lint(&set.dataset, &options, &tests.collect::<Vec<_>>())?)))
}

impl From<LintReport> for Findings {
    fn from(report: LintReport) -> Self {
        let named = |(kind, count): (&str, usize)| (kind.to_owned(), count);
        let leak = |leak: &Leakage| Leak {
            set: leak.test.clone(),
            queries: leak.queries,
            leaked_queries: (leak.same_queries, leak.near_queries),
            documents: leak.documents,
            leaked_documents: (leak.same_documents, leak.near_documents),
        };
        Self {
            counts: report.findings().into_iter().map(named).collect(),
            leaks: report.leakage.iter().map(leak).collect(),
            same_document: report.collisions.first().map_or(0.0, |found| found.same_document),
            examples: report
                .examples
                .into_iter()
                .map(|(kind, ids)| (kind.to_owned(), ids))
                .collect(),
        }
    }
}

impl JudgedSet {
    fn new(role: &str, set: &TestSet) -> Self {
        Self {
            role: role.into(),
            name: set.name.clone(),
            split: set.split.clone(),
            queries: set.dataset.queries_of(&set.split).len(),
            documents: set.dataset.documents().len(),
            sum: data_sum(&set.dataset, &[&set.split]).to_hex().to_string(),
        }
    }
}

/// The first rows of the first step.
fn examples<B: Backend>(
    batches: &Batches<'_>,
    retriever: &Retriever<B>,
    config: &ExperimentConfig,
) -> Result<Vec<SeenPair>, TrainError> {
    let (dataset, rows) = batches.first_rows(EXAMPLES);
    let query = |at: usize| {
        let query = &dataset.queries()[at];
        seen(retriever, Side::Query, &query.id, &query.text)
    };
    let document = |at: usize| {
        let document = dataset.document(at);
        let text = document.passage(config.data.document_text());
        seen(retriever, Side::Document, document.id, &text)
    };
    let pair = |(pair, negatives): (&Pair, Vec<usize>)| {
        Ok(SeenPair {
            query: query(pair.query)?,
            document: document(pair.document)?,
            negatives: negatives
                .into_iter()
                .take(NEGATIVES)
                .map(document)
                .collect::<Result<_, _>>()?,
        })
    };
    rows.into_iter().map(pair).collect()
}

/// `text` as the model sees it on `side`.
fn seen<B: Backend>(
    retriever: &Retriever<B>,
    side: Side,
    id: &str,
    text: &str,
) -> Result<SeenRow, TrainError> {
    let prompt = retriever.prompt(side);
    let whole = format!("{prompt}{text}");
    let seen = retriever
        .tokenizer(side)
        .seen(&whole, retriever.max_tokens(side))
        .map_err(|source| ModelError::Tokenizer { source })?;
    let piece = |token: samtone_text::SeenToken| match token.start {
        None => SeenPiece::Special(token.text),
        Some(start) if start < prompt.len() => SeenPiece::Prompt(token.text),
        Some(_) => SeenPiece::Text(token.text),
    };
    Ok(SeenRow {
        id: id.into(),
        cut: whole.get(seen.end..).unwrap_or_default().trim().chars().take(CUT_CHARS).collect(),
        whole: seen.whole,
        tokens: shortened(seen.tokens.into_iter().map(piece).collect()),
    })
}

/// The first and the last of `tokens`.
fn shortened(mut tokens: Vec<SeenPiece>) -> Vec<SeenPiece> {
    let [first, last] = KEPT_TOKENS;
    if tokens.len() > first + last + 1 {
        let more = SeenPiece::More(tokens.len() - first - last);
        tokens.splice(first..tokens.len() - last, [more]);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use samtone_data::embedded::World;

    use super::*;

    #[test]
    fn of_many_tokens_the_first_and_the_last_are_kept() {
        let tokens = |from, to| (from..to).map(|n: usize| SeenPiece::Text(n.to_string()));
        let kept = shortened(tokens(0, 8192).collect());
        let expected: Vec<SeenPiece> =
            tokens(0, 150).chain([SeenPiece::More(8192 - 180)]).chain(tokens(8162, 8192)).collect();
        assert_eq!(kept, expected);
        assert_eq!(shortened(tokens(0, 181).collect()).len(), 181);
    }

    #[test]
    fn a_leak_of_the_judged_set_is_found() {
        let dataset = std::sync::Arc::new(World::generate(0, 200).dataset());
        let train = TrainSet {
            source: 0,
            path: "world".into(),
            split: "train".into(),
            pairs: dataset.pairs("train"),
            dataset: dataset.clone(),
        };
        let judged = |split: &str| TestSet {
            source: 0,
            name: "world".into(),
            dataset: dataset.clone(),
            split: split.into(),
            text: samtone_text::DocumentText::default(),
        };
        let config = ExperimentConfig::default();
        let of = |split| {
            let found = findings(&train, &[("test", &judged(split))], &config).unwrap().unwrap();
            found.leaks[0].clone()
        };
        assert_eq!(of("test").leaked_queries.0, 0);
        let same = of("train");
        assert_eq!((same.set.as_str(), same.leaked_queries.0), ("test: world", same.queries));
    }
}
