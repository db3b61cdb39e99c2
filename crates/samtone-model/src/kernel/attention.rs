//! Attention of each text of a packed layout to its own tokens, or to another text's.
//!
//! Scores exist for one head and one block of queries and keys at a time (FlashAttention, Dao et al.
//! 2022, arXiv:2205.14135): a softmax that goes on from block to block holds no more. The forward pass
//! keeps two numbers per query and head, the greatest of its scores and the sum of their powers less
//! that, from which the backward pass makes the weights again.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use std::ops::Range;

use rayon::prelude::*;
use samtone_gemm::{Product, View};

use super::fill::{fill_parts, sum};
use super::math::{exp, greatest, sum_of, sum_of_pairs, vectorised};
use super::matrix::Elements;
use super::{FusedOp, Matrix};
use crate::blocks::dropout::{DropoutSite, attention_line};
use crate::blocks::layout::Layout;
use crate::blocks::sight::{Sight, query_blocks};

/// Tokens of a text from which on its heads go back through the attention by several threads.
const LONG: usize = 512;

/// Output: `[rows, heads · head_dim]`.
///
/// Inputs, where a text attends to itself: queries, keys and values side by side
/// `[rows, (heads + 2 · kv_heads) · head_dim]`, then, if there is one, the bias of every distance
/// `[2 · longest - 1, heads]`. Where it attends to a memory: queries `[rows, heads · head_dim]`,
/// then the memory's keys and values side by side `[memory rows, 2 · kv_heads · head_dim]`.
#[derive(Clone, Debug)]
pub(crate) struct AttentionOp {
    /// Where the queries lie.
    pub(crate) layout: Layout,
    /// Where the texts attended to lie, if not with the queries.
    pub(crate) memory: Option<Layout>,
    pub(crate) heads: usize,
    /// Heads of keys and values, each seen by `heads / kv_heads` of the queries'.
    pub(crate) kv_heads: usize,
    pub(crate) scale: f64,
    pub(crate) sight: Sight,
    pub(crate) dropout: Option<DropoutSite>,
}

/// The output, and the softmax of every query, by block of queries, head and query.
#[derive(Clone, Debug)]
pub(crate) struct SavedAttention {
    output: Matrix,
    softmaxes: Vec<Vec<Softmax>>,
}

/// One text's queries, keys and values of one head.
struct Head<'a> {
    query: View<'a>,
    key: View<'a>,
    value: View<'a>,
}

/// Rows of a matrix from one element on.
type Rows<'a> = (&'a Matrix, usize);

/// What one text reads.
struct Text<'a> {
    queries: Rows<'a>,
    keys_and_values: Rows<'a>,
    /// Tokens that ask.
    length: usize,
    /// Tokens that are there to be seen.
    seen: usize,
}

/// Dimensions of one head, of all heads of the queries, and of all heads of the keys.
#[derive(Clone, Copy)]
struct Widths {
    head: usize,
    queries: usize,
    keys: usize,
}

/// Where queries, keys and values begin, and the length of a row: in the inputs, or in what is made
/// of their gradient. Of all heads, or of one.
#[derive(Clone, Copy)]
struct Places {
    query: (usize, usize),
    key: (usize, usize),
    value: (usize, usize),
}

impl Places {
    /// The part of the queries' head and of the keys' and values'.
    fn of(self, [head, kv_head]: [usize; 2], dim: usize) -> Self {
        let from = |(start, row): (usize, usize), head: usize| (start + head * dim, row);
        Self {
            query: from(self.query, head),
            key: from(self.key, kv_head),
            value: from(self.value, kv_head),
        }
    }
}

/// The bias of every distance from `1 - longest` up, `[heads, distances]`.
struct Bias {
    values: Vec<f32>,
    distances: usize,
}

impl Bias {
    /// The place of a head's bias between two tokens.
    fn place(&self, head: usize, query: usize, key: usize) -> usize {
        head * self.distances + self.distances / 2 + key - query
    }
}

