//! `f(x Wᵀ + b)`, for one weight or several side by side.

use rayon::prelude::*;
use samtone_gemm::{Product, View};

use super::fill::{chunk_rows, fill_rows, sum};
use super::math::{activate, each_activation, slope, vectorised};
use super::{FusedOp, Input, Matrix};
use crate::config::Activation;

/// Inputs: x `[rows, in]`, then each weight `[out, in]`, then, if `has_bias`, each bias `[out]`.
/// Output: `[rows, Σ out]`, the weights' parts side by side.
#[derive(Clone, Debug)]
pub(crate) struct LinearOp {
    pub(crate) weights: usize,
    pub(crate) has_bias: bool,
    pub(crate) activation: Option<Activation>,
}

/// Where one weight's part lies in an output row.
struct Part<'a> {
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    start: usize,
    outputs: usize,
}

impl LinearOp {
    fn parts<'a>(&self, inputs: &'a [Input]) -> Vec<Part<'a>> {
        let (weights, biases) = inputs[1..].split_at(self.weights);
        let mut start = 0;
        let part = |(i, weight): (usize, &'a Input)| {
            let outputs = weight.shape()[0];
            start += outputs;
            let bias = biases.get(i).map(Input::values);
            Part { weight: weight.values(), bias, start: start - outputs, outputs }
        };
        weights.iter().enumerate().map(part).collect()
    }
}

impl<const N: usize> FusedOp<N> for LinearOp {
    /// What the nonlinearity was applied to.
    type Saved = Vec<f32>;

    fn forward(&self, inputs: &[Input; N], save: bool) -> (Matrix, Option<Vec<f32>>) {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let parts = self.parts(inputs);
        let outputs: usize = parts.iter().map(|part| part.outputs).sum();
        let (mut before, _) = fill_rows(rows, outputs, |range, chunk| {
            let n = range.len();
            let x = View::new(&x.values()[range.start * width..], [n, width], width);
            for part in &parts {
                let weight = View::new(part.weight, [part.outputs, width], width).t();
                let (product, target) = (Product::new(x, weight), &mut chunk[part.start..]);
                match part.bias {
                    Some(bias) => product.write_onto(bias, target, outputs),
                    None => product.write(target, outputs),
                }
            }
            if let (Some(activation), false) = (self.activation, save) {
                apply(activation, chunk);
            }
        });
        let mut saved = None;
        if save {
            if let Some(activation) = self.activation {
                let (after, _) = fill_rows(rows, outputs, |range, chunk| {
                    let before = &before[range.start * outputs..range.end * outputs];
                    each_activation!(activation, |KNOWN| {
                        for (target, &x) in chunk.iter_mut().zip(before) {
                            *target = activate(KNOWN, x);
                        }
                    });
                });
                saved = Some(std::mem::replace(&mut before, after));
            } else {
                saved = Some(Vec::new());
            }
        }
        (Matrix::new(before, [rows, outputs]), saved)
    }

    fn backward(
        &self,
        inputs: &[Input; N],
        saved: &Vec<f32>,
        gradient: &Input,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let x = &inputs[0];
        let [rows, width] = [x.shape()[0], x.shape()[1]];
        let parts = self.parts(inputs);
        let outputs = gradient.shape()[1];
        // The gradient before the nonlinearity.
        let inner = self.activation.map(|activation| {
            let (inner, _) = fill_rows(rows, outputs, |range, chunk| {
                let range = range.start * outputs..range.end * outputs;
                through(activation, chunk, &saved[range.clone()], &gradient.values()[range]);
            });
            inner
        });
        let gradient = inner.as_deref().unwrap_or(gradient.values());

        let mut gradients = [const { None }; N];
        if wanted[0] {
            let (values, _) = fill_rows(rows, width, |range, chunk| {
                for (i, part) in parts.iter().enumerate() {
                    let gradient = &gradient[range.start * outputs + part.start..];
                    let gradient = View::new(gradient, [range.len(), part.outputs], outputs);
                    let weight = View::new(part.weight, [part.outputs, width], width);
                    match i {
                        0 => Product::new(gradient, weight).write(chunk, width),
                        _ => Product::new(gradient, weight).add(chunk, width),
                    }
                }
            });
            gradients[0] = Some(Matrix::new(values, [rows, width]));
        }
        let x = View::new(x.values(), [rows, width], width);
        for (i, part) in parts.iter().enumerate().filter(|(i, _)| wanted[1 + i]) {
            let (values, _) = fill_rows(part.outputs, width, |range, chunk| {
                let gradient = &gradient[part.start + range.start..];
                let gradient = View::new(gradient, [rows, range.len()], outputs);
                Product::new(gradient.t(), x).write(chunk, width);
            });
            gradients[1 + i] = Some(Matrix::new(values, [part.outputs, width]));
        }
        if self.has_bias && wanted[1 + self.weights..].contains(&true) {
            let total = column_sums(gradient, outputs);
            for (i, part) in parts.iter().enumerate() {
                let values = total[part.start..][..part.outputs].to_vec();
                gradients[1 + self.weights + i] = Some(Matrix::new(values, [part.outputs]));
            }
        }
        gradients
    }
}

/// The sum of every column of a row-major matrix.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let chunk = chunk_rows(values.len() / width) * width;
    let parts: Vec<Vec<f32>> = values
        .par_chunks(chunk)
        .map(|rows| {
            let mut total = vec![0.0; width];
            vectorised(|| {
                for row in rows.chunks_exact(width) {
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
fn apply(activation: Activation, values: &mut [f32]) {
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
