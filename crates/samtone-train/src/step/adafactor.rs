//! Adafactor, which Burn 0.21 lacks.

use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{Device, Tensor};

/// Adafactor (Shazeer and Stern 2018, arXiv:1804.04235), as T5X trains with it.
///
/// The second moment of a matrix is kept as its row and column means. With `g` the gradient and
/// `t` the step from 1:
///
/// ```text
/// β_t = 1 − t^(−decay)        v = β_t v + (1 − β_t)(g² + 1e-30)      (rows and columns apart)
/// u = g / √v                  u = u / max(1, rms(u) / clip)
/// p = p − lr · scale · u      scale = max(1e-3, rms(p)), or 1 in the plain form
/// ```
///
/// A tensor of more than two axes is factored over its last two. There is no first moment.
/// A departure from T5X: matrices with an axis under 128 are factored too, as in `transformers`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adafactor {
    /// Exponent of the second moment's decay.
    pub decay: f64,
    /// Largest root mean square of an update before the learning rate.
    pub clip: f64,
    /// Whether updates are scaled by the root mean square of the parameter.
    pub scale_by_parameter: bool,
    /// Decoupled weight decay, scaled as the update is.
    pub weight_decay: f64,
}

/// Added to squared gradients.
const GRADIENT_EPS: f64 = 1e-30;
/// Smallest root mean square of a parameter that an update is scaled by.
const PARAMETER_EPS: f64 = 1e-3;

impl Default for Adafactor {
    /// T5X's form.
    fn default() -> Self {
        Self { decay: 0.8, clip: 1.0, scale_by_parameter: true, weight_decay: 0.0 }
    }
}

impl Adafactor {
    /// The state of a parameter of `shape` after `step` steps, from its parts.
    pub(crate) fn state<B: Backend, const D: usize>(
        step: usize,
        moments: Vec<Tensor<B, 1>>,
        shape: [usize; D],
    ) -> AdafactorState<B, D> {
        let mut moments = moments.into_iter();
        let mut of_shape = |averaged: Option<usize>| {
            let mut shape = shape;
            if let Some(axis) = averaged {
                shape[axis] = 1;
            }
            moments.next().map(|moment| moment.reshape(shape))
        };
        let rows = of_shape((D >= 2).then(|| D - 1)).expect("rows are remembered");
        AdafactorState { step, rows, columns: (D >= 2).then(|| of_shape(Some(D - 2))).flatten() }
    }

    /// The steps of a state, and its parts, flattened.
    pub(crate) fn parts<B: Backend, const D: usize>(
        state: AdafactorState<B, D>,
    ) -> (usize, Vec<Tensor<B, 1>>) {
        let moments = std::iter::once(state.rows).chain(state.columns);
        (state.step, moments.map(|moment| moment.flatten(0, D - 1)).collect())
    }
}

/// The second moment, with the axis it was averaged over kept at size 1; a vector's is whole, in
/// `rows`.
#[derive(Clone, Record)]
pub struct AdafactorState<B: Backend, const D: usize> {
    step: usize,
    rows: Tensor<B, D>,
    columns: Option<Tensor<B, D>>,
}

impl<B: Backend> SimpleOptimizer<B> for Adafactor {
    type State<const D: usize> = AdafactorState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let step = state.as_ref().map_or(0, |state| state.step) + 1;
        let beta = 1.0 - (step as f64).powf(-self.decay);
        let squares = gradient.clone() * gradient.clone() + GRADIENT_EPS;
        let (old_rows, old_columns) = state.map(|state| (state.rows, state.columns)).unzip();
        let blend = |old: Option<Tensor<B, D>>, new: Tensor<B, D>| match old {
            Some(old) => old * beta + new * (1.0 - beta),
            None => new, // β is 0 at the first step
        };

        let (update, rows, columns) = if D >= 2 {
            let rows = blend(old_rows, squares.clone().mean_dim(D - 1));
            let columns = blend(old_columns.flatten(), squares.mean_dim(D - 2));
            let row_factor = (rows.clone() / rows.clone().mean_dim(D - 2)).sqrt();
            let update = gradient / row_factor / columns.clone().sqrt();
            (update, rows, Some(columns))
        } else {
            let whole = blend(old_rows, squares);
            (gradient / whole.clone().sqrt(), whole, None)
        };

        let excess = (rms(update.clone()) / self.clip).clamp_min(1.0);
        let rate = if self.scale_by_parameter {
            rms(tensor.clone()).clamp_min(PARAMETER_EPS) * lr
        } else {
            rms(tensor.clone()).full_like(lr)
        };
        let decayed = if self.weight_decay == 0.0 {
            tensor
        } else {
            tensor.clone() - tensor * (rate.clone() * self.weight_decay)
        };
        (decayed - update * (rate / excess), Some(AdafactorState { step, rows, columns }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        AdafactorState {
            step: state.step,
            rows: state.rows.to_device(device),
            columns: state.columns.map(|columns| columns.to_device(device)),
        }
    }
}

/// The root mean square of all elements, every axis of size 1.
fn rms<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    // Axis by axis: Flex sums a whole large tensor in an order that varies.
    (0..D).rev().fold(x.clone() * x, Tensor::mean_dim).sqrt()
}
