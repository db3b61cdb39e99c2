//! `f(x Wᵀ + b)`, for one weight or several side by side, and the products of low rank inside `f`.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;
use samtone_gemm::{Product, Target, View};

use super::fill::{chunk_rows, fill_rows, sum, write_blocks, write_rows};
use super::math::{activate, each_activation, slope, vectorised};
use super::matrix::{Elements, Held, PIECE, narrow, widened};
use super::{FusedOp, Matrix};
use crate::config::Activation;

/// Inputs: x `[rows, in]`, then each weight `[out, in]`, then, if `has_bias`, each bias `[out]`; then,
/// if any weight has a product of low rank beside it, their left factors side by side `[rows, Σ r]`, and
/// each right factor `[out, r]`.
/// Output: `[rows, Σ out]`, the weights' parts side by side.
#[derive(Clone, Debug)]
pub(crate) struct LinearOp {
    pub(crate) weights: usize,
    pub(crate) has_bias: bool,
    pub(crate) activation: Option<Activation>,
    /// Of each weight the columns of the left factors that its product of low rank reads; empty where
    /// there is none at all.
    pub(crate) low: Vec<Option<Range<usize>>>,
}

/// Where one weight's part lies in an output row.
struct Part<'a> {
    weight: &'a Matrix,
    bias: Option<Cow<'a, [f32]>>,
    low: Option<Low<'a>>,
    start: usize,
    outputs: usize,
}

/// A product of low rank beside a weight's.
struct Low<'a> {
    /// Its columns of the left factors.
    columns: Range<usize>,
    /// Its right factor, `[out, r]`, and that one's place among the inputs.
    up: &'a Matrix,
    input: usize,
}

impl<'a> Low<'a> {
    /// Some rows of its right factor, `[out, r]`.
    fn right(&self, outputs: &Range<usize>) -> View<'a> {
        let rank = self.columns.len();
        self.up.view(outputs.start * rank, [outputs.len(), rank], rank)
    }

    /// Its left factor at some rows of `states`.
    fn left(&self, states: &'a Matrix, rows: &Range<usize>) -> View<'a> {
        let width = states.shape()[1];
        let shape = [rows.len(), self.columns.len()];
        states.view(rows.start * width + self.columns.start, shape, width)
    }
}

impl Part<'_> {
    /// Which of its outputs are among some columns of the output, and where these begin there.
    fn among(&self, columns: &Range<usize>) -> Option<(Range<usize>, usize)> {
        let start = self.start.max(columns.start);
        let end = (self.start + self.outputs).min(columns.end);
        (start < end).then(|| (start - self.start..end - self.start, start - columns.start))
    }
}

impl LinearOp {
    /// Where the left factors of the products of low rank lie among the inputs.
    fn states_at(&self) -> usize {
        1 + self.weights * if self.has_bias { 2 } else { 1 }
    }

    fn parts<'a>(&self, inputs: &'a [Matrix]) -> Vec<Part<'a>> {
        let (weights, biases) = inputs[1..self.states_at()].split_at(self.weights);
        let mut start = 0;
        let mut input = self.states_at();
        let part = |(i, weight): (usize, &'a Matrix)| {
            let outputs = weight.shape()[0];
            start += outputs;
            let bias = biases.get(i).map(Matrix::values);
            let low = self.low.get(i).cloned().flatten().map(|columns| {
                input += 1;
                Low { columns, up: &inputs[input], input }
            });
            Part { weight, bias, low, start: start - outputs, outputs }
        };
        weights.iter().enumerate().map(part).collect()
    }
}

impl<const N: usize> FusedOp<N> for LinearOp {
    /// What the nonlinearity was applied to.
    type Saved = Elements;

    fn forward(&self, inputs: &[Matrix; N], save: bool) -> (Matrix, Option<Elements>) {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let parts = self.parts(inputs);
        let outputs: usize = parts.iter().map(|part| part.outputs).sum();
        let before = write_blocks(x.held(), [rows, outputs], |[range, columns], mut chunk| {
            let x = x.view(range.start * width, [range.len(), width], width);
            let stride = columns.len();
            for part in &parts {
                let Some((outputs, start)) = part.among(&columns) else { continue };
                let shape = [outputs.len(), width];
                let weight = part.weight.view(outputs.start * width, shape, width).t();
                let (product, mut target) = (Product::new(x, weight), after(&mut chunk, start));
                match &part.bias {
                    Some(bias) => product.write_onto(&bias[outputs.clone()], &mut target, stride),
                    None => product.write(&mut target, stride),
                }
                if let Some(low) = &part.low {
                    let states = low.left(&inputs[self.states_at()], &range);
                    let mut target = after(&mut chunk, start);
                    Product::new(states, low.right(&outputs).t()).add(&mut target, stride);
                }
            }
            if let (Some(activation), false) = (self.activation, save) {
                apply(activation, chunk);
            }
        });
        let (output, saved) = match self.activation {
            Some(activation) if save => {
                let (after, _) = fill_rows(x.held(), [rows, outputs], |range, chunk| {
                    let before = before.part(range.start * outputs..range.end * outputs);
                    each_activation!(activation, |KNOWN| {
                        for (target, &x) in chunk.iter_mut().zip(&*before) {
                            *target = activate(KNOWN, x);
                        }
                    });
                });
                (after, Some(before))
            }
            _ => (before, save.then(|| Elements::F32(Vec::new()))),
        };
        (Matrix::new(output, [rows, outputs]), saved)
    }

