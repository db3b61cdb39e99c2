//! The streaming form on slices of f32: tiles over all cores, each tile's work fused.
//!
//! The plan is that of [`crate::plan`]; the passes are those of the portable kernel. What differs
//! is where a tile lives: it is computed by one thread, read for its sums and turned into weights
//! while it sits in that thread's cache, and several threads work on tiles that share no rows
//! ([`schedule`]).

mod schedule;
mod scored;
mod simd;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use rayon::prelude::*;
use samtone_gemm::{Product, View};

use self::scored::{ScoredRows, dot, row_products};
use self::simd::{HIDDEN, LANES, LogSum, Reading, sum_exponentials, weigh};
use crate::embeddings::Sizes;
use crate::hidden::Hidden;
use crate::plan::{Axis, Matrix, Plan, Term};
use crate::{Input, Loss, LossError, Relations, Similarity, Temperature};

/// Embeddings in row-major order.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) queries: &'a [f32],
    pub(super) documents: &'a [f32],
    /// Empty where the batch has none.
    pub(super) hard: &'a [f32],
}

/// A loss and its gradients in row-major order.
pub(super) struct Outcome {
    pub(super) loss: f64,
    pub(super) per_row: Vec<f32>,
    pub(super) queries: Vec<f32>,
    pub(super) documents: Vec<f32>,
    pub(super) hard: Vec<f32>,
    pub(super) log_temperature: f64,
}

/// The CPU kernel. The relations have been checked against the sizes.
pub(super) fn value_and_gradients(
    loss: &Loss,
    inputs: Inputs<'_>,
    relations: &Relations,
    sizes: Sizes,
    shares: &[f64],
    temperature: Temperature,
) -> Result<Outcome, LossError> {
    let cosine = loss.similarity == Similarity::Cosine;
    let scored = |what, rows, per_row| ScoredRows::new(what, rows, sizes.dim, per_row, cosine);
    let inputs = [
        scored(Input::Queries, inputs.queries, 1)?,
        scored(Input::Documents, inputs.documents, 1)?,
        scored(Input::HardNegatives, inputs.hard, sizes.negatives)?,
    ];
    let positive = row_products(&inputs[0], &inputs[1]);
    let margin = loss.false_negatives.margin;
    let threshold = |s: &f64| margin.map(|m| s + m.absolute + m.relative * s.abs());
    let has_hard = sizes.negatives > 0;
    let pass = Pass {
        plan: Plan::new(loss, temperature, has_hard),
        scale: temperature.scale(),
        thresholds: margin.map(|_| padded(positive.iter().filter_map(threshold))),
        strip: loss.tile.unwrap_or_else(|| strip_rows(sizes.rows, rayon::current_num_threads())),
        hidden: Hidden::new(loss.false_negatives, relations, sizes),
        inputs,
        sizes,
        positive,
        scratch: Mutex::default(),
    };
    let (rounds, places) = pass.rounds(loss.score_memory);
    let kept: Vec<_> = std::iter::repeat_with(Mutex::default).take(places).collect();
    let sums = pass.sum_terms(&rounds, &kept);
    let normalisers = pass.normalise(&sums, shares);
    let mut gradients = pass.positive_gradients(&normalisers.positive);
    pass.add_gradients(&rounds, &kept, &normalisers, &mut gradients);

    // Σ <x, ∂L/∂x> = 2 Σ s·∂L/∂s by Euler's identity, and ∂L/∂(ln τ) = -Σ s·∂L/∂s.
    let pairs = pass.inputs.iter().zip(&mut gradients);
    let radial: f64 = pairs.map(|(rows, gradient)| rows.finish(gradient)).sum();
    let weighted = normalisers.per_row.iter().zip(shares);
    let loss = weighted.map(|(value, share)| value * share).sum::<f64>();
    let [queries, documents, hard] = gradients;
    if !(loss.is_finite() && radial.is_finite()) {
        // The embeddings are finite, so scores have left the range of f32.
        let bad_value = normalisers.per_row.iter().position(|value| !value.is_finite());
        let bad_slope = |gradient: &[f32]| gradient.iter().position(|value| !value.is_finite());
        let bad_entry = bad_slope(&queries).or_else(|| bad_slope(&documents));
        let row = bad_value.or(bad_entry.map(|entry| entry / sizes.dim)).unwrap_or(0);
        return Err(LossError::Overflow { row });
    }
    Ok(Outcome {
        loss,
        per_row: normalisers.per_row.iter().map(|&value| value as f32).collect(),
        queries,
        documents,
        hard,
        log_temperature: -0.5 * radial,
    })
}

