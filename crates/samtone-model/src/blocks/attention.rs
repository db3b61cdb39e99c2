//! Attention of each text's tokens to its own, or to another text's.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::{Layout, index};
use crate::blocks::sight::{Sight, blocks};
#[cfg(feature = "flex")]
use crate::kernel;
use crate::memory::LayerFloats;

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
        joined(self.attended(parts, keys).0)
    }

    /// What queries, keys and values side by side come to, and what [`gradients`](Self::gradients)
    /// wants of the softmax.
    pub(super) fn attend(&self, x: Tensor<B, 2>) -> (Tensor<B, 2>, Softmax<B>) {
        let (output, softmax) = self.attended(self.parts(x), self.layout);
        (joined(output), softmax)
    }

    /// Blocks of queries by blocks of the keys that they see, a softmax's sums scaled again where a
    /// later block holds a greater score.
    fn attended(&self, parts: [Tensor<B, 4>; 3], keys: &Layout) -> (Tensor<B, 4>, Softmax<B>) {
        let [query, key, value] = parts;
        let [_, heads, seq, _] = query.dims();
        let [key, value] = [key, value].map(|part| repeated(part, heads));
        let (mut outputs, mut maxima, mut sums) = (Vec::new(), Vec::new(), Vec::new());
        for queries in blocks(0..seq, LayerFloats::QUERIES) {
            let mut before: Option<[Tensor<B, 4>; 3]> = None;
            for block in self.blocks(queries, key.dims()[2]) {
                let [query, key, value] = block.of([&query, &key, &value]);
                let scores = self.scores(query, key, &block, keys);
                let mut max = scores.clone().detach().max_dim(3);
                if let Some([of_others, ..]) = &before {
                    max = max.max_pair(of_others.clone());
                }
                let weights = (scores - max.clone()).exp();
                let mut sum = weights.clone().sum_dim(3);
                let kept = match self.factors(&weights, &block, keys) {
                    Some(factors) => weights * factors,
                    None => weights,
                };
                let mut output = kept.matmul(value);
                if let Some([of_others, other_sum, other_output]) = before {
                    let scale = (of_others - max.clone()).exp();
                    sum = sum + other_sum * scale.clone();
                    output = output + other_output * scale;
                }
                before = Some([max, sum, output]);
            }
            let [max, sum, output] = before.expect("a query sees a key");
            outputs.push(output / sum.clone());
            maxima.push(max);
            sums.push(sum);
        }
        let [output, max, sum] = [outputs, maxima, sums].map(|blocks| Tensor::cat(blocks, 2));
        (output, Softmax { max, sum })
    }

    /// The gradients by queries, keys and values side by side, and by the bias of distances if it is
    /// asked for, from what [`attend`](Self::attend) gave and the gradient by its output,
    /// `[rows, heads · head_dim]`: block by block, the weights made again.
    pub(super) fn gradients(
        &self,
        x: Tensor<B, 2>,
        (output, softmax): (Tensor<B, 2>, Softmax<B>),
        of_output: Tensor<B, 2>,
        wants_bias: bool,
    ) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
        let [query, key, value] = self.parts(x);
        let [output, of_output] =
            [output, of_output].map(|part| split(part, self.heads, self.layout));
        // What a query's weights times their gradients sum to, dropped ones apart.
        let mean = (output * of_output.clone()).sum_dim(3);
        let seq = query.dims()[2];
        let [key, value] = [key, value].map(|part| repeated(part, self.heads));
        let [mut of_query, mut of_key, mut of_value] =
            [&query, &key, &value].map(Tensor::zeros_like);
        let bias = self.distance_bias.as_ref().filter(|_| wants_bias);
        let mut of_bias = bias.map(Tensor::zeros_like);
        let every = blocks(0..seq, LayerFloats::QUERIES);
        for block in every.flat_map(|queries| self.blocks(queries, seq)) {
            let [query, key, value] = block.of([&query, &key, &value]);
            let [of_output, mean, max, sum] =
                [&of_output, &mean, &softmax.max, &softmax.sum].map(|part| block.queries_of(part));
            let scores = self.scores(query.clone(), key.clone(), &block, self.layout);
            let weights = (scores - max).exp() / sum;
            let mut of_weights = of_output.clone().matmul(value.transpose());
            let mut dropped = weights.clone();
            if let Some(factors) = self.factors(&weights, &block, self.layout) {
                of_weights = of_weights * factors.clone();
                dropped = dropped * factors;
            }
            let of_scores = weights * (of_weights - mean);
            let add = |to: &mut Tensor<B, 4>, rows: &Range<usize>, part| {
                *to = added(to.clone(), rows, part);
            };
            add(&mut of_value, &block.keys, dropped.transpose().matmul(of_output));
            add(&mut of_key, &block.keys, of_scores.clone().transpose().matmul(query * self.scale));
            if let Some(of_bias) = &mut of_bias {
                *of_bias = block.added_to_biases(of_bias.clone(), of_scores.clone().sum_dim(0));
            }
            add(&mut of_query, &block.queries, of_scores.matmul(key) * self.scale);
        }
        let [of_key, of_value] = [of_key, of_value].map(|part| summed(part, self.kv_heads));
        let parts = [of_query, of_key, of_value].map(joined);
        (Tensor::cat(parts.to_vec(), 1), of_bias)
    }

    /// Some queries of padded texts, by blocks of the keys of `seq` that one of them sees.
    fn blocks(&self, queries: Range<usize>, seq: usize) -> impl Iterator<Item = Block> + use<B> {
        let keys = self.sight.seen_by(&queries, seq);
        blocks(keys, LayerFloats::KEYS).map(move |keys| Block { queries: queries.clone(), keys })
    }

    /// The scores of a block, `[batch, heads, queries, keys]`: what is not seen has the least there is,
    /// whose weight is none beside any other's.
    fn scores(
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
        if let Some(hidden) = self.hidden(block, keys, &scores.device()) {
            let hidden = hidden.expand(scores.shape());
            // A number: a row that saw nothing in a block would else be no numbers.
            let least = if scores.dtype() == DType::F16 { -6e4 } else { -1e30 };
            scores = scores.mask_fill(hidden, least);
        }
        scores
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

    /// True where a key of a block is padding or out of sight, `[batch or 1, 1, queries or 1, keys]`;
    /// none where all are seen.
    fn hidden(
        &self,
        block: &Block,
        keys: &Layout,
        device: &B::Device,
    ) -> Option<Tensor<B, 4, Bool>> {
        let numbers = |range: &Range<usize>| {
            Tensor::<B, 1, Int>::arange(range.start as i64..range.end as i64, device)
        };
        let [queries, of_keys] = [block.queries.len(), block.keys.len()];
        let key = numbers(&block.keys).reshape([1, 1, 1, of_keys]);
        let lengths = keys.lengths();
        let padding = lengths.iter().any(|&length| length < block.keys.end).then(|| {
            let shape = [lengths.len(), 1, 1, 1];
            let lengths: Vec<i32> = lengths.iter().map(|&length| index(length)).collect();
            let lengths = Tensor::<B, 4, Int>::from_data(TensorData::new(lengths, shape), device);
            let shape = [shape[0], 1, 1, of_keys];
            key.clone().expand(shape).greater_equal(lengths.expand(shape))
        });
        let after = || {
            let query = numbers(&block.queries).reshape([1, 1, queries, 1]);
            let shape = [1, 1, queries, of_keys];
            key.clone().expand(shape) - query.expand(shape)
        };
        let Sight { is_causal, window } = self.sight;
        let later = is_causal.then(|| after().greater_elem(0));
        let far = window.map(|window| after().abs().greater_elem(index(window)));
        let shape = [lengths.len(), 1, queries, of_keys];
        let either =
            |a: Tensor<B, 4, Bool>, b: Tensor<B, 4, Bool>| a.expand(shape).bool_or(b.expand(shape));
        [padding, later, far].into_iter().flatten().reduce(either)
    }
}

