//! Attention of each text of a packed layout to its own tokens, or to another text's.
//!
//! Scores exist for one text and one head at a time. The forward pass keeps one number per query
//! and head, the log-sum-exp of its scores, from which the backward pass makes the weights again.
#![expect(clippy::inline_always, reason = "what is not inlined is not vectorised")]

use super::math::{exp, greatest, sum_of, sum_of_pairs, vectorised};
use super::product::{View, fill_parts, multiply, sum};
use super::{FusedOp, Input, Matrix};
use crate::blocks::dropout::{DropoutSite, attention_line};
use crate::blocks::layout::Layout;

/// Output: `[rows, heads · head_dim]`.
///
/// Inputs, where a text attends to itself: queries, keys and values side by side
/// `[rows, 3 · heads · head_dim]`, then, if there is one, the bias of every distance
/// `[2 · longest - 1, heads]`. Where it attends to a memory: queries `[rows, heads · head_dim]`,
/// then the memory's keys and values side by side `[memory rows, 2 · heads · head_dim]`.
#[derive(Clone, Debug)]
pub(crate) struct AttentionOp {
    /// Where the queries lie.
    pub(crate) layout: Layout,
    /// Where the texts attended to lie, if not with the queries.
    pub(crate) memory: Option<Layout>,
    pub(crate) heads: usize,
    pub(crate) scale: f64,
    /// Whether a token sees none of those after it.
    pub(crate) is_causal: bool,
    pub(crate) dropout: Option<DropoutSite>,
}

/// The output, and the log-sum-exp of every query's scores, by text, head and query.
#[derive(Clone, Debug)]
pub(crate) struct SavedAttention {
    output: Input,
    log_sums: Vec<Vec<f32>>,
}

/// One text's queries, keys and values of one head.
struct Head<'a> {
    query: View<'a>,
    key: View<'a>,
    value: View<'a>,
}

/// What one text reads.
struct Text<'a> {
    queries: &'a [f32],
    keys_and_values: &'a [f32],
    /// Tokens that ask.
    length: usize,
    /// Tokens that are seen.
    seen: usize,
}

/// Where queries, keys and values begin, and the length of a row: in the inputs, or in one text's
/// part of their gradient.
#[derive(Clone, Copy)]
struct Places {
    query: (usize, usize),
    key: (usize, usize),
    value: (usize, usize),
}

