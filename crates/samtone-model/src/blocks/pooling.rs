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

/// Two or more poolings whose vectors lie side by side, in the order of [`Poolings::ORDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poolings(u8);

impl Poolings {
    /// The order in which the vectors of several poolings are joined: sentence-transformers'.
    pub const ORDER: [Pooling; 6] = [
        Pooling::Cls,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::Last,
    ];
}

/// The names of single poolings, in the same order.
const NAMES: [&str; 6] = ["cls", "max", "mean", "mean-sqrt-len", "weighted-mean", "last"];

impl Pooling {
    /// One or several poolings as one: none if there is none, one is there twice, or they do not have
    /// the order of [`Poolings::ORDER`].
    pub fn of_parts(parts: &[Self]) -> Option<Self> {
        let place = |part: &Self| Poolings::ORDER.iter().position(|single| single == part);
        let places: Vec<usize> = parts.iter().map(place).collect::<Option<_>>()?;
        match parts {
            [] => None,
            [one] => Some(*one),
            _ if !places.is_sorted_by(|a, b| a < b) => None,
            _ => Some(Self::Several(Poolings(places.iter().map(|place| 1 << place).sum()))),
        }
    }

    /// The single poolings that this one is made of, in their order.
    pub fn parts(self) -> impl Iterator<Item = Self> {
        Poolings::ORDER.into_iter().enumerate().filter_map(move |(place, part)| match self {
            Self::Several(Poolings(several)) => (several & (1 << place) != 0).then_some(part),
            _ => (self == part).then_some(part),
        })
    }

    /// Hidden states, `[rows, hidden]` → `[batch, parts · hidden]`, as if a text's first `unpooled`
    /// tokens were padding.
    ///
    /// A text that has no more tokens than that keeps, as in sentence-transformers, its first state
    /// under `Cls`, and becomes zeros else (there `-inf` under `Max`).
    pub(crate) fn forward<B: Backend>(
        self,
        x: Tensor<B, 2>,
        layout: &Layout,
        unpooled: usize,
    ) -> Tensor<B, 2> {
        if let Self::Several(_) = self {
            let parts = self.parts().map(|part| part.forward(x.clone(), layout, unpooled));
            return Tensor::cat(parts.collect(), 1);
        }
        let pooled = |span: Range<usize>| span.end.min(span.start + unpooled)..span.end;
        let spans = || layout.spans().map(pooled).collect::<Vec<_>>();
        match self {
            Self::Mean => mean(x, layout, spans()),
            Self::MeanSqrtLen => {
                let roots = spans().iter().map(|span| (span.len() as f64).sqrt()).collect();
                let mean = mean(x, layout, spans());
                let roots = column(roots, &mean);
                mean * roots
            }
            Self::WeightedMean => {
                let weights = position_weights(x.dims()[0], layout, unpooled);
                let weights = column(weights, &x);
                mean(x * weights, layout, spans())
            }
            Self::Max => max(x, spans()),
            Self::Cls => {
                let first = |span: Range<usize>| match pooled(span.clone()) {
                    rest if rest.is_empty() => span.start,
                    rest => rest.start,
                };
                pick(x, layout.spans().map(first))
            }
            Self::Last => {
                let last = pick(x, layout.spans().map(|span| span.end - 1));
                only_where(last, &spans())
            }
            Self::Several(_) => unreachable!("taken apart above"),
        }
    }
}

impl TryFrom<String> for Pooling {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let find = |name: &str| Some(Poolings::ORDER[NAMES.iter().position(|own| *own == name)?]);
        let parts: Option<Vec<Self>> = text.split('+').map(find).collect();
        let pooling = parts.and_then(|parts| Self::of_parts(&parts));
        pooling.ok_or_else(|| {
            let names = NAMES.map(|name| format!("`{name}`")).join(", ");
            format!("unknown variant `{text}`, expected one of {names}, or several in this order as `cls+mean`")
        })
    }
}

impl From<Pooling> for String {
    fn from(pooling: Pooling) -> Self {
        let name = |part| NAMES[Poolings::ORDER.iter().position(|own| *own == part).unwrap_or(0)];
        pooling.parts().map(name).collect::<Vec<_>>().join("+")
    }
}

/// Numbers as a column beside tensors like `x`.
fn column<B: Backend>(values: Vec<f64>, x: &Tensor<B, 2>) -> Tensor<B, 2> {
    let shape = [values.len(), 1];
    Tensor::from_data(TensorData::new(values, shape), (&x.device(), x.dtype()))
}

/// Rows of `x`, zeros where the span of the same number is empty.
fn only_where<B: Backend>(x: Tensor<B, 2>, spans: &[Range<usize>]) -> Tensor<B, 2> {
    let kept: Vec<f64> = spans.iter().map(|span| f64::from(u8::from(!span.is_empty()))).collect();
    if !kept.contains(&0.0) {
        return x;
    }
    let kept = column(kept, &x);
    x * kept
}

/// For every row what makes the mean of a text's rows the one weighed by positions: zero for padding.
fn position_weights(rows: usize, layout: &Layout, unpooled: usize) -> Vec<f64> {
    let mut weights = vec![0.0; rows];
    for span in layout.spans() {
        let positions = 1 + unpooled..=span.len();
        let sum: usize = positions.clone().sum();
        let n = positions.clone().count();
        for position in positions {
            weights[span.start + position - 1] = (position * n) as f64 / sum as f64;
        }
    }
    weights
}

/// The greatest of each dimension over each of the `spans` of rows; zeros where one is empty.
fn max<B: Backend>(x: Tensor<B, 2>, spans: Vec<Range<usize>>) -> Tensor<B, 2> {
    let hidden = x.dims()[1];
    let (batch, longest) = (spans.len(), spans.iter().map(Range::len).max().unwrap_or(0).max(1));
    // A text shorter than the longest has its last row again: the greatest stays the same.
    let rows = spans.iter().flat_map(|span| {
        let last = span.end.max(1) - 1;
        (span.start..span.start + longest).map(move |row| row.min(last))
    });
    // [batch, longest, hidden]
    let greatest = pick(x, rows).reshape([batch, longest, hidden]).max_dim(1);
    only_where(greatest.reshape([batch, hidden]), &spans)
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
