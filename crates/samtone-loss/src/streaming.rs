//! The streaming form, which every backend can run.
//!
//! Two passes over tiles of the score matrices. The first gathers the terms `A_t` of
//! [`crate::plan`] online; the second turns each tile into the weights `∂L/∂s` and multiplies them
//! into the gradients. Tiles that fit the memory are kept between the passes. What is done to a
//! single tile of scores is in [`crate::tile`].

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

use crate::embeddings::Sizes;
use crate::hidden::Hidden;
use crate::plan::{Axis, Matrix, Plan, Term};
use crate::reading::{Reading, ScaledSum};
use crate::rows::{LARGEST, UnitRows, column, inverse, split, working_type};
use crate::{
    Batch, Embeddings, Input, Loss, LossError, LossGradients, Similarity, Temperature, tile,
};

/// The loss and its gradients, tile by tile.
pub(crate) fn value_and_gradients<B: Backend>(
    loss: &Loss,
    batch: &Batch<B>,
    temperature: Temperature,
) -> Result<LossGradients<B>, LossError> {
    let shares = batch.shares()?;
    let pass = Pass::new(loss, batch, temperature);
    let mut kept = Kept::new(loss.score_memory);
    let sums = pass.sum_terms(&mut kept);
    let normalisers = pass.normalise(&sums, shares);
    let gradients = pass.gradients(&normalisers, kept);
    pass.finish(batch, normalisers, gradients)
}

/// Embeddings, unit rows and tiles of one call.
struct Pass<B: Backend> {
    plan: Plan,
    temperature: Temperature,
    sizes: Sizes,
    dtype: DType,
    device: B::Device,
    hidden: Hidden,
    /// Rows of the batch in a strip, and the most rows and columns of a tile.
    tile: usize,
    /// By [`Input`].
    inputs: [Vec<Strip<B>>; 3],
    /// s(q_i, d_i), `[batch, 1]`.
    positive: Tensor<B, 2>,
    /// The score above which a candidate is hidden, `[batch, 1]`.
    thresholds: Option<Tensor<B, 2>>,
}

/// Consecutive rows of one input, ready to be scored. No operation takes more at once,
/// so that what it binds does not grow with the batch.
struct Strip<B: Backend> {
    /// `[rows, dim]`, unit rows where the similarity is cosine.
    scored: Tensor<B, 2>,
    unit: Option<UnitRows<B>>,
}

impl<B: Backend> Strip<B> {
    fn new(rows: Tensor<B, 2>, similarity: Similarity) -> Self {
        match similarity {
            Similarity::Cosine => {
                let unit = UnitRows::new(rows);
                Self { scored: unit.unit.clone(), unit: Some(unit) }
            }
            Similarity::Dot => Self { scored: rows, unit: None },
        }
    }
}

/// A tile of a score matrix.
#[derive(Clone)]
struct Tile {
    matrix: Matrix,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Tile {
    /// See [`Matrix::readings`].
    fn readings(&self) -> &'static [(Axis, Axis)] {
        self.matrix.readings(self.rows != self.columns)
    }

    fn anchors(&self, axis: Axis) -> &Range<usize> {
        match axis {
            Axis::Rows => &self.rows,
            Axis::Columns => &self.columns,
        }
    }
}

/// Score tiles kept from the first pass, in order, while they fit.
struct Kept<B: Backend> {
    tiles: VecDeque<Option<Tensor<B, 2>>>,
    bytes_left: usize,
}

impl<B: Backend> Kept<B> {
    fn new(bytes: usize) -> Self {
        Self { tiles: VecDeque::new(), bytes_left: bytes }
    }

    fn push(&mut self, scores: Tensor<B, 2>) {
        let [rows, columns] = scores.dims();
        let bytes = rows * columns * scores.dtype().size();
        let fits = bytes <= self.bytes_left;
        if fits {
            self.bytes_left -= bytes;
        }
        self.tiles.push_back(fits.then_some(scores));
    }
}

/// What the first pass leaves for the second.
struct Normalisers<B: Backend> {
    /// λ of each term, as [`tile::weigh`] takes it.
    lambdas: Vec<Tensor<B, 2>>,
    /// ∂L/∂s(q_i, d_i) · τ through the positive's own places in the loss, `[batch, 1]`.
    positive: Tensor<B, 2>,
    /// ℓ, `[batch, 1]`.
    per_row: Tensor<B, 2>,
    /// The weighted mean, `[1]`.
    loss: Tensor<B, 1>,
}