/// Rows of a strip: near 512, where products run at full speed, but enough strips that every
/// thread has a tile in each round.
fn strip_rows(rows: usize, threads: usize) -> usize {
    const LARGEST: usize = 512;
    const SMALLEST: usize = 128;
    // A round over half a matrix has a tile for every two strips.
    let strips = rows.div_ceil(LARGEST).next_multiple_of(2 * threads);
    rows.div_ceil(strips).max(SMALLEST)
}

/// Values in f32 with room for a vector beyond the last.
fn padded(values: impl Iterator<Item = f64>) -> Vec<f32> {
    let room = std::iter::repeat_n(0.0, 2 * LANES);
    values.map(|value| value as f32).chain(room).collect()
}

/// Everything both passes read.
struct Pass<'a> {
    plan: Plan,
    /// 1/τ.
    scale: f64,
    sizes: Sizes,
    /// Rows of a strip, and so of a tile.
    strip: usize,
    /// By [`Input`].
    inputs: [ScoredRows<'a>; 3],
    /// s(q_i, d_i).
    positive: Vec<f64>,
    /// The score above which a candidate is hidden, for each row.
    thresholds: Option<Vec<f32>>,
    hidden: Hidden,
    /// Working memory of the threads, handed from tile to tile.
    scratch: Mutex<Vec<Scratch>>,
}

#[derive(Default)]
struct Scratch {
    tile: Vec<f32>,
    line: Vec<f32>,
}

/// Tiles of one matrix that may be worked on at the same time.
struct Round {
    matrix: Matrix,
    tiles: Vec<Tile>,
}

struct Tile {
    /// The row strip and the column strip.
    strips: (usize, usize),
    /// Where its scores are kept between the passes; without a place they are computed twice.
    place: Option<usize>,
}

/// The factors of the second pass.
struct Normalisers {
    terms: Vec<Lambda>,
    /// ∂L/∂s(q_i, d_i) through the positive's own places in the loss.
    positive: Vec<f32>,
    /// ℓ.
    per_row: Vec<f64>,
}

/// λ of a term, as `e^(a·s - λ)/τ = factor·e^(a·(s - shift))`: the difference of two near scores
/// is exact, that of two large logits is not.
struct Lambda {
    shifts: Vec<f32>,
    factors: Vec<f32>,
}

/// Locks what nobody else holds: the schedule gives every strip to one tile at a time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("a panic elsewhere has ended this computation already")
}

/// One mutex for each strip of a slice.
fn strips<T>(values: &mut [T], length: usize) -> Vec<Mutex<&mut [T]>> {
    values.chunks_mut(length.max(1)).map(Mutex::new).collect()
}

/// Entries from one row of a tile to the next. Not a multiple of 1 KiB, so that the entries of a
/// column do not all fall into the same few sets of a cache.
fn stride_of(columns: usize) -> usize {
    let stride = columns.next_multiple_of(LANES);
    if stride.is_multiple_of(256) { stride + LANES } else { stride }
}

