//! `ln Σ_w e^(logits_w) − logits_target` of every row.

use super::fill::fill_rows;
use super::math::{exp, greatest, sum_of, vectorised};
use super::{FusedOp, Input, Matrix};

/// Input: `[rows, vocab]`. Output: `[rows, 1]`, in nats.
#[derive(Clone, Debug)]
pub(crate) struct CrossEntropyOp {
    /// The right word of every row.
    pub(crate) targets: Vec<usize>,
}

impl FusedOp<1> for CrossEntropyOp {
    /// The log-sum-exp of every row.
    type Saved = Vec<f32>;

    fn forward(&self, [logits]: &[Input; 1], _save: bool) -> (Matrix, Option<Vec<f32>>) {
        let [rows, vocab] = [logits.shape()[0], logits.shape()[1]];
        let (log_sums, _) = fill_rows(rows, 1, |range, log_sums| {
            let logits = logits.values()[range.start * vocab..].chunks_exact(vocab);
            vectorised(|| {
                for (log_sum, logits) in log_sums.iter_mut().zip(logits) {
                    let top = greatest(logits);
                    *log_sum = top + sum_of(logits, |logit| exp(logit - top)).ln();
                }
            });
        });
        let rows_of = logits.values().chunks_exact(vocab);
        let losses = log_sums.iter().zip(rows_of).zip(&self.targets);
        let losses: Vec<f32> =
            losses.map(|((log_sum, logits), &target)| log_sum - logits[target]).collect();
        (Matrix::new(losses, [rows, 1]), Some(log_sums))
    }

    fn backward(
        &self,
        [logits]: &[Input; 1],
        log_sums: &Vec<f32>,
        gradient: &Input,
        [wanted]: [bool; 1],
    ) -> [Option<Matrix>; 1] {
        let [rows, vocab] = [logits.shape()[0], logits.shape()[1]];
        let of_logits = wanted.then(|| {
            let (values, _) = fill_rows(rows, vocab, |range, chunk| {
                let inputs = logits.values()[range.start * vocab..].chunks_exact(vocab);
                let targets = chunk.chunks_exact_mut(vocab).zip(inputs);
                for (row, (target, logits)) in range.zip(targets) {
                    let (log_sum, gradient) = (log_sums[row], gradient.values()[row]);
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