impl<B: Backend> Pass<B> {
    fn new(loss: &Loss, batch: &Batch<B>, temperature: Temperature) -> Self {
        let Embeddings { queries, documents, hard_negatives } = &batch.embeddings;
        let sizes = batch.embeddings.sizes();
        let dtype = working_type(queries.dtype());
        let tile = tile_rows(loss, sizes, dtype);
        let strips = |input: &Tensor<B, 3>| -> Vec<Strip<B>> {
            let [rows, width, dim] = input.dims();
            let strip = |rows: Range<usize>| {
                let flat = [rows.len() * width, dim];
                Strip::new(
                    input.clone().slice_dim(0, rows).reshape(flat).cast(dtype),
                    loss.similarity,
                )
            };
            split(0..rows, tile).map(strip).collect()
        };
        let pairs = |input: &Tensor<B, 2>| strips(&input.clone().unsqueeze_dim(1));
        let hard = hard_negatives.as_ref().filter(|_| sizes.negatives > 0);
        let inputs = [pairs(queries), pairs(documents), hard.map_or(Vec::new(), strips)];
        let products = inputs[0].iter().zip(&inputs[1]);
        let products = products.map(|(q, d)| (q.scored.clone() * d.scored.clone()).sum_dim(1));
        let positive = Tensor::cat(products.collect(), 0);
        let thresholds = loss.false_negatives.margin.map(|margin| {
            positive.clone() + positive.clone().abs() * margin.relative + margin.absolute
        });
        Self {
            plan: Plan::new(loss, temperature, hard.is_some()),
            temperature,
            sizes,
            dtype,
            device: queries.device(),
            hidden: Hidden::new(loss.false_negatives, &batch.relations, sizes),
            tile,
            inputs,
            positive,
            thresholds,
        }
    }

    /// The strip of an input that holds `rows`, and where in it they lie.
    fn place(&self, input: Input, rows: &Range<usize>) -> (usize, Range<usize>) {
        let length = match input {
            Input::Queries | Input::Documents => self.tile,
            Input::HardNegatives => self.tile * self.sizes.negatives,
        };
        let strip = rows.start / length;
        (strip, rows.start - strip * length..rows.end - strip * length)
    }

    /// Some rows of an input, all of one strip, `[rows, dim]`.
    fn scored(&self, input: Input, rows: &Range<usize>) -> Tensor<B, 2> {
        let (strip, rows) = self.place(input, rows);
        self.inputs[input as usize][strip].scored.clone().slice_dim(0, rows)
    }

    /// Every tile of every matrix, in the order of both passes.
    fn tiles(&self) -> Vec<Tile> {
        let Sizes { rows, negatives, .. } = self.sizes;
        let mut tiles = Vec::new();
        for matrix in self.plan.matrices() {
            for rows in split(0..rows, self.tile) {
                let mut add = |columns| tiles.push(Tile { matrix, rows: rows.clone(), columns });
                if matrix.is_own() {
                    add(rows.start * negatives..rows.end * negatives);
                    continue;
                }
                for strip in split(0..self.sizes.rows, self.tile) {
                    if matrix.inputs().1 == Input::HardNegatives {
                        let hard = strip.start * negatives..strip.end * negatives;
                        split(hard, self.tile).for_each(&mut add);
                    } else if !matrix.is_symmetric() || rows.start <= strip.start {
                        add(strip);
                    }
                }
            }
        }
        tiles
    }