    fn backward(
        &self,
        inputs: &[Matrix; N],
        saved: &Elements,
        gradient: &Matrix,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let parts = self.parts(inputs);
        let outputs = gradient.shape()[1];
        // The gradient before the nonlinearity.
        let inner = self.activation.map(|activation| {
            let (inner, _) = fill_rows(x.held(), [rows, outputs], |range, chunk| {
                let range = range.start * outputs..range.end * outputs;
                through(activation, chunk, &saved.part(range.clone()), &gradient.part(range));
            });
            Matrix::new(inner, [rows, outputs])
        });
        let gradient = inner.as_ref().unwrap_or(gradient);

        let mut gradients = [const { None }; N];
        if wanted[0] {
            let values = write_blocks(x.held(), [rows, width], |[range, columns], mut chunk| {
                for (i, part) in parts.iter().enumerate() {
                    let start = range.start * outputs + part.start;
                    let gradient = gradient.view(start, [range.len(), part.outputs], outputs);
                    let shape = [part.outputs, columns.len()];
                    let weight = part.weight.view(columns.start, shape, width);
                    let product = Product::new(gradient, weight);
                    match i {
                        0 => product.write(&mut chunk, columns.len()),
                        _ => product.add(&mut chunk, columns.len()),
                    }
                }
            });
            gradients[0] = Some(Matrix::new(values, [rows, width]));
        }
        // In f32, however the weights are held.
        for (i, part) in parts.iter().enumerate().filter(|(i, _)| wanted[1 + i]) {
            let x = x.view(0, [rows, width], width);
            let values = write_rows(Held::F32, [part.outputs, width], |range, mut chunk| {
                let start = part.start + range.start;
                let gradient = gradient.view(start, [rows, range.len()], outputs);
                Product::new(gradient.t(), x).write(&mut chunk, width);
            });
            gradients[1 + i] = Some(Matrix::new(values, [part.outputs, width]));
        }
        if self.has_bias && wanted[1 + self.weights..self.states_at()].contains(&true) {
            let total = column_sums(gradient, [rows, outputs]);
            for (i, part) in parts.iter().enumerate() {
                let values = total[part.start..][..part.outputs].to_vec();
                gradients[1 + self.weights + i] = Some(Matrix::new(values, [part.outputs]));
            }
        }
        if !self.low.is_empty() {
            self.low_backward(inputs, &parts, gradient, wanted, &mut gradients);
        }
        gradients
    }

    fn reads(&self, wanted: [bool; N]) -> [bool; N] {
        let states = self.states_at();
        std::array::from_fn(|input| match input {
            0 => wanted[1..=self.weights].contains(&true),
            input if input <= self.weights => wanted[0],
            // A bias is small, and its width a part's.
            input if input < states => true,
            input if input == states => wanted[states + 1..].contains(&true),
            _ => wanted[states],
        })
    }
}

impl LinearOp {
    /// The gradients of both factors of the products of low rank.
    fn low_backward<const N: usize>(
        &self,
        inputs: &[Matrix; N],
        parts: &[Part<'_>],
        gradient: &Matrix,
        wanted: [bool; N],
        gradients: &mut [Option<Matrix>; N],
    ) {
        let [rows, outputs] = [gradient.shape()[0], gradient.shape()[1]];
        let of_part = |part: &Part<'_>, rows: &Range<usize>| {
            let start = rows.start * outputs + part.start;
            gradient.view(start, [rows.len(), part.outputs], outputs)
        };
        let states = &inputs[self.states_at()];
        if wanted[self.states_at()] {
            let width = states.shape()[1];
            let values = write_rows(states.held(), [rows, width], |range, mut chunk| {
                for part in parts {
                    if let Some(low) = &part.low {
                        let product =
                            Product::new(of_part(part, &range), low.right(&(0..part.outputs)));
                        product.add(&mut after(&mut chunk, low.columns.start), width);
                    }
                }
            });
            gradients[self.states_at()] = Some(Matrix::new(values, [rows, width]));
        }
        for part in parts {
            let Some(low) = part.low.as_ref().filter(|low| wanted[low.input]) else { continue };
            let rank = low.columns.len();
            let left = low.left(states, &(0..rows));
            let values = write_rows(Held::F32, [part.outputs, rank], |range, mut chunk| {
                let start = part.start + range.start;
                let gradient = gradient.view(start, [rows, range.len()], outputs);
                Product::new(gradient.t(), left).write(&mut chunk, rank);
            });
            gradients[low.input] = Some(Matrix::new(values, [part.outputs, rank]));
        }
    }
}

