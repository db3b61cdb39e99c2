//! Attention of each text's tokens to its own, or to another text's.

use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::{Layout, index};
use crate::blocks::sight::{Sight, blocks};
#[cfg(feature = "flex")]
use crate::kernel;
use crate::memory::LayerFloats;

/// Queries whose scores are held at once.
const QUERIES: usize = LayerFloats::QUERIES;

/// What an attention layer does beside the products.
#[derive(Clone, Debug)]
pub(crate) struct Attention<'a, B: Backend> {
    pub(crate) layout: &'a Layout,
    /// Heads of the queries.
    pub(crate) heads: usize,
    /// Heads of keys and values, each seen by `heads / kv_heads` of the queries' that follow one
    /// another.
    pub(crate) kv_heads: usize,
    /// Factor of the scores.
    pub(crate) scale: f64,
    /// Added to the score of each distance `key - query` from `1 - seq` up, `[2 · seq - 1, heads]`
    /// with `seq` the longest text's.
    pub(crate) distance_bias: Option<Tensor<B, 2>>,
    pub(crate) sight: Sight,
    pub(crate) dropout: Option<DropoutSite>,
}

impl<B: Backend> Attention<'_, B> {
    /// Every token attends to the real tokens of its text: `softmax(q kᵀ · scale + bias) v`.
    ///
    /// Queries, keys and values lie side by side: `[rows, (heads + 2 · kv_heads) · head_dim]` →
    /// `[rows, heads · head_dim]`.
    pub(crate) fn forward(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let op = self.fused(None);
            return match self.distance_bias {
                Some(bias) => kernel::run(op, [kernel::input(x), kernel::input(bias)]),
                None => kernel::run(op, [kernel::input(x)]),
            };
        }
        self.portable(self.parts(x), self.layout)
    }

    /// Queries, keys and values, side by side, head by head: each `[batch, heads, seq, head_dim]`.
    fn parts(&self, x: Tensor<B, 2>) -> [Tensor<B, 4>; 3] {
        let dim = x.dims()[1] / (self.heads + 2 * self.kv_heads);
        let mut from = 0;
        [self.heads, self.kv_heads, self.kv_heads].map(|heads| {
            let part = x.clone().narrow(1, from, heads * dim);
            from += heads * dim;
            split(part, heads, self.layout)
        })
    }

    /// Every token attends to the real tokens of the text of the same number in `memory`.
    ///
    /// `queries` are `[rows, heads · head_dim]`; keys and values of the memory lie side by side,
    /// `[memory rows, 2 · kv_heads · head_dim]`; gives `[rows, heads · head_dim]`.
    pub(crate) fn forward_to(
        self,
        queries: Tensor<B, 2>,
        keys_and_values: Tensor<B, 2>,
        memory: &Layout,
    ) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&queries) {
            let op = self.fused(Some(memory.clone()));
            return kernel::run(op, [kernel::input(queries), kernel::input(keys_and_values)]);
        }
        let width = keys_and_values.dims()[1] / 2;
        let part =
            |from| split(keys_and_values.clone().narrow(1, from, width), self.kv_heads, memory);
        let parts = [split(queries, self.heads, self.layout), part(0), part(width)];
        self.portable(parts, memory)
    }

    #[cfg(feature = "flex")]
    fn fused(&self, memory: Option<Layout>) -> kernel::AttentionOp {
        let Self { heads, kv_heads, scale, sight, dropout, .. } = *self;
        let layout = self.layout.clone();
        kernel::AttentionOp { layout, memory, heads, kv_heads, scale, sight, dropout }
    }

    fn portable(&self, parts: [Tensor<B, 4>; 3], keys: &Layout) -> Tensor<B, 2> {
        let [query, key, value] = parts;
        let [_, heads, seq, _] = query.dims();
        let [key, value] = [key, value].map(|part| repeated(part, heads));
        let attended = blocks(0..seq, QUERIES).map(|queries| {
            let block = self.block(queries, key.dims()[2]);
            let [query, key, value] = block.of([&query, &key, &value]);
            let weights = self.weights(query, key, &block, keys);
            let weights = match self.factors(&weights, &block, keys) {
                Some(factors) => weights * factors,
                None => weights,
            };
            weights.matmul(value)
        });
        joined(Tensor::cat(attended.collect(), 2))
    }

    /// The gradients by queries, keys and values side by side, and by the bias of distances if it is
    /// asked for, from that by what it gives, `[rows, heads · head_dim]`: block by block, the weights
    /// made again.
    pub(super) fn gradients(
        &self,
        x: Tensor<B, 2>,
        of_output: Tensor<B, 2>,
        wants_bias: bool,
    ) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
        let [query, key, value] = self.parts(x);
        let of_output = split(of_output, self.heads, self.layout);
        let seq = query.dims()[2];
        let [key, value] = [key, value].map(|part| repeated(part, self.heads));
        let (mut of_key, mut of_value) = (key.zeros_like(), value.zeros_like());
        let bias = self.distance_bias.as_ref().filter(|_| wants_bias);
        let mut of_bias = bias.map(Tensor::zeros_like);
        let of_query = blocks(0..seq, QUERIES).map(|queries| {
            let block = self.block(queries, seq);
            let [query, key, value] = block.of([&query, &key, &value]);
            let of_output = block.queries_of(&of_output);
            let weights = self.weights(query.clone(), key.clone(), &block, self.layout);
            let mut of_weights = of_output.clone().matmul(value.transpose());
            let mut dropped = weights.clone();
            if let Some(factors) = self.factors(&weights, &block, self.layout) {
                of_weights = of_weights * factors.clone();
                dropped = dropped * factors;
            }
            let mean = (of_weights.clone() * weights.clone()).sum_dim(3);
            let of_scores = weights * (of_weights - mean);
            let add = |to: &mut Tensor<B, 4>, part| *to = block.added(to.clone(), part);
            add(&mut of_value, dropped.transpose().matmul(of_output));
            add(&mut of_key, of_scores.clone().transpose().matmul(query * self.scale));
            if let Some(of_bias) = &mut of_bias {
                let index = block.distances(of_bias.dims()[0], &of_bias.device());
                let [heads, of_queries, of_keys] = [1, 2, 3].map(|axis| of_scores.dims()[axis]);
                let by_distance = of_scores.clone().sum_dim(0);
                let by_distance = by_distance.reshape([heads, of_queries * of_keys]).transpose();
                let add = burn::tensor::IndexingUpdateOp::Add;
                *of_bias = of_bias.clone().select_assign(0, index, by_distance, add);
            }
            of_scores.matmul(key) * self.scale
        });
        let of_query = Tensor::cat(of_query.collect(), 2);
        let [of_key, of_value] = [of_key, of_value].map(|part| joined(summed(part, self.kv_heads)));
        (Tensor::cat(vec![joined(of_query), of_key, of_value], 1), of_bias)
    }

    /// Some queries of padded texts, and the keys of `seq` that one of them sees.
    fn block(&self, queries: Range<usize>, seq: usize) -> Block {
        let keys = self.sight.seen_by(&queries, seq);
        Block { queries, keys }
    }

    /// The weights of a block, dropout apart: `[batch, heads, queries, keys]`.
    fn weights(
        &self,
        query: Tensor<B, 4>,
        key: Tensor<B, 4>,
        block: &Block,
        keys: &Layout,
    ) -> Tensor<B, 4> {
        let mut scores = (query * self.scale).matmul(key.transpose());
        if let Some(bias) = &self.distance_bias {
            scores = scores + block.biases(bias).unsqueeze();
        }
        if let Some(hidden) = self.hidden(block, keys, &scores) {
            let hidden = hidden.expand(scores.shape());
            scores = scores.mask_fill(hidden, f64::NEG_INFINITY);
        }
        softmax(scores, 3)
    }

    /// What dropout multiplies the weights of a block by, if it does.
    fn factors(
        &self,
        weights: &Tensor<B, 4>,
        block: &Block,
        keys: &Layout,
    ) -> Option<Tensor<B, 4>> {
        let Block { queries, keys: of_keys } = block;
        let dropout = self.dropout.as_ref()?;
        Some(dropout.attention_factors(weights, [self.layout, keys], [queries, of_keys]))
    }

    /// True where a key of a block is padding or out of sight, `[batch, 1, queries or 1, keys]`; none
    /// where all are seen.
    fn hidden(
        &self,
        block: &Block,
        keys: &Layout,
        scores: &Tensor<B, 4>,
    ) -> Option<Tensor<B, 4, Bool>> {
        let lengths = keys.lengths();
        let seq = keys.seq().unwrap_or(keys.longest());
        let hides = self.sight.hides(seq);
        if !hides && lengths.iter().all(|&length| length == seq) {
            return None;
        }
        let queries = if hides { block.queries.clone() } else { 0..1 };
        let shape = [lengths.len(), 1, queries.len(), block.keys.len()];
        let mut hidden = Vec::with_capacity(shape.iter().product());
        for &length in lengths {
            for query in queries.clone() {
                // A row of padding, whose result nobody reads, sees what the last token does, and
                // where that is outside the block all: a row that saw nothing would be no numbers.
                let query = query.min(length.saturating_sub(1));
                let seen = if hides { self.sight.keys(query, length) } else { 0..length };
                let sees = seen.start.max(block.keys.start) < seen.end.min(block.keys.end);
                hidden.extend(block.keys.clone().map(|key| sees && !seen.contains(&key)));
            }
        }
        Some(Tensor::from_data(TensorData::new(hidden, shape), &scores.device()))
    }
}

