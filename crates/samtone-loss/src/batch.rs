//! What a loss is computed from: embeddings, and what is known about the rows.

use burn::tensor::{Tensor, backend::Backend};

use crate::LossError;

/// The embeddings of a batch and what is known about its rows. Row i is one pair.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// Query embeddings, `[batch, dim]`.
    pub queries: Tensor<B, 2>,
    /// Document embeddings, `[batch, dim]`; row i is relevant to query i.
    pub documents: Tensor<B, 2>,
    /// Hard negative embeddings, `[batch, negatives, dim]`.
    pub hard_negatives: Option<Tensor<B, 3>>,
    /// Identities and judgments of the rows.
    pub relations: Relations,
    /// Factor of each row in the mean over rows, `[batch]`: the loss is `Σ w_i·ℓ_i / Σ w_i`.
    pub weights: Option<Vec<f64>>,
}

impl<B: Backend> Batch<B> {
    /// A batch of pairs about which nothing else is known.
    ///
    /// # Shapes
    ///
    /// `queries` and `documents`: `[batch, dim]`.
    ///
    /// # Panics
    ///
    /// If the two shapes differ.
    pub fn new(queries: Tensor<B, 2>, documents: Tensor<B, 2>) -> Self {
        assert_eq!(
            queries.dims(),
            documents.dims(),
            "queries and documents must have one shape, [batch, dim]"
        );
        Self {
            queries,
            documents,
            hard_negatives: None,
            relations: Relations::default(),
            weights: None,
        }
    }

    /// Adds hard negatives, `[batch, negatives, dim]`.
    ///
    /// # Panics
    ///
    /// If batch or dim differ from those of the queries.
    #[must_use]
    pub fn with_hard_negatives(mut self, hard_negatives: Tensor<B, 3>) -> Self {
        let [batch, dim] = self.queries.dims();
        let [hard_batch, _, hard_dim] = hard_negatives.dims();
        assert!(
            (batch, dim) == (hard_batch, hard_dim),
            "hard negatives must be [{batch}, negatives, {dim}], got {:?}",
            hard_negatives.dims()
        );
        self.hard_negatives = Some(hard_negatives);
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

    /// Rows, hard negatives a row, and dimension.
    pub(crate) fn sizes(&self) -> Sizes {
        let [rows, dim] = self.queries.dims();
        let negatives = self.hard_negatives.as_ref().map_or(0, |h| h.dims()[1]);
        Sizes { rows, negatives, dim }
    }

    /// The sizes, once what is known about the rows fits them.
    pub(crate) fn check(&self) -> Result<Sizes, LossError> {
        let sizes = self.sizes();
        if sizes.rows == 0 || sizes.dim == 0 {
            return Err(LossError::EmptyBatch { rows: sizes.rows, dim: sizes.dim });
        }
        self.relations.check(sizes)?;
        Ok(sizes)
    }

    /// The share of each row in the mean, summing to one.
    pub(crate) fn shares(&self) -> Result<Vec<f64>, LossError> {
        let rows = self.queries.dims()[0];
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

/// The sizes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    /// Hard negatives a row.
    pub(crate) negatives: usize,
    pub(crate) dim: usize,
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
