//! `ln Σ_w e^(logits_w) − logits_target` of every row.

use super::fill::fill_rows;
use super::math::{exp, greatest, sum_of, vectorised};
use super::matrix::Held;
use super::{FusedOp, Matrix};

/// Input: `[rows, vocab]`. Output: `[rows, 1]`, in nats and in f32.
#[derive(Clone, Debug)]
pub(crate) struct CrossEntropyOp {
    /// The right word of every row.
    pub(crate) targets: Vec<usize>,
}

impl FusedOp<1> for CrossEntropyOp {
    /// The log-sum-exp of every row.
    type Saved = Vec<f32>;

    fn forward(&self, [logits]: &[Matrix; 1], _save: bool) -> (Matrix, Option<Vec<f32>>) {
        let [rows, vocab] = [logits.shape()[0], logits.shape()[1]];
        let (losses, sums) = fill_rows(Held::F32, [rows, 1], |range, losses| {
            let logits = logits.part(range.start * vocab..range.end * vocab);
            let mut log_sums = vec![0.0; range.len()];
            vectorised(|| {
                let targets = losses.iter_mut().zip(&mut log_sums).zip(&self.targets[range]);
                for (((loss, log_sum), &word), logits) in targets.zip(logits.chunks_exact(vocab)) {
                    let top = greatest(logits);
                    *log_sum = top + sum_of(logits, |logit| exp(logit - top)).ln();
                    *loss = *log_sum - logits[word];
                }
            });
            log_sums
        });
        (Matrix::new(losses, [rows, 1]), Some(sums.concat()))
    }

    fn backward(
        &self,
        [logits]: &[Matrix; 1],
        log_sums: &Vec<f32>,
        gradient: &Matrix,
        [wanted]: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        let [rows, vocab] = [logits.shape()[0], logits.shape()[1]];
        let of_logits = wanted.then(|| {
            let gradient = gradient.values();
            let (values, _) = fill_rows(logits.held(), [rows, vocab], |range, chunk| {
                let logits = logits.part(range.start * vocab..range.end * vocab);
                let targets = chunk.chunks_exact_mut(vocab).zip(logits.chunks_exact(vocab));
                for (row, (target, logits)) in range.zip(targets) {
                    let (log_sum, gradient) = (log_sums[row], gradient[row]);
                    vectorised(|| {
                        for (target, logit) in target.iter_mut().zip(logits) {
                            *target = gradient * exp(logit - log_sum);
                        }
                    });
                    target[self.targets[row]] -= gradient;
                }
            });
            Matrix::new(values, [rows, vocab])
        });
        [of_logits]
    }
}
