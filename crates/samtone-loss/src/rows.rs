//! Row-wise building blocks shared by the definition and the streaming form.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

/// Rows shorter than this have no direction: they score 0 with everything and receive no gradient.
pub(crate) const SHORTEST: f64 = 1e-12;

/// Logit of a hidden candidate. Finite, so that no difference of two is undefined; far enough
/// below every other that its exponential is exactly zero.
pub(crate) const HIDDEN: f64 = -1e30;

/// The largest tensor made on the way, in bytes: what WebGPU binds by default.
pub(crate) const LARGEST: usize = 128 << 20;

/// `range` in steps of `step`.
pub(crate) fn split(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { start, end } = range;
    (start..end).step_by(step).map(move |start| start..(start + step).min(end))
}

/// The type a loss computes in: f64 for f64 embeddings, f32 for all others.
pub(crate) fn working_type(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A host column as a tensor `[rows, 1]` of the given type.
pub(crate) fn column<B: Backend>(
    values: Vec<f64>,
    dtype: DType,
    device: &B::Device,
) -> Tensor<B, 2> {
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), (device, dtype))
}

/// 1/x by division: NdArray with Burn's `simd` takes a reciprocal good to 14 bits.
pub(crate) fn inverse<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    x.ones_like() / x
}

/// Unit rows, with what their gradient needs.
#[derive(Debug, Clone)]
pub(crate) struct UnitRows<B: Backend> {
    /// The rows divided by their norms, `[rows, dim]`.
    pub(crate) unit: Tensor<B, 2>,
    /// 1/norm, or 0 for a row without direction, `[rows, 1]`.
    inverse_norm: Tensor<B, 2>,
}

impl<B: Backend> UnitRows<B> {
    /// Normalises `[rows, dim]`. Each row is first divided by its largest entry, so that neither
    /// large nor small ones leave the number type when squared.
    pub(crate) fn new(rows: Tensor<B, 2>) -> Self {
        let shape = rows.dims();
        let largest = rows.clone().detach().abs().max_dim(1);
        let directionless = largest.clone().lower_elem(SHORTEST);
        let largest = largest.clamp_min(SHORTEST);
        let scaled = rows.mask_fill(directionless.clone().expand(shape), 0.0) / largest.clone();
        // At least 1 wherever the row has a direction, so the clamp never touches those.
        let norm = scaled.clone().square().sum_dim(1).clamp_min(0.5).sqrt();
        let inverse_norm = inverse(norm.clone() * largest).mask_fill(directionless, 0.0);
        Self { unit: scaled / norm, inverse_norm }
    }

    /// The gradient for the rows before normalisation from the one for the unit rows.
    pub(crate) fn backward(&self, gradient: Tensor<B, 2>) -> Tensor<B, 2> {
        let radial = (gradient.clone() * self.unit.clone()).sum_dim(1);
        (gradient - self.unit.clone() * radial) * self.inverse_norm.clone()
    }
}