    /// The two factors of a tile, `[rows, dim]` and `[columns, dim]`.
    fn operands(&self, tile: &Tile) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let (rows, columns) = tile.matrix.inputs();
        (self.scored(rows, &tile.rows), self.scored(columns, &tile.columns))
    }

    /// The scores of a tile, those that relations hide already pushed out of sight.
    fn scores(&self, tile: &Tile) -> Tensor<B, 2> {
        let (rows, columns) = self.operands(tile);
        let scores = if tile.matrix.is_own() {
            let [anchors, dim] = rows.dims();
            let own = columns.reshape([anchors, self.sizes.negatives, dim]);
            let products = own * rows.unsqueeze_dim::<3>(1);
            products.sum_dim(2).reshape([anchors, self.sizes.negatives])
        } else {
            rows.matmul(columns.transpose())
        };
        let width = scores.dims()[1];
        tile::hide(scores, self.hidden_in(tile, width))
    }

    /// The scores of a tile that relations hide, the diagonal included, as [`tile::hide`] takes
    /// them.
    fn hidden_in(&self, tile: &Tile, width: usize) -> Vec<u32> {
        let Tile { matrix, rows, columns } = tile;
        let mut places = Vec::new();
        self.hidden.for_each(*matrix, rows, columns, self.sizes.negatives, |row, column| {
            places.push((row * width + column) as u32);
        });
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The terms that read a tile: their positions, how they read it.
    fn terms_of<'a>(&'a self, tile: &'a Tile) -> impl Iterator<Item = (usize, Reading<'a, B>)> {
        tile.readings().iter().flat_map(move |&(axis, anchors)| {
            let reading = move |(index, term): (usize, &Term)| {
                let thresholds = self.thresholds.as_ref();
                let anchors = tile.anchors(axis);
                (index, Reading { axis, anchors, scale: term.scale, thresholds })
            };
            self.plan.terms_on(tile.matrix, anchors).map(reading)
        })
    }

    /// First pass: the sum of every term for each row of the batch.
    fn sum_terms(&self, kept: &mut Kept<B>) -> Vec<ScaledSum<B>> {
        let strips = self.sizes.rows.div_ceil(self.tile);
        let mut sums: Vec<Vec<Option<ScaledSum<B>>>> =
            vec![vec![None; strips]; self.plan.terms.len()];
        for tile in self.tiles() {
            let scores = self.scores(&tile);
            for (index, reading) in self.terms_of(&tile) {
                let so_far = &mut sums[index][reading.anchors.start / self.tile];
                *so_far = Some(tile::extend(so_far.take(), &scores, &reading));
            }
            kept.push(scores);
        }
        let whole = |strips: Vec<Option<ScaledSum<B>>>| {
            let strips = strips.into_iter().flatten();
            let (largest, sum) = strips.map(|strip| (strip.largest, strip.sum)).unzip();
            ScaledSum { largest: Tensor::cat(largest, 0), sum: Tensor::cat(sum, 0) }
        };
        sums.into_iter().map(whole).collect()
    }

    /// Between the passes: the loss, and λ of each term.
    fn normalise(&self, sums: &[ScaledSum<B>], shares: Vec<f64>) -> Normalisers<B> {
        let positive = self.positive.clone() * self.temperature.scale(); // x_ii
        let shares = column(shares, self.dtype, &self.device);
        let mut per_row = positive.zeros_like();
        let mut of_positive = positive.zeros_like();
        let mut weights: Vec<Option<ScaledSum<B>>> = vec![None; sums.len()];
        for group in &self.plan.groups {
            let terms = || group.terms.iter().map(|&term| (term, &sums[term]));
            let largest =
                terms().fold(positive.clone(), |m, (_, sum)| m.max_pair(sum.largest.clone()));
            let others = terms()
                .map(|(_, sum)| sum.relative_to(&largest))
                .fold(positive.zeros_like(), Tensor::add);
            let own = (positive.clone() - largest.clone()).exp() * group.positives;
            let z = own + others.clone(); // Z relative to its largest logit
            per_row =
                per_row + (largest.clone() - positive.clone() + z.clone().log()) * group.weight;
            // -1 + p·e^x_ii/Z, without the cancellation.
            of_positive = of_positive - others / z.clone() * group.weight;
            // w/Z, as a sum over groups; 1/Z has the logit of Z with its sign turned.
            let weight = ScaledSum { largest: -largest, sum: inverse(z) * group.weight };
            for &term in &group.terms {
                weights[term] = Some(match weights[term].take() {
                    Some(so_far) => so_far.add(weight.clone()),
                    None => weight.clone(),
                });
            }
        }
        let lambda = |weight: Option<ScaledSum<B>>| {
            let weight = weight.expect("every term has a group");
            Tensor::cat(vec![-weight.largest, weight.sum * shares.clone()], 1)
        };
        Normalisers {
            lambdas: weights.into_iter().map(lambda).collect(),
            positive: of_positive * shares.clone(),
            loss: (per_row.clone() * shares.clone()).sum(),
            per_row,
        }
    }

    /// Second pass: the gradients for the scored embeddings, still lacking the factor 1/τ.
    fn gradients(&self, normalisers: &Normalisers<B>, kept: Kept<B>) -> Gradients<B> {
        let mut gradients = Gradients::new(self, normalisers);
        for (tile, scores) in self.tiles().into_iter().zip(kept.tiles) {
            let scores = scores.unwrap_or_else(|| self.scores(&tile));
            let terms = self.terms_of(&tile);
            let terms = terms.map(|(index, reading)| (reading, &normalisers.lambdas[index]));
            let weights = tile::weigh(scores, terms.collect());
            gradients.add(self, &tile, weights);
        }
        gradients
    }

    /// Scales, undoes the normalisation, and reads the loss with the signs of trouble.
    fn finish(
        &self,
        batch: &Batch<B>,
        normalisers: Normalisers<B>,
        gradients: Gradients<B>,
    ) -> Result<LossGradients<B>, LossError> {
        let scale = self.temperature.scale();
        // L depends on the embeddings through products of two of them, so by Euler's identity
        // Σ <x, ∂L/∂x> = 2 Σ s·∂L/∂s, and ∂L/∂(ln τ) = -Σ s·∂L/∂s.
        let mut radial = normalisers.loss.zeros_like();
        let mut embeddings = normalisers.loss.zeros_like();
        let mut finish = |strip: &Strip<B>, gradient: Tensor<B, 2>| {
            let sum = |x: Tensor<B, 2>| x.sum_dim(1).sum();
            let gradient = gradient * scale;
            embeddings = embeddings.clone() + sum(strip.scored.clone());
            radial = radial.clone() + sum(gradient.clone() * strip.scored.clone());
            let gradient = match &strip.unit {
                Some(unit) => unit.backward(gradient),
                None => gradient,
            };
            gradient.cast(batch.embeddings.queries.dtype())
        };
        let [queries, documents, hard] = gradients.inputs;
        let mut join = |input: Input, gradients: Vec<Option<Tensor<B, 2>>>| {
            let strips = self.inputs[input as usize].iter().zip(gradients);
            let whole = |(strip, gradient): (&Strip<B>, Option<_>)| {
                finish(strip, gradient.unwrap_or_else(|| strip.scored.zeros_like()))
            };
            Tensor::cat(strips.map(whole).collect(), 0)
        };
        let queries = join(Input::Queries, queries);
        let documents = join(Input::Documents, documents);
        let hard = (!hard.is_empty()).then(|| join(Input::HardNegatives, hard));
        let signs = vec![normalisers.loss, radial * -0.5, embeddings];
        let read: Vec<f64> = Tensor::cat(signs, 0).into_data().iter::<f64>().collect();
        if read.iter().any(|value| !value.is_finite()) {
            return Err(diagnose(batch, &normalisers.per_row));
        }
        let Sizes { rows, negatives, dim } = self.sizes;
        Ok(LossGradients {
            loss: read[0],
            per_row: normalisers.per_row.reshape([rows]),
            embeddings: Embeddings {
                queries,
                documents,
                hard_negatives: match (&batch.embeddings.hard_negatives, hard) {
                    (Some(_), Some(gradient)) => Some(gradient.reshape([rows, negatives, dim])),
                    (Some(empty), None) => Some(empty.zeros_like()),
                    (None, _) => None,
                },
            },
            log_temperature: read[1],
        })
    }
}

