use super::{count, gram};

/// Effective rank: how many directions rows really use.
///
/// `e^H`, H the entropy of the singular values over their sum: between 1, all rows on one line, and
/// `min(rows, dim)`, all directions alike. Rows are not centred.
///
/// Source: Roy and Vetterli 2007 (EUSIPCO); as a measure of embeddings Garrido et al. 2023,
/// arXiv:2210.02885.
///
/// # Shapes
/// - `rows`: `[rows, dim]`
///
/// # Panics
/// If `dim` is 0 or does not divide the length.
pub fn effective_rank(rows: &[f32], dim: usize) -> f64 {
    if count(rows, dim) == 0 {
        return 0.0;
    }
    let eigenvalues = symmetric_eigenvalues(gram(rows, dim, &vec![0.0; dim]), dim);
    // Eigenvalues below rounding are 0; their square roots would not be.
    let floor = eigenvalues.iter().fold(0.0_f64, |a, &b| a.max(b)) * 1e-14 * dim as f64;
    let singular: Vec<f64> =
        eigenvalues.into_iter().filter(|&x| x > floor).map(f64::sqrt).collect();
    let sum: f64 = singular.iter().sum();
    if sum == 0.0 {
        return 0.0;
    }
    singular.iter().map(|s| s / sum).map(|p| -p * p.ln()).sum::<f64>().exp()
}

/// The eigenvalues of a symmetric matrix, in no particular order.
fn symmetric_eigenvalues(matrix: Vec<f64>, dim: usize) -> Vec<f64> {
    let (diagonal, beside) = tridiagonal(matrix, dim);
    tridiagonal_eigenvalues(diagonal, beside)
}

/// Householder's reduction to a tridiagonal matrix with the same eigenvalues: its diagonal and the
/// `dim − 1` numbers beside it. Golub and Van Loan 2013, section 8.3.1.
fn tridiagonal(mut a: Vec<f64>, dim: usize) -> (Vec<f64>, Vec<f64>) {
    let mut beside = Vec::with_capacity(dim);
    for k in 0..dim.saturating_sub(1) {
        let mut v: Vec<f64> = (k + 1..dim).map(|i| a[i * dim + k]).collect();
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let alpha = if v[0] > 0.0 { -length } else { length };
        beside.push(alpha);
        v[0] -= alpha;
        let square: f64 = v.iter().map(|x| x * x).sum();
        if square == 0.0 {
            continue;
        }
        // A' = A − v wᵀ − w vᵀ on what is left of A.
        let scale = 2.0 / square;
        let mut w: Vec<f64> = (0..v.len())
            .map(|i| {
                let start = (k + 1 + i) * dim + k + 1;
                scale * a[start..start + v.len()].iter().zip(&v).map(|(x, y)| x * y).sum::<f64>()
            })
            .collect();
        let half = scale / 2.0 * w.iter().zip(&v).map(|(x, y)| x * y).sum::<f64>();
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= half * v);
        for i in 0..v.len() {
            let start = (k + 1 + i) * dim + k + 1;
            for (j, x) in a[start..start + v.len()].iter_mut().enumerate() {
                *x -= v[i] * w[j] + w[i] * v[j];
            }
        }
    }
    ((0..dim).map(|i| a[i * dim + i]).collect(), beside)
}

/// The eigenvalues of a tridiagonal matrix by implicit QL steps with Wilkinson's shift. Golub and
/// Van Loan 2013, section 8.3.
fn tridiagonal_eigenvalues(mut d: Vec<f64>, mut e: Vec<f64>) -> Vec<f64> {
    let n = d.len();
    e.push(0.0);
    for l in 0..n {
        // Each eigenvalue takes two or three steps; the bound only ends a loop over NaN.
        for _ in 0..60 {
            let negligible = |i: usize| e[i].abs() <= f64::EPSILON * (d[i].abs() + d[i + 1].abs());
            let m = (l..n - 1).find(|&i| negligible(i)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut r = g.hypot(1.0);
            g = d[m] - d[l] + e[l] / (g + r.copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let f = s * e[i];
                let b = c * e[i];
                r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    split = true;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
            }
            if !split {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few operations in f64 on numbers of the order of 1.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn eigenvalues_of_a_known_matrix() {
        // The second difference matrix of order n: 2 − 2 cos(kπ/(n+1)).
        let n = 9;
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            matrix[i * n + i] = 2.0;
            if i + 1 < n {
                matrix[i * n + i + 1] = -1.0;
                matrix[(i + 1) * n + i] = -1.0;
            }
        }
        let mut found = symmetric_eigenvalues(matrix, n);
        found.sort_by(f64::total_cmp);
        for (k, x) in (1_u32..).zip(found) {
            let expected = 2.0 - 2.0 * (f64::from(k) * std::f64::consts::PI / 10.0).cos();
            assert!((x - expected).abs() < ROUNDING, "{x} {expected}");
        }
    }
}
