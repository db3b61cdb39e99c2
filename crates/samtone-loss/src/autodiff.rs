//! The streaming loss for callers that differentiate further.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};

use crate::rows::working_type;
use crate::{Batch, Loss, LossError, LossGradients, Temperature};

impl Loss {
    /// The loss as a tensor of the autodiff graph, its gradient computed by the streaming form.
    ///
    /// The value and the gradients are those of [`value_and_gradients`](Self::value_and_gradients);
    /// no score matrix enters the graph.
    ///
    /// # Shapes
    ///
    /// Returns `[1]`.
    ///
    /// # Errors
    ///
    /// As [`value_and_gradients`](Self::value_and_gradients).
    pub fn forward<B: AutodiffBackend>(
        &self,
        batch: &Batch<B>,
        temperature: Temperature,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.tracked(batch, temperature).map(|(loss, _)| loss)
    }

    /// [`forward`](Self::forward) with a learned temperature, given as the parameter ln τ.
    ///
    /// # Shapes
    ///
    /// - `log_temperature`: `[1]`.
    /// - returns `[1]`.
    ///
    /// # Errors
    ///
    /// As [`value_and_gradients`](Self::value_and_gradients), and [`LossError::Temperature`] where
    /// `exp(log_temperature)` is no temperature.
    pub fn forward_learned<B: AutodiffBackend>(
        &self,
        batch: &Batch<B>,
        log_temperature: &Tensor<B, 1>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let read = log_temperature.to_data().iter::<f64>().next();
        let temperature = Temperature::from_log(read.unwrap_or(f64::NAN))?;
        let (loss, gradients) = self.tracked(batch, temperature)?;
        let slope = (log_temperature.clone() - log_temperature.clone().detach())
            .cast(loss.dtype())
            .mul_scalar(gradients.log_temperature);
        Ok(loss + slope)
    }

    fn tracked<B: AutodiffBackend>(
        &self,
        batch: &Batch<B>,
        temperature: Temperature,
    ) -> Result<(Tensor<B, 1>, LossGradients<B::InnerBackend>), LossError> {
        let inner = Batch {
            queries: batch.queries.clone().inner(),
            documents: batch.documents.clone().inner(),
            hard_negatives: batch.hard_negatives.clone().map(Tensor::inner),
            relations: batch.relations.clone(),
            weights: batch.weights.clone(),
        };
        let gradients = self.value_and_gradients(&inner, temperature)?;
        let dtype = working_type(batch.queries.dtype());
        let value = TensorData::new(vec![gradients.loss], [1]);
        let loss = Tensor::from_data(value, (&batch.queries.device(), dtype))
            + attach(batch.queries.clone(), gradients.queries.clone())
            + attach(batch.documents.clone(), gradients.documents.clone());
        let hard = batch.hard_negatives.clone().zip(gradients.hard_negatives.clone());
        let loss = match hard {
            Some((hard, gradient)) => loss + attach(hard, gradient),
            None => loss,
        };
        Ok((loss, gradients))
    }
}

/// A zero whose gradient with respect to `embeddings` is `gradient`: `<e, g> - sg(<e, g>)`.
///
/// The difference is taken before anything is added, so it is exactly zero.
fn attach<B: AutodiffBackend, const D: usize>(
    embeddings: Tensor<B, D>,
    gradient: Tensor<B::InnerBackend, D>,
) -> Tensor<B, 1> {
    let dtype = working_type(embeddings.dtype());
    let gradient = Tensor::from_inner(gradient.cast(dtype));
    let product = (embeddings.cast(dtype) * gradient).sum();
    product.clone() - product.detach()
}
