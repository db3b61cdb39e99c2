//! What a cluster of vectors must be able to do, whoever made it.

use std::collections::HashMap;

use samtone_eval::bm25::SparseVector;
use serde::{Deserialize, Serialize};

use crate::commands::reading::SimilarityChoice;

/// What a collection says of itself: all that decides what may stand in it beside what is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Card {
    /// samtone's.
    pub(super) version: String,
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(crate) model: String,
    pub(crate) similarity: SimilarityChoice,
    pub(crate) dim: usize,
    /// Of the sparse vectors beside, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bm25: Option<Bm25Card>,
}

/// What a collection says of its BM25.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bm25Card {
    /// How texts become terms, and terms weights, in words.
    pub(super) settings: String,
    /// A hash of all texts, in hexadecimal.
    pub(super) documents: String,
}

/// A document on its way to a collection.
#[cfg_attr(
    not(any(feature = "qdrant", feature = "milvus")),
    expect(dead_code, reason = "the clients'")
)]
pub(crate) struct Row<'a> {
    pub(super) id: &'a str,
    /// A hash of all the rest: whether what is there is this.
    pub(super) stamp: String,
    /// Of length 1 where the collection compares by the cosine.
    pub(super) vector: Vec<f32>,
    /// Of the text, where the collection has texts.
    pub(super) words: Option<Words<'a>>,
}

/// What stands beside a vector where there are texts.
#[cfg_attr(
    not(any(feature = "qdrant", feature = "milvus")),
    expect(dead_code, reason = "the clients'")
)]
pub(crate) struct Words<'a> {
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) terms: SparseVector,
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(super) id: String,
    /// The dot product of what was compared.
    pub(super) score: f32,
}

/// A collection on a server, which may be asked from many threads at once.
pub(crate) trait Engine: Send + Sync {
    /// What [`create`](Self::create) was given, nothing if another program made the collection; none if
    /// there is none.
    fn card(&self) -> anyhow::Result<Option<String>>;

    /// Makes the collection, for vectors of `dim` numbers, and sparse ones if `has_terms`.
    ///
    /// # Errors
    /// If it is there, too.
    fn create(&self, card: &str, dim: usize, has_terms: bool) -> anyhow::Result<()>;

    /// Makes it ready for documents and questions; as often as one likes.
    fn ready(&self) -> anyhow::Result<()>;

    /// The stamps of those of `ids` that are there, whoever put them.
    fn stamps(&self, ids: &[&str]) -> anyhow::Result<HashMap<String, String>>;

    /// Puts documents, in the place of those with their ids; returns when they are safe.
    fn put(&self, rows: &[Row<'_>]) -> anyhow::Result<()>;

    /// Has the graph built over all that is there, and waits for it.
    fn finish(&self) -> anyhow::Result<()>;

    /// How many documents are there.
    fn count(&self) -> anyhow::Result<usize>;

    /// The `k` nearest of each of `queries`, by a graph of which `ef` or more are looked at.
    fn nearest(&self, queries: &[&[f32]], k: usize, ef: usize) -> anyhow::Result<Vec<Vec<Found>>>;

    /// The `k` that share most with the terms of each of `queries`, none of which is empty.
    fn by_terms(&self, queries: &[&SparseVector], k: usize) -> anyhow::Result<Vec<Vec<Found>>>;
}