/// Rows that are `width` wide as columns.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values[column..].iter().step_by(width)).copied().collect()
}

/// Some of a text's queries in one head, and some of the keys that one of them sees.
struct Block {
    text: usize,
    head: usize,
    queries: Range<usize>,
    keys: Range<usize>,
    /// Tokens of the text that are there to be seen.
    seen: usize,
}

/// What the gradients of one text are made of.
struct Backward<'a> {
    text: Text<'a>,
    number: usize,
    widths: Widths,
    bias: Option<&'a Bias>,
    /// Of the queries' blocks.
    softmaxes: &'a [Vec<Softmax>],
    /// Of the text's output: where its rows begin, and they in f32.
    gradient: Rows<'a>,
    gradients: &'a [f32],
    output: &'a [f32],
}

impl AttentionOp {
    fn widths(&self, inputs: &[Matrix]) -> Widths {
        let parts = self.heads + if self.memory.is_none() { 2 * self.kv_heads } else { 0 };
        let head = inputs[0].shape()[1] / parts;
        Widths { head, queries: head * self.heads, keys: head * self.kv_heads }
    }

    fn text<'a>(&self, inputs: &'a [Matrix], text: usize, widths: Widths) -> Text<'a> {
        let span = self.layout.span(text);
        let Widths { queries, keys, .. } = widths;
        let length = span.len();
        match &self.memory {
            None => {
                let x = (&inputs[0], span.start * (queries + 2 * keys));
                Text { queries: x, keys_and_values: x, length, seen: length }
            }
            Some(memory) => {
                let seen = memory.span(text);
                Text {
                    queries: (&inputs[0], span.start * queries),
                    keys_and_values: (&inputs[1], seen.start * 2 * keys),
                    length,
                    seen: seen.len(),
                }
            }
        }
    }

    /// Elements of one text's part of the inputs' gradients.
    fn gradient_length(&self, text: usize, widths: Widths) -> usize {
        let length = self.layout.span(text).len();
        let seen = self.memory.as_ref().map_or(length, |memory| memory.span(text).len());
        length * widths.queries + seen * 2 * widths.keys
    }

    /// In the inputs: keys and values are counted from the start of their own slice.
    fn places(&self, widths: Widths) -> Places {
        let Widths { queries, keys, .. } = widths;
        match &self.memory {
            None => {
                let row = queries + 2 * keys;
                Places { query: (0, row), key: (queries, row), value: (queries + keys, row) }
            }
            Some(_) => Places { query: (0, queries), key: (0, 2 * keys), value: (keys, 2 * keys) },
        }
    }

    /// In one text's part of the gradients: first the queries', then, for a memory, its own.
    fn gradient_places(&self, text: usize, widths: Widths) -> Places {
        let Places { query, mut key, mut value } = self.places(widths);
        if self.memory.is_some() {
            let queries = self.layout.span(text).len() * widths.queries;
            key.0 += queries;
            value.0 += queries;
        }
        Places { query, key, value }
    }

    /// The head of the keys and values that a head of the queries sees.
    fn kv_head(&self, head: usize) -> usize {
        head * self.kv_heads / self.heads
    }

    fn head<'a>(&self, text: &Text<'a>, widths: Widths, head: usize) -> Head<'a> {
        let dim = widths.head;
        let places = self.places(widths).of([head, self.kv_head(head)], dim);
        let view = |(x, first): Rows<'a>, length, (start, stride): (usize, usize)| {
            x.view(first + start, [length, dim], stride)
        };
        Head {
            query: view(text.queries, text.length, places.query),
            key: view(text.keys_and_values, text.seen, places.key),
            value: view(text.keys_and_values, text.seen, places.value),
        }
    }

    /// The bias of distances, if the inputs hold one, head by head.
    fn bias(&self, inputs: &[Matrix]) -> Option<Bias> {
        let bias = inputs.get(1).filter(|_| self.memory.is_none())?;
        let distances = bias.shape()[0];
        Some(Bias { values: transposed(&bias.values(), self.heads), distances })
    }

    /// Adds the bias of each distance to the scores of one query, and hides what it does not see.
    #[inline(always)]
    fn adjust(&self, scores: &mut [f32], bias: Option<&Bias>, block: &Block, query: usize) {
        let keys = &block.keys;
        if let Some(bias) = bias {
            let start = bias.place(block.head, query, keys.start);
            for (score, bias) in scores.iter_mut().zip(&bias.values[start..]) {
                *score += bias;
            }
        }
        if self.sight != Sight::default() {
            let seen = self.sight.keys(query, block.seen);
            let inside = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
            scores[..inside(seen.start)].fill(f32::NEG_INFINITY);
            scores[inside(seen.end)..].fill(f32::NEG_INFINITY);
        }
    }

    /// Writes the factors by which dropout multiplies one query's weights of a block, if it does.
    #[inline(always)]
    fn factors(&self, factors: &mut [f32], block: &Block, query: usize) -> bool {
        match &self.dropout {
            Some(site) => {
                let line = attention_line(block.head, query);
                site.fill(block.text, line, block.keys.start, factors);
                true
            }
            None => false,
        }
    }

    /// What some queries of a text attend to in all heads, `[queries, heads · head_dim]`, written to
    /// `output`; gives the softmaxes of their scores, head by head.
    fn attend(
        &self,
        inputs: &[Matrix],
        bias: Option<&Bias>,
        (number, queries): &(usize, Range<usize>),
        output: &mut [f32],
    ) -> Vec<Softmax> {
        let widths = self.widths(inputs);
        let (dim, width, asking) = (widths.head, widths.queries, queries.len());
        let text = self.text(inputs, *number, widths);
        let mut room = vec![0.0; asking * self.sight.widest(queries, text.seen)];
        let mut factors = vec![0.0; if self.dropout.is_some() { room.len() / asking } else { 0 }];
        let mut all = vec![Softmax::default(); self.heads * asking];
        for (head, softmaxes) in all.chunks_exact_mut(asking).enumerate() {
            let Head { query, key, value } = self.head(&text, widths, head);
            let query = query.rows(queries.clone());
            let output = &mut output[head * dim..];
            for (i, keys) in self.sight.key_blocks(queries, text.seen).enumerate() {
                let seen = keys.len();
                let scores = &mut room[..asking * seen];
                let (key, value) = (key.rows(keys.clone()), value.rows(keys.clone()));
                Product::new(query, key.t()).scaled(self.scale as f32).write(scores, seen);
                let queries = queries.clone();
                let block = Block { text: *number, head, queries, keys, seen: text.seen };
                vectorised(|| {
                    let rows = scores.chunks_exact_mut(seen).zip(&mut *softmaxes);
                    let rows = rows.zip(output.chunks_mut(width));
                    for (query, ((scores, softmax), output)) in block.queries.clone().zip(rows) {
                        self.adjust(scores, bias, &block, query);
                        let kept = softmax.add(scores);
                        if i > 0 {
                            output[..dim].iter_mut().for_each(|value| *value *= kept);
                        }
                        let factors = &mut factors[..if self.dropout.is_some() { seen } else { 0 }];
                        if self.factors(factors, &block, query) {
                            scores.iter_mut().zip(factors).for_each(|(w, factor)| *w *= *factor);
                        }
                    }
                });
                let product = Product::new(View::new(&*scores, [asking, seen], seen), value);
                if i == 0 { product.write(output, width) } else { product.add(output, width) }
            }
            vectorised(|| {
                for (softmax, output) in softmaxes.iter().zip(output.chunks_mut(width)) {
                    let share = softmax.share();
                    output[..dim].iter_mut().for_each(|value| *value *= share);
                }
            });
        }
        all
    }

    /// Adds one text's part of the inputs' gradients to `target`; gives its part of the bias's, head by
    /// head.
    fn text_gradients(&self, of: &Backward<'_>, target: &mut [f32]) -> Vec<f32> {
        let Widths { head: dim, .. } = of.widths;
        let (length, seen) = (of.text.length, of.text.seen);
        let places = self.gradient_places(of.number, of.widths);
        let here = |head: usize| places.of([head, self.kv_head(head)], dim);
        if length.max(seen) <= LONG {
            return (0..self.heads)
                .flat_map(|head| self.head_gradients(of, head, here(head), target))
                .collect();
        }
        // Heads that see the same keys, each such group by a thread, in room of its own.
        let group = self.heads / self.kv_heads;
        let [queries, keys] = [length * group * dim, seen * dim];
        let own =
            Places { query: (0, group * dim), key: (queries, dim), value: (queries + keys, dim) };
        let groups = (0..self.kv_heads).into_par_iter().map(|kv_head| {
            let mut room = vec![0.0; queries + 2 * keys];
            let of_bias: Vec<f32> = (0..group)
                .flat_map(|i| {
                    let head = kv_head * group + i;
                    self.head_gradients(of, head, own.of([i, 0], dim), &mut room)
                })
                .collect();
            (room, of_bias)
        });
        let groups: Vec<_> = groups.collect();
        let mut all_of_bias = Vec::new();
        for (kv_head, (room, of_bias)) in groups.into_iter().enumerate() {
            let there = here(kv_head * group);
            let mut put = |(from, width): (usize, usize), (to, stride): (usize, usize), rows| {
                for row in 0..rows {
                    target[to + row * stride..][..width]
                        .copy_from_slice(&room[from + row * width..][..width]);
                }
            };
            put(own.query, there.query, length);
            put(own.key, there.key, seen);
            put(own.value, there.value, seen);
            all_of_bias.extend(of_bias);
        }
        all_of_bias
    }

    /// Adds one head's part to the gradients of its queries, keys and values, which lie at `places` in
    /// `target`; gives its part of the bias's.
    fn head_gradients(
        &self,
        of: &Backward<'_>,
        head: usize,
        places: Places,
        target: &mut [f32],
    ) -> Vec<f32> {
        let Widths { head: dim, queries: width, .. } = of.widths;
        let (length, all_seen, scale) = (of.text.length, of.text.seen, self.scale as f32);
        let Head { query, key, value } = self.head(&of.text, of.widths, head);
        let (gradient, first) = of.gradient;
        let of_output = gradient.view(first + head * dim, [length, dim], width);
        let mut of_bias = vec![0.0; of.bias.map_or(0, |bias| bias.distances)];
        let (mut weights_room, mut of_weights_room) = (Vec::new(), Vec::new());
        for (queries, softmaxes) in query_blocks(length).zip(of.softmaxes) {
            let asking = queries.len();
            let softmaxes = &softmaxes[head * asking..][..asking];
            let (query, of_output) = (query.rows(queries.clone()), of_output.rows(queries.clone()));
            let largest = asking * self.sight.widest(&queries, all_seen);
            weights_room.resize(largest.max(weights_room.len()), 0.0);
            of_weights_room.resize(weights_room.len(), 0.0);
            for keys in self.sight.key_blocks(&queries, all_seen) {
                let seen = keys.len();
                let (weights, of_weights) =
                    (&mut weights_room[..asking * seen], &mut of_weights_room[..asking * seen]);
                let (key, value) = (key.rows(keys.clone()), value.rows(keys.clone()));
                Product::new(query, key.t()).scaled(scale).write(weights, seen);
                Product::new(of_output, value.t()).write(of_weights, seen);
                let (text, queries) = (of.number, queries.clone());
                let block = Block { text, head, queries, keys, seen: all_seen };
                self.through_softmax(of, [&mut *weights, &mut *of_weights], &block, softmaxes);
                // What is called `of_weights` holds the gradient of the scores from here on.
                let of_scores = View::new(&*of_weights, [asking, seen], seen);
                let weights = View::new(&*weights, [asking, seen], seen);
                let mut add =
                    |(start, stride): (usize, usize), row: usize, product: Product<'_>| {
                        product.add(&mut target[start + row * stride..], stride);
                    };
                let (asks, sees) = (block.queries.start, block.keys.start);
                add(places.query, asks, Product::new(of_scores, key).scaled(scale));
                add(places.key, sees, Product::new(of_scores.t(), query).scaled(scale));
                add(places.value, sees, Product::new(weights.t(), of_output));
                if let Some(bias) = of.bias {
                    for (query, of_scores) in block.queries.clone().zip(of_weights.chunks(seen)) {
                        let start = bias.place(0, query, block.keys.start);
                        for (of_bias, of_score) in of_bias[start..].iter_mut().zip(of_scores) {
                            *of_bias += of_score;
                        }
                    }
                }
            }
        }
        of_bias
    }

    /// Turns a block's scores into its weights again, dropout included, and the gradients of the
    /// weights into those of the scores; `softmaxes` are of the block's queries.
    fn through_softmax(
        &self,
        of: &Backward<'_>,
        [weights, of_weights]: [&mut [f32]; 2],
        block: &Block,
        softmaxes: &[Softmax],
    ) {
        let (dim, width, seen) = (of.widths.head, of.widths.queries, block.keys.len());
        let mut factors = vec![0.0; seen];
        vectorised(|| {
            let rows = weights.chunks_exact_mut(seen).zip(of_weights.chunks_exact_mut(seen));
            let rows = rows.zip(softmaxes);
            for (query, ((weights, of_weights), softmax)) in block.queries.clone().zip(rows) {
                self.adjust(weights, of.bias, block, query);
                let (top, share) = (softmax.top, softmax.share());
                for weight in weights.iter_mut() {
                    *weight = exp(*weight - top) * share;
                }
                let at = query * width + block.head * dim;
                let (gradient, output) = (&of.gradients[at..at + dim], &of.output[at..at + dim]);
                let mean = sum_of_pairs(gradient, output, |g, o| g * o);
                if self.factors(&mut factors, block, query) {
                    let terms = weights.iter_mut().zip(of_weights).zip(&factors);
                    for ((weight, of_weight), factor) in terms {
                        *of_weight = *weight * (*of_weight * factor - mean);
                        *weight *= factor;
                    }
                } else {
                    for (weight, of_weight) in weights.iter().zip(of_weights) {
                        *of_weight = weight * (*of_weight - mean);
                    }
                }
            }
        });
    }

    /// The gradients of the queries and of the memory, from the texts' parts of both.
    fn parted(&self, parts: &Elements, widths: Widths) -> [Vec<f32>; 2] {
        let (mut of_queries, mut of_memory) = (Vec::new(), Vec::new());
        let mut start = 0;
        for text in 0..self.layout.batch() {
            let end = start + self.gradient_length(text, widths);
            let memory = start + self.layout.span(text).len() * widths.queries;
            of_queries.extend_from_slice(&parts.part(start..memory));
            of_memory.extend_from_slice(&parts.part(memory..end));
            start = end;
        }
        [of_queries, of_memory]
    }
}