/// Gradients in the making, one tensor a strip; `None` for zeros.
struct Gradients<B: Backend> {
    /// By [`Input`].
    inputs: [Vec<Option<Tensor<B, 2>>>; 3],
}

impl<B: Backend> Gradients<B> {
    /// The positives' own share.
    fn new(pass: &Pass<B>, normalisers: &Normalisers<B>) -> Self {
        let [queries, documents, hard] = &pass.inputs;
        let of_positive = |others: &[Strip<B>]| {
            let rows = split(0..pass.sizes.rows, pass.tile);
            let weights = rows.map(|rows| normalisers.positive.clone().slice_dim(0, rows));
            others.iter().zip(weights).map(|(other, w)| Some(other.scored.clone() * w)).collect()
        };
        let none = hard.iter().map(|_| None).collect();
        Self { inputs: [of_positive(documents), of_positive(queries), none] }
    }

    fn add(&mut self, pass: &Pass<B>, tile: &Tile, weights: Tensor<B, 2>) {
        let (rows, columns) = pass.operands(tile);
        let (row_input, column_input) = tile.matrix.inputs();
        let (for_rows, for_columns) = if tile.matrix.is_own() {
            let [anchors, dim] = rows.dims();
            let negatives = pass.sizes.negatives;
            let own = columns.reshape([anchors, negatives, dim]);
            let weights = weights.unsqueeze_dim::<3>(2); // [anchors, negatives, 1]
            let for_rows = (own * weights.clone()).sum_dim(1).reshape([anchors, dim]);
            let for_columns = rows.unsqueeze_dim::<3>(1) * weights;
            (for_rows, for_columns.reshape([anchors * negatives, dim]))
        } else {
            (weights.clone().matmul(columns), weights.transpose().matmul(rows))
        };
        self.put(pass, row_input, &tile.rows, for_rows);
        self.put(pass, column_input, &tile.columns, for_columns);
    }

