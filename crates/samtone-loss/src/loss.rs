//! A loss ready to compute, and what it returns.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::plan::{Matrix, Plan};
use crate::temperature::MaxScale;
use crate::{
    Batch, Candidates, Embeddings, FalseNegatives, Group, Hardness, LossError, Similarity,
    Temperature, kernel,
};

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

    /// Floating-point operations of the matrix products in one call of
    /// [`value_and_gradients`](Self::value_and_gradients): the work that no implementation avoids.
    ///
    /// A score matrix costs three products (scores, gradients of both sides), one that is its own
    /// transpose half of that. Tiles computed twice for want of memory do not count.
    pub fn product_flops(&self, rows: usize, negatives: usize, dim: usize) -> f64 {
        let plan = Plan::new(self, self.temperature, negatives > 0);
        let (rows, hard) = (rows as f64, negatives as f64);
        let products = |matrix: Matrix| match matrix {
            Matrix::Cross => 3.0 * rows * rows,
            Matrix::Queries | Matrix::Documents => 1.5 * rows * rows,
            Matrix::QueryHard | Matrix::DocumentHard => 3.0 * rows * rows * hard,
            Matrix::QueryOwn | Matrix::DocumentOwn => 3.0 * rows * hard,
        };
        2.0 * dim as f64 * plan.matrices().into_iter().map(products).sum::<f64>()
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

    /// The loss with its gradient for every embedding and for ln τ, without autodiff.
    ///
    /// Walks tiles of the score matrices with an online log-sum-exp and closed-form gradients, in
    /// `O(batch·dim)` memory beside the score tiles it is allowed to keep. The gradients are for
    /// the embeddings as given, normalised or not, and have their type; the computation runs in
    /// f64 for f64 embeddings and in f32 for all others.
    ///
    /// # Errors
    ///
    /// [`LossError::NonFinite`] names the first input row that is not finite,
    /// [`LossError::Overflow`] a row whose loss is not; others where relations or weights do not
    /// fit the batch.
    ///
    /// # Examples
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use burn::tensor::Tensor;
    /// use samtone_loss::{Batch, LossConfig};
    ///
    /// let device = Default::default();
    /// let queries = Tensor::<Flex, 2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
    /// let documents = Tensor::from_data([[2.0, 0.1], [0.1, 2.0]], &device);
    /// let loss = LossConfig::default().resolve()?;
    /// let result = loss.value_and_gradients(&Batch::new(queries, documents), loss.temperature())?;
    /// assert!(result.loss < 1e-6);
    /// assert_eq!(result.embeddings.queries.dims(), [2, 2]);
    /// # Ok::<(), samtone_loss::LossError>(())
    /// ```
    pub fn value_and_gradients<B: Backend>(
        &self,
        batch: &Batch<B>,
        temperature: Temperature,
    ) -> Result<LossGradients<B>, LossError> {
        kernel::value_and_gradients(self, batch, temperature)
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

#[cfg(test)]
mod tests {
    use crate::{LossConfig, Preset};

    #[test]
    fn samtone_query_costs_four_and_a_half_products() {
        let flops = |preset, negatives| {
            let loss = LossConfig::preset(preset).resolve().unwrap();
            loss.product_flops(100, negatives, 10) / (2.0 * 100.0 * 100.0 * 10.0)
        };
        assert_eq!(flops(Preset::SamtoneQuery, 0), 4.5);
        assert_eq!(flops(Preset::Samtone, 0), 6.0);
        assert_eq!(flops(Preset::InBatch, 1), 3.0 + 3.0 + 0.03);
    }
}