/// Some queries, and the keys that one of them sees.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl Block {
    /// A block's part of queries, keys and values, each `[batch, heads, seq, dim]`.
    fn of<B: Backend>(&self, [query, key, value]: [&Tensor<B, 4>; 3]) -> [Tensor<B, 4>; 3] {
        let of_keys = |x: &Tensor<B, 4>| x.clone().narrow(2, self.keys.start, self.keys.len());
        [self.queries_of(query), of_keys(key), of_keys(value)]
    }

    fn queries_of<B: Backend>(&self, x: &Tensor<B, 4>) -> Tensor<B, 4> {
        x.clone().narrow(2, self.queries.start, self.queries.len())
    }

    /// `to`, `[batch, heads, seq, dim]`, with a part added to the block's keys.
    fn added<B: Backend>(&self, to: Tensor<B, 4>, part: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, heads, seq, dim] = to.dims();
        if self.keys.len() == seq {
            return to + part;
        }
        let place = [0..batch, 0..heads, self.keys.clone(), 0..dim];
        let sum = to.clone().slice(place.clone()) + part;
        to.slice_assign(place, sum)
    }

    /// The row of every (query, key) in a table of distances from `1 - longest` up, `[queries · keys]`.
    ///
    /// Keys beyond the longest text are padding, so their row is anyone's.
    fn distances<B: Backend>(&self, rows: usize, device: &B::Device) -> Tensor<B, 1, Int> {
        let nearest = rows / 2;
        let row =
            |query: usize, key: usize| index((nearest + key).saturating_sub(query).min(rows - 1));
        let of_query = |query| self.keys.clone().map(move |key| row(query, key));
        let rows: Vec<i32> = self.queries.clone().flat_map(of_query).collect();
        let shape = [rows.len()];
        Tensor::from_data(TensorData::new(rows, shape), device)
    }

    /// The bias of every (query, key): `[2 · longest - 1, heads]` → `[heads, queries, keys]`.
    fn biases<B: Backend>(&self, bias: &Tensor<B, 2>) -> Tensor<B, 3> {
        let [rows, heads] = bias.dims();
        let index = self.distances(rows, &bias.device());
        let spread = bias.clone().select(0, index).swap_dims(0, 1);
        spread.reshape([heads, self.queries.len(), self.keys.len()])
    }
}

