//! Rotary positions.

use super::fill::fill_rows;
use super::math::vectorised;
use super::{FusedOp, Matrix};
use crate::blocks::rotary::Turns;

/// Input and output: `[rows, width]`, of which the first `heads` heads of a row turn.
#[derive(Clone, Debug)]
pub(crate) struct RotateOp {
    pub(crate) turns: Turns,
    pub(crate) heads: usize,
}

impl RotateOp {
    /// Every row turned, forwards or back.
    fn turned(&self, x: &Matrix, backwards: bool) -> Matrix {
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let pairs = self.turns.pairs;
        let sign = if backwards { -1.0 } else { 1.0 };
        let (output, _) = fill_rows(x.held(), [rows, width], |range, chunk| {
            let x = x.part(range.start * width..range.end * width);
            vectorised(|| {
                let rows = chunk.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for (row, (values, x)) in range.zip(rows) {
                    values.copy_from_slice(x);
                    let place = self.turns.positions[row] * pairs;
                    let cos = &self.turns.cos[place..place + pairs];
                    let sin = &self.turns.sin[place..place + pairs];
                    for head in values.chunks_exact_mut(2 * pairs).take(self.heads) {
                        let (first, second) = head.split_at_mut(pairs);
                        let turns = cos.iter().zip(sin);
                        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
                            let sin = sign * sin;
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                }
            });
        });
        Matrix::new(output, [rows, width])
    }
}

impl FusedOp<1> for RotateOp {
    type Saved = ();

    fn forward(&self, inputs: &[Matrix; 1], _save: bool) -> (Matrix, Option<()>) {
        (self.turned(&inputs[0], false), Some(()))
    }

    fn backward(
        &self,
        _inputs: &[Matrix; 1],
        (): &(),
        gradient: &Matrix,
        _wanted: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        [Some(self.turned(gradient, true))]
    }
}