    fn put(&mut self, pass: &Pass<B>, input: Input, rows: &Range<usize>, part: Tensor<B, 2>) {
        let (strip, rows) = pass.place(input, rows);
        let slot = &mut self.inputs[input as usize][strip];
        let whole = &pass.inputs[input as usize][strip].scored;
        *slot = Some(if part.dims() == whole.dims() {
            match slot.take() {
                Some(so_far) => so_far + part,
                None => part,
            }
        } else {
            let so_far = slot.take().unwrap_or_else(|| whole.zeros_like());
            let sum = so_far.clone().slice_dim(0, rows.clone()) + part;
            so_far.slice_assign([rows, 0..pass.sizes.dim], sum)
        });
    }
}

/// Rows of a strip and of a tile: of a tile about a sixteenth of the memory, as several are alive
/// at once, and no tensor beyond [`LARGEST`].
fn tile_rows(loss: &Loss, sizes: Sizes, dtype: DType) -> usize {
    let from_memory = (loss.score_memory / 16 / dtype.size()).isqrt() / 64 * 64;
    let wanted = loss.tile.unwrap_or(from_memory.clamp(64, 4096));
    let largest = LARGEST / dtype.size();
    let of_strip = largest / (sizes.dim * sizes.negatives.max(1));
    wanted.min(largest.isqrt()).min(of_strip).max(1)
}

/// Finds the reason for a result that is not finite.
pub(crate) fn diagnose<B: Backend>(batch: &Batch<B>, per_row: &Tensor<B, 2>) -> LossError {
    let Embeddings { queries, documents, hard_negatives } = &batch.embeddings;
    let Sizes { negatives, dim, .. } = batch.embeddings.sizes();
    let hard = hard_negatives.as_ref().map(Tensor::to_data);
    let inputs = [
        (Input::Queries, dim, Some(queries.to_data())),
        (Input::Documents, dim, Some(documents.to_data())),
        (Input::HardNegatives, negatives * dim, hard),
    ];
    for (what, width, data) in inputs {
        let bad = data.and_then(|data| data.iter::<f64>().position(|value| !value.is_finite()));
        if let Some(position) = bad {
            return LossError::NonFinite { what, row: position / width };
        }
    }
    let row = per_row.to_data().iter::<f64>().position(|value| !value.is_finite());
    LossError::Overflow { row: row.unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LossConfig;

    #[test]
    fn no_tile_and_no_strip_is_larger_than_webgpu_binds() {
        let loss = LossConfig { score_memory_mib: Some(1 << 20), ..LossConfig::default() };
        let loss = loss.resolve().unwrap();
        for dtype in [DType::F32, DType::F64] {
            for loss in [loss.clone(), loss.clone().with_tile(1 << 20)] {
                for (dim, negatives) in [(64, 0), (768, 0), (768, 7), (4096, 31), (1 << 24, 0)] {
                    let sizes = Sizes { rows: 1 << 20, negatives, dim };
                    let tile = tile_rows(&loss, sizes, dtype);
                    assert!(tile > 0);
                    for elements in [tile * tile, tile * dim * negatives.max(1)] {
                        assert!(elements * dtype.size() <= LARGEST, "{dim}, {negatives}: {tile}");
                    }
                }
            }
        }
    }
}