impl AttentionOp {
    fn text<'a>(&self, inputs: &'a [Input], text: usize, width: usize) -> Text<'a> {
        let span = self.layout.span(text);
        match &self.memory {
            None => {
                let x = &inputs[0].values()[span.start * 3 * width..span.end * 3 * width];
                Text { queries: x, keys_and_values: x, length: span.len(), seen: span.len() }
            }
            Some(memory) => {
                let seen = memory.span(text);
                Text {
                    queries: &inputs[0].values()[span.start * width..span.end * width],
                    keys_and_values: &inputs[1].values()
                        [seen.start * 2 * width..seen.end * 2 * width],
                    length: span.len(),
                    seen: seen.len(),
                }
            }
        }
    }

    /// Elements of one text's part of the inputs' gradients.
    fn gradient_length(&self, text: usize, width: usize) -> usize {
        let length = self.layout.span(text).len();
        match &self.memory {
            None => length * 3 * width,
            Some(memory) => length * width + memory.span(text).len() * 2 * width,
        }
    }

    /// In the inputs: keys and values are counted from the start of their own slice.
    fn places(&self, width: usize) -> Places {
        match &self.memory {
            None => Places {
                query: (0, 3 * width),
                key: (width, 3 * width),
                value: (2 * width, 3 * width),
            },
            Some(_) => Places { query: (0, width), key: (0, 2 * width), value: (width, 2 * width) },
        }
    }

    /// In one text's part of the gradients: first the queries', then, for a memory, its own.
    fn gradient_places(&self, text: usize, width: usize) -> Places {
        let Places { query, mut key, mut value } = self.places(width);
        if self.memory.is_some() {
            let queries = self.layout.span(text).len() * width;
            key.0 += queries;
            value.0 += queries;
        }
        Places { query, key, value }
    }

    fn head<'a>(&self, text: &Text<'a>, width: usize, head: usize) -> Head<'a> {
        let dim = width / self.heads;
        let places = self.places(width);
        let view = |values: &'a [f32], length, (start, stride): (usize, usize)| {
            View::new(&values[start + head * dim..], [length, dim], stride)
        };
        Head {
            query: view(text.queries, text.length, places.query),
            key: view(text.keys_and_values, text.seen, places.key),
            value: view(text.keys_and_values, text.seen, places.value),
        }
    }

    /// The bias of distances, if the inputs hold one.
    fn bias<'a>(&self, inputs: &'a [Input]) -> Option<&'a Input> {
        inputs.get(1).filter(|_| self.memory.is_none())
    }

    /// Adds the bias of each distance to the scores of one query, and hides what comes after it.
    #[inline(always)]
    fn adjust(&self, scores: &mut [f32], bias: Option<&Input>, head: usize, query: usize) {
        if let Some(bias) = bias {
            let nearest = bias.shape()[0] / 2 - query;
            let column = bias.values()[nearest * self.heads + head..].iter().step_by(self.heads);
            for (score, bias) in scores.iter_mut().zip(column) {
                *score += bias;
            }
        }
        if self.is_causal {
            scores[query + 1..].fill(f32::NEG_INFINITY);
        }
    }

    /// Writes the factors by which dropout multiplies one query's weights, if it does.
    #[inline(always)]
    fn factors(&self, factors: &mut [f32], text: usize, head: usize, query: usize) -> bool {
        match &self.dropout {
            Some(site) => {
                site.fill(text, attention_line(head, query), factors);
                true
            }
            None => false,
        }
    }

    /// Dimensions of all heads.
    fn width(&self, inputs: &[Input]) -> usize {
        inputs[0].shape()[1] / if self.memory.is_none() { 3 } else { 1 }
    }

    /// Adds one text's part of the inputs' gradients to `target`; gives its part of the bias's.
    fn text_gradients(
        &self,
        inputs: &[Input],
        saved: &SavedAttention,
        gradient: &Input,
        number: usize,
        target: &mut [f32],
    ) -> Vec<f32> {
        let (width, bias) = (self.width(inputs), self.bias(inputs));
        let (dim, scale) = (width / self.heads, self.scale as f32);
        let text = self.text(inputs, number, width);
        let (length, seen) = (text.length, text.seen);
        let span = self.layout.span(number);
        let place = span.start * width..span.end * width;
        let (gradient, output) = (&gradient.values()[place.clone()], &saved.output.values()[place]);
        let places = self.gradient_places(number, width);
        let mut weights = vec![0.0; length * seen];
        let mut of_weights = vec![0.0; length * seen];
        let mut of_bias = vec![0.0; bias.map_or(0, |bias| bias.values().len())];
        for head in 0..self.heads {
            let Head { query, key, value } = self.head(&text, width, head);
            let log_sums = &saved.log_sums[number][head * length..][..length];
            let column = head * dim;
            let of_output = View::new(&gradient[column..], [length, dim], width);
            multiply(&mut weights, seen, query, key.transposed(), scale);
            multiply(&mut of_weights, seen, of_output, value.transposed(), 1.0);
            let both = [&mut *weights, &mut *of_weights];
            self.through_softmax(both, [number, head], bias, log_sums, [gradient, output], width);
            // What is called `of_weights` holds the gradient of the scores from here on.
            let of_scores = View::new(&of_weights, [length, seen], seen);
            let weights = View::new(&weights, [length, seen], seen);
            let mut add =
                |(start, stride): (usize, usize), left: View<'_>, right: View<'_>, scale| {
                    multiply(&mut target[start + column..], stride, left, right, scale);
                };
            add(places.query, of_scores, key, scale);
            add(places.key, of_scores.transposed(), query, scale);
            add(places.value, weights.transposed(), of_output, 1.0);
            if let Some(bias) = bias {
                let longest = bias.shape()[0] / 2;
                for (at, of_score) in of_weights.iter().enumerate() {
                    let distance = longest + at % length - at / length;
                    of_bias[distance * self.heads + head] += of_score;
                }
            }
        }
        of_bias
    }

    /// Turns one head's scores into its weights again, dropout included, and the gradients of the
    /// weights into those of the scores; `outputs` are the gradients of the text's output and itself.
    fn through_softmax(
        &self,
        [weights, of_weights]: [&mut [f32]; 2],
        [number, head]: [usize; 2],
        bias: Option<&Input>,
        log_sums: &[f32],
        [gradient, output]: [&[f32]; 2],
        width: usize,
    ) {
        let (dim, seen) = (width / self.heads, weights.len() / log_sums.len());
        let mut factors = vec![0.0; seen];
        vectorised(|| {
            for (query, log_sum) in log_sums.iter().enumerate() {
                let row = query * seen..(query + 1) * seen;
                let (weights, of_weights) = (&mut weights[row.clone()], &mut of_weights[row]);
                self.adjust(weights, bias, head, query);
                for weight in weights.iter_mut() {
                    *weight = exp(*weight - log_sum);
                }
                let at = query * width + head * dim;
                let (gradient, output) = (&gradient[at..at + dim], &output[at..at + dim]);
                let mean = sum_of_pairs(gradient, output, |g, o| g * o);
                if self.factors(&mut factors, number, head, query) {
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
    fn parted(&self, mut parts: &[f32], width: usize) -> [Vec<f32>; 2] {
        let (mut of_queries, mut of_memory) = (Vec::new(), Vec::new());
        for text in 0..self.layout.batch() {
            let (part, later) = parts.split_at(self.gradient_length(text, width));
            let (queries, memory) = part.split_at(self.layout.span(text).len() * width);
            of_queries.extend_from_slice(queries);
            of_memory.extend_from_slice(memory);
            parts = later;
        }
        [of_queries, of_memory]
    }
}

impl<const N: usize> FusedOp<N> for AttentionOp {
    type Saved = SavedAttention;

    fn forward(&self, inputs: &[Input; N], save: bool) -> (Matrix, Option<SavedAttention>) {
        let (rows, width) = (inputs[0].shape()[0], self.width(inputs));
        let bias = self.bias(inputs);
        let lengths: Vec<usize> = self.layout.lengths().iter().map(|n| n * width).collect();
        let (output, log_sums) = fill_parts(&lengths, |number, output| {
            let text = self.text(inputs, number, width);
            let (length, seen) = (text.length, text.seen);
            let mut scores = vec![0.0; length * seen];
            let mut factors = vec![0.0; seen];
            let mut log_sums = vec![0.0; self.heads * length];
            for (head, log_sums) in log_sums.chunks_exact_mut(length).enumerate() {
                let Head { query, key, value } = self.head(&text, width, head);
                multiply(&mut scores, seen, query, key.transposed(), self.scale as f32);
                vectorised(|| {
                    let queries = scores.chunks_exact_mut(seen).zip(log_sums).enumerate();
                    for (query, (scores, log_sum)) in queries {
                        self.adjust(scores, bias, head, query);
                        *log_sum = softmax(scores);
                        if self.factors(&mut factors, number, head, query) {
                            scores.iter_mut().zip(&factors).for_each(|(w, factor)| *w *= factor);
                        }
                    }
                });
                let target = &mut output[head * (width / self.heads)..];
                multiply(target, width, View::new(&scores, [length, seen], seen), value, 1.0);
            }
            log_sums
        });
        let output = Matrix::new(output, [rows, width]);
        let saved = save.then(|| SavedAttention { output: Input(output.0.clone()), log_sums });
        (output, saved)
    }

    fn backward(
        &self,
        inputs: &[Input; N],
        saved: &SavedAttention,
        gradient: &Input,
        wanted: [bool; N],
    ) -> [Option<Matrix>; N] {
        let width = self.width(inputs);
        let texts = 0..self.layout.batch();
        let lengths: Vec<usize> = texts.map(|text| self.gradient_length(text, width)).collect();
        let (of_inputs, of_bias) = fill_parts(&lengths, |number, target| {
            self.text_gradients(inputs, saved, gradient, number, target)
        });
        let mut gradients = [const { None }; N];
        if self.memory.is_some() {
            let [of_queries, of_memory] = self.parted(&of_inputs, width);
            gradients[0] = wanted[0].then(|| Matrix::new(of_queries, inputs[0].shape()));
            gradients[1] = wanted[1].then(|| Matrix::new(of_memory, inputs[1].shape()));
        } else {
            gradients[0] = wanted[0].then(|| Matrix::new(of_inputs, inputs[0].shape()));
            if let Some(bias) = self.bias(inputs).filter(|_| wanted[1]) {
                let total = sum(&of_bias, bias.values().len());
                gradients[1] = Some(Matrix::new(total, bias.shape().to_vec()));
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
