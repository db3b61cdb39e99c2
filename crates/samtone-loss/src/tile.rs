//! What the streaming form does to a tile of scores: hide some, sum their exponentials, turn them
//! into weights. In tensor operations, or in one kernel each where [`crate::kernel`] has them.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

#[cfg(feature = "cubecl")]
use crate::kernel::cube;
use crate::plan::Axis;
use crate::reading::{Reading, ScaledSum};
use crate::rows::HIDDEN;

/// Pushes scores out of every reading's sight; `places` are `row · columns + column`, once each.
pub(crate) fn hide<B: Backend>(scores: Tensor<B, 2>, places: Vec<u32>) -> Tensor<B, 2> {
    if places.is_empty() {
        return scores;
    }
    #[cfg(feature = "cubecl")]
    if cube::runs_on::<B>(scores.dtype()) {
        return cube::hide(scores, places);
    }
    let shape = scores.dims();
    let mut bits = vec![false; shape[0] * shape[1]];
    for place in places {
        bits[place as usize] = true;
    }
    let mask = Tensor::from_data(TensorData::new(bits, shape), &scores.device());
    scores.mask_fill(mask, HIDDEN)
}

/// The sum over the candidates of a tile and those before it.
pub(crate) fn extend<B: Backend>(
    so_far: Option<ScaledSum<B>>,
    scores: &Tensor<B, 2>,
    reading: &Reading<'_, B>,
) -> ScaledSum<B> {
    #[cfg(feature = "cubecl")]
    if cube::runs_on::<B>(scores.dtype()) {
        return cube::extend(so_far, scores, reading);
    }
    let candidates = match reading.axis {
        Axis::Rows => 1,
        Axis::Columns => 0,
    };
    let logits = reading.logits(scores);
    let largest = logits.clone().max_dim(candidates);
    let sum = (logits - largest.clone()).exp().sum_dim(candidates);
    let anchors = reading.anchors.len();
    let sum = ScaledSum { largest: largest.reshape([anchors, 1]), sum: sum.reshape([anchors, 1]) };
    match so_far {
        Some(so_far) => so_far.add(sum),
        None => sum,
    }
}

/// `Σ_t e^(a_t·s - λ_t)`: what each score of a tile weighs in the loss, over all its terms. A λ is
/// `[batch, 2]`, as `e^(a·s - λ) = factor·e^(a·s - shift)` with the shifts in column 0 and the
/// factors in column 1.
pub(crate) fn weigh<B: Backend>(
    scores: Tensor<B, 2>,
    terms: Vec<(Reading<'_, B>, &Tensor<B, 2>)>,
) -> Tensor<B, 2> {
    #[cfg(feature = "cubecl")]
    if cube::runs_on::<B>(scores.dtype()) {
        return cube::weigh(scores, terms);
    }
    let weights = terms.into_iter().map(|(reading, lambda)| {
        let of_anchors = |column: usize| reading.along(lambda.clone().narrow(1, column, 1));
        (reading.logits(&scores) - of_anchors(0)).exp() * of_anchors(1)
    });
    weights.reduce(Tensor::add).expect("a tile is read by some term")
}
