//! A nonlinear half of every row times the other half.

use super::fill::fill_rows;
use super::math::{activate, each_activation, slope, vectorised};
use super::{FusedOp, Matrix};
use crate::config::Activation;

/// Input: `[rows, 2 · inner]`. Output: `f(first half) · second half`, `[rows, inner]`.
#[derive(Clone, Debug)]
pub(crate) struct GateOp {
    pub(crate) activation: Activation,
}

impl FusedOp<1> for GateOp {
    type Saved = ();

    fn forward(&self, inputs: &[Matrix; 1], _save: bool) -> (Matrix, Option<()>) {
        let [rows, width] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let inner = width / 2;
        let (output, _) = fill_rows(inputs[0].held(), [rows, inner], |range, chunk| {
            let x = inputs[0].part(range.start * width..range.end * width);
            each_activation!(self.activation, |KNOWN| {
                for (row, target) in x.chunks_exact(width).zip(chunk.chunks_exact_mut(inner)) {
                    let (gate, gated) = row.split_at(inner);
                    for ((target, &gate), gated) in target.iter_mut().zip(gate).zip(gated) {
                        *target = activate(KNOWN, gate) * gated;
                    }
                }
            });
        });
        (Matrix::new(output, [rows, inner]), Some(()))
    }

    fn backward(
        &self,
        inputs: &[Matrix; 1],
        (): &(),
        gradient: &Matrix,
        _wanted: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        let [rows, width] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let inner = width / 2;
        let (of_x, _) = fill_rows(inputs[0].held(), [rows, width], |range, chunk| {
            let x = inputs[0].part(range.start * width..range.end * width);
            let gradient = gradient.part(range.start * inner..range.end * inner);
            each_activation!(self.activation, |KNOWN| {
                let rows = x.chunks_exact(width).zip(gradient.chunks_exact(inner));
                for ((row, gradient), target) in rows.zip(chunk.chunks_exact_mut(width)) {
                    let (gate, gated) = row.split_at(inner);
                    let (of_gate, of_gated) = target.split_at_mut(inner);
                    let inputs = gate.iter().zip(gated).zip(gradient);
                    let targets = of_gate.iter_mut().zip(of_gated);
                    for (((&gate, gated), g), (of_gate, of_gated)) in inputs.zip(targets) {
                        *of_gate = slope(KNOWN, gate) * gated * g;
                        *of_gated = activate(KNOWN, gate) * g;
                    }
                }
            });
        });
        [Some(Matrix::new(of_x, [rows, width]))]
    }
}
