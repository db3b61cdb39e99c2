//! Self-attention inside each text of a packed layout.
//!
//! Scores exist for one text and one head at a time. The forward pass keeps one number per query
//! and head, the log-sum-exp of its scores, from which the backward pass makes the weights again.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use super::math::{exp, greatest, sum_of, sum_of_pairs, vectorised};
use super::product::{View, fill_parts, multiply, sum};
use super::{FusedOp, Input, Matrix};
use crate::dropout::{DropoutSite, attention_line};
use crate::layout::Layout;

/// Inputs: queries, keys and values side by side `[rows, 3 · heads · head_dim]`, then, if there is
/// one, the bias of every distance `[2 · longest - 1, heads]`. Output: `[rows, heads · head_dim]`.
#[derive(Clone, Debug)]
pub(crate) struct AttentionOp {
    pub(crate) layout: Layout,
    pub(crate) heads: usize,
    pub(crate) scale: f64,
    pub(crate) dropout: Option<DropoutSite>,
}

/// The output, and the log-sum-exp of every query's scores, by text, head and query.
#[derive(Clone, Debug)]
pub(crate) struct SavedAttention {
    output: Input,
    log_sums: Vec<Vec<f32>>,
}

/// One text's queries, keys and values of one head.
struct Head<'a> {
    query: View<'a>,
    key: View<'a>,
    value: View<'a>,
}

impl AttentionOp {
    fn head<'a>(&self, text: &'a [f32], length: usize, width: usize, head: usize) -> Head<'a> {
        let dim = width / self.heads;
        let part =
            |which: usize| View::new(&text[which * width + head * dim..], [length, dim], 3 * width);
        Head { query: part(0), key: part(1), value: part(2) }
    }

    /// Adds the bias of each distance to the scores of one query.
    #[inline(always)]
    fn add_bias(&self, scores: &mut [f32], bias: Option<&Input>, head: usize, query: usize) {
        if let Some(bias) = bias {
            let nearest = bias.shape()[0] / 2 - query;
            let column = bias.values()[nearest * self.heads + head..].iter().step_by(self.heads);
            for (score, bias) in scores.iter_mut().zip(column) {
                *score += bias;
            }
        }
    }

    /// Writes the factors by which dropout multiplies one query's weights, if it does.
    #[inline(always)]
    fn factors(&self, factors: &mut [f32], text: usize, head: usize, query: usize) -> bool {
        match &self.dropout {
            Some(site) => {
                site.fill(text, attention_line(head, query), factors);
                true
            }
            None => false,
        }
    }
}

impl<const N: usize> FusedOp<N> for AttentionOp {
    type Saved = SavedAttention;

