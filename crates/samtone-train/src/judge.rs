//! Judging a model on a split: encode, search, score.

use burn::tensor::backend::Backend;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::{
    Convention, EvalError, Evaluation, Hit, Metric, Qrels, Queries, Rules, Run, Similarity,
    evaluate_by, top_k,
};
use samtone_model::{Retriever, Side};

use crate::config::EvalConfig;
use crate::prepare::{TestSet, TokenRows};
use crate::summary::Metrics;

/// The metrics of `config` for `retriever` on `set`, query by query.
///
/// # Errors
/// A metric that cannot be computed, or embeddings that are not finite.
pub(crate) fn judge<B: Backend>(
    retriever: &Retriever<B>,
    set: &TestSet<'_>,
    rows: &TokenRows,
    config: &EvalConfig,
) -> Result<Evaluation, EvalError> {
    let embed = |side, rows: &[Vec<u32>]| {
        let batch_tokens = config.batch_size * retriever.max_tokens(side);
        retriever.encode_tokens(side, rows, batch_tokens)
    };
    let queries: Vec<Vec<u32>> = set.queries.iter().map(|&query| rows.queries.row(query)).collect();
    let queries = embed(Side::Query, &queries);
    let documents: Vec<Vec<u32>> =
        (0..rows.documents.len()).map(|document| rows.documents.row(document)).collect();
    let documents = embed(Side::Document, &documents);
    let similarity = Similarity::Cosine;
    let hits = top_k(&queries, &documents, retriever.dim(), config.top_k, similarity)?;
    score(set, &hits, config)
}

/// The metrics of `config` for BM25 (k1 = 0.9, b = 0.4) on `set`, query by query.
///
/// # Errors
/// A metric that cannot be computed.
pub(crate) fn judge_bm25(set: &TestSet<'_>, config: &EvalConfig) -> Result<Evaluation, EvalError> {
    let passages = set.dataset.documents().iter().map(|document| document.passage(set.text));
    let index = Bm25::build(passages, Analyzer::default(), Bm25Config::default());
    let queries = set.queries.iter().map(|&query| &set.dataset.queries()[query].text);
    let hits: Vec<_> = queries.map(|text| index.search(text, config.top_k)).collect();
    score(set, &hits, config)
}

/// Each metric's mean.
pub(crate) fn means(found: &Evaluation) -> Metrics {
    let names = found.metrics().iter().map(ToString::to_string);
    names.zip(found.means().iter().copied()).collect()
}

/// Every judged query counts, one without an answer as 0: what is compared has the same queries.
fn score(
    set: &TestSet<'_>,
    hits: &[Vec<Hit>],
    config: &EvalConfig,
) -> Result<Evaluation, EvalError> {
    let plan: Vec<(Metric, Rules)> = config
        .metrics
        .iter()
        .map(|name| {
            let metric = name.parse()?;
            let rules = Convention::default().rules(metric);
            Ok((metric, Rules { queries: Queries::Judged, ..rules }))
        })
        .collect::<Result<_, EvalError>>()?;
    let queries: Vec<&str> =
        set.queries.iter().map(|&query| set.dataset.queries()[query].id.as_str()).collect();
    let documents: Vec<&str> =
        set.dataset.documents().iter().map(|document| document.id.as_str()).collect();
    let run = Run::from_hits(&queries, &documents, hits)?;
    let qrels = Qrels::new(set.dataset.qrels(set.split))?;
    evaluate_by(&qrels, &run, &plan)
}