impl Pass<'_> {
    fn rows_of(&self, input: Input) -> &ScoredRows<'_> {
        &self.inputs[input as usize]
    }

    /// The rows of the batch's strips.
    fn strips(&self) -> Vec<Range<usize>> {
        let count = self.sizes.rows.div_ceil(self.strip);
        (0..count).map(|index| self.rows_of(Input::Queries).strip(index, self.strip)).collect()
    }

    /// The row and column range of a tile.
    fn ranges(&self, matrix: Matrix, tile: &Tile) -> (Range<usize>, Range<usize>) {
        let (rows, columns) = matrix.inputs();
        let (row, column) = tile.strips;
        (self.rows_of(rows).strip(row, self.strip), self.rows_of(columns).strip(column, self.strip))
    }

    /// The tiles of every matrix, and how many of them have a place in `memory` bytes.
    fn rounds(&self, memory: usize) -> (Vec<Round>, usize) {
        let count = |input| self.rows_of(input).rows().div_ceil(self.strip);
        let mut bytes_left = memory;
        let mut places = 0..;
        let mut rounds = Vec::new();
        for matrix in self.plan.matrices().into_iter().filter(|matrix| !matrix.is_own()) {
            let (rows, columns) = matrix.inputs();
            let schedule = if matrix.is_symmetric() {
                schedule::symmetric(count(rows))
            } else {
                schedule::full(count(rows), count(columns))
            };
            for round in schedule {
                let tiles = round.into_iter().map(|strips| {
                    let mut tile = Tile { strips, place: None };
                    let (rows, columns) = self.ranges(matrix, &tile);
                    let bytes = rows.len() * stride_of(columns.len()) * size_of::<f32>();
                    if bytes <= bytes_left {
                        bytes_left -= bytes;
                        tile.place = places.next();
                    }
                    tile
                });
                rounds.push(Round { matrix, tiles: tiles.collect() });
            }
        }
        (rounds, places.start)
    }

    /// Runs `work` on every tile, round by round, with scratch memory.
    fn for_each_tile(&self, rounds: &[Round], work: impl Fn(Matrix, &Tile, &mut Scratch) + Sync) {
        for round in rounds {
            round.tiles.par_iter().for_each(|tile| {
                let mut scratch = lock(&self.scratch).pop().unwrap_or_default();
                work(round.matrix, tile, &mut scratch);
                lock(&self.scratch).push(scratch);
            });
        }
    }

    /// Computes the scores of a tile; what an anchor must not see is `HIDDEN`. Returns the stride.
    fn scores(&self, matrix: Matrix, tile: &Tile, scores: &mut Vec<f32>) -> usize {
        let (rows, columns) = self.ranges(matrix, tile);
        let (row_input, column_input) = matrix.inputs();
        let stride = stride_of(columns.len());
        scores.resize(rows.len() * stride, 0.0);
        let (lhs, rhs) =
            (self.rows_of(row_input).view(&rows), self.rows_of(column_input).view(&columns));
        Product::new(lhs, rhs.t()).write(scores, stride);
        for row in scores.chunks_exact_mut(stride) {
            row[columns.len()..].fill(HIDDEN);
        }
        let hide = |row: usize, column: usize| scores[row * stride + column] = HIDDEN;
        self.hidden.for_each(matrix, &rows, &columns, self.sizes.negatives, hide);
        stride
    }

    /// First pass: the sum of each term for each anchor.
    fn sum_terms(&self, rounds: &[Round], kept: &[Mutex<Vec<f32>>]) -> Vec<Vec<LogSum>> {
        let mut sums = vec![vec![LogSum::EMPTY; self.sizes.rows]; self.plan.terms.len()];
        let by_strip: Vec<_> = sums.iter_mut().map(|sums| strips(sums, self.strip)).collect();
        self.for_each_tile(rounds, |matrix, tile, scratch| {
            let mut place = tile.place.map(|place| lock(&kept[place]));
            let scores = place.as_deref_mut().unwrap_or(&mut scratch.tile);
            let stride = self.scores(matrix, tile, scores);
            let (rows, columns) = self.ranges(matrix, tile);
            let (row, column) = tile.strips;
            for &(axis, anchors) in matrix.readings(row != column) {
                let (strip, range) = match axis {
                    Axis::Rows => (row, &rows),
                    Axis::Columns => (column, &columns),
                };
                let thresholds = self.thresholds.as_ref().map(|values| &values[range.start..]);
                for (index, term) in self.plan.terms_on(matrix, anchors) {
                    let sums = &mut lock(&by_strip[index][strip]);
                    let line = &mut scratch.line;
                    sum_exponentials(scores, stride, axis, term.scale, thresholds, sums, line);
                }
            }
        });
        for matrix in self.plan.matrices().into_iter().filter(|matrix| matrix.is_own()) {
            self.strips().into_par_iter().enumerate().for_each(|(strip, rows)| {
                let scores = self.own_scores(matrix, &rows);
                for (index, term) in self.plan.terms_on(matrix, Axis::Rows) {
                    let mut sums = lock(&by_strip[index][strip]);
                    for ((row, sum), scores) in rows.clone().zip(sums.iter_mut()).zip(&scores) {
                        for &score in scores.iter().filter(|&&score| self.is_visible(row, score)) {
                            sum.add(term.scale * f64::from(score), 1.0);
                        }
                    }
                }
            });
        }
        drop(by_strip);
        sums
    }

    fn is_visible(&self, row: usize, score: f32) -> bool {
        let below = self.thresholds.as_ref().is_none_or(|thresholds| score <= thresholds[row]);
        below && score > HIDDEN
    }

    /// The scores of rows with their own hard negatives; hidden ones are `HIDDEN`.
    fn own_scores(&self, matrix: Matrix, rows: &Range<usize>) -> Vec<Vec<f32>> {
        let (anchors, hard) = (self.rows_of(matrix.inputs().0), self.rows_of(Input::HardNegatives));
        let negatives = self.sizes.negatives;
        let own = |row: usize| (row * negatives..(row + 1) * negatives).map(|flat| hard.row(flat));
        let score = |row: usize| own(row).map(|hard| dot(anchors.row(row), hard) as f32).collect();
        let mut scores: Vec<Vec<f32>> = rows.clone().map(score).collect();
        let hide = |row: usize, column: usize| scores[row][column] = HIDDEN;
        self.hidden.for_each(matrix, rows, &(0..0), negatives, hide);
        scores
    }

    /// Between the passes: the loss of each row, and the factors of the second pass.
    fn normalise(&self, sums: &[Vec<LogSum>], shares: &[f64]) -> Normalisers {
        let rows = self.sizes.rows;
        let mut per_row = vec![0.0; rows];
        let mut positive = vec![0.0; rows];
        let mut weights = vec![vec![LogSum::EMPTY; rows]; sums.len()];
        for group in &self.plan.groups {
            for row in 0..rows {
                let own = self.positive[row] * self.scale;
                let mut z = LogSum::EMPTY;
                z.add(own, group.positives);
                for &term in &group.terms {
                    z.join(sums[term][row]);
                }
                let log_z = z.ln();
                per_row[row] += group.weight * (log_z - own);
                let places = group.positives.ln() + own - log_z;
                positive[row] += group.weight * places.exp_m1();
                for &term in &group.terms {
                    weights[term][row].add(-log_z, group.weight);
                }
            }
        }
        let lambda = |(term, weights): (&Term, Vec<LogSum>)| {
            let lambda = || weights.iter().map(|weight| -weight.ln());
            let shift = |lambda: f64| lambda / term.scale;
            let shifts = padded(lambda().map(shift));
            let factor = |((lambda, &shift), &share): ((f64, &f32), &f64)| {
                share * self.scale * (term.scale * f64::from(shift) - lambda).exp()
            };
            let factors = padded(lambda().zip(&shifts).zip(shares).map(factor));
            Lambda { shifts, factors }
        };
        let positive =
            positive.iter().zip(shares).map(|(p, share)| (p * share * self.scale) as f32);
        Normalisers {
            terms: self.plan.terms.iter().zip(weights).map(lambda).collect(),
            positive: positive.collect(),
            per_row,
        }
    }

    /// The gradients for the scored rows as far as the positives' own places go.
    fn positive_gradients(&self, positive: &[f32]) -> [Vec<f32>; 3] {
        let dim = self.sizes.dim;
        let times = |input: Input| {
            let mut gradient = vec![0.0; self.sizes.rows * dim];
            gradient.par_chunks_mut(dim).with_min_len(128).enumerate().for_each(
                |(row, gradient)| {
                    for (gradient, &other) in gradient.iter_mut().zip(self.rows_of(input).row(row))
                    {
                        *gradient = positive[row] * other;
                    }
                },
            );
            gradient
        };
        let hard = vec![0.0; self.rows_of(Input::HardNegatives).rows() * dim];
        [times(Input::Documents), times(Input::Queries), hard]
    }

    /// Second pass: adds what the candidates contribute to the gradients for the scored rows.
    fn add_gradients(
        &self,
        rounds: &[Round],
        kept: &[Mutex<Vec<f32>>],
        normalisers: &Normalisers,
        gradients: &mut [Vec<f32>; 3],
    ) {
        let dim = self.sizes.dim;
        let by_strip = gradients.each_mut().map(|gradient| strips(gradient, self.strip * dim));
        self.for_each_tile(rounds, |matrix, tile, Scratch { tile: own, line }| {
            let mut place = tile.place.map(|place| lock(&kept[place]));
            let (rows, columns) = self.ranges(matrix, tile);
            let (scores, stride) = if let Some(scores) = place.as_deref_mut() {
                (scores, stride_of(columns.len()))
            } else {
                let stride = self.scores(matrix, tile, own);
                (own, stride)
            };
            // On the diagonal of a symmetric matrix both readings make the weights symmetric, so
            // that one product stands for both.
            let readings = matrix.readings(true).iter().flat_map(|&(axis, anchors)| {
                let range = match axis {
                    Axis::Rows => &rows,
                    Axis::Columns => &columns,
                };
                self.plan.terms_on(matrix, anchors).map(move |(index, term)| Reading {
                    axis,
                    scale: term.scale,
                    shifts: &normalisers.terms[index].shifts[range.start..],
                    factors: &normalisers.terms[index].factors[range.start..],
                    thresholds: self.thresholds.as_ref().map(|values| &values[range.start..]),
                })
            });
            weigh(scores, stride, &readings.collect::<Vec<_>>(), line);

            let weights = View::new(scores, [rows.len(), columns.len()], stride);
            let (row_input, column_input) = matrix.inputs();
            let (row, column) = tile.strips;
            let for_rows = &mut **lock(&by_strip[row_input as usize][row]);
            Product::new(weights, self.rows_of(column_input).view(&columns)).add(for_rows, dim);
            if !(matrix.is_symmetric() && row == column) {
                let for_columns = &mut **lock(&by_strip[column_input as usize][column]);
                Product::new(weights.t(), self.rows_of(row_input).view(&rows))
                    .add(for_columns, dim);
            }
        });
        drop(by_strip);
        for matrix in self.plan.matrices().into_iter().filter(|matrix| matrix.is_own()) {
            self.add_own_gradients(matrix, normalisers, gradients);
        }
    }

    /// Adds what the own hard negatives contribute.
    fn add_own_gradients(
        &self,
        matrix: Matrix,
        normalisers: &Normalisers,
        [queries, documents, hard]: &mut [Vec<f32>; 3],
    ) {
        let Sizes { negatives, dim, .. } = self.sizes;
        let (anchor_input, _) = matrix.inputs();
        let anchors = if anchor_input == Input::Queries { queries } else { documents };
        let per_strip = anchors
            .par_chunks_mut(self.strip * dim)
            .zip(hard.par_chunks_mut(self.strip * negatives * dim))
            .zip(self.strips());
        per_strip.for_each(|((for_anchors, for_hard), rows)| {
            let scores = self.own_scores(matrix, &rows);
            for (local, row) in rows.enumerate() {
                for (k, &score) in scores[local].iter().enumerate() {
                    if !self.is_visible(row, score) {
                        continue;
                    }
                    let weight = |(index, term): (usize, &Term)| {
                        let Lambda { shifts, factors } = &normalisers.terms[index];
                        let exponent = term.scale * (f64::from(score) - f64::from(shifts[row]));
                        f64::from(factors[row]) * exponent.exp()
                    };
                    let weight: f64 = self.plan.terms_on(matrix, Axis::Rows).map(weight).sum();
                    let flat = local * negatives + k;
                    let hard_row = self.rows_of(Input::HardNegatives).row(row * negatives + k);
                    let anchor_row = self.rows_of(anchor_input).row(row);
                    add_scaled(&mut for_anchors[local * dim..][..dim], hard_row, weight as f32);
                    add_scaled(&mut for_hard[flat * dim..][..dim], anchor_row, weight as f32);
                }
            }
        });
    }
}

fn add_scaled(sum: &mut [f32], row: &[f32], factor: f32) {
    for (sum, &value) in sum.iter_mut().zip(row) {
        *sum += factor * value;
    }
}
