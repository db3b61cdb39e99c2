//! Judging a model on a split: encode, search, score.

use burn::tensor::backend::Backend;
use samtone_data::TokenBatch;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::{Convention, EvalError, Hit, Metric, Qrels, Run, evaluate};
use samtone_model::{DualEncoder, Side};

use crate::config::EvalConfig;
use crate::prepare::{TestSet, TokenRows};
use crate::summary::Metrics;

/// Embeds `rows` of one side, in their order: `[rows, dim]`, row-major.
///
/// Rows of like length are encoded together, so that little padding is computed.
pub fn embed<B: Backend>(
    model: &DualEncoder<B>,
    side: Side,
    rows: &[&[u32]],
    batch_size: usize,
    pad_id: u32,
) -> Vec<f32> {
    let dim = model.config().dim();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&row| rows[row].len());
    let mut embeddings = vec![0.0; rows.len() * dim];
    for chunk in order.chunks(batch_size) {
        let texts: Vec<&[u32]> = chunk.iter().map(|&row| rows[row]).collect();
        let encoded = model.encode(side, &TokenBatch::pad(&texts, pad_id), None).into_data();
        let mut values = encoded.iter::<f32>();
        for &row in chunk {
            for slot in &mut embeddings[row * dim..][..dim] {
                *slot = values.next().expect("the model returns dim values a text");
            }
        }
    }
    embeddings
}

/// The metrics of `config` for `model` on `set`.
///
/// # Errors
/// A metric that cannot be computed, or embeddings that are not finite.
pub(crate) fn judge<B: Backend>(
    model: &DualEncoder<B>,
    set: &TestSet<'_>,
    rows: &TokenRows,
    config: &EvalConfig,
    pad_id: u32,
) -> Result<Metrics, EvalError> {
    let queries: Vec<&[u32]> = set.queries.iter().map(|&query| rows.queries.get(query)).collect();
    let documents: Vec<&[u32]> = rows.documents.iter().collect();
    let queries = embed(model, Side::Query, &queries, config.batch_size, pad_id);
    let documents = embed(model, Side::Document, &documents, config.batch_size, pad_id);
    let dim = model.config().dim();
    let similarity = samtone_eval::Similarity::Cosine;
    let hits = samtone_eval::top_k(&queries, &documents, dim, config.top_k, similarity)?;
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
