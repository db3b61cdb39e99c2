//! Layer norm and RMS norm, of a sum with a residual if there is one.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use super::fill::{fill_rows, sum};
use super::math::{sum_of, sum_of_pairs, vectorised};
use super::matrix::Elements;
use super::{FusedOp, Matrix};
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// `(x - mean) / √(variance + ε) · γ + β`, β 0 where there is none
    Layer,
    /// `x / √(mean(x²) + ε) · γ`
    Rms,
}

/// Inputs: x `[rows, width]`, then the residual `[rows, width]` if `has_residual`, then γ `[width]`,
/// then β `[width]` if `has_bias`. Output: the norm of `drop(x) + residual`.
#[derive(Clone, Debug)]
pub(crate) struct NormOp {
    pub(crate) kind: NormKind,
    pub(crate) eps: f64,
    pub(crate) has_residual: bool,
    pub(crate) has_bias: bool,
    /// Applied to x, whose rows lie as the layout says.
    pub(crate) dropout: Option<(DropoutSite, Layout)>,
}

/// Every row's normalised values and the factor that made them.
#[derive(Clone, Debug)]
pub(crate) struct SavedNorm {
    normalised: Elements,
    factors: Vec<f32>,
}

impl NormOp {
    fn gamma_at(&self) -> usize {
        1 + usize::from(self.has_residual)
    }

    /// Multiplies rows of x, or of its gradient, with their dropout factors.
    fn drop_rows(&self, range: std::ops::Range<usize>, rows: &mut [f32], width: usize) {
        if let Some((site, layout)) = &self.dropout {
            let mut factors = vec![0.0; width];
            for (row, values) in range.zip(rows.chunks_exact_mut(width)) {
                let (text, position) = layout.place(row);
                site.fill(text, position as u64, 0, &mut factors);
                for (value, factor) in values.iter_mut().zip(&factors) {
                    *value *= factor;
                }
            }
        }
    }
}

impl<const N: usize> FusedOp<N> for NormOp {
    type Saved = SavedNorm;

    fn forward(&self, inputs: &[Matrix; N], save: bool) -> (Matrix, Option<SavedNorm>) {
        let [rows, width] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let held = inputs[0].held();
        let gamma = inputs[self.gamma_at()].values();
        let beta = self.has_bias.then(|| inputs[N - 1].values());
        let beta = beta.as_deref();
        let eps = self.eps as f32;
        let (mut normalised, factors) = fill_rows(held, [rows, width], |range, chunk| {
            let place = range.start * width..range.end * width;
            let x = inputs[0].part(place.clone());
            let residual = self.has_residual.then(|| inputs[1].part(place));
            let residual = residual.as_deref();
            let mut factors = vec![0.0; range.len()];
            let drops = self.dropout.is_some();
            if drops {
                chunk.copy_from_slice(&x);
                self.drop_rows(range.clone(), chunk, width);
            }
            vectorised(|| {
                let rows = chunk.chunks_exact_mut(width).zip(&mut factors);
                for (i, (row, factor)) in rows.enumerate() {
                    let place = i * width..(i + 1) * width;
                    if !drops {
                        row.copy_from_slice(&x[place.clone()]);
                    }
                    if let Some(residual) = residual {
                        for (value, residual) in row.iter_mut().zip(&residual[place]) {
                            *value += residual;
                        }
                    }
                    *factor = normalise(self.kind, row, eps);
                    if !save {
                        scale_and_shift(row, &gamma, beta);
                    }
                }
            });
            factors
        });
        let mut saved = None;
        if save {
            let (output, _) = fill_rows(held, [rows, width], |range, chunk| {
                let normalised = normalised.part(range.start * width..range.end * width);
                vectorised(|| {
                    let rows = chunk.chunks_exact_mut(width).zip(normalised.chunks_exact(width));
                    for (row, normalised) in rows {
                        row.copy_from_slice(normalised);
                        scale_and_shift(row, &gamma, beta);
                    }
                });
            });
            let normalised = std::mem::replace(&mut normalised, output);
            saved = Some(SavedNorm { normalised, factors: factors.concat() });
        }
        (Matrix::new(normalised, [rows, width]), saved)
    }

