//! What models find for queries.

use serde::Serialize;

/// The top documents of sampled queries under each model, the right ones marked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NeighbourBrowser {
    /// The figure's title.
    pub title: String,
    /// What is shown and how to read it; may be empty.
    pub description: String,
    /// The models, in the order of [`BrowsedQuery::rankings`].
    pub models: Vec<String>,
    /// The queries.
    pub queries: Vec<BrowsedQuery>,
}

/// One query of a [`NeighbourBrowser`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BrowsedQuery {
    /// The query's id.
    pub id: String,
    /// The query's text.
    pub text: String,
    /// One ranking a model.
    pub rankings: Vec<Ranking>,
    /// What it was chosen as, such as `won against BM25`: what the page filters by. Where no query has a
    /// group, it filters by which models are right.
    pub groups: Vec<String>,
    /// The right documents; not shown apart from the rankings if there are none.
    pub relevant: Vec<RelevantDocument>,
}

/// A document that the judgments call right for a query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RelevantDocument {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Where the models rank it and why, such as `rank 14, score 0.52`; may be empty.
    pub note: String,
}

/// What one model found for one query.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ranking {
    /// The rank of the first right document, counted from 1, also where it lies below `documents`;
    /// `None` when it was not found.
    pub first_relevant: Option<usize>,
    /// The top documents, best first.
    pub documents: Vec<Neighbour>,
}

/// One document of a [`Ranking`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Neighbour {
    /// The document's id.
    pub id: String,
    /// The document's text.
    pub text: String,
    /// The score it was ranked by.
    pub score: f64,
    /// Whether the judgments call it right.
    pub is_relevant: bool,
    /// What else speaks for or against it, such as `BM25 rank 2`; may be empty.
    pub note: String,
}

impl NeighbourBrowser {
    /// A browser of these models, without queries.
    pub fn new<M: Into<String>>(
        title: impl Into<String>,
        models: impl IntoIterator<Item = M>,
    ) -> Self {
        Self {
            title: title.into(),
            models: models.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}
