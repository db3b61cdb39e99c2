//! Where candidates come from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use samtone_data::Dataset;
use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};
use samtone_eval::search::{Hit, Similarity, top_k};
use samtone_eval::{EvalError, Run};
use samtone_text::DocumentText;

use crate::error::TrainError;

/// Something that ranks a data set's documents for its queries, both by their indices.
pub trait CandidateSource {
    /// The `depth` best documents for each of `queries`, best first.
    ///
    /// # Errors
    /// What the source fails with.
    fn search(&self, queries: &[usize], depth: usize) -> Result<Vec<Vec<Hit>>, TrainError>;

    /// What a document scores for a query; `None` where the source cannot say.
    fn score(&self, query: usize, document: usize) -> Option<f32>;
}

/// Embeddings of a model, for all documents and some queries.
#[derive(Debug)]
pub struct Dense<'a> {
    /// Where each query's row is.
    places: HashMap<usize, usize>,
    queries: &'a [f32],
    documents: &'a [f32],
    dim: usize,
    similarity: Similarity,
}

impl<'a> Dense<'a> {
    /// Row i of `queries` embeds the query `indices[i]`, row i of `documents` the document i.
    ///
    /// # Shapes
    /// - `queries`: `[indices.len(), dim]`; `documents`: `[documents, dim]`
    ///
    /// # Panics
    /// If `queries` has another number of rows, or `dim` is 0.
    pub fn new(
        indices: &[usize],
        queries: &'a [f32],
        documents: &'a [f32],
        dim: usize,
        similarity: Similarity,
    ) -> Self {
        assert_eq!(queries.len(), indices.len() * dim, "one row of {dim} for each query");
        let places = indices.iter().enumerate().map(|(place, &query)| (query, place)).collect();
        Self { places, queries, documents, dim, similarity }
    }

    fn query(&self, query: usize) -> &'a [f32] {
        &self.queries[self.places[&query] * self.dim..][..self.dim]
    }
}

impl CandidateSource for Dense<'_> {
    fn search(&self, queries: &[usize], depth: usize) -> Result<Vec<Vec<Hit>>, TrainError> {
        let rows: Vec<f32> = queries.iter().flat_map(|&query| self.query(query)).copied().collect();
        Ok(top_k(&rows, self.documents, self.dim, depth, self.similarity)?)
    }

    fn score(&self, query: usize, document: usize) -> Option<f32> {
        let document = &self.documents[document * self.dim..][..self.dim];
        Some(self.similarity.score(self.query(query), document))
    }
}

/// BM25 over the documents' texts.
#[derive(Debug)]
pub struct Lexical<'a> {
    dataset: &'a Dataset,
    index: Bm25,
}

impl<'a> Lexical<'a> {
    /// Indexes the documents of `dataset`.
    pub fn new(
        dataset: &'a Dataset,
        mode: DocumentText,
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Self {
        Self { dataset, index: Bm25::build(passages(dataset, mode), analyzer, config) }
    }

    /// The documents of `dataset` by the index that is kept in the file `index`.
    ///
    /// # Errors
    /// As [`Bm25::kept`].
    pub fn kept(
        index: &Path,
        dataset: &'a Dataset,
        mode: DocumentText,
        analyzer: Analyzer,
        config: Bm25Config,
    ) -> Result<Self, EvalError> {
        let index = Bm25::kept(index, passages(dataset, mode), analyzer, config)?;
        Ok(Self { dataset, index })
    }

    fn text(&self, query: usize) -> &'a str {
        &self.dataset.queries()[query].text
    }
}

/// What is read of each document.
fn passages(dataset: &Dataset, mode: DocumentText) -> impl Iterator<Item = Cow<'_, str>> + Clone {
    dataset.documents().map(move |document| document.passage(mode))
}

impl CandidateSource for Lexical<'_> {
    fn search(&self, queries: &[usize], depth: usize) -> Result<Vec<Vec<Hit>>, TrainError> {
        let texts: Vec<&str> = queries.iter().map(|&query| self.text(query)).collect();
        Ok(self.index.search_all(&texts, depth))
    }

    fn score(&self, query: usize, document: usize) -> Option<f32> {
        Some(self.index.score(self.text(query), document))
    }
}

/// A run of any system: what it does not hold has no score.
#[derive(Debug)]
pub struct Ranked {
    /// Each query's documents, best first.
    hits: HashMap<usize, Vec<Hit>>,
}

impl Ranked {
    /// Finds the run's ids in `dataset`; queries that it lacks are passed over. Equal scores keep the
    /// run's order.
    ///
    /// # Errors
    /// [`TrainError::ForeignRun`] if no query of the run, or not every document of the others, is in
    /// the data set.
    pub fn new(run: &Run, dataset: &Dataset) -> Result<Self, TrainError> {
        let mut hits = HashMap::new();
        for id in run.queries() {
            let Some(query) = dataset.query_index(id) else { continue };
            let mut ranked: Vec<(&str, f64)> = run.documents(id).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            let hit = |(document, score): (&str, f64)| match dataset.document_index(document) {
                Some(index) => Ok(Hit { index, score: score as f32 }),
                None => Err(TrainError::ForeignRun { what: "document", id: document.to_owned() }),
            };
            hits.insert(query, ranked.into_iter().map(hit).collect::<Result<_, _>>()?);
        }
        match run.queries().next() {
            Some(id) if hits.is_empty() => {
                Err(TrainError::ForeignRun { what: "query", id: id.to_owned() })
            }
            _ => Ok(Self { hits }),
        }
    }
}

impl CandidateSource for Ranked {
    fn search(&self, queries: &[usize], _depth: usize) -> Result<Vec<Vec<Hit>>, TrainError> {
        let ranked = |query| self.hits.get(query).cloned().unwrap_or_default();
        Ok(queries.iter().map(ranked).collect())
    }

    fn score(&self, query: usize, document: usize) -> Option<f32> {
        let hits = self.hits.get(&query)?;
        hits.iter().find(|hit| hit.index == document).map(|hit| hit.score)
    }
}