/// A target from one element on.
fn after<'a>(target: &'a mut Target<'_>, start: usize) -> Target<'a> {
    match target {
        Target::F32(values) => (&mut values[start..]).into(),
        Target::Bf16(values) => (&mut values[start..]).into(),
    }
}

/// The sum of every column.
fn column_sums(of: &Matrix, [rows, width]: [usize; 2]) -> Vec<f32> {
    let chunk = chunk_rows(rows);
    let starts: Vec<usize> = (0..rows).step_by(chunk).collect();
    let parts: Vec<Vec<f32>> = starts
        .into_par_iter()
        .map(|start| {
            let values = of.part(start * width..(start + chunk).min(rows) * width);
            let mut total = vec![0.0; width];
            vectorised(|| {
                for row in values.chunks_exact(width) {
                    for (total, value) in total.iter_mut().zip(row) {
                        *total += value;
                    }
                }
            });
            total
        })
        .collect();
    sum(&parts, width)
}

/// Applies a nonlinearity in place.
fn apply(activation: Activation, target: Target<'_>) {
    match target {
        Target::F32(values) => apply_to(activation, values),
        Target::Bf16(values) => {
            for values in values.chunks_mut(PIECE) {
                let mut wide = widened(values);
                apply_to(activation, &mut wide);
                narrow(&wide, values);
            }
        }
    }
}

fn apply_to(activation: Activation, values: &mut [f32]) {
    each_activation!(activation, |KNOWN| {
        for value in values.iter_mut() {
            *value = activate(KNOWN, *value);
        }
    });
}

/// `target = slope(before) · gradient`.
fn through(activation: Activation, target: &mut [f32], before: &[f32], gradient: &[f32]) {
    each_activation!(activation, |KNOWN| {
        for ((target, &x), &gradient) in target.iter_mut().zip(before).zip(gradient) {
            *target = slope(KNOWN, x) * gradient;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, salt: usize) -> Matrix {
        let value = |i: usize| ((i * 7919 + salt * 104_729) as f32 * 0.37).sin();
        Matrix::new((0..rows * columns).map(value).collect::<Vec<_>>(), [rows, columns])
    }

    /// Three weights side by side, and the products of low rank beside the first and the last.
    fn numbers(rows: usize, threads: usize) -> Vec<Vec<u32>> {
        let (width, outputs, rank) = (40, [100, 60, 130], 3);
        let weights = outputs.map(|outputs| matrix(outputs, width, outputs));
        let biases = outputs.map(|outputs| {
            let bias = matrix(1, outputs, outputs + 1).values().into_owned();
            Matrix::new(bias, [outputs])
        });
        let [first, _, last] = outputs.map(|outputs| matrix(outputs, rank, outputs + 2));
        let [q, k, v] = weights;
        let [bias_q, bias_k, bias_v] = biases;
        let states = matrix(rows, 2 * rank, 5);
        let x = matrix(rows, width, 0);
        let inputs = [x, q, k, v, bias_q, bias_k, bias_v, states, first, last];
        let op = LinearOp {
            weights: 3,
            has_bias: true,
            activation: Some(Activation::Gelu),
            low: vec![Some(0..rank), None, Some(rank..2 * rank)],
        };
        let gradient = matrix(rows, outputs.iter().sum(), 9);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (alone, _) = op.forward(&inputs, false);
            let (output, saved) = op.forward(&inputs, true);
            // Not of the biases: those are summed chunk by chunk of rows.
            let wanted = std::array::from_fn(|input| !(4..7).contains(&input));
            let gradients = op.backward(&inputs, &saved.unwrap(), &gradient, wanted);
            let all = [alone, output].into_iter().chain(gradients.into_iter().flatten());
            all.map(|matrix| matrix.values().iter().map(|value| value.to_bits()).collect())
                .collect()
        })
    }

    #[test]
    fn numbers_do_not_depend_on_how_the_work_is_cut() {
        let [some, many] = [5, 300].map(|rows| {
            let one = numbers(rows, 1);
            assert_eq!(one.len(), 9);
            for threads in [2, 3, 16] {
                assert!(numbers(rows, threads) == one, "{rows} rows, {threads} threads");
            }
            one
        });
        // Rows that are cut and rows that are not: what the first ones give is the same.
        for (output, (some, many)) in some.iter().zip(&many).take(3).enumerate() {
            assert!(some[..] == many[..some.len()], "output {output}");
        }
    }
}
