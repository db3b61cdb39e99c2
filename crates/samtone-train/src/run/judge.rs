//! Judging a model on splits: encode, search, score.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_eval::search::Hit;
use samtone_eval::{
    Convention, EvalError, Evaluation, EvaluationJson, Metric, Queries, Rules, evaluate_by,
};
use samtone_model::{Retriever, Side};

use crate::config::EvalConfig;
use crate::error::TrainError;
use crate::run::prepare::{TestSet, TokenRows};
use crate::run::record::Event;
use crate::run::search_split::{Embedded, JudgedSplit, Observe, embed, similarity_of};
use crate::run::summary::Metrics;

/// Judges one model, on splits of which some may be of one data set: its documents are embedded once.
pub(crate) struct Judge<'a, B: Backend> {
    retriever: &'a Retriever<B>,
    config: &'a EvalConfig,
    /// `[documents, dim]` of each data set, by its index among the sources.
    documents: BTreeMap<usize, Vec<f32>>,
}

impl<'a, B: Backend> Judge<'a, B> {
    pub(crate) fn new(retriever: &'a Retriever<B>, config: &'a EvalConfig) -> Self {
        Self { retriever, config, documents: BTreeMap::new() }
    }

    /// Numbers in an embedding.
    pub(crate) fn dim(&self) -> usize {
        self.retriever.dim()
    }

    /// The metrics on `set`, query by query, over all its documents or those `among` alone, ascending.
    ///
    /// # Errors
    /// A metric that cannot be computed, or embeddings that are not finite.
    pub(crate) fn on(
        &mut self,
        set: &TestSet,
        rows: &TokenRows,
        among: Option<&[usize]>,
        observe: &mut Observe<'_>,
    ) -> Result<Evaluation, EvalError> {
        Ok(self.found(set, rows, among, observe)?.0)
    }

    /// The same, with what was found for each judged query.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub(crate) fn found(
        &mut self,
        set: &TestSet,
        rows: &TokenRows,
        among: Option<&[usize]>,
        observe: &mut Observe<'_>,
    ) -> Result<(Evaluation, Vec<Vec<Hit>>), EvalError> {
        let hits = match among {
            None => self.search(set, rows, self.config.top_k, observe)?,
            Some(among) => self.search_among(among, set, rows, observe)?,
        };
        let found = score(&JudgedSplit::new(&set.dataset, &set.split), &hits, self.config)?;
        Ok((found, hits))
    }

    /// The `k` nearest documents of each judged query of `set`.
    ///
    /// # Errors
    /// Embeddings that are not finite.
    pub(crate) fn search(
        &mut self,
        set: &TestSet,
        rows: &TokenRows,
        k: usize,
        observe: &mut Observe<'_>,
    ) -> Result<Vec<Vec<Hit>>, EvalError> {
        let similarity = similarity_of(self.retriever);
        self.searched(set, rows, observe, |embedded| embedded.search(similarity, k, &[]))
    }

    /// The metrics on `set`, query by query, with embeddings cut to each of `dims`.
    ///
    /// # Errors
    /// As [`on`](Self::on).
    pub(crate) fn at_dims(
        &mut self,
        dims: &[usize],
        set: &TestSet,
        rows: &TokenRows,
        observe: &mut Observe<'_>,
    ) -> Result<Vec<Evaluation>, EvalError> {
        let (similarity, config) = (similarity_of(self.retriever), self.config);
        let split = JudgedSplit::new(&set.dataset, &set.split);
        self.searched(set, rows, observe, |embedded| {
            let cut = |&to: &usize| {
                let hits = embedded.cut(to, similarity).search(similarity, config.top_k, &[])?;
                score(&split, &hits, config)
            };
            dims.iter().map(cut).collect()
        })
    }

    /// What `search` finds among the embeddings of `set`.
    fn searched<T>(
        &mut self,
        set: &TestSet,
        rows: &TokenRows,
        observe: &mut Observe<'_>,
        search: impl FnOnce(&Embedded) -> T,
    ) -> T {
        let documents = match self.documents.remove(&set.source) {
            Some(documents) => documents,
            None => self.embed(Side::Document, rows.documents.len(), observe, |range| {
                range.map(|document| rows.documents.row(document)).collect()
            }),
        };
        let (queries, dim) = (self.queries(set, rows, observe), self.retriever.dim());
        let embedded = Embedded { queries, documents, dim };
        let found = search(&embedded);
        self.documents.insert(set.source, embedded.documents);
        found
    }

    /// As [`search`](Self::search) for as many as are kept, `among` these documents.
    fn search_among(
        &self,
        among: &[usize],
        set: &TestSet,
        rows: &TokenRows,
        observe: &mut Observe<'_>,
    ) -> Result<Vec<Vec<Hit>>, EvalError> {
        let dim = self.retriever.dim();
        let documents = match self.documents.get(&set.source) {
            Some(all) => {
                among.iter().flat_map(|&at| &all[at * dim..(at + 1) * dim]).copied().collect()
            }
            None => self.embed(Side::Document, among.len(), observe, |range| {
                among[range].iter().map(|&document| rows.documents.row(document)).collect()
            }),
        };
        let embedded = Embedded { queries: self.queries(set, rows, observe), documents, dim };
        let mut hits = embedded.search(similarity_of(self.retriever), self.config.top_k, &[])?;
        for hit in hits.iter_mut().flatten() {
            hit.index = among[hit.index];
        }
        Ok(hits)
    }

    /// `[judged queries, dim]`.
    fn queries(&self, set: &TestSet, rows: &TokenRows, observe: &mut Observe<'_>) -> Vec<f32> {
        let split = JudgedSplit::new(&set.dataset, &set.split);
        let queries = split.queries();
        self.embed(Side::Query, queries.len(), observe, |range| {
            queries[range].iter().map(|&query| rows.queries.row(query)).collect()
        })
    }

    /// `[count, dim]`: the embeddings of what `rows` gives for a range.
    fn embed(
        &self,
        side: Side,
        count: usize,
        observe: &mut Observe<'_>,
        rows: impl Fn(Range<usize>) -> Vec<Vec<u32>>,
    ) -> Vec<f32> {
        let rows = |range| Ok::<_, Infallible>(rows(range));
        let Ok(embeddings) =
            embed(self.retriever, side, (count, rows), self.config.batch_size, observe);
        embeddings
    }
}

