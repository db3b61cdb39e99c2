//! A loss ready to compute, and what it returns. How it is computed: `kernel` (the choice of a way),
//! `streaming`, `definition`, `autodiff`.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::candidates::Candidates;
use crate::embeddings::Embeddings;
use crate::false_negatives::FalseNegatives;
use crate::group::Group;
use crate::hardness::Hardness;
use crate::similarity::Similarity;
use crate::temperature::{MaxScale, Temperature};

/// Bytes of score tiles kept for the backward pass where nothing else is said.
pub(crate) const DEFAULT_SCORE_MEMORY: usize = 128 << 20;

/// A checked loss: groups with every default filled in. Made by [`crate::LossConfig::resolve`].
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub(crate) groups: Vec<Group>,
    pub(crate) temperature: Temperature,
    pub(crate) learned: Option<MaxScale>,
    pub(crate) similarity: Similarity,
    pub(crate) false_negatives: FalseNegatives,
    pub(crate) hardness: Option<Hardness>,
    /// Bytes of score tiles kept for the backward pass.
    pub(crate) score_memory: usize,
    /// Rows of a score tile, where not chosen from the memory.
    pub(crate) tile: Option<usize>,
}

impl Loss {
    /// The groups, in order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The configured temperature, or where a learned one starts.
    pub fn temperature(&self) -> Temperature {
        self.temperature
    }

    /// The clamp of a learned temperature; `None` where it is fixed.
    pub fn learned_temperature(&self) -> Option<MaxScale> {
        self.learned
    }

    /// How two embeddings are scored.
    pub fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// Which negatives are hidden.
    pub fn false_negatives(&self) -> FalseNegatives {
        self.false_negatives
    }

    /// Bytes of score tiles that may be kept for the backward pass.
    pub fn score_memory(&self) -> usize {
        self.score_memory
    }

    /// Whether any group looks at hard negatives. Where none does their gradient is zero.
    pub fn uses_hard_negatives(&self) -> bool {
        use Candidates::{HardOthers, HardOwn, OppositeHard};
        let hard = |c: &Candidates| matches!(c, HardOwn | HardOthers | OppositeHard);
        self.groups.iter().any(|group| group.candidates.iter().any(hard))
    }

    /// The same loss with score tiles of at most `rows` rows and columns.
    ///
    /// The result does not depend on it but for rounding. Without it the size follows the memory
    /// for score tiles.
    ///
    /// # Panics
    ///
    /// If `rows` is zero.
    #[must_use]
    pub fn with_tile(mut self, rows: usize) -> Self {
        assert!(rows > 0, "a tile has at least one row");
        self.tile = Some(rows);
        self
    }
}

/// A loss and its gradients. No part of it is tracked by autodiff.
#[derive(Debug, Clone)]
pub struct LossGradients<B: Backend> {
    /// `Σ w_i·ℓ_i / Σ w_i`, in nats.
    pub loss: f64,
    /// ℓ, the loss of each row before its weight, `[batch]`, in nats.
    pub per_row: Tensor<B, 1>,
    /// ∂loss/∂embeddings, each of the shape and type of its input.
    pub embeddings: Embeddings<B>,
    /// ∂loss/∂(ln τ).
    pub log_temperature: f64,
}
