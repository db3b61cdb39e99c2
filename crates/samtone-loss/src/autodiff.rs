//! The streaming loss for callers that differentiate further.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};

use crate::rows::{LARGEST, split, working_type};
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
            embeddings: batch.embeddings.clone().map(Tensor::inner, Tensor::inner),
            relations: batch.relations.clone(),
            weights: batch.weights.clone(),
        };
        let gradients = self.value_and_gradients(&inner, temperature)?;
        let (of, by) = (&batch.embeddings, &gradients.embeddings);
        let dtype = working_type(of.queries.dtype());
        let value = TensorData::new(vec![gradients.loss], [1]);
        let loss = Tensor::from_data(value, (&of.queries.device(), dtype))
            + attach(of.queries.clone(), by.queries.clone(), LARGEST)
            + attach(of.documents.clone(), by.documents.clone(), LARGEST);
        let hard = of.hard_negatives.clone().zip(by.hard_negatives.clone());
        let loss = match hard {
            Some((hard, gradient)) => loss + attach(hard, gradient, LARGEST),
            None => loss,
        };
        Ok((loss, gradients))
    }
}

/// A zero whose gradient with respect to `embeddings` is `gradient`: `<e, g> - sg(<e, g>)`, computed
/// from tensors of at most `largest` bytes, or of these two's size.
///
/// The difference is taken before anything is added, so it is exactly zero.
fn attach<B: AutodiffBackend, const D: usize>(
    embeddings: Tensor<B, D>,
    gradient: Tensor<B::InnerBackend, D>,
    largest: usize,
) -> Tensor<B, 1> {
    let dtype = working_type(embeddings.dtype());
    let product = |embeddings: Tensor<B, D>, gradient: Tensor<B::InnerBackend, D>| {
        (embeddings.cast(dtype) * Tensor::from_inner(gradient.cast(dtype))).sum()
    };
    let shape = embeddings.dims();
    let row = shape[1..].iter().product::<usize>() * dtype.size();
    let step = (largest / row.max(1)).max(1);
    let product = if embeddings.dtype() == dtype || shape[0] <= step {
        product(embeddings, gradient)
    } else {
        // A side in half precision that a device can bind may be more in f32 than it can.
        split(0..shape[0], step)
            .map(|rows| {
                let embeddings = embeddings.clone().slice_dim(0, rows.clone());
                product(embeddings, gradient.clone().slice_dim(0, rows))
            })
            .reduce(|sum, strip| sum + strip)
            .expect("there are more rows than a strip has")
    };
    product.clone() - product.detach()
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::{DType, Distribution};

    use super::*;

    #[test]
    fn strips_attach_the_gradient_of_the_whole() {
        type B = Autodiff<Flex>;
        let device = Default::default();
        let random = || Tensor::<Flex, 3>::random([7, 2, 3], Distribution::Default, &device);
        for dtype in [DType::F32, DType::F16] {
            let gradient = random().cast(dtype);
            for largest in [usize::MAX, 2 * 6 * 4, 6 * 4, 1] {
                let embeddings = Tensor::<B, 3>::from_inner(random().cast(dtype)).require_grad();
                let zero = attach(embeddings.clone(), gradient.clone(), largest);
                assert_eq!(zero.to_data().iter::<f32>().collect::<Vec<_>>(), [0.0]);
                let got = embeddings.grad(&zero.backward()).unwrap();
                got.into_data().assert_eq(&gradient.to_data(), true);
            }
        }
    }
}
