//! Judging a model on a split: encode, search, score.

use std::convert::Infallible;
use std::ops::Range;

use burn::tensor::backend::Backend;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_eval::search::Hit;
use samtone_eval::{Convention, EvalError, Evaluation, Metric, Queries, Rules, evaluate_by};
use samtone_model::Retriever;

use crate::config::EvalConfig;
use crate::run::prepare::{TestSet, TokenRows};
use crate::run::search_split::{Embedded, JudgedSplit, similarity_of};
use crate::run::summary::Metrics;

/// The metrics of `config` for `retriever` on `set`, query by query.
///
/// # Errors
/// A metric that cannot be computed, or embeddings that are not finite.
pub(crate) fn judge<B: Backend>(
    retriever: &Retriever<B>,
    set: &TestSet,
    rows: &TokenRows,
    config: &EvalConfig,
) -> Result<Evaluation, EvalError> {
    let split = JudgedSplit::new(&set.dataset, &set.split);
    let queries = split.queries();
    let query_rows = |range: Range<usize>| {
        Ok::<_, Infallible>(queries[range].iter().map(|&query| rows.queries.row(query)).collect())
    };
    let document_rows =
        |range: Range<usize>| Ok(range.map(|document| rows.documents.row(document)).collect());
    let Ok(embedded) = Embedded::of(
        retriever,
        (queries.len(), query_rows),
        (rows.documents.len(), document_rows),
        config.batch_size,
        &mut |_, _, _| {},
    );
    let hits = embedded.search(similarity_of(retriever), config.top_k, &[])?;
    score(&split, &hits, config)
}

/// The metrics of `config` for BM25 (k1 = 0.9, b = 0.4) on `set`, query by query.
///
/// # Errors
/// A metric that cannot be computed.
pub(crate) fn judge_bm25(set: &TestSet, config: &EvalConfig) -> Result<Evaluation, EvalError> {
    let split = JudgedSplit::new(&set.dataset, &set.split);
    let hits = split.bm25(set.text, Analyzer::default(), Bm25Config::default(), config.top_k);
    score(&split, &hits, config)
}

/// Each metric's mean.
pub(crate) fn means(found: &Evaluation) -> Metrics {
    let names = found.metrics().iter().map(ToString::to_string);
    names.zip(found.means().iter().copied()).collect()
}

/// Every judged query counts, one without an answer as 0: what is compared has the same queries.
fn score(
    split: &JudgedSplit<'_>,
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
    evaluate_by(&split.qrels()?, &split.run(hits)?, &plan)
}

#[cfg(test)]
mod tests {
    use samtone_data::embedded::World;

    use super::*;

    #[test]
    fn a_query_without_an_answer_counts_as_zero() {
        let dataset = World::generate(0, 200).dataset();
        let split = JudgedSplit::new(&dataset, "test");
        let config = EvalConfig { metrics: vec!["p@1".into()], ..EvalConfig::default() };
        let queries = split.queries();
        // Every query finds the document that answers it, then every other one nothing at all.
        let right = |query: usize| dataset.positives(&["test"]).of(query)[0];
        let mut hits: Vec<Vec<Hit>> =
            queries.iter().map(|&query| vec![Hit { index: right(query), score: 1.0 }]).collect();
        let found = score(&split, &hits, &config).unwrap();
        assert_eq!(means(&found)["p@1"], 1.0);
        let mut answered = 0;
        for (place, hits) in hits.iter_mut().enumerate() {
            if place % 2 == 1 {
                hits.clear();
            } else {
                answered += 1;
            }
        }
        let found = score(&split, &hits, &config).unwrap();
        assert_eq!(means(&found)["p@1"], f64::from(answered) / queries.len() as f64);
    }
}
