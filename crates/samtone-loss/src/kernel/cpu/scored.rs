//! The rows of one input, normalised where the similarity is cosine.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use crate::rows::SHORTEST;
use crate::{Input, LossError};
use samtone_gemm::View;

/// Rows handed to a thread at a time.
const CHUNK: usize = 128;

/// The rows of one input, ready to be scored.
pub(super) struct ScoredRows<'a> {
    /// Unit rows for cosine, the rows as given for dot.
    scored: Cow<'a, [f32]>,
    /// 1/norm of each row, 0 for one without direction; `None` for dot.
    inverse_norms: Option<Vec<f32>>,
    dim: usize,
}

impl<'a> ScoredRows<'a> {
    /// Checks that every number is finite and normalises where asked to. A row of the batch has
    /// `per_row` rows here.
    pub(super) fn new(
        what: Input,
        given: &'a [f32],
        dim: usize,
        per_row: usize,
        normalise: bool,
    ) -> Result<Self, LossError> {
        let measured: Vec<Length> = given.par_chunks(dim).with_min_len(CHUNK).map(length).collect();
        if let Some(row) = measured.iter().position(|length| *length == Length::NonFinite) {
            return Err(LossError::NonFinite { what, row: row / per_row });
        }
        if !normalise {
            return Ok(Self { scored: Cow::Borrowed(given), inverse_norms: None, dim });
        }
        let mut scored = vec![0.0; given.len()];
        let rows = scored.par_chunks_mut(dim).zip(given.par_chunks(dim));
        rows.zip(&measured).with_min_len(CHUNK).for_each(|((unit, row), length)| {
            if let Length::Norm(norm) = *length {
                let factor = norm.recip();
                for (unit, &value) in unit.iter_mut().zip(row) {
                    // In f64: the inverse of a tiny norm may leave the range of f32.
                    *unit = (f64::from(value) * factor) as f32;
                }
            }
        });
        let inverse = |length: Length| match length {
            Length::Norm(norm) => norm.recip() as f32,
            Length::Zero | Length::NonFinite => 0.0,
        };
        let inverse_norms = Some(measured.into_iter().map(inverse).collect());
        Ok(Self { scored: Cow::Owned(scored), inverse_norms, dim })
    }

    pub(super) fn rows(&self) -> usize {
        self.scored.len() / self.dim
    }

    /// The rows of strip `index` where strips have `length` rows.
    pub(super) fn strip(&self, index: usize, length: usize) -> Range<usize> {
        index * length..((index + 1) * length).min(self.rows())
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.scored[row * self.dim..(row + 1) * self.dim]
    }

    /// Some rows as a matrix `[rows, dim]`.
    pub(super) fn view(&self, rows: &Range<usize>) -> View<'_> {
        let data = &self.scored[rows.start * self.dim..rows.end * self.dim];
        View::new(data, [rows.len(), self.dim], self.dim)
    }

    /// Turns the gradient for the scored rows into that for the given ones, in place, and returns
    /// `Σ <scored, gradient>` from before.
    pub(super) fn finish(&self, gradient: &mut [f32]) -> f64 {
        let rows = gradient.par_chunks_mut(self.dim).zip(self.scored.par_chunks(self.dim));
        let radial: Vec<f64> = rows
            .with_min_len(CHUNK)
            .enumerate()
            .map(|(row, (gradient, scored))| {
                let radial = dot(gradient, scored);
                if let Some(inverse_norms) = &self.inverse_norms {
                    let (inverse, along) = (inverse_norms[row], radial as f32);
                    for (gradient, &unit) in gradient.iter_mut().zip(scored) {
                        *gradient = (*gradient - along * unit) * inverse;
                    }
                }
                radial
            })
            .collect();
        radial.into_iter().sum()
    }
}

/// The products of the rows of two inputs, row by row.
pub(super) fn row_products(a: &ScoredRows<'_>, b: &ScoredRows<'_>) -> Vec<f64> {
    let rows = a.scored.par_chunks(a.dim).zip(b.scored.par_chunks(b.dim));
    rows.with_min_len(CHUNK).map(|(a, b)| dot(a, b)).collect()
}

/// The product of two rows, summed in f64 over partial sums in f32.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f64 = rest.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    rest + sums.iter().map(|&sum| f64::from(sum)).sum::<f64>()
}

/// What a row's length says.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Length {
    Norm(f64),
    /// Too short to have a direction.
    Zero,
    NonFinite,
}

fn length(row: &[f32]) -> Length {
    let squares = dot(row, row);
    // In this range neither the squares nor their sum can have left the normal numbers of f32.
    if (1e-16..1e30).contains(&squares) {
        return Length::Norm(squares.sqrt());
    }
    if !row.iter().all(|value| value.is_finite()) {
        return Length::NonFinite;
    }
    let largest = row.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    if f64::from(largest) < SHORTEST {
        return Length::Zero;
    }
    Length::Norm(row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt())
}
