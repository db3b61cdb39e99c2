//! Embeddings to positions in a plane.

use bhtsne::{Neighbor, SparseAffinities, tSNE};
use rayon::ThreadPoolBuilder;

use crate::ReportError;

/// Barnes-Hut t-SNE (van der Maaten 2014) under the Euclidean distance.
///
/// The plane starts as the two principal components, so what lies apart as a whole (two towers,
/// say) starts apart; a jitter of a hundredth of their spread comes from the seed. On unit vectors
/// the Euclidean distance orders neighbours as the cosine does. It runs on one thread, so the same
/// input gives the same bits.
///
/// Distances between clusters and the clusters' sizes mean little in the result: read it beside
/// the numbers taken in the full space.
///
/// # Examples
///
/// ```
/// use samtone_report::Tsne;
///
/// // 40 points in three dimensions, in two clusters.
/// let points: Vec<f32> = (0..40_u8)
///     .flat_map(|i| [f32::from(i % 2) * 9.0, f32::from(i) * 0.01, f32::from(i % 7)])
///     .collect();
/// let projection = Tsne { perplexity: 8.0, ..Tsne::default() }.project(&points, 3)?;
/// assert_eq!(projection.positions.len(), 40);
/// # Ok::<(), samtone_report::ReportError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tsne {
    /// About how many neighbours each point should keep.
    pub perplexity: f64,
    /// Gradient steps; the first 250 exaggerate the attraction 12-fold.
    pub epochs: usize,
    /// The accuracy of the Barnes-Hut approximation, above 0: a cell counts as one point where its
    /// width is below this share of its distance (scikit-learn's `angle`). Smaller is slower and
    /// closer.
    pub theta: f64,
    /// Same seed, same points: same positions.
    pub seed: u64,
}

impl Default for Tsne {
    /// A perplexity of 30, 1,000 epochs, θ = 0.5, seed 0.
    fn default() -> Self {
        Self { perplexity: 30.0, epochs: 1000, theta: 0.5, seed: 0 }
    }
}

/// Positions in a plane, and how well they keep the neighbourhoods.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// One position a point, in input order.
    pub positions: Vec<(f64, f64)>,
    /// The Kullback-Leibler divergence of the plane's neighbourhoods from the points', in nats:
    /// lower is better, comparable only between projections of the same points and perplexity.
    pub kl_divergence: f64,
}

impl Tsne {
    /// Checks that `points` points can be projected, and says how many neighbours each then has.
    ///
    /// # Errors
    ///
    /// [`ReportError::Perplexity`] below 1, [`ReportError::TooFewPoints`] with fewer than
    /// 3 · perplexity + 1 points.
    pub fn check(&self, points: usize) -> Result<usize, ReportError> {
        let perplexity = self.perplexity;
        if !(1.0..f64::MAX).contains(&perplexity) {
            return Err(ReportError::Perplexity { perplexity });
        }
        #[expect(clippy::cast_sign_loss, reason = "a perplexity is at least 1")]
        let neighbours = (3.0 * perplexity).floor() as usize;
        if points <= neighbours {
            let needed = neighbours + 1;
            return Err(ReportError::TooFewPoints { points, perplexity, needed });
        }
        Ok(neighbours)
    }

    /// Projects `points`, rows of `dim` values.
    ///
    /// # Errors
    ///
    /// As [`Tsne::check`], and [`ReportError::NotFinite`] for a broken point.
    ///
    /// # Panics
    ///
    /// If `points` is not a whole number of rows, or no thread can be started.
    pub fn project(&self, points: &[f32], dim: usize) -> Result<Projection, ReportError> {
        assert!(
            dim > 0 && points.len().is_multiple_of(dim),
            "{} values are not rows of {dim}",
            points.len()
        );
        let Self { perplexity, epochs, theta, seed } = *self;
        let rows: Vec<&[f32]> = points.chunks_exact(dim).collect();
        let neighbours = self.check(rows.len())?;
        if let Some(point) = rows.iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            return Err(ReportError::NotFinite { point });
        }

        // On one thread: what bhtsne adds up on several depends on who comes first.
        let pool = ThreadPoolBuilder::new().num_threads(1).build();
        let pool = pool.expect("one more thread can be started");
        Ok(pool.install(|| {
            let neighbours = nearest(&rows, neighbours);
            let mut tsne = tSNE::<f32, &[f32], 2>::new(&rows);
            tsne.perplexity(perplexity as f32)
                .epochs(epochs)
                .early_exaggeration(EXAGGERATION)
                .learning_rate((rows.len() as f32 / EXAGGERATION).max(LEAST_LEARNING_RATE))
                .initial_embedding(start(&rows, seed))
                // bhtsne, as van der Maaten's own program, compares half the width of a cell.
                .barnes_hut_with_neighbors(0.5 * theta as f32, &neighbours);
            let plane = tsne.embedding();
            let positions: Vec<(f64, f64)> =
                plane.chunks_exact(2).map(|p| (p[0].into(), p[1].into())).collect();
            let affinities = tsne.affinities().expect("a fit has run");
            Projection { kl_divergence: divergence(&affinities, &positions), positions }
        }))
    }
}

