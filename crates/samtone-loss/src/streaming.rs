//! The streaming form in tensor operations: every backend can run it.
//!
//! Two passes over tiles of the score matrices. The first gathers the terms `A_t` of
//! [`crate::plan`] online; the second turns each tile into the weights `∂L/∂s` and multiplies them
//! into the gradients. Tiles that fit the memory are kept between the passes.

use std::ops::Range;

use burn::tensor::{Bool, DType, Tensor, TensorData, backend::Backend};

use crate::batch::Sizes;
use crate::hidden::Hidden;
use crate::plan::{Axis, Matrix, Plan, Side};
use crate::rows::{HIDDEN, UnitRows, column, inverse, working_type};
use crate::{Batch, Input, Loss, LossError, LossGradients, Similarity, Temperature};

/// The portable kernel.
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
    tile: usize,
    sides: [Option<Embeddings<B>>; 3],
    /// s(q_i, d_i), `[batch, 1]`.
    positive: Tensor<B, 2>,
    /// The score above which a candidate is hidden, `[batch, 1]`.
    threshold: Option<Tensor<B, 2>>,
}

/// One side of the batch, ready to be scored.
struct Embeddings<B: Backend> {
    /// `[rows, dim]`, unit rows where the similarity is cosine.
    scored: Tensor<B, 2>,
    unit: Option<UnitRows<B>>,
}

impl<B: Backend> Embeddings<B> {
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
    tiles: std::collections::VecDeque<Option<Tensor<B, 2>>>,
    bytes_left: usize,
}