impl<const N: usize> FusedOp<N> for AttentionOp {
    type Saved = SavedAttention;

    fn forward(&self, inputs: &[Matrix; N], save: bool) -> (Matrix, Option<SavedAttention>) {
        let (rows, width) = (inputs[0].shape()[0], self.widths(inputs).queries);
        let bias = self.bias(inputs);
        let blocks: Vec<(usize, Range<usize>)> = (0..self.layout.batch())
            .flat_map(|text| query_blocks(self.layout.span(text).len()).map(move |q| (text, q)))
            .collect();
        let lengths: Vec<usize> = blocks.iter().map(|(_, queries)| queries.len() * width).collect();
        let (output, softmaxes) = fill_parts(inputs[0].held(), &lengths, |number, output| {
            self.attend(inputs, bias.as_ref(), &blocks[number], output)
        });
        let output = Matrix::new(output, [rows, width]);
        let saved = save.then(|| SavedAttention { output: output.clone(), softmaxes });
        (output, saved)
    }

    fn backward(
        &self,
        inputs: &[Matrix; N],
        saved: &SavedAttention,
        gradient: &Matrix,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let widths = self.widths(inputs);
        let texts = 0..self.layout.batch();
        let lengths: Vec<usize> = texts.map(|text| self.gradient_length(text, widths)).collect();
        let bias = self.bias(inputs);
        let held = inputs[0].held();
        let mut blocks = 0;
        let softmaxes: Vec<_> = (0..self.layout.batch())
            .map(|text| {
                let first = blocks;
                blocks += query_blocks(self.layout.span(text).len()).len();
                &saved.softmaxes[first..blocks]
            })
            .collect();
        let (of_inputs, of_bias) = fill_parts(held, &lengths, |number, target| {
            let span = self.layout.span(number);
            let place = span.start * widths.queries..span.end * widths.queries;
            let of = Backward {
                text: self.text(inputs, number, widths),
                number,
                widths,
                bias: bias.as_ref(),
                softmaxes: softmaxes[number],
                gradient: (gradient, place.start),
                gradients: &gradient.part(place.clone()),
                output: &saved.output.part(place),
            };
            self.text_gradients(&of, target)
        });
        let mut gradients = [const { None }; N];
        if self.memory.is_some() {
            let [of_queries, of_memory] = self.parted(&of_inputs, widths);
            let matrix = |values, x: &Matrix| Matrix::new(Elements::of(values, held), x.shape());
            gradients[0] = wanted[0].then(|| matrix(of_queries, &inputs[0]));
            gradients[1] = wanted[1].then(|| matrix(of_memory, &inputs[1]));
        } else {
            gradients[0] = wanted[0].then(|| Matrix::new(of_inputs, inputs[0].shape()));
            if let Some(bias) = bias.filter(|_| wanted[1]) {
                let total = sum(&of_bias, bias.values.len());
                let total = transposed(&total, bias.distances);
                let total = Elements::of(total, inputs[1].held());
                gradients[1] = Some(Matrix::new(total, inputs[1].shape()));
            }
        }
        gradients
    }
}

