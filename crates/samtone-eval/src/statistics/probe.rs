use super::{centroid, gram};
use crate::random::word;

/// Folds of the cross-validation.
const FOLDS: usize = 5;

/// Tower separability: how well a linear probe tells queries from documents, as an AUC.
///
/// The probability that the probe scores a random query above a random document it has not seen:
/// 0.5 when the towers cannot be told apart, 1 when a plane parts them. The probe is Fisher's linear
/// discriminant with a small ridge; five folds, each scored by the probe of the other four, and the
/// mean of the folds' AUCs.
///
/// # Shapes
/// - `queries`: `[queries, dim]`; `documents`: `[documents, dim]`
///
/// # Panics
/// If either side has fewer than 10 rows.
pub fn tower_separability(queries: &[f32], documents: &[f32], dim: usize, seed: u64) -> f64 {
    let sides = [Side::new(queries, dim, seed, 0), Side::new(documents, dim, seed, 1)];
    for side in &sides {
        let rows: usize = side.folds.iter().map(Fold::count).sum();
        assert!(rows >= 2 * FOLDS, "a probe needs at least {} rows a side, got {rows}", 2 * FOLDS);
    }
    let total: f64 = (0..FOLDS)
        .map(|held_out| {
            let probe = discriminant(&sides, held_out, dim);
            let scores = |side: &Side| -> Vec<f64> {
                let rows = side.folds[held_out].rows.chunks_exact(dim);
                rows.map(|row| row.iter().zip(&probe).map(|(&x, w)| f64::from(x) * w).sum())
                    .collect()
            };
            auc(&scores(&sides[0]), &scores(&sides[1]))
        })
        .sum();
    total / FOLDS as f64
}

/// One fold's rows, their sum and their `Σ x·xᵀ`.
struct Fold {
    dim: usize,
    rows: Vec<f32>,
    sum: Vec<f64>,
    gram: Vec<f64>,
}

impl Fold {
    fn count(&self) -> usize {
        self.rows.len() / self.dim
    }
}

/// One tower's rows in folds of equal size.
struct Side {
    folds: Vec<Fold>,
}

impl Side {
    fn new(rows: &[f32], dim: usize, seed: u64, side: u64) -> Self {
        let mut order: Vec<usize> = (0..super::count(rows, dim)).collect();
        order.sort_by_key(|&row| word(seed, side, row as u64));
        let folds = (0..FOLDS).map(|fold| {
            let members = order.iter().skip(fold).step_by(FOLDS);
            let rows: Vec<f32> =
                members.flat_map(|&row| &rows[row * dim..(row + 1) * dim]).copied().collect();
            let count = (rows.len() / dim) as f64;
            let sum = centroid(&rows, dim).into_iter().map(|mean| mean * count).collect();
            let gram = gram(&rows, dim, &vec![0.0; dim]);
            Fold { dim, rows, sum, gram }
        });
        Self { folds: folds.collect() }
    }
}

/// Fisher's direction `S⁻¹ (mean q − mean d)` over all folds but one, S the pooled scatter within
/// the sides plus a ridge of a thousandth of its mean variance.
fn discriminant(sides: &[Side; 2], held_out: usize, dim: usize) -> Vec<f64> {
    let mut scatter = vec![0.0; dim * dim];
    let mut means = [vec![0.0; dim], vec![0.0; dim]];
    for (side, mean) in sides.iter().zip(&mut means) {
        let used = || side.folds.iter().enumerate().filter(|&(i, _)| i != held_out).map(|(_, f)| f);
        let count: f64 = used().map(Fold::count).sum::<usize>() as f64;
        for fold in used() {
            mean.iter_mut().zip(&fold.sum).for_each(|(m, s)| *m += s / count);
            scatter.iter_mut().zip(&fold.gram).for_each(|(s, g)| *s += g);
        }
        for i in 0..dim {
            for j in 0..dim {
                scatter[i * dim + j] -= count * mean[i] * mean[j];
            }
        }
    }
    let trace: f64 = (0..dim).map(|i| scatter[i * dim + i]).sum();
    let ridge = (1e-3 * trace / dim as f64).max(f64::MIN_POSITIVE);
    (0..dim).for_each(|i| scatter[i * dim + i] += ridge);
    let [q, d] = means;
    solve(scatter, q.iter().zip(&d).map(|(q, d)| q - d).collect(), dim)
}

/// Solves `A x = b` for a symmetric positive definite A by Cholesky's factors.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>, dim: usize) -> Vec<f64> {
    for j in 0..dim {
        let (above, below) = a.split_at_mut((j + 1) * dim);
        let row_j = &mut above[j * dim..];
        let square: f64 = row_j[..j].iter().map(|x| x * x).sum();
        // The ridge keeps this positive but for rounding.
        let pivot = (row_j[j] - square).max(f64::MIN_POSITIVE).sqrt();
        row_j[j] = pivot;
        for row_i in below.chunks_exact_mut(dim) {
            let product: f64 = row_i[..j].iter().zip(&row_j[..j]).map(|(x, y)| x * y).sum();
            row_i[j] = (row_i[j] - product) / pivot;
        }
    }
    for i in 0..dim {
        let product: f64 = (0..i).map(|k| a[i * dim + k] * b[k]).sum();
        b[i] = (b[i] - product) / a[i * dim + i];
    }
    for i in (0..dim).rev() {
        let product: f64 = (i + 1..dim).map(|k| a[k * dim + i] * b[k]).sum();
        b[i] = (b[i] - product) / a[i * dim + i];
    }
    b
}

/// The probability that a positive scores above a negative, a tie counting one half.
fn auc(positives: &[f64], negatives: &[f64]) -> f64 {
    let labelled = |scores: &[f64], positive| scores.iter().map(move |&s| (s, positive)).collect();
    let mut all: Vec<(f64, bool)> = labelled(positives, true);
    let others: Vec<(f64, bool)> = labelled(negatives, false);
    all.extend(others);
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let positives = tied.iter().filter(|x| x.1).count() as f64;
        let negatives = tied.len() as f64 - positives;
        wins += positives * (below + negatives / 2.0);
        below += negatives;
    }
    wins / (positives.len() as f64 * negatives.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few operations in f64 on numbers of the order of 1.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn auc_counts_ties_one_half() {
        // Pairs: 2 > 1, 2 > 2 half, 3 > 1, 3 > 2.
        assert!((auc(&[2.0, 3.0], &[1.0, 2.0]) - 3.5 / 4.0).abs() < ROUNDING);
    }

    #[test]
    fn solve_inverts() {
        // [[4, 2], [2, 3]] · [1, 2] = [8, 8]
        let x = solve(vec![4.0, 2.0, 2.0, 3.0], vec![8.0, 8.0], 2);
        assert!((x[0] - 1.0).abs() < ROUNDING && (x[1] - 2.0).abs() < ROUNDING, "{x:?}");
    }
}
