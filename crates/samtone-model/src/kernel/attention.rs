//! Attention of each text of a packed layout to its own tokens, or to another text's.
//!
//! Scores exist for one text and one head at a time. The forward pass keeps one number per query
//! and head, the log-sum-exp of its scores, from which the backward pass makes the weights again.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use std::ops::Range;

use super::math::{exp, greatest, sum_of, sum_of_pairs, vectorised};
use samtone_gemm::{Product, View};

use super::fill::{fill_parts, sum};
use super::matrix::Elements;
use super::{FusedOp, Matrix};
use crate::blocks::dropout::{DropoutSite, attention_line};
use crate::blocks::layout::Layout;
use crate::blocks::sight::Sight;

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

/// The output, and the log-sum-exp of every query's scores, by text, head and query.
#[derive(Clone, Debug)]
pub(crate) struct SavedAttention {
    output: Matrix,
    log_sums: Vec<Vec<f32>>,
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

/// Where queries, keys and values begin, and the length of a row: in the inputs, or in one text's
/// part of their gradient.
#[derive(Clone, Copy)]
struct Places {
    query: (usize, usize),
    key: (usize, usize),
    value: (usize, usize),
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

/// Some of a text's queries in one head, and the keys that one of them sees.
struct Block {
    text: usize,
    head: usize,
    queries: Range<usize>,
    keys: Range<usize>,
    /// Tokens of the text that are there to be seen.
    seen: usize,
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
        let (places, dim) = (self.places(widths), widths.head);
        let view = |(x, first): Rows<'a>, length, (start, stride): (usize, usize), head: usize| {
            x.view(first + start + head * dim, [length, dim], stride)
        };
        let of_keys = self.kv_head(head);
        Head {
            query: view(text.queries, text.length, places.query, head),
            key: view(text.keys_and_values, text.seen, places.key, of_keys),
            value: view(text.keys_and_values, text.seen, places.value, of_keys),
        }
    }

    /// The bias of distances, if the inputs hold one, head by head.
    fn bias(&self, inputs: &[Matrix]) -> Option<Bias> {
        let bias = inputs.get(1).filter(|_| self.memory.is_none())?;
        let distances = bias.shape()[0];
        Some(Bias { values: transposed(&bias.values(), self.heads), distances })
    }