/// What each query's softmax was, `[batch, heads, seq, 1]`.
#[derive(Clone, Debug)]
pub(super) struct Softmax<B: Backend> {
    /// The greatest score.
    max: Tensor<B, 4>,
    /// Of the exponentials of all scores but for the greatest.
    sum: Tensor<B, 4>,
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

    /// The rows that a table of distances has from the block's first key and last query on, and where
    /// they lie among the block's distances.
    ///
    /// Keys and queries beyond the longest text are padding: their distances have no row.
    fn distances(&self, rows: usize) -> (Range<usize>, Range<usize>) {
        let (nearest, count) = (rows / 2, self.queries.len() + self.keys.len() - 1);
        let [from, last] = [nearest + self.keys.start + 1, self.queries.end];
        let (first, missing) = (from.saturating_sub(last), last.saturating_sub(from));
        let there = first..(from + count).saturating_sub(last).clamp(first, rows.max(first));
        let length = there.len();
        (there, missing..missing + length)
    }

    /// The bias of every (query, key): `[2 · longest - 1, heads]` → `[heads, queries, keys]`.
    ///
    /// The distances that a query has are the next one's, a place further: lines of all distances and one
    /// more, read a place shorter, come to lie so.
    fn biases<B: Backend>(&self, bias: &Tensor<B, 2>) -> Tensor<B, 3> {
        let [rows, heads] = bias.dims();
        let (queries, keys) = (self.queries.len(), self.keys.len());
        let (there, place) = self.distances(rows);
        let mut line = Tensor::zeros([heads, queries + keys], (&bias.device(), bias.dtype()));
        // All else is padding.
        if !there.is_empty() {
            let of_rows = bias.clone().slice([there, 0..heads]).transpose();
            line = line.slice_assign([0..heads, place], of_rows);
        }
        let lines = line.reshape([heads, 1, queries + keys]);
        let lines = lines.expand([heads, queries, queries + keys]);
        let lines = lines.reshape([heads, queries * (queries + keys)]);
        let lines = lines.narrow(1, 0, queries * (queries + keys - 1));
        lines.reshape([heads, queries, queries + keys - 1]).narrow(2, queries - 1, keys)
    }

