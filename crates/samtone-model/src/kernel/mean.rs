//! The mean of each text's rows.

use std::ops::Range;

use super::matrix::Elements;
use super::{FusedOp, Matrix};

/// Input: `[rows, width]`. Output: `[batch, width]`, in f32.
#[derive(Clone, Debug)]
pub(crate) struct MeanOp {
    /// The rows of each text that are pooled; the mean of none is zero.
    pub(crate) spans: Vec<Range<usize>>,
}

impl MeanOp {
    /// The weight of each row of a span.
    fn factor(span: &Range<usize>) -> f32 {
        1.0 / span.len().max(1) as f32
    }
}

impl FusedOp<1> for MeanOp {
    type Saved = ();

    fn forward(&self, [x]: &[Matrix; 1], _save: bool) -> (Matrix, Option<()>) {
        let width = x.shape()[1];
        let mut output = vec![0.0; self.spans.len() * width];
        for (span, target) in self.spans.iter().zip(output.chunks_exact_mut(width)) {
            let factor = Self::factor(span);
            for row in x.part(span.start * width..span.end * width).chunks_exact(width) {
                for (target, value) in target.iter_mut().zip(row) {
                    *target += value;
                }
            }
            for value in target.iter_mut() {
                *value *= factor;
            }
        }
        (Matrix::new(output, [self.spans.len(), width]), Some(()))
    }

    fn backward(
        &self,
        [x]: &[Matrix; 1],
        (): &(),
        gradient: &Matrix,
        [wanted]: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let of_x = wanted.then(|| {
            let mut values = vec![0.0; rows * width];
            let gradient = gradient.values();
            for (span, source) in self.spans.iter().zip(gradient.chunks_exact(width)) {
                let factor = Self::factor(span);
                let targets = &mut values[span.start * width..span.end * width];
                for target in targets.chunks_exact_mut(width) {
                    for (target, value) in target.iter_mut().zip(source) {
                        *target = value * factor;
                    }
                }
            }
            Matrix::new(Elements::of(values, x.held()), [rows, width])
        });
        [of_x]
    }

    fn reads(&self, _wanted: [bool; 1]) -> [bool; 1] {
        [false]
    }
}
