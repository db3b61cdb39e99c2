//! Rows of tables, added up.

use super::fill::fill_rows;
use super::math::vectorised;
use super::{FusedOp, Matrix};

/// Inputs: `N` tables `[_, width]`. Output: `[rows, width]`, row i the sum of row `indices[t][i]`
/// of every table t.
#[derive(Clone, Debug)]
pub(crate) struct EmbedOp {
    pub(crate) indices: Vec<Vec<usize>>,
}

impl<const N: usize> FusedOp<N> for EmbedOp {
    type Saved = ();

    fn forward(&self, inputs: &[Matrix; N], _save: bool) -> (Matrix, Option<()>) {
        let (rows, width) = (self.indices[0].len(), inputs[0].shape()[1]);
        let (output, _) = fill_rows(inputs[0].held(), [rows, width], |range, chunk| {
            for (row, target) in range.zip(chunk.chunks_exact_mut(width)) {
                for (table, indices) in inputs.iter().zip(&self.indices) {
                    let start = indices[row] * width;
                    let source = table.part(start..start + width);
                    vectorised(|| {
                        for (target, value) in target.iter_mut().zip(&*source) {
                            *target += value;
                        }
                    });
                }
            }
        });
        (Matrix::new(output, [rows, width]), Some(()))
    }

    fn backward(
        &self,
        inputs: &[Matrix; N],
        (): &(),
        gradient: &Matrix,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let width = gradient.shape()[1];
        std::array::from_fn(|t| {
            wanted[t].then(|| {
                let shape = inputs[t].shape().to_vec();
                // In f32, however the table is held: many rows add up.
                // Most rows of a vocabulary stay zero, and untouched memory from the system is free.
                let mut table = vec![0.0; shape[0] * width];
                let gradient = gradient.values();
                vectorised(|| {
                    let rows = gradient.chunks_exact(width);
                    for (source, &index) in rows.zip(&self.indices[t]) {
                        let target = &mut table[index * width..][..width];
                        for (target, value) in target.iter_mut().zip(source) {
                            *target += value;
                        }
                    }
                });
                Matrix::new(table, shape)
            })
        })
    }
}
