//! The matrix product that keeps nothing but what beats the best so far.
//!
//! A register tile holds the scores of a few vectors of queries with a few documents. When it is
//! complete it is compared with the queries' thresholds, one vector at a time, and only the rare
//! score above its threshold is written anywhere: the score matrix never exists. Queries are packed
//! once, documents a tile at a time: memory is that of one tile a thread.
//!
//! Each score is summed in the order of the dimensions, whatever tile it falls in, so equal
//! embeddings have equal scores.

#![expect(
    clippy::inline_always,
    reason = "code has the machine's instructions only where it is inlined into pulp's dispatch"
)]

use pulp::{Simd, WithSimd};

/// What the registers of this machine hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Numbers in a register.
    lanes: usize,
    /// Registers of queries in a panel, at most.
    vectors: usize,
    /// Documents in a group.
    group: usize,
}

/// Documents side by side in a register tile: 3 × 8 sums leave registers for the operands
/// where there are 32, 2 × 6 where there are 16.
const WIDE: usize = 8;
const NARROW: usize = 6;

struct ShapeOf;

impl WithSimd for ShapeOf {
    type Output = Shape;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Shape {
        if S::REGISTER_COUNT >= 32 {
            Shape { lanes: S::F32_LANES, vectors: 3, group: WIDE }
        } else {
            Shape { lanes: S::F32_LANES, vectors: 2, group: NARROW }
        }
    }
}

impl Shape {
    /// This machine's.
    pub(super) fn get() -> Self {
        pulp::Arch::new().dispatch(ShapeOf)
    }

    /// How many documents of `dim` numbers to pack at a time: as many as half a second-level cache
    /// holds, in whole groups.
    pub(super) fn tile(self, dim: usize) -> usize {
        const BYTES: usize = 256 << 10;
        (BYTES / (dim * size_of::<f32>())).next_multiple_of(self.group).max(self.group)
    }
}

/// Queries packed for the scan: panels of up to three registers of queries, dimension by dimension.
pub(super) struct Packed {
    shape: Shape,
    dim: usize,
    numbers: Vec<f32>,
    /// Queries with the padding that fills the last register.
    padded: usize,
}

impl Packed {
    /// Packs `rows`, each multiplied by its scale.
    pub(super) fn new(
        rows: &[f32],
        dim: usize,
        shape: Shape,
        scale: impl Fn(&[f32]) -> f32,
    ) -> Self {
        let count = rows.len() / dim;
        let padded = count.next_multiple_of(shape.lanes);
        let mut numbers = vec![0.0; padded * dim];
        for (first, vectors) in panels(padded / shape.lanes, shape.vectors) {
            let width = vectors * shape.lanes;
            let start = first * shape.lanes;
            let panel = &mut numbers[start * dim..][..width * dim];
            for (column, row) in
                rows[(start * dim).min(rows.len())..].chunks(dim).take(width).enumerate()
            {
                let scale = scale(row);
                for (to, from) in panel[column..].iter_mut().step_by(width).zip(row) {
                    *to = from * scale;
                }
            }
        }
        Self { shape, dim, numbers, padded }
    }

    /// Queries with padding: so many thresholds a scan needs.
    pub(super) fn padded(&self) -> usize {
        self.padded
    }
}

/// The panels of `registers` registers: first register and count.
fn panels(registers: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..registers).step_by(most).map(move |first| (first, most.min(registers - first)))
}

/// Scores packed queries with a tile of documents.
pub(super) struct Scan<'a, F> {
    /// The queries.
    pub(super) queries: &'a Packed,
    /// The tile's documents, rows of `dim` numbers.
    pub(super) documents: &'a [f32],
    /// Divide by the documents' lengths.
    pub(super) cosine: bool,
    /// Room for the packed tile.
    pub(super) room: &'a mut Vec<f32>,
    /// For each query, padding included, the score to beat. NaN is beaten by any.
    pub(super) thresholds: &'a mut [f32],
    /// Takes query, document (in the tile) and score, for every score not at most the query's
    /// threshold (a NaN is not); may return a new threshold.
    pub(super) take: F,
}