    fn backward(
        &self,
        inputs: &[Matrix; N],
        saved: &SavedNorm,
        gradient: &Matrix,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let [rows, width] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let gamma = inputs[self.gamma_at()].values();
        let held = inputs[0].held();
        let (of_sum, parts) = fill_rows(held, [rows, width], |range, chunk| {
            let place = range.start * width..range.end * width;
            let (gradient, normalised) =
                (gradient.part(place.clone()), saved.normalised.part(place));
            let mut of_gamma = vec![0.0; width];
            let mut of_beta = vec![0.0; width];
            vectorised(|| {
                let rows = gradient.chunks_exact(width).zip(normalised.chunks_exact(width));
                let targets = chunk.chunks_exact_mut(width).zip(&saved.factors[range.clone()]);
                for ((gradient, normalised), (target, &factor)) in rows.zip(targets) {
                    let terms = gradient.iter().zip(normalised);
                    for ((of_gamma, of_beta), (g, n)) in
                        of_gamma.iter_mut().zip(&mut of_beta).zip(terms)
                    {
                        *of_gamma += g * n;
                        *of_beta += g;
                    }
                    for ((target, g), gamma) in target.iter_mut().zip(gradient).zip(&*gamma) {
                        *target = g * gamma;
                    }
                    let along = sum_of_pairs(target, normalised, |g, n| g * n) / width as f32;
                    let mean = match self.kind {
                        NormKind::Layer => sum_of(target, |g| g) / width as f32,
                        NormKind::Rms => 0.0,
                    };
                    for (target, n) in target.iter_mut().zip(normalised) {
                        *target = factor * (*target - mean - n * along);
                    }
                }
            });
            (of_gamma, of_beta)
        });
        let (of_gamma, of_beta): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let mut gradients = [const { None }; N];
        let at = self.gamma_at();
        gradients[at] = wanted[at].then(|| Matrix::new(sum(&of_gamma, width), [width]));
        if self.has_bias {
            gradients[N - 1] = wanted[N - 1].then(|| Matrix::new(sum(&of_beta, width), [width]));
        }
        let of_x = match (&self.dropout, wanted[0]) {
            (Some(_), true) => {
                let (of_x, _) = fill_rows(held, [rows, width], |range, chunk| {
                    chunk.copy_from_slice(&of_sum.part(range.start * width..range.end * width));
                    self.drop_rows(range, chunk, width);
                });
                Some(Matrix::new(of_x, [rows, width]))
            }
            _ => None,
        };
        let of_sum = Matrix::new(of_sum, [rows, width]);
        gradients[0] = wanted[0].then(|| of_x.unwrap_or_else(|| of_sum.clone()));
        if self.has_residual && wanted[1] {
            gradients[1] = Some(of_sum);
        }
        gradients
    }

    fn reads(&self, _wanted: [bool; N]) -> [bool; N] {
        // The normalised rows are saved.
        std::array::from_fn(|input| input == self.gamma_at())
    }
}

/// `row · γ + β`
#[inline(always)]
fn scale_and_shift(row: &mut [f32], gamma: &[f32], beta: Option<&[f32]>) {
    for (value, gamma) in row.iter_mut().zip(gamma) {
        *value *= gamma;
    }
    if let Some(beta) = beta {
        for (value, beta) in row.iter_mut().zip(beta) {
            *value += beta;
        }
    }
}

/// Centres a row, if the norm does, and divides it by its size; gives the factor it was scaled by.
#[inline(always)]
fn normalise(kind: NormKind, row: &mut [f32], eps: f32) -> f32 {
    let width = row.len() as f32;
    if kind == NormKind::Layer {
        let mean = sum_of(row, |x| x) / width;
        for value in row.iter_mut() {
            *value -= mean;
        }
    }
    let factor = 1.0 / (sum_of(row, |x| x * x) / width + eps).sqrt();
    for value in row.iter_mut() {
        *value *= factor;
    }
    factor
}