    /// `to`, a table of distances, with the gradient by every (query, key) added,
    /// `[1, heads, queries, keys]`: [`biases`](Self::biases) backwards.
    fn added_to_biases<B: Backend>(&self, to: Tensor<B, 2>, part: Tensor<B, 4>) -> Tensor<B, 2> {
        let [rows, heads] = to.dims();
        let (queries, keys) = (self.queries.len(), self.keys.len());
        let (there, at) = self.distances(rows);
        if there.is_empty() {
            return to;
        }
        let options = (&part.device(), part.dtype());
        let lines = Tensor::zeros([heads, queries, queries + keys - 1], options);
        let place = [0..heads, 0..queries, queries - 1..queries + keys - 1];
        let lines = lines.slice_assign(place, part.reshape([heads, queries, keys]));
        let lines = lines.reshape([heads, queries * (queries + keys - 1)]);
        let lines = Tensor::cat(vec![lines, Tensor::zeros([heads, queries], options)], 1);
        let line = lines.reshape([heads, queries, queries + keys]).sum_dim(1);
        let part = line.reshape([heads, queries + keys]).slice([0..heads, at]).transpose();
        let place = [there, 0..heads];
        let sum = to.clone().slice(place.clone()) + part;
        to.slice_assign(place, sum)
    }
}

/// `to`, `[batch, heads, seq, dim]`, with a part added to some rows.
fn added<B: Backend>(to: Tensor<B, 4>, rows: &Range<usize>, part: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, heads, seq, dim] = to.dims();
    if rows.len() == seq {
        return to + part;
    }
    let place = [0..batch, 0..heads, rows.clone(), 0..dim];
    let sum = to.clone().slice(place.clone()) + part;
    to.slice_assign(place, sum)
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
