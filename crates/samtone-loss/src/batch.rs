//! What a loss is computed from: embeddings, and what is known about the rows.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::embeddings::Sizes;
use crate::{Embeddings, LossError};

/// The embeddings of a batch and what is known about its rows. Row i is one pair.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// What is scored.
    pub embeddings: Embeddings<B>,
    /// Identities and judgments of the rows.
    pub relations: Relations,
    /// Factor of each row in the mean over rows, `[batch]`: the loss is `Σ w_i·ℓ_i / Σ w_i`.
    pub weights: Option<Vec<f64>>,
}

impl<B: Backend> From<Embeddings<B>> for Batch<B> {
    /// A batch about whose rows nothing else is known.
    fn from(embeddings: Embeddings<B>) -> Self {
        Self { embeddings, relations: Relations::default(), weights: None }
    }
}

impl<B: Backend> Batch<B> {
    /// A batch of pairs, `[batch, dim]` each, about which nothing else is known.
    ///
    /// # Panics
    ///
    /// If the two shapes differ.
    pub fn new(queries: Tensor<B, 2>, documents: Tensor<B, 2>) -> Self {
        Embeddings::new(queries, documents).into()
    }

    /// Adds hard negatives, `[batch, negatives, dim]`.
    ///
    /// # Panics
    ///
    /// If batch or dim differ from those of the queries.
    #[must_use]
    pub fn with_hard_negatives(mut self, hard_negatives: Tensor<B, 3>) -> Self {
        self.embeddings = self.embeddings.with_hard_negatives(hard_negatives);
        self
    }

    /// Adds what is known about the rows.
    #[must_use]
    pub fn with_relations(mut self, relations: Relations) -> Self {
        self.relations = relations;
        self
    }

    /// Adds a weight for each row.
    #[must_use]
    pub fn with_weights(mut self, weights: Vec<f64>) -> Self {
        self.weights = Some(weights);
        self
    }

    /// The sizes, once what is known about the rows fits them.
    pub(crate) fn check(&self) -> Result<Sizes, LossError> {
        let sizes = self.embeddings.sizes();
        if sizes.rows == 0 || sizes.dim == 0 {
            return Err(LossError::EmptyBatch { rows: sizes.rows, dim: sizes.dim });
        }
        self.relations.check(sizes)?;
        Ok(sizes)
    }

    /// The share of each row in the mean, summing to one.
    pub(crate) fn shares(&self) -> Result<Vec<f64>, LossError> {
        let Sizes { rows, .. } = self.embeddings.sizes();
        let Some(weights) = &self.weights else { return Ok(vec![1.0 / rows as f64; rows]) };
        if weights.len() != rows {
            return Err(LossError::Length { what: "weights", expected: rows, got: weights.len() });
        }
        if let Some(row) = weights.iter().position(|&w| !(w >= 0.0 && w.is_finite())) {
            return Err(LossError::RowWeight { row, got: weights[row] });
        }
        let sum: f64 = weights.iter().sum();
        if sum > 0.0 {
            Ok(weights.iter().map(|w| w / sum).collect())
        } else {
            Err(LossError::NoRowWeight)
        }
    }
}

/// What is known about the rows of a batch beside their embeddings, kept on the host.
///
/// Ids are hashes or numbers: only their equality counts, and the document ids share one space
/// with the ids of hard negatives. Equal texts should have equal ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relations {
    /// Identity of each query, `[batch]`.
    pub query_ids: Option<Vec<u64>>,
    /// Identity of each document, `[batch]`.
    pub document_ids: Option<Vec<u64>>,
    /// Identity of each hard negative, `[batch · negatives]`, a row's own together.
    pub hard_negative_ids: Option<Vec<u64>>,
    /// Pairs (i, j): the document of row j is relevant to the query of row i.
    pub known: Vec<(usize, usize)>,
}

impl Relations {
    fn check(&self, sizes: Sizes) -> Result<(), LossError> {
        let lists = [
            ("query_ids", &self.query_ids, sizes.rows),
            ("document_ids", &self.document_ids, sizes.rows),
            ("hard_negative_ids", &self.hard_negative_ids, sizes.rows * sizes.negatives),
        ];
        for (what, list, expected) in lists {
            if let Some(got) = list.as_ref().map(Vec::len).filter(|&got| got != expected) {
                return Err(LossError::Length { what, expected, got });
            }
        }
        for (index, &(query, document)) in self.known.iter().enumerate() {
            let row = query.max(document);
            if row >= sizes.rows {
                return Err(LossError::KnownRow { index, row, rows: sizes.rows });
            }
        }
        Ok(())
    }
}