    fn forward(&self, inputs: &[Input; N], save: bool) -> (Matrix, Option<SavedAttention>) {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1] / 3];
        let bias = inputs.get(1);
        let lengths: Vec<usize> = self.layout.lengths().iter().map(|n| n * width).collect();
        let (output, log_sums) = fill_parts(&lengths, |text, output| {
            let span = self.layout.span(text);
            let length = span.len();
            let input = &x.values()[span.start * 3 * width..span.end * 3 * width];
            let mut scores = vec![0.0; length * length];
            let mut factors = vec![0.0; length];
            let mut log_sums = vec![0.0; self.heads * length];
            for (head, log_sums) in log_sums.chunks_exact_mut(length).enumerate() {
                let Head { query, key, value } = self.head(input, length, width, head);
                multiply(&mut scores, length, query, key.transposed(), self.scale as f32);
                vectorised(|| {
                    let queries = scores.chunks_exact_mut(length).zip(log_sums).enumerate();
                    for (query, (scores, log_sum)) in queries {
                        self.add_bias(scores, bias, head, query);
                        *log_sum = softmax(scores);
                        if self.factors(&mut factors, text, head, query) {
                            scores.iter_mut().zip(&factors).for_each(|(w, factor)| *w *= factor);
                        }
                    }
                });
                let target = &mut output[head * (width / self.heads)..];
                multiply(target, width, View::new(&scores, [length, length], length), value, 1.0);
            }
            log_sums
        });
        let output = Matrix::new(output, [rows, width]);
        let saved = save.then(|| SavedAttention { output: Input(output.0.clone()), log_sums });
        (output, saved)
    }

    fn backward(
        &self,
        inputs: &[Input; N],
        saved: &SavedAttention,
        gradient: &Input,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1] / 3];
        let bias = inputs.get(1);
        let dim = width / self.heads;
        let lengths: Vec<usize> = self.layout.lengths().iter().map(|n| n * 3 * width).collect();
        let (of_x, of_bias) = fill_parts(&lengths, |text, target| {
            let span = self.layout.span(text);
            let length = span.len();
            let input = &x.values()[span.start * 3 * width..span.end * 3 * width];
            let place = span.start * width..span.end * width;
            let (gradient, output) =
                (&gradient.values()[place.clone()], &saved.output.values()[place]);
            let mut weights = vec![0.0; length * length];
            let mut of_weights = vec![0.0; length * length];
            let mut factors = vec![0.0; length];
            let mut of_bias = vec![0.0; bias.map_or(0, |bias| bias.values().len())];
            for head in 0..self.heads {
                let Head { query, key, value } = self.head(input, length, width, head);
                let log_sums = &saved.log_sums[text][head * length..][..length];
                let column = head * dim;
                let of_output = View::new(&gradient[column..], [length, dim], width);
                multiply(&mut weights, length, query, key.transposed(), self.scale as f32);
                multiply(&mut of_weights, length, of_output, value.transposed(), 1.0);
                vectorised(|| {
                    for (query, log_sum) in log_sums.iter().enumerate() {
                        let row = query * length..(query + 1) * length;
                        let (weights, of_weights) =
                            (&mut weights[row.clone()], &mut of_weights[row]);
                        self.add_bias(weights, bias, head, query);
                        for weight in weights.iter_mut() {
                            *weight = exp(*weight - log_sum);
                        }
                        let at = query * width + column;
                        let mean =
                            sum_of_pairs(&gradient[at..at + dim], &output[at..at + dim], |g, o| {
                                g * o
                            });
                        if self.factors(&mut factors, text, head, query) {
                            let terms = weights.iter_mut().zip(of_weights).zip(&factors);
                            for ((weight, of_weight), factor) in terms {
                                *of_weight = *weight * (*of_weight * factor - mean);
                                *weight *= factor;
                            }
                        } else {
                            for (weight, of_weight) in weights.iter().zip(of_weights) {
                                *of_weight = weight * (*of_weight - mean);
                            }
                        }
                    }
                });
                // What is called `of_weights` holds the gradient of the scores from here on.
                let of_scores = View::new(&of_weights, [length, length], length);
                let weights = View::new(&weights, [length, length], length);
                let scale = self.scale as f32;
                let (stride, part) = (3 * width, |which: usize| which * width + column);
                multiply(&mut target[part(0)..], stride, of_scores, key, scale);
                multiply(&mut target[part(1)..], stride, of_scores.transposed(), query, scale);
                multiply(&mut target[part(2)..], stride, weights.transposed(), of_output, 1.0);
                if let Some(bias) = bias {
                    let longest = bias.shape()[0] / 2;
                    for (at, of_score) in of_weights.iter().enumerate() {
                        let distance = longest + at % length - at / length;
                        of_bias[distance * self.heads + head] += of_score;
                    }
                }
            }
            of_bias
        });
        let mut gradients = [const { None }; N];
        gradients[0] = wanted[0].then(|| Matrix::new(of_x, [rows, 3 * width]));
        if let Some(bias) = bias.filter(|_| wanted[1]) {
            let total = sum(&of_bias, bias.values().len());
            gradients[1] = Some(Matrix::new(total, bias.shape().to_vec()));
        }
        gradients
    }
}

/// Turns scores into weights that sum to 1; gives their log-sum-exp.
#[inline(always)]
fn softmax(scores: &mut [f32]) -> f32 {
    let top = greatest(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - top);
    }
    let total = sum_of(scores, |weight| weight);
    let factor = 1.0 / total;
    for weight in scores.iter_mut() {
        *weight *= factor;
    }
    top + total.ln()
}
