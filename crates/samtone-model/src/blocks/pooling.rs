//! Hidden states to one vector a text.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::blocks::layout::{Layout, index};
use crate::config::Pooling;
#[cfg(feature = "flex")]
use crate::kernel;

/// The floor under a row's norm.
///
/// Far below the norm of any real embedding, yet large enough that the gradient at a zero row,
/// which is 1/floor times the one above, stays finite in every float type.
const NORM_FLOOR: f64 = 1e-6;

impl Pooling {
    /// Hidden states, `[rows, hidden]` → `[batch, hidden]`, as if a text's first `unpooled` tokens
    /// were padding.
    ///
    /// A text that has no more tokens than that keeps, as in sentence-transformers, its first state
    /// under `Cls`, and becomes zeros else.
    pub(crate) fn forward<B: Backend>(
        self,
        x: Tensor<B, 2>,
        layout: &Layout,
        unpooled: usize,
    ) -> Tensor<B, 2> {
        let pooled = |span: Range<usize>| span.end.min(span.start + unpooled)..span.end;
        match self {
            Self::Mean => mean(x, layout, layout.spans().map(pooled).collect()),
            Self::Cls => {
                let first = |span: Range<usize>| match pooled(span.clone()) {
                    rest if rest.is_empty() => span.start,
                    rest => rest.start,
                };
                pick(x, layout.spans().map(first))
            }
            Self::Last => {
                let last = pick(x, layout.spans().map(|span| span.end - 1));
                let kept: Vec<f64> =
                    layout.lengths().iter().map(|&n| f64::from(u8::from(n > unpooled))).collect();
                if !kept.contains(&0.0) {
                    return last;
                }
                let (device, dtype) = (last.device(), last.dtype());
                let shape = [kept.len(), 1];
                last * Tensor::from_data(TensorData::new(kept, shape), (&device, dtype))
            }
        }
    }
}

fn pick<B: Backend>(x: Tensor<B, 2>, rows: impl Iterator<Item = usize>) -> Tensor<B, 2> {
    let rows: Vec<i32> = rows.map(index).collect();
    let n = rows.len();
    let rows: Tensor<B, 1, Int> = Tensor::from_data(TensorData::new(rows, [n]), &x.device());
    x.select(0, rows)
}

/// The mean of each of the `spans` of rows; zeros where one is empty.
fn mean<B: Backend>(x: Tensor<B, 2>, layout: &Layout, spans: Vec<Range<usize>>) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        return kernel::run(kernel::MeanOp { spans }, [kernel::input(x)]);
    }
    let hidden = x.dims()[1];
    let (batch, device, dtype) = (layout.batch(), x.device(), x.dtype());
    let seq = layout.seq().expect("only a padded layout reaches the portable mean");
    let weights: Vec<f64> = spans
        .into_iter()
        .enumerate()
        .flat_map(|(text, span)| {
            let weight = 1.0 / span.len().max(1) as f64;
            let rows = text * seq..(text + 1) * seq;
            rows.map(move |row| if span.contains(&row) { weight } else { 0.0 })
        })
        .collect();
    // Rows of weights times each text's states: [batch, 1, seq] x [batch, seq, hidden].
    let weights = Tensor::from_data(TensorData::new(weights, [batch, seq, 1]), (&device, dtype));
    (x.reshape([batch, seq, hidden]) * weights).sum_dim(1).reshape([batch, hidden])
}

/// Divides each row by its length: `x / max(‖x‖, 1e-6)`, `[batch, dim]`.
pub(crate) fn normalize<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    let square = (x.clone() * x.clone()).sum_dim(1);
    x / square.clamp_min(NORM_FLOOR * NORM_FLOOR).sqrt()
}
