//! Dropout as a pure function of where it happens.
//!
//! A mask's element depends on the caller's key (seed, step, side), the text's row in the whole
//! batch, the site in the network and the element's place in the text, and on nothing else. So a
//! batch cut into chunks, padded further or spread over threads drops the same elements, and the
//! two passes of gradient caching agree.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use samtone_text::Key;

use crate::blocks::layout::Layout;

/// Randomness of one training pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The stream of this seed, step and side.
    pub key: Key,
    /// The first text's row in the whole batch: 0, or a chunk's offset.
    pub first_row: usize,
}

/// A place in the network that drops elements: the stream of one layer's one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DropoutSite {
    dropout: Dropout,
    layer: u64,
    operation: u64,
    /// Elements whose 16 random bits are below this are dropped.
    threshold: u16,
}

impl DropoutSite {
    /// The site, unless nothing would be dropped there.
    ///
    /// The rate is rounded to 1/65536, and kept elements are scaled by that rounded rate.
    pub(crate) fn new(
        dropout: Option<Dropout>,
        layer: usize,
        operation: u64,
        rate: f64,
    ) -> Option<Self> {
        Self::of_stream(dropout, layer as u64, operation, rate)
    }

    /// [`new`](Self::new), where what stands for a layer is any number of its own.
    pub(crate) fn of_stream(
        dropout: Option<Dropout>,
        layer: u64,
        operation: u64,
        rate: f64,
    ) -> Option<Self> {
        #[expect(clippy::cast_sign_loss, reason = "a rate is never negative")]
        let threshold = (rate * 65_536.0).round() as u16;
        let dropout = dropout.filter(|_| threshold > 0)?;
        Some(Self { dropout, layer, operation, threshold })
    }

    /// What kept elements are multiplied with.
    pub(crate) fn scale(&self) -> f64 {
        65_536.0 / (65_536.0 - f64::from(self.threshold))
    }

    /// The stream of `line`, a token (or a head's query) of `text`.
    fn line(&self, text: usize, line: u64) -> Key {
        let row = (self.dropout.first_row + text) as u64;
        self.dropout.key.at(row).at(self.layer).at(self.operation).at(line)
    }

    /// Writes the factors, 0 or [`scale`](Self::scale), of one token's elements from `first` on, a
    /// multiple of four.
    #[expect(clippy::inline_always, reason = "vectorised inside its callers")]
    #[inline(always)]
    pub(crate) fn fill(&self, text: usize, line: u64, first: usize, factors: &mut [f32]) {
        debug_assert!(first.is_multiple_of(4), "four elements share a word");
        let (key, scale) = (self.line(text, line), self.scale() as f32);
        for (i, four) in factors.chunks_mut(4).enumerate() {
            let word = key.word((first / 4 + i) as u64);
            for (j, factor) in four.iter_mut().enumerate() {
                let bits = (word >> (16 * j)) as u16;
                *factor = if bits < self.threshold { 0.0 } else { scale };
            }
        }
    }

    /// Drops elements of `x`, `[rows, width]`.
    pub(crate) fn apply<B: Backend>(&self, x: Tensor<B, 2>, layout: &Layout) -> Tensor<B, 2> {
        let [rows, width] = x.dims();
        let mut mask = vec![1.0; rows * width];
        for (text, span) in layout.spans().enumerate() {
            for (position, row) in span.enumerate() {
                self.fill(text, position as u64, 0, &mut mask[row * width..][..width]);
            }
        }
        let mask = TensorData::new(mask, [rows, width]);
        x.clone() * Tensor::from_data(mask, (&x.device(), x.dtype()))
    }

    /// The factors of the attention weights of some queries and keys of padded layouts, keys from a
    /// multiple of four on: `[batch, heads, queries, keys]`, as `like`.
    pub(crate) fn attention_factors<B: Backend>(
        &self,
        like: &Tensor<B, 4>,
        [query_layout, key_layout]: [&Layout; 2],
        [queries, keys]: [&Range<usize>; 2],
    ) -> Tensor<B, 4> {
        let shape = like.dims();
        let heads = shape[1];
        let mut factors = vec![1.0; shape.iter().product()];
        let lengths = query_layout.lengths().iter().zip(key_layout.lengths());
        for (text, (&length, &seen)) in lengths.enumerate() {
            let seen = seen.min(keys.end).saturating_sub(keys.start);
            for head in 0..heads {
                for query in queries.start..length.min(queries.end) {
                    let row = (text * heads + head) * queries.len() + query - queries.start;
                    let factors = &mut factors[row * keys.len()..][..seen];
                    self.fill(text, attention_line(head, query), keys.start, factors);
                }
            }
        }
        Tensor::from_data(TensorData::new(factors, shape), (&like.device(), like.dtype()))
    }
}

/// The number of a head's query among the lines of a text.
pub(crate) fn attention_line(head: usize, query: usize) -> u64 {
    ((head as u64) << 32) | query as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_share_is_the_rate_and_the_mean_is_kept() {
        let dropout = Dropout { key: Key::new(5), first_row: 0 };
        let site = DropoutSite::new(Some(dropout), 0, 0, 0.1).unwrap();
        let mut factors = vec![0.0; 100_000];
        site.fill(0, 0, 0, &mut factors);
        let dropped = factors.iter().filter(|&&f| f == 0.0).count();
        assert!((9_700..10_300).contains(&dropped), "{dropped}");
        let mean = factors.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
    }

    #[test]
    fn a_mask_belongs_to_a_text_wherever_its_chunk_starts() {
        let (whole, chunk) = (
            Dropout { key: Key::new(5), first_row: 0 },
            Dropout { key: Key::new(5), first_row: 3 },
        );
        let site = |dropout| DropoutSite::new(Some(dropout), 2, 1, 0.5).unwrap();
        let (mut a, mut b) = ([0.0; 64], [0.0; 64]);
        site(whole).fill(4, 7, 0, &mut a);
        site(chunk).fill(1, 7, 0, &mut b);
        assert_eq!(a, b);
        site(chunk).fill(2, 7, 0, &mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn no_rate_and_no_pass_drop_nothing() {
        let dropout = Dropout { key: Key::new(5), first_row: 0 };
        assert_eq!(DropoutSite::new(Some(dropout), 0, 0, 0.0), None);
        assert_eq!(DropoutSite::new(None, 0, 0, 0.1), None);
    }
}