/// The metrics of `config` for BM25 (k1 = 0.9, b = 0.4) on `set`, query by query, and what it found.
///
/// # Errors
/// A metric that cannot be computed.
pub(crate) fn judge_bm25(
    set: &TestSet,
    config: &EvalConfig,
) -> Result<(Evaluation, Vec<Vec<Hit>>), EvalError> {
    let hits = by_bm25(set, config.top_k);
    let found = score(&JudgedSplit::new(&set.dataset, &set.split), &hits, config)?;
    Ok((found, hits))
}

/// The `k` nearest documents of each judged query of `set` by BM25.
pub(crate) fn by_bm25(set: &TestSet, k: usize) -> Vec<Vec<Hit>> {
    let split = JudgedSplit::new(&set.dataset, &set.split);
    split.bm25(set.text, Analyzer::default(), Bm25Config::default(), k)
}

/// The file in which the run in `folder` keeps what each query of a set scored, for
/// [`Evaluation::read`].
///
/// `set` is `test`, `dev`, `bm25` (on the test set), `dims/N` (on the split that speaks for the run, of
/// embeddings cut to N dimensions) or `zero-shot/NAME`; `start/test`, `start/dev` and, on
/// the documents of `dev-sample.json`, `start/dev-sample` are of the model before its first step; the
/// other loss of `train.baseline` has its own `test` and `dev` in the run folder's `baseline`.
pub fn evaluation_path(folder: &Path, set: &str) -> PathBuf {
    folder.join("evaluations").join(format!("{set}.json"))
}

/// Writes what each query scored to `path`; the means are returned.
///
/// # Errors
/// [`TrainError::Write`].
pub(crate) fn keep(found: &Evaluation, path: &Path) -> Result<Metrics, TrainError> {
    let folder = path.parent().expect("an evaluation lies in a folder");
    fs::create_dir_all(folder)
        .map_err(|source| TrainError::Write { path: folder.into(), source })?;
    let json = serde_json::to_vec(&EvaluationJson::new(found, true))
        .expect("records are representable as JSON");
    samtone_files::replace(path, &json)
        .map_err(|source| TrainError::Write { path: path.into(), source })?;
    Ok(means(found))
}

/// Tells whoever watches how far a judging is.
pub(crate) fn watched(observe: &mut dyn FnMut(Event<'_>)) -> impl FnMut(Side, usize, usize) {
    |side, done, count| observe(Event::Judging { side, done, count })
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
