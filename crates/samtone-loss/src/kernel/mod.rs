//! Chooses how a loss is computed on a backend.

use burn::tensor::backend::Backend;

use crate::{Batch, Loss, LossError, LossGradients, Temperature, streaming};

/// The loss and its gradients by the fastest way there is for the backend.
pub(crate) fn value_and_gradients<B: Backend>(
    loss: &Loss,
    batch: &Batch<B>,
    temperature: Temperature,
) -> Result<LossGradients<B>, LossError> {
    batch.check()?;
    streaming::value_and_gradients(loss, batch, temperature)
}