impl<B: Backend> Kept<B> {
    fn new(bytes: usize) -> Self {
        Self { tiles: std::collections::VecDeque::new(), bytes_left: bytes }
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

/// `Σ e^x` for each anchor, relative to a logit no smaller than any in the sum. The sum itself would
/// leave the number type, and its logarithm would round away what the second pass needs.
#[derive(Clone)]
struct ScaledSum<B: Backend> {
    /// `[anchors, 1]`.
    largest: Tensor<B, 2>,
    /// `Σ e^(x - largest)`, `[anchors, 1]`.
    sum: Tensor<B, 2>,
}

impl<B: Backend> ScaledSum<B> {
    /// The sum over the candidates of a tile whose anchors lie along `axis`.
    fn of(logits: Tensor<B, 2>, axis: Axis) -> Self {
        let candidates = match axis {
            Axis::Rows => 1,
            Axis::Columns => 0,
        };
        let anchors = logits.dims()[1 - candidates];
        let largest = logits.clone().max_dim(candidates);
        let sum = (logits - largest.clone()).exp().sum_dim(candidates);
        Self { largest: largest.reshape([anchors, 1]), sum: sum.reshape([anchors, 1]) }
    }

    /// The sum relative to another logit.
    fn relative_to(&self, largest: &Tensor<B, 2>) -> Tensor<B, 2> {
        self.sum.clone() * (self.largest.clone() - largest.clone()).exp()
    }

    fn add(self, other: Self) -> Self {
        let largest = self.largest.clone().max_pair(other.largest.clone());
        let sum = self.relative_to(&largest) + other.relative_to(&largest);
        Self { largest, sum }
    }
}

/// λ of a term, as `e^(a·s - λ) = factor·e^(a·s - shift)`, `[batch, 1]` each.
struct Lambda<B: Backend> {
    shift: Tensor<B, 2>,
    factor: Tensor<B, 2>,
}

/// What the first pass leaves for the second.
struct Normalisers<B: Backend> {
    terms: Vec<Lambda<B>>,
    /// ∂L/∂s(q_i, d_i) · τ through the positive's own places in the loss, `[batch, 1]`.
    positive: Tensor<B, 2>,
    /// ℓ, `[batch, 1]`.
    per_row: Tensor<B, 2>,
    /// The weighted mean, `[1]`.
    loss: Tensor<B, 1>,
}

impl<B: Backend> Pass<B> {
    fn new(loss: &Loss, batch: &Batch<B>, temperature: Temperature) -> Self {
        let sizes = batch.sizes();
        let dtype = working_type(batch.queries.dtype());
        let side = |rows: Tensor<B, 2>| Embeddings::new(rows.cast(dtype), loss.similarity);
        let hard = batch.hard_negatives.clone().filter(|_| sizes.negatives > 0);
        let hard = hard.map(|hard| side(hard.reshape([sizes.rows * sizes.negatives, sizes.dim])));
        let queries = side(batch.queries.clone());
        let documents = side(batch.documents.clone());
        let positive = (queries.scored.clone() * documents.scored.clone()).sum_dim(1);
        let threshold = loss.false_negatives.margin.map(|margin| {
            positive.clone() + positive.clone().abs() * margin.relative + margin.absolute
        });
        Self {
            plan: Plan::new(loss, temperature, hard.is_some()),
            temperature,
            sizes,
            dtype,
            device: batch.queries.device(),
            hidden: Hidden::new(loss.false_negatives, &batch.relations, sizes),
            tile: loss.tile.unwrap_or_else(|| tile_rows(loss.score_memory, dtype)),
            sides: [Some(queries), Some(documents), hard],
            positive,
            threshold,
        }
    }

    fn side(&self, side: Side) -> &Embeddings<B> {
        self.sides[side as usize].as_ref().expect("terms on hard negatives need some")
    }

    /// Every tile of every matrix, in the order of both passes.
    fn tiles(&self) -> Vec<Tile> {
        let Sizes { rows, negatives, .. } = self.sizes;
        let mut tiles = Vec::new();
        for matrix in self.plan.matrices() {
            let columns = match matrix.sides().1 {
                Side::Hard => rows * negatives,
                Side::Query | Side::Document => rows,
            };
            for rows in split(rows, self.tile) {
                if matrix.is_own() {
                    let columns = rows.start * negatives..rows.end * negatives;
                    tiles.push(Tile { matrix, rows, columns });
                    continue;
                }
                for columns in split(columns, self.tile) {
                    if !matrix.is_symmetric() || rows.start <= columns.start {
                        tiles.push(Tile { matrix, rows: rows.clone(), columns });
                    }
                }
            }
        }
        tiles
    }

    /// The two sides of a tile; of its own hard negatives as `[rows, negatives, dim]` see `own`.
    fn operands(&self, tile: &Tile) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let (rows, columns) = tile.matrix.sides();
        (
            slice(&self.side(rows).scored, &tile.rows),
            slice(&self.side(columns).scored, &tile.columns),
        )
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
        match self.hidden_in(tile) {
            Some(mask) => scores.mask_fill(mask, HIDDEN),
            None => scores,
        }
    }

    /// Which scores of a tile relations hide, the diagonal included; `None` where none.
    fn hidden_in(&self, tile: &Tile) -> Option<Tensor<B, 2, Bool>> {
        let Tile { matrix, rows, columns } = tile;
        let width = if matrix.is_own() { self.sizes.negatives } else { columns.len() };
        let mut bits = Vec::new();
        self.hidden.for_each(*matrix, rows, columns, self.sizes.negatives, |row, column| {
            if bits.is_empty() {
                bits.resize(rows.len() * width, false);
            }
            bits[row * width + column] = true;
        });
        let data = (!bits.is_empty()).then(|| TensorData::new(bits, [rows.len(), width]))?;
        Some(Tensor::from_data(data, &self.device))
    }

    /// The logits of one reading, with the margin applied; anchors lie along `axis` of the tile.
    fn logits(&self, tile: &Tile, axis: Axis, scores: &Tensor<B, 2>, scale: f64) -> Tensor<B, 2> {
        let logits = scores.clone() * scale;
        let Some(threshold) = &self.threshold else { return logits };
        let threshold = along(slice(threshold, tile.anchors(axis)), axis);
        let too_close = scores.clone().greater(threshold.expand(scores.dims()));
        logits.mask_fill(too_close, HIDDEN * scale)
    }

    /// First pass: the sum of every term for each row of the batch.
    fn sum_terms(&self, kept: &mut Kept<B>) -> Vec<ScaledSum<B>> {
        let strips = self.sizes.rows.div_ceil(self.tile);
        let mut sums: Vec<Vec<Option<ScaledSum<B>>>> =
            vec![vec![None; strips]; self.plan.terms.len()];
        for tile in self.tiles() {
            let scores = self.scores(&tile);
            for &(axis, anchors) in tile.readings() {
                for (index, term) in self.plan.terms_on(tile.matrix, anchors) {
                    let sum = ScaledSum::of(self.logits(&tile, axis, &scores, term.scale), axis);
                    let so_far = &mut sums[index][tile.anchors(axis).start / self.tile];
                    *so_far = Some(match so_far.take() {
                        Some(so_far) => so_far.add(sum),
                        None => sum,
                    });
                }
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
            Lambda { shift: -weight.largest, factor: weight.sum * shares.clone() }
        };
        Normalisers {
            terms: weights.into_iter().map(lambda).collect(),
            positive: of_positive * shares.clone(),
            loss: (per_row.clone() * shares.clone()).sum(),
            per_row,
        }
    }

    /// Second pass: the gradients for the scored embeddings, still lacking the factor 1/τ.
    fn gradients(&self, normalisers: &Normalisers<B>, kept: Kept<B>) -> [Option<Tensor<B, 2>>; 3] {
        let mut parts = Parts::new(self);
        for (tile, scores) in self.tiles().into_iter().zip(kept.tiles) {
            let scores = scores.unwrap_or_else(|| self.scores(&tile));
            let weights = tile
                .readings()
                .iter()
                .flat_map(|&(axis, anchors)| {
                    self.plan.terms_on(tile.matrix, anchors).map(move |term| (axis, term))
                })
                .map(|(axis, (index, term))| {
                    let Lambda { shift, factor } = &normalisers.terms[index];
                    let of_anchors = |values| along(slice(values, tile.anchors(axis)), axis);
                    let logits = self.logits(&tile, axis, &scores, term.scale);
                    (logits - of_anchors(shift)).exp() * of_anchors(factor)
                })
                .reduce(Tensor::add);
            if let Some(weights) = weights {
                parts.add(self, &tile, weights);
            }
        }
        parts.whole(self, normalisers)
    }

    /// Scales, undoes the normalisation, and reads the loss with the signs of trouble.
    fn finish(
        &self,
        batch: &Batch<B>,
        normalisers: Normalisers<B>,
        gradients: [Option<Tensor<B, 2>>; 3],
    ) -> Result<LossGradients<B>, LossError> {
        let scale = self.temperature.scale();
        // L depends on the embeddings through products of two of them, so by Euler's identity
        // Σ <x, ∂L/∂x> = 2 Σ s·∂L/∂s, and ∂L/∂(ln τ) = -Σ s·∂L/∂s.
        let mut radial = normalisers.loss.zeros_like();
        let mut sums = Vec::new();
        let mut finished = Vec::new();
        for (side, gradient) in self.sides.iter().zip(gradients) {
            let Some((side, gradient)) = side.as_ref().zip(gradient) else {
                finished.push(None);
                continue;
            };
            sums.push(side.scored.clone().sum_dim(1).sum());
            let gradient = gradient * scale;
            radial = radial + (gradient.clone() * side.scored.clone()).sum_dim(1).sum();
            let gradient = match &side.unit {
                Some(unit) => unit.backward(gradient),
                None => gradient,
            };
            finished.push(Some(gradient.cast(batch.queries.dtype())));
        }
        sums.push(normalisers.loss);
        sums.push(radial * -0.5);
        let read: Vec<f64> = Tensor::cat(sums, 0).into_data().iter::<f64>().collect();
        if read.iter().any(|value| !value.is_finite()) {
            return Err(diagnose(batch, &normalisers.per_row));
        }
        let [loss, log_temperature] = read[read.len() - 2..] else {
            unreachable!("two values were appended")
        };
        let Sizes { rows, negatives, dim } = self.sizes;
        let mut finished = finished.into_iter();
        let mut next = || finished.next().flatten();
        Ok(LossGradients {
            loss,
            per_row: normalisers.per_row.reshape([rows]),
            queries: next().expect("queries have a gradient"),
            documents: next().expect("documents have a gradient"),
            hard_negatives: match (&batch.hard_negatives, next()) {
                (Some(_), Some(gradient)) => Some(gradient.reshape([rows, negatives, dim])),
                (Some(empty), None) => Some(empty.zeros_like()),
                (None, _) => None,
            },
            log_temperature,
        })
    }
}

/// Gradients in the making, one tensor a tile of rows.
struct Parts<B: Backend> {
    sides: [Vec<Option<Tensor<B, 2>>>; 3],
}

impl<B: Backend> Parts<B> {
    fn new(pass: &Pass<B>) -> Self {
        let tiles = pass.sizes.rows.div_ceil(pass.tile);
        // Hard negatives are summed by whole rows of the batch where they are own ones and by
        // flat tiles otherwise; the flat gradient is kept whole.
        Self { sides: [vec![None; tiles], vec![None; tiles], vec![None; 1]] }
    }

    fn add(&mut self, pass: &Pass<B>, tile: &Tile, weights: Tensor<B, 2>) {
        let (rows, columns) = pass.operands(tile);
        let (row_side, column_side) = tile.matrix.sides();
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
        self.put(pass, row_side, &tile.rows, for_rows);
        self.put(pass, column_side, &tile.columns, for_columns);
    }

    fn put(&mut self, pass: &Pass<B>, side: Side, rows: &Range<usize>, part: Tensor<B, 2>) {
        if side == Side::Hard {
            let whole = &mut self.sides[side as usize][0];
            let so_far = whole.take().unwrap_or_else(|| pass.side(side).scored.zeros_like());
            let sum = slice(&so_far, rows) + part;
            *whole = Some(so_far.slice_assign([rows.clone(), 0..pass.sizes.dim], sum));
        } else {
            let slot = &mut self.sides[side as usize][rows.start / pass.tile];
            *slot = Some(match slot.take() {
                Some(so_far) => so_far + part,
                None => part,
            });
        }
    }

    /// Joins the tiles and adds the positives' own share.
    fn whole(self, pass: &Pass<B>, normalisers: &Normalisers<B>) -> [Option<Tensor<B, 2>>; 3] {
        let [queries, documents, hard] = self.sides;
        let join = |tiles: Vec<Option<Tensor<B, 2>>>, side: Side, other: Side| {
            let of_positive = pass.side(other).scored.clone() * normalisers.positive.clone();
            let zeros = |index: usize| {
                let start = index * pass.tile;
                let end = (start + pass.tile).min(pass.sizes.rows);
                slice(&pass.side(side).scored, &(start..end)).zeros_like()
            };
            let tiles = tiles.into_iter().enumerate();
            let tiles = tiles.map(|(index, tile)| tile.unwrap_or_else(|| zeros(index))).collect();
            Some(Tensor::cat(tiles, 0) + of_positive)
        };
        let zeros = || pass.sides[Side::Hard as usize].as_ref().map(|h| h.scored.zeros_like());
        [
            join(queries, Side::Query, Side::Document),
            join(documents, Side::Document, Side::Query),
            hard.into_iter().next().flatten().or_else(zeros),
        ]
    }
}

/// Rows of a tile: about a sixteenth of the memory each, as several are alive at once.
fn tile_rows(score_memory: usize, dtype: DType) -> usize {
    let elements = score_memory / 16 / dtype.size();
    (elements.isqrt() / 64 * 64).clamp(64, 4096)
}

/// `0..length` in steps of `step`.
fn split(length: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(step).map(move |start| start..(start + step).min(length))
}

fn slice<B: Backend>(tensor: &Tensor<B, 2>, rows: &Range<usize>) -> Tensor<B, 2> {
    tensor.clone().slice_dim(0, rows.clone())
}

/// A column `[n, 1]` laid along the axis of a tile that its anchors lie on.
fn along<B: Backend>(values: Tensor<B, 2>, axis: Axis) -> Tensor<B, 2> {
    match axis {
        Axis::Rows => values,
        Axis::Columns => {
            let length = values.dims()[0];
            values.reshape([1, length])
        }
    }
}

/// Finds the reason for a result that is not finite.
pub(crate) fn diagnose<B: Backend>(batch: &Batch<B>, per_row: &Tensor<B, 2>) -> LossError {
    let Sizes { negatives, dim, .. } = batch.sizes();
    let hard = batch.hard_negatives.as_ref();
    let inputs = [
        (Input::Queries, dim, Some(batch.queries.to_data())),
        (Input::Documents, dim, Some(batch.documents.to_data())),
        (Input::HardNegatives, negatives * dim, hard.map(Tensor::to_data)),
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