    /// The blocks of a text in one head.
    fn blocks(
        &self,
        text: usize,
        head: usize,
        of: &Text<'_>,
    ) -> impl Iterator<Item = Block> + use<> {
        let seen = of.seen;
        let blocks = self.sight.blocks(of.length, seen);
        blocks.map(move |(queries, keys)| Block { text, head, queries, keys, seen })
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
            scores[..seen.start - keys.start].fill(f32::NEG_INFINITY);
            scores[seen.end - keys.start..].fill(f32::NEG_INFINITY);
        }
    }

    /// Writes the factors by which dropout multiplies one query's weights, if it does: of every token
    /// that is there to be seen.
    #[inline(always)]
    fn factors(&self, factors: &mut [f32], block: &Block, query: usize) -> bool {
        match &self.dropout {
            Some(site) => {
                site.fill(block.text, attention_line(block.head, query), factors);
                true
            }
            None => false,
        }
    }

    /// Adds one text's part of the inputs' gradients to `target`; gives its part of the bias's, head by
    /// head.
    fn text_gradients(
        &self,
        inputs: &[Matrix],
        saved: &SavedAttention,
        gradient: &Matrix,
        bias: Option<&Bias>,
        number: usize,
        target: &mut [f32],
    ) -> Vec<f32> {
        let widths = self.widths(inputs);
        let (dim, width, scale) = (widths.head, widths.queries, self.scale as f32);
        let text = self.text(inputs, number, widths);
        let length = text.length;
        let span = self.layout.span(number);
        let place = span.start * width..span.end * width;
        let (gradients, output) = (gradient.part(place.clone()), saved.output.part(place.clone()));
        let places = self.gradient_places(number, widths);
        let largest = self.largest_block(&text);
        let (mut weights, mut of_weights) = (vec![0.0; largest], vec![0.0; largest]);
        let mut of_bias = vec![0.0; bias.map_or(0, |bias| bias.values.len())];
        for head in 0..self.heads {
            let Head { query, key, value } = self.head(&text, widths, head);
            let log_sums = &saved.log_sums[number][head * length..][..length];
            let of_output = gradient.view(place.start + head * dim, [length, dim], width);
            let (column, kv_column) = (head * dim, self.kv_head(head) * dim);
            for block in self.blocks(number, head, &text) {
                let [asking, seen] = [block.queries.len(), block.keys.len()];
                let (weights, of_weights) =
                    (&mut weights[..asking * seen], &mut of_weights[..asking * seen]);
                let (query, key) =
                    (query.rows(block.queries.clone()), key.rows(block.keys.clone()));
                let value = value.rows(block.keys.clone());
                let of_output = of_output.rows(block.queries.clone());
                Product::new(query, key.t()).scaled(scale).write(weights, seen);
                Product::new(of_output, value.t()).write(of_weights, seen);
                let both = [&mut *weights, &mut *of_weights];
                self.through_softmax(both, &block, bias, log_sums, [&gradients, &output], widths);
                // What is called `of_weights` holds the gradient of the scores from here on.
                let of_scores = View::new(&*of_weights, [asking, seen], seen);
                let weights = View::new(&*weights, [asking, seen], seen);
                let mut add = |(start, stride): (usize, usize),
                               row: usize,
                               column: usize,
                               left: View<'_>,
                               right: View<'_>,
                               scale: f32| {
                    let target = &mut target[start + row * stride + column..];
                    Product::new(left, right).scaled(scale).add(target, stride);
                };
                let (asks, sees) = (block.queries.start, block.keys.start);
                add(places.query, asks, column, of_scores, key, scale);
                add(places.key, sees, kv_column, of_scores.t(), query, scale);
                add(places.value, sees, kv_column, weights.t(), of_output, 1.0);
                if let Some(bias) = bias {
                    for (query, of_scores) in block.queries.clone().zip(of_weights.chunks(seen)) {
                        let start = bias.place(head, query, block.keys.start);
                        for (of_bias, of_score) in of_bias[start..].iter_mut().zip(of_scores) {
                            *of_bias += of_score;
                        }
                    }
                }
            }
        }
        of_bias
    }

    /// Scores of the largest block of a text.
    fn largest_block(&self, text: &Text<'_>) -> usize {
        let blocks = self.sight.blocks(text.length, text.seen);
        blocks.map(|(queries, keys)| queries.len() * keys.len()).max().unwrap_or(0)
    }

    /// Turns a block's scores into its weights again, dropout included, and the gradients of the
    /// weights into those of the scores; `log_sums` are of all the text's queries in this head,
    /// `outputs` the gradients of the text's output and itself.
    fn through_softmax(
        &self,
        [weights, of_weights]: [&mut [f32]; 2],
        block: &Block,
        bias: Option<&Bias>,
        log_sums: &[f32],
        [gradient, output]: [&[f32]; 2],
        widths: Widths,
    ) {
        let (dim, width, seen) = (widths.head, widths.queries, block.keys.len());
        let mut factors = vec![0.0; block.seen];
        vectorised(|| {
            let rows = weights.chunks_exact_mut(seen).zip(of_weights.chunks_exact_mut(seen));
            for (query, (weights, of_weights)) in block.queries.clone().zip(rows) {
                self.adjust(weights, bias, block, query);
                let log_sum = log_sums[query];
                for weight in weights.iter_mut() {
                    *weight = exp(*weight - log_sum);
                }
                let at = query * width + block.head * dim;
                let (gradient, output) = (&gradient[at..at + dim], &output[at..at + dim]);
                let mean = sum_of_pairs(gradient, output, |g, o| g * o);
                if self.factors(&mut factors, block, query) {
                    let factors = &factors[block.keys.clone()];
                    let terms = weights.iter_mut().zip(of_weights).zip(factors);
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
        let (rows, widths) = (inputs[0].shape()[0], self.widths(inputs));
        let width = widths.queries;
        let bias = self.bias(inputs);
        let bias = bias.as_ref();
        let lengths: Vec<usize> = self.layout.lengths().iter().map(|n| n * width).collect();
        let (output, log_sums) = fill_parts(inputs[0].held(), &lengths, |number, output| {
            let text = self.text(inputs, number, widths);
            let mut scores = vec![0.0; self.largest_block(&text)];
            let mut factors = vec![0.0; text.seen];
            let mut log_sums = vec![0.0; self.heads * text.length];
            for (head, log_sums) in log_sums.chunks_exact_mut(text.length).enumerate() {
                let Head { query, key, value } = self.head(&text, widths, head);
                for block in self.blocks(number, head, &text) {
                    let [asking, seen] = [block.queries.len(), block.keys.len()];
                    let scores = &mut scores[..asking * seen];
                    let query = query.rows(block.queries.clone());
                    let key = key.rows(block.keys.clone()).t();
                    Product::new(query, key).scaled(self.scale as f32).write(scores, seen);
                    vectorised(|| {
                        let rows = scores.chunks_exact_mut(seen);
                        for (query, scores) in block.queries.clone().zip(rows) {
                            self.adjust(scores, bias, &block, query);
                            log_sums[query] = softmax(scores);
                            if self.factors(&mut factors, &block, query) {
                                let factors = &factors[block.keys.clone()];
                                scores.iter_mut().zip(factors).for_each(|(w, factor)| *w *= factor);
                            }
                        }
                    });
                    let target = &mut output[block.queries.start * width + head * widths.head..];
                    let value = value.rows(block.keys.clone());
                    let weights = View::new(scores, [asking, seen], seen);
                    Product::new(weights, value).write(target, width);
                }
            }
            log_sums
        });
        let output = Matrix::new(output, [rows, width]);
        let saved = save.then(|| SavedAttention { output: output.clone(), log_sums });
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
        let (of_inputs, of_bias) = fill_parts(held, &lengths, |number, target| {
            self.text_gradients(inputs, saved, gradient, bias.as_ref(), number, target)
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

/// Turns scores into weights that sum to 1; gives their log-sum-exp.
#[inline(always)]
fn softmax(scores: &mut [f32]) -> f32 {
    let top = greatest(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - top);
    }
    let total = sum_of(scores, |weight| weight);
    let factor = 1.0 / total;
    for weight in scores.iter_mut() {
        *weight *= factor;
    }
    top + total.ln()
}
