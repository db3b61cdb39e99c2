//! How a term reads a tile of scores, and what it sums up to.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::plan::Axis;
use crate::rows::HIDDEN;

/// How a term reads a tile.
pub(crate) struct Reading<'a, B: Backend> {
    /// The axis of the tile that the anchors lie on.
    pub(crate) axis: Axis,
    /// The anchors' rows of the batch.
    pub(crate) anchors: &'a Range<usize>,
    /// The factor on the scores.
    pub(crate) scale: f64,
    /// The score of each row of the batch above which its candidates are hidden, `[batch, 1]`.
    pub(crate) thresholds: Option<&'a Tensor<B, 2>>,
}

impl<B: Backend> Reading<'_, B> {
    /// Values of the batch's rows, `[batch, 1]`, for the anchors alone and laid along their axis.
    pub(crate) fn along(&self, values: Tensor<B, 2>) -> Tensor<B, 2> {
        let values = values.slice_dim(0, self.anchors.clone());
        match self.axis {
            Axis::Rows => values,
            Axis::Columns => values.reshape([1, self.anchors.len()]),
        }
    }

    /// The logits of a tile of scores, those above the thresholds pushed out of sight.
    pub(crate) fn logits(&self, scores: &Tensor<B, 2>) -> Tensor<B, 2> {
        let logits = scores.clone() * self.scale;
        let Some(thresholds) = self.thresholds else { return logits };
        let thresholds = self.along(thresholds.clone());
        let too_close = scores.clone().greater(thresholds.expand(scores.dims()));
        logits.mask_fill(too_close, HIDDEN * self.scale)
    }
}

/// `Σ e^x` for each anchor, relative to a logit no smaller than any in the sum. The sum itself would
/// leave the number type, and its logarithm would round away what the second pass needs.
#[derive(Clone)]
pub(crate) struct ScaledSum<B: Backend> {
    /// `[anchors, 1]`.
    pub(crate) largest: Tensor<B, 2>,
    /// `Σ e^(x - largest)`, `[anchors, 1]`.
    pub(crate) sum: Tensor<B, 2>,
}

impl<B: Backend> ScaledSum<B> {
    /// The sum relative to another logit.
    pub(crate) fn relative_to(&self, largest: &Tensor<B, 2>) -> Tensor<B, 2> {
        self.sum.clone() * (self.largest.clone() - largest.clone()).exp()
    }

    pub(crate) fn add(self, other: Self) -> Self {
        let largest = self.largest.clone().max_pair(other.largest.clone());
        let sum = self.relative_to(&largest) + other.relative_to(&largest);
        Self { largest, sum }
    }
}
