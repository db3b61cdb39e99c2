//! Attention of each text's tokens to its own, or to another text's.

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::{Layout, index};
use crate::blocks::sight::Sight;
#[cfg(feature = "flex")]
use crate::kernel;

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
        let dim = x.dims()[1] / (self.heads + 2 * self.kv_heads);
        let mut from = 0;
        let parts = [self.heads, self.kv_heads, self.kv_heads].map(|heads| {
            let part = x.clone().narrow(1, from, heads * dim);
            from += heads * dim;
            split(part, heads, self.layout)
        });
        self.portable(parts, self.layout)
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
        let [batch, heads, seq, dim] = query.dims();
        let [key, value] = [key, value].map(|part| repeated(part, heads));
        // [batch, heads, queries, keys]
        let mut scores = (query * self.scale).matmul(key.transpose());
        if let Some(bias) = &self.distance_bias {
            scores = scores + spread_distances(bias.clone(), seq).unsqueeze();
        }
        if let Some(hidden) = self.hidden(keys, &scores) {
            let hidden = hidden.expand(scores.shape());
            scores = scores.mask_fill(hidden, f64::NEG_INFINITY);
        }
        let mut weights = softmax(scores, 3);
        if let Some(dropout) = &self.dropout {
            weights = dropout.apply_to_attention(weights, self.layout, keys);
        }
        weights.matmul(value).swap_dims(1, 2).reshape([batch * seq, heads * dim])
    }

    /// True where a key is padding or out of sight, `[batch, 1, queries or 1, keys]`; none where all
    /// are seen.
    fn hidden(&self, keys: &Layout, scores: &Tensor<B, 4>) -> Option<Tensor<B, 4, Bool>> {
        let [batch, _, queries, seq] = scores.dims();
        let lengths = keys.lengths();
        let hides = self.sight.hides(seq);
        if !hides && lengths.iter().all(|&length| length == seq) {
            return None;
        }
        let rows = if hides { queries } else { 1 };
        let mut hidden = Vec::with_capacity(batch * rows * seq);
        for &length in lengths {
            for query in 0..rows {
                // A row of padding, whose result nobody reads, sees what the last token does: a row
                // that saw nothing would be no numbers.
                let query = query.min(length.saturating_sub(1));
                let seen = if hides { self.sight.keys(query, length) } else { 0..length };
                hidden.extend((0..seq).map(|key| !seen.contains(&key)));
            }
        }
        Some(Tensor::from_data(TensorData::new(hidden, [batch, 1, rows, seq]), &scores.device()))
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

/// The bias of every (query, key): `[2 · longest - 1, heads]` → `[heads, seq, seq]`.
///
/// Keys beyond the longest text are padding, so their bias is anyone's.
fn spread_distances<B: Backend>(bias: Tensor<B, 2>, seq: usize) -> Tensor<B, 3> {
    let [distances, heads] = bias.dims();
    // A distance from 1 - longest up is a row from 0 up.
    let nearest = distances / 2;
    let row =
        |query: usize, key: usize| index((nearest + key).saturating_sub(query).min(distances - 1));
    let index: Vec<i32> =
        (0..seq).flat_map(|query| (0..seq).map(move |key| row(query, key))).collect();
    let index: Tensor<B, 1, Int> =
        Tensor::from_data(TensorData::new(index, [seq * seq]), &bias.device());
    bias.select(0, index).swap_dims(0, 1).reshape([heads, seq, seq])
}
