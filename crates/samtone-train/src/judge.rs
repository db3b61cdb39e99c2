//! Judging a model on a split: encode, search, score.

use burn::tensor::backend::Backend;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::{Convention, EvalError, Hit, Metric, Qrels, Run, Similarity, evaluate, top_k};
use samtone_model::{Retriever, Side};

use crate::config::EvalConfig;
use crate::prepare::{TestSet, TokenRows};
use crate::summary::Metrics;

/// The metrics of `config` for `retriever` on `set`.
///
/// # Errors
/// A metric that cannot be computed, or embeddings that are not finite.
pub(crate) fn judge<B: Backend>(
    retriever: &Retriever<B>,
    set: &TestSet<'_>,
    rows: &TokenRows,
    config: &EvalConfig,
) -> Result<Metrics, EvalError> {
    let embed = |side, rows: &[Vec<u32>]| {
        let batch_tokens = config.batch_size * retriever.max_tokens(side);
        retriever.encode_tokens(side, rows, batch_tokens)
    };
    let queries: Vec<Vec<u32>> =
        set.queries.iter().map(|&query| rows.queries[query].clone()).collect();
    let queries = embed(Side::Query, &queries);
    let documents = embed(Side::Document, &rows.documents);
    let similarity = Similarity::Cosine;
    let hits = top_k(&queries, &documents, retriever.dim(), config.top_k, similarity)?;
    score(set, &hits, config)
}

/// The metrics of `config` for BM25 (k1 = 0.9, b = 0.4) on `set`.
///
/// # Errors
/// A metric that cannot be computed.
pub(crate) fn judge_bm25(set: &TestSet<'_>, config: &EvalConfig) -> Result<Metrics, EvalError> {
    let passages = set.dataset.documents().iter().map(|document| document.passage(set.text));
    let index = Bm25::build(passages, Analyzer::default(), Bm25Config::default());
    let queries = set.queries.iter().map(|&query| &set.dataset.queries()[query].text);
    let hits: Vec<_> = queries.map(|text| index.search(text, config.top_k)).collect();
    score(set, &hits, config)
}

fn score(set: &TestSet<'_>, hits: &[Vec<Hit>], config: &EvalConfig) -> Result<Metrics, EvalError> {
    let metrics: Vec<Metric> =
        config.metrics.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let queries: Vec<&str> =
        set.queries.iter().map(|&query| set.dataset.queries()[query].id.as_str()).collect();
    let documents: Vec<&str> =
        set.dataset.documents().iter().map(|document| document.id.as_str()).collect();
    let run = Run::from_hits(&queries, &documents, hits)?;
    let qrels = Qrels::new(set.dataset.qrels(set.split))?;
    let evaluation = evaluate(&qrels, &run, &metrics, Convention::default())?;
    Ok(metrics
        .iter()
        .zip(evaluation.means())
        .map(|(metric, &mean)| (metric.to_string(), mean))
        .collect())
}
