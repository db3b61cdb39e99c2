//! The mean of each text's rows.

use super::{FusedOp, Input, Matrix};
use crate::layout::Layout;

/// Input: `[rows, width]`. Output: `[batch, width]`.
#[derive(Clone, Debug)]
pub(crate) struct MeanOp {
    pub(crate) layout: Layout,
}

impl FusedOp<1> for MeanOp {
    type Saved = ();

    fn forward(&self, [x]: &[Input; 1], _save: bool) -> (Matrix, Option<()>) {
        let width = x.shape()[1];
        let mut output = vec![0.0; self.layout.batch() * width];
        for (span, target) in self.layout.spans().zip(output.chunks_exact_mut(width)) {
            let factor = 1.0 / span.len() as f32;
            for row in x.values()[span.start * width..span.end * width].chunks_exact(width) {
                for (target, value) in target.iter_mut().zip(row) {
                    *target += value;
                }
            }
            for value in target.iter_mut() {
                *value *= factor;
            }
        }
        (Matrix::new(output, [self.layout.batch(), width]), Some(()))
    }

    fn backward(
        &self,
        [x]: &[Input; 1],
        (): &(),
        gradient: &Input,
        [wanted]: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let of_x = wanted.then(|| {
            let mut values = vec![0.0; rows * width];
            let sources = gradient.values().chunks_exact(width);
            for (span, source) in self.layout.spans().zip(sources) {
                let factor = 1.0 / span.len() as f32;
                let targets = &mut values[span.start * width..span.end * width];
                for target in targets.chunks_exact_mut(width) {
                    for (target, value) in target.iter_mut().zip(source) {
                        *target = value * factor;
                    }
                }
            }
            Matrix::new(values, [rows, width])
        });
        [of_x]
    }
}