/// A softmax on its way through the scores of one query.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    /// The greatest score so far.
    top: f32,
    /// Σ e^(score - top) so far.
    total: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self { top: f32::NEG_INFINITY, total: 0.0 }
    }
}

impl Softmax {
    /// Turns more scores into weights that are yet to be divided by the total; gives the factor of
    /// those before, which were weighed by a smaller top.
    #[inline(always)]
    fn add(&mut self, scores: &mut [f32]) -> f32 {
        let top = self.top.max(greatest(scores));
        if top == f32::NEG_INFINITY {
            // Nothing is in sight yet; what is not a number stays seen.
            for score in scores.iter_mut() {
                *score = if score.is_nan() { f32::NAN } else { 0.0 };
            }
            return 1.0;
        }
        for score in scores.iter_mut() {
            *score = exp(*score - top);
        }
        let kept = if self.top == f32::NEG_INFINITY { 0.0 } else { exp(self.top - top) };
        self.top = top;
        self.total = self.total * kept + sum_of(scores, |weight| weight);
        kept
    }

    /// What a weight is multiplied by at last; 0 where there was nothing to see.
    #[inline(always)]
    fn share(self) -> f32 {
        if self.total > 0.0 { 1.0 / self.total } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_no_numbers_are_not_hidden() {
        let weights = |scores: [f32; 5]| {
            let mut weights = scores;
            Softmax::default().add(&mut weights);
            weights
        };
        assert!(weights([f32::NAN; 5]).iter().all(|weight| weight.is_nan()));
        // A key out of sight weighs nothing.
        assert_eq!(weights([f32::NEG_INFINITY; 5]), [0.0; 5]);
    }
}