impl<F: FnMut(usize, usize, f32) -> Option<f32>> Scan<'_, F> {
    /// Scores the tile.
    pub(super) fn run(self) {
        pulp::Arch::new().dispatch(self);
    }

    #[inline(always)]
    fn tile<S: Simd, const GROUP: usize>(mut self, simd: S) {
        let dim = self.queries.dim;
        pack::<S, GROUP>(simd, self.documents, dim, self.cosine, self.room);
        let count = self.documents.len() / dim;
        let (numbers, _) = S::as_simd_f32s(&self.queries.numbers);
        let shape = self.queries.shape;
        for (first, vectors) in panels(self.queries.padded / shape.lanes, shape.vectors) {
            let panel = &numbers[first * dim..][..vectors * dim];
            match vectors {
                1 => self.panel::<S, GROUP, 1>(simd, panel, first, count),
                2 => self.panel::<S, GROUP, 2>(simd, panel, first, count),
                _ => self.panel::<S, GROUP, 3>(simd, panel, first, count),
            }
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const GROUP: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: &[S::f32s],
        first: usize,
        count: usize,
    ) {
        let (panel, _) = panel.as_chunks::<VECTORS>();
        for (place, group) in self.room.chunks_exact(GROUP * self.queries.dim).enumerate() {
            let (group, _) = group.as_chunks::<GROUP>();
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; GROUP];
            for (queries, documents) in panel.iter().zip(group) {
                for j in 0..GROUP {
                    let document = simd.splat_f32s(documents[j]);
                    for v in 0..VECTORS {
                        sums[j][v] = simd.mul_add_e_f32s(document, queries[v], sums[j][v]);
                    }
                }
            }
            for v in 0..VECTORS {
                let query = (first + v) * S::F32_LANES;
                let thresholds = &mut self.thresholds[query..][..S::F32_LANES];
                for (j, sums) in sums.iter().enumerate() {
                    let bar = simd.partial_load_f32s(thresholds);
                    let under = simd.less_than_or_equal_f32s(sums[v], bar);
                    if simd.first_true_m32s(simd.not_m32s(under)) == S::F32_LANES {
                        continue;
                    }
                    let document = place * GROUP + j;
                    // The last group's padding is no document.
                    if document >= count {
                        continue;
                    }
                    let scores: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&sums[v]));
                    for (lane, (&score, threshold)) in
                        scores.iter().zip(thresholds.iter_mut()).enumerate()
                    {
                        let under = score <= *threshold;
                        if !under && let Some(higher) = (self.take)(query + lane, document, score) {
                            *threshold = higher;
                        }
                    }
                }
            }
        }
    }
}

impl<F: FnMut(usize, usize, f32) -> Option<f32>> WithSimd for Scan<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.tile::<S, WIDE>(simd);
        } else {
            self.tile::<S, NARROW>(simd);
        }
    }
}

/// Packs documents in groups, dimension by dimension, the last group padded with zeros.
#[inline(always)]
fn pack<S: Simd, const GROUP: usize>(
    simd: S,
    documents: &[f32],
    dim: usize,
    cosine: bool,
    room: &mut Vec<f32>,
) {
    let groups = (documents.len() / dim).div_ceil(GROUP);
    room.resize(groups * GROUP * dim, 0.0);
    for (rows, group) in documents.chunks(GROUP * dim).zip(room.chunks_exact_mut(GROUP * dim)) {
        if rows.len() < group.len() {
            group.fill(0.0);
        }
        let (group, _) = group.as_chunks_mut::<GROUP>();
        for (j, row) in rows.chunks_exact(dim).enumerate() {
            let scale = if cosine { inverse_length(simd, row) } else { 1.0 };
            for (to, from) in group.iter_mut().zip(row) {
                to[j] = from * scale;
            }
        }
    }
}

/// 1 over the Euclidean length of `row`, 0 for a row of zeros.
#[inline(always)]
fn inverse_length<S: Simd>(simd: S, row: &[f32]) -> f32 {
    inverse_root(product(simd, row, row), row)
}

/// 1 over the root of `row`'s `square`, its product with itself.
#[inline(always)]
fn inverse_root(square: f32, row: &[f32]) -> f32 {
    if square.is_normal() { square.sqrt().recip() } else { inverse_of_extreme(row) }
}

/// [`inverse_length`] where the squares of very great or very small numbers leave f32.
#[cold]
fn inverse_of_extreme(row: &[f32]) -> f32 {
    let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 { square.sqrt().recip() as f32 } else { 0.0 }
}

#[inline(always)]
fn product<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    // Four sums hide the additions' latency.
    let mut sums = [simd.splat_f32s(0.0); 4];
    let ((a4, a1), (b4, b1)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    for (a, b) in a4.iter().zip(b4) {
        for i in 0..4 {
            sums[i] = simd.mul_add_e_f32s(a[i], b[i], sums[i]);
        }
    }
    for (&a, &b) in a1.iter().zip(b1) {
        sums[0] = simd.mul_add_e_f32s(a, b, sums[0]);
    }
    let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    simd.reduce_sum_f32s(sum) + rest
}

/// The dot product of two rows.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    struct Dot<'a>(&'a [f32], &'a [f32]);
    impl WithSimd for Dot<'_> {
        type Output = f32;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            product(simd, self.0, self.1)
        }
    }
    pulp::Arch::new().dispatch(Dot(a, b))
}

/// [`inverse_length`] on this machine.
pub(super) fn inverse_length_of(row: &[f32]) -> f32 {
    inverse_root(dot(row, row), row)
}
