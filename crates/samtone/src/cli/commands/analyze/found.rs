//! What an analysis looks at and what it finds.

use std::path::{Path, PathBuf};

use samtone_data::Dataset;
use samtone_eval::Qrels;
use samtone_eval::search::Hit;
use samtone_text::DocumentText;
use serde::Serialize;

use crate::commands::reading::SimilarityChoice;

/// Documents found for each query: what a rank is looked for in.
pub(super) const FOUND: usize = 100;

/// What is analysed: the same for every model.
pub(super) struct Sample {
    pub(super) dataset: Dataset,
    pub(super) qrels: Qrels,
    /// What is shown of a document.
    pub(super) text: DocumentText,
    /// The split's queries, as indices.
    pub(super) queries: Vec<usize>,
    /// Pairs in random order, each query and each document at most once: a place in `queries` and a
    /// document's index.
    pub(super) pairs: Vec<(usize, usize)>,
    /// How many of the pairs are plotted.
    pub(super) points: usize,
    /// Places in `queries` of those that can be browsed.
    pub(super) browsed: Vec<usize>,
}

/// What `analysis.json` and `--format json` hold.
#[derive(Serialize)]
pub(super) struct Analysis<'a> {
    pub(super) data: &'a Path,
    pub(super) split: &'a str,
    pub(super) queries: usize,
    pub(super) documents: usize,
    pub(super) pairs: usize,
    pub(super) points: usize,
    pub(super) perplexity: f64,
    pub(super) seed: u64,
    pub(super) models: Vec<ModelAnalysis>,
}

/// The numbers of one model.
#[derive(Serialize)]
pub(super) struct ModelAnalysis {
    pub(super) name: String,
    pub(super) model: PathBuf,
    pub(super) dim: usize,
    /// How the search compared embeddings.
    pub(super) similarity: SimilarityChoice,
    /// What the model read of a document.
    pub(super) document_text: DocumentText,
    pub(super) metrics: Vec<Measured>,
    /// The geometry, by name, in the order to show it.
    pub(super) geometry: Vec<(&'static str, f64)>,
    /// Of the t-SNE, in nats.
    pub(super) kl_divergence: f64,
    #[serde(skip)]
    pub(super) drawn: Drawn,
}

/// A mean over queries with its 95 % interval.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) metric: String,
    pub(super) mean: f64,
    pub(super) interval: (f64, f64),
}

/// What the figures of one model show.
pub(super) struct Drawn {
    /// The plotted pairs' queries, then their documents.
    pub(super) positions: Vec<(f64, f64)>,
    /// For each query, the cosine with the first document found, and whether that is right.
    pub(super) first: Vec<(f64, bool)>,
    /// `s(q_i, q_j) / s(q_i, d_j)` of random pairs.
    pub(super) ratios: Vec<f64>,
    /// For each query, what was found, best first.
    pub(super) hits: Vec<Vec<Hit>>,
}

impl Sample {
    /// Whether the judgments call a document right for the query at `place`.
    pub(super) fn is_relevant(&self, place: usize, document: usize) -> bool {
        let query = &self.dataset.queries()[self.queries[place]].id;
        let document = self.dataset.document(document).id;
        self.qrels.grade(query, document).is_some_and(|grade| grade >= 1)
    }
}
