//! Hands f32 batches of the Flex backend to the CPU kernel.

use std::any::{Any, TypeId};

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::FlexTensor;

use super::cpu;
use crate::embeddings::Sizes;
use crate::{Batch, Embeddings, Loss, LossError, LossGradients, Temperature};

/// Whether the kernel takes embeddings of type `dtype` on `B`.
pub(super) fn runs_on<B: Backend>(dtype: DType) -> bool {
    dtype == DType::F32 && TypeId::of::<B::FloatTensorPrimitive>() == TypeId::of::<FlexTensor>()
}

/// The loss by the CPU kernel; `None` where the batch is no f32 batch of the Flex backend.
pub(super) fn value_and_gradients<B: Backend>(
    loss: &Loss,
    batch: &Batch<B>,
    temperature: Temperature,
) -> Option<Result<LossGradients<B>, LossError>> {
    let Embeddings { queries, documents, hard_negatives } = &batch.embeddings;
    let device = queries.device();
    let queries = host(queries)?;
    let documents = host(documents)?;
    let hard = match hard_negatives {
        Some(hard) => Some(host(hard)?),
        None => None,
    };
    let inputs = cpu::Inputs {
        queries: queries.as_slice()?,
        documents: documents.as_slice()?,
        hard: match &hard {
            Some(hard) => hard.as_slice()?,
            None => &[],
        },
    };
    let sizes = batch.embeddings.sizes();
    let Sizes { rows, negatives, dim } = sizes;
    let outcome = batch.shares().and_then(|shares| {
        cpu::value_and_gradients(loss, inputs, &batch.relations, sizes, &shares, temperature)
    });
    Some(outcome.map(|outcome| LossGradients {
        loss: outcome.loss,
        per_row: tensor(outcome.per_row, [rows], &device),
        embeddings: Embeddings {
            queries: tensor(outcome.queries, [rows, dim], &device),
            documents: tensor(outcome.documents, [rows, dim], &device),
            hard_negatives: hard.map(|_| tensor(outcome.hard, [rows, negatives, dim], &device)),
        },
        log_temperature: outcome.log_temperature,
    }))
}

/// The tensor on the host, in order, if it is an f32 tensor of the Flex backend.
fn host<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    if !runs_on::<B>(tensor.dtype()) {
        return None;
    }
    let primitive = tensor.clone().into_primitive().tensor();
    let flex = (&primitive as &dyn Any).downcast_ref::<FlexTensor>()?;
    Some(if flex.is_contiguous() { flex.clone() } else { flex.to_contiguous() })
}

fn tensor<B: Backend, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}