/// `[rows, heads · dim]` → `[batch, heads, seq, dim]`.
fn split<B: Backend>(x: Tensor<B, 2>, heads: usize, layout: &Layout) -> Tensor<B, 4> {
    let dim = x.dims()[1] / heads;
    let seq = layout.seq().expect("only a padded layout reaches the portable attention");
    x.reshape([layout.batch(), seq, heads, dim]).swap_dims(1, 2)
}

/// Each head as often as it is seen: `[batch, kv_heads, seq, dim]` → `[batch, heads, seq, dim]`.
fn repeated<B: Backend>(x: Tensor<B, 4>, heads: usize) -> Tensor<B, 4> {
    let [batch, kv_heads, seq, dim] = x.dims();
    if kv_heads == heads {
        return x;
    }
    let times = heads / kv_heads;
    x.reshape([batch, kv_heads, 1, seq, dim])
        .expand([batch, kv_heads, times, seq, dim])
        .reshape([batch, heads, seq, dim])
}

/// Heads that see the same keys summed: `[batch, heads, seq, dim]` → `[batch, kv_heads, seq, dim]`.
fn summed<B: Backend>(x: Tensor<B, 4>, kv_heads: usize) -> Tensor<B, 4> {
    let [batch, heads, seq, dim] = x.dims();
    if kv_heads == heads {
        return x;
    }
    let groups = x.reshape([batch, kv_heads, heads / kv_heads, seq, dim]);
    groups.sum_dim(2).reshape([batch, kv_heads, seq, dim])
}

/// `[batch, heads, seq, dim]` → `[rows, heads · dim]`.
fn joined<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, heads, seq, dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch * seq, heads * dim])
}
