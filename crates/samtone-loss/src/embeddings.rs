//! The three inputs of a loss.

use std::fmt;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// The embeddings of a batch, or the gradients by them. Row i is one pair.
#[derive(Debug, Clone)]
pub struct Embeddings<B: Backend> {
    /// Queries, `[batch, dim]`.
    pub queries: Tensor<B, 2>,
    /// Documents, `[batch, dim]`; row i is relevant to query i.
    pub documents: Tensor<B, 2>,
    /// Hard negatives, `[batch, negatives, dim]`, where there are any.
    pub hard_negatives: Option<Tensor<B, 3>>,
}

impl<B: Backend> Embeddings<B> {
    /// Pairs without hard negatives, `[batch, dim]` each.
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
        Self { queries, documents, hard_negatives: None }
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

    /// Each input through the function of its rank, perhaps to another backend.
    #[must_use]
    pub fn map<C: Backend>(
        self,
        two: impl Fn(Tensor<B, 2>) -> Tensor<C, 2>,
        three: impl Fn(Tensor<B, 3>) -> Tensor<C, 3>,
    ) -> Embeddings<C> {
        Embeddings {
            queries: two(self.queries),
            documents: two(self.documents),
            hard_negatives: self.hard_negatives.map(three),
        }
    }

    /// A row for every text: queries, documents, and hard negatives row by row where there are any,
    /// `[texts, dim]` each.
    pub fn into_rows(self) -> [Option<Tensor<B, 2>>; 3] {
        let hard_negatives = self.hard_negatives.map(|hard| hard.flatten(0, 1));
        [Some(self.queries), Some(self.documents), hard_negatives]
    }

    pub(crate) fn sizes(&self) -> Sizes {
        let [rows, dim] = self.queries.dims();
        let negatives = self.hard_negatives.as_ref().map_or(0, |hard| hard.dims()[1]);
        Sizes { rows, negatives, dim }
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

/// One of the three, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// The query embeddings, `[batch, dim]`.
    Queries,
    /// The document embeddings, `[batch, dim]`.
    Documents,
    /// The hard negative embeddings, `[batch, negatives, dim]`.
    HardNegatives,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queries => "queries",
            Self::Documents => "documents",
            Self::HardNegatives => "hard negatives",
        })
    }
}
