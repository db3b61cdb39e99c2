//! What an objective, or a term of it, comes to.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use samtone_loss::{Embeddings, LossGradients};

/// The value of an objective and its gradients.
#[derive(Clone, Debug)]
pub struct ObjectiveGradients<B: Backend> {
    /// The value, in nats where no distillation takes part.
    pub loss: f64,
    /// Gradient with respect to ln τ.
    pub log_temperature: f64,
    /// Gradients with respect to the embeddings.
    pub embeddings: Embeddings<B>,
}

impl<B: Backend> From<LossGradients<B>> for ObjectiveGradients<B> {
    fn from(found: LossGradients<B>) -> Self {
        let LossGradients { loss, log_temperature, embeddings, .. } = found;
        Self { loss, log_temperature, embeddings }
    }
}

impl<B: Backend> ObjectiveGradients<B> {
    pub(super) fn plus(self, other: Self) -> Self {
        let (a, b) = (self.embeddings, other.embeddings);
        let hard_negatives = match (a.hard_negatives, b.hard_negatives) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        Self {
            loss: self.loss + other.loss,
            log_temperature: self.log_temperature + other.log_temperature,
            embeddings: Embeddings {
                queries: a.queries + b.queries,
                documents: a.documents + b.documents,
                hard_negatives,
            },
        }
    }

    /// These gradients times `weight`, zero in the dimensions that were cut off.
    pub(super) fn widen(self, dim: usize, weight: f64) -> Self {
        fn widen<B: Backend, const D: usize>(
            x: Tensor<B, D>,
            dim: usize,
            weight: f64,
        ) -> Tensor<B, D> {
            let mut shape = x.dims();
            let x = x.mul_scalar(weight);
            shape[D - 1] = dim - shape[D - 1];
            if shape[D - 1] == 0 {
                return x;
            }
            let rest = Tensor::zeros(shape, (&x.device(), x.dtype()));
            Tensor::cat(vec![x, rest], D - 1)
        }
        let embeddings = self.embeddings.map(|x| widen(x, dim, weight), |x| widen(x, dim, weight));
        Self {
            loss: weight * self.loss,
            log_temperature: weight * self.log_temperature,
            embeddings,
        }
    }
}