/// The Kullback-Leibler divergence Σ p ln(p / q) in nats, with q ∝ 1 / (1 + distance²) over all
/// pairs. (bhtsne 0.7.13 has one of its own, which after a Barnes-Hut fit pairs each q with the
/// affinity of another edge.)
fn divergence(affinities: &SparseAffinities<f32>, positions: &[(f64, f64)]) -> f64 {
    let closeness = |a: (f64, f64), b: (f64, f64)| {
        1.0 / (1.0 + (a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1))
    };
    let mut total = 0.0;
    for (i, a) in positions.iter().enumerate() {
        total += 2.0 * positions[..i].iter().map(|b| closeness(*a, *b)).sum::<f64>();
    }
    let weight: f64 = affinities.values().iter().map(|p| f64::from(*p)).sum();
    let mut divergence = 0.0;
    for (row, a) in positions.iter().enumerate() {
        for edge in affinities.rows()[row]..affinities.rows()[row + 1] {
            let p = f64::from(affinities.values()[edge]) / weight;
            let q = closeness(*a, positions[affinities.columns()[edge] as usize]) / total;
            if p > 0.0 {
                divergence += p * (p / q).ln();
            }
        }
    }
    divergence
}

/// How much stronger the attraction is in the first 250 epochs.
const EXAGGERATION: f32 = 12.0;
/// The learning rate is the number of points over the exaggeration (Belkina et al. 2019), and at
/// least this. scikit-learn's default is the same step: a quarter of it on four times the gradient.
const LEAST_LEARNING_RATE: f32 = 200.0;

/// Each row's `count` nearest others by Euclidean distance, nearest first, ties by index.
///
/// A row's squared distances are less that of its nearest: affinities, which are normalised row by
/// row, do not change by it in exact numbers. In f32 they would: bhtsne adds an epsilon to the sum
/// of a row's `e^(-β·d²)`, as large as the sum itself where all neighbours are far.
fn nearest(rows: &[&[f32]], count: usize) -> Vec<Vec<Neighbor<f32>>> {
    let distance = |a: &[f32], b: &[f32]| {
        // Differences rather than products: near duplicates keep their small distances.
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
    };
    let mut squares = vec![0.0; rows.len() * rows.len()];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate().skip(i + 1) {
            let square = distance(a, b);
            squares[i * rows.len() + j] = square;
            squares[j * rows.len() + i] = square;
        }
    }
    let order = |a: &Neighbor<f32>, b: &Neighbor<f32>| {
        a.distance.total_cmp(&b.distance).then(a.index.cmp(&b.index))
    };
    squares
        .chunks_exact(rows.len())
        .enumerate()
        .map(|(row, squares)| {
            let others = squares.iter().enumerate().filter(|(index, _)| *index != row);
            let mut others: Vec<Neighbor<f32>> =
                others.map(|(index, square)| Neighbor { index, distance: *square }).collect();
            others.select_nth_unstable_by(count - 1, order);
            others.truncate(count);
            others.sort_unstable_by(order);
            let least = others[0].distance;
            for other in &mut others {
                other.distance = (other.distance - least).sqrt();
            }
            others
        })
        .collect()
}

/// The spread of the first component at the start, as scikit-learn sets it.
const START_SPREAD: f64 = 1e-4;

/// The rows on their first two principal components, scaled down, with a seeded jitter.
fn start(rows: &[&[f32]], seed: u64) -> Vec<f32> {
    let dim = rows[0].len();
    let mut mean = vec![0.0; dim];
    for row in rows {
        mean.iter_mut().zip(*row).for_each(|(m, v)| *m += f64::from(*v) / rows.len() as f64);
    }
    let project = |axis: &[f64]| -> Vec<f64> {
        let along = |row: &&[f32]| {
            row.iter().zip(&mean).zip(axis).map(|((v, m), a)| (f64::from(*v) - m) * a).sum()
        };
        rows.iter().map(along).collect()
    };

    let mut random = SplitMix(seed);
    let mut axes: Vec<Vec<f64>> = Vec::new();
    for _ in 0..2 {
        let mut axis: Vec<f64> = (0..dim).map(|_| random.symmetric()).collect();
        // Power iteration on the covariance; a start needs no more digits than this gives.
        for _ in 0..30 {
            let along = project(&axis);
            axis.fill(0.0);
            for (row, along) in rows.iter().zip(along) {
                for ((a, v), m) in axis.iter_mut().zip(*row).zip(&mean) {
                    *a += along * (f64::from(*v) - m);
                }
            }
            for other in &axes {
                let overlap: f64 = axis.iter().zip(other).map(|(a, b)| a * b).sum();
                axis.iter_mut().zip(other).for_each(|(a, b)| *a -= overlap * b);
            }
            let norm = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
            if norm < 1e-12 {
                axis.fill(0.0);
                break;
            }
            for a in &mut axis {
                *a /= norm;
            }
        }
        axes.push(axis);
    }

    let columns: Vec<Vec<f64>> = axes.iter().map(|axis| project(axis)).collect();
    let variance = columns[0].iter().map(|v| v * v).sum::<f64>() / rows.len() as f64;
    let scale = if variance > 0.0 { START_SPREAD / variance.sqrt() } else { 0.0 };
    (0..rows.len())
        .flat_map(|row| [columns[0][row], columns[1][row]])
        .map(|value| (value * scale + random.symmetric() * START_SPREAD * 0.01) as f32)
        .collect()
}

/// Steele, Lea and Flood's `SplitMix64`: all the randomness a start needs.
struct SplitMix(u64);

impl SplitMix {
    /// Uniform in [-1, 1).
    fn symmetric(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}
