//! The operations of a transformer layer on matrices of tokens, `[rows, width]`.
//!
//! Each is written once in plain tensor operations, for any backend, and has a fused form where the
//! backend's tensors allow it (`kernel`).

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu, sigmoid};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Int, Tensor, TensorData};
use samtone_text::TokenBatch;

use crate::blocks::adapter::Adapter;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::{Layout, index};
use crate::blocks::pass::Pass;
use crate::blocks::rotary::Turns;
use crate::config::Activation;
use crate::error::ModelError;
#[cfg(feature = "flex")]
use crate::kernel;
use crate::parameter::{Builder, Init};
use crate::side::own;

/// `x Wᵀ + b`, the weight held as Hugging Face holds it: `[out, in]`; and what its adapter adds.
#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 2>>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    // One: both sides'. Two: the query's, then the document's.
    adapters: Vec<Adapter<B>>,
}

impl<B: Backend> Linear<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        [inputs, outputs]: [usize; 2],
        init: Init,
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        let weight = builder.tensor(&format!("{name}.weight"), [outputs, inputs], init)?;
        let bias = if has_bias {
            Some(builder.tensor(&format!("{name}.bias"), [outputs], Init::Zeros)?)
        } else {
            None
        };
        let adapters = Adapter::of_map(builder, name, [inputs, outputs])?;
        Ok(Self { weight, bias, adapters })
    }

    /// The map whose weight is a table.
    pub(crate) fn of_table(weight: Param<Tensor<B, 2>>) -> Self {
        Self { weight, bias: None, adapters: Vec::new() }
    }

    /// `[rows, in]` → `[rows, out]`, of a map without adapters.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(x, [self], None, None)
    }

    /// `[rows, in]` → `[rows, out]`
    pub(crate) fn forward_in(&self, x: Tensor<B, 2>, pass: Pass<'_, B>) -> Tensor<B, 2> {
        linear(x, [self], None, Some(pass))
    }

    fn product(&self) -> Factors<B> {
        (self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}

/// `x` in another float type.
pub(crate) fn in_dtype<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    dtype: FloatDType,
) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    if dtype == FloatDType::BF16 && kernel::takes(&x) {
        return kernel::in_bf16(x);
    }
    x.cast(dtype)
}

/// A weight and its bias.
type Factors<B> = (Tensor<B, 2>, Option<Tensor<B, 1>>);

/// Applies several linear maps to one input: `[rows, in]` → `[rows, Σ out]`, their outputs side by
/// side. All of them have a bias, or none.
///
/// # Panics
/// If one has an adapter and there is no pass to say whose.
pub(crate) fn linear<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [&Linear<B>; N],
    activation: Option<Activation>,
    pass: Option<Pass<'_, B>>,
) -> Tensor<B, 2> {
    let products = maps.map(Linear::product);
    if maps.iter().all(|map| map.adapters.is_empty()) {
        return product(x, &products, None, activation);
    }
    let pass = pass.expect("maps with adapters are computed in a tower's pass");
    let adapters = maps.map(|map| own(&map.adapters, pass.side));
    let low = low_rank(&x, adapters, pass);
    product(x, &products, Some(low), activation)
}

/// What adapters add to the products of the maps that they lie on.
struct LowRank<B: Backend> {
    /// What all A make of the states, side by side, `[rows, Σ r]`.
    states: Tensor<B, 2>,
    /// Of each map the columns of the states that B reads, and B, `[out, r]`; none: no adapter.
    ups: Vec<Option<(Range<usize>, Tensor<B, 2>)>>,
}

fn low_rank<B: Backend, const N: usize>(
    x: &Tensor<B, 2>,
    adapters: [Option<&Adapter<B>>; N],
    pass: Pass<'_, B>,
) -> LowRank<B> {
    let mut columns = 0;
    let mut of_holders = Vec::new();
    let places = adapters.map(|adapter| {
        let adapter = adapter?;
        let down = adapter.down.as_ref()?.val();
        let rank = down.dims()[0];
        columns += rank;
        of_holders.push((down, adapter.site(pass)));
        Some(columns - rank..columns)
    });
    // A map without an A of its own is one module with the map that has it.
    let shared = places.iter().flatten().next().cloned();
    let ups = adapters.into_iter().zip(places).map(|(adapter, own)| {
        let adapter = adapter?;
        let place = own.or_else(|| shared.clone()).expect("one of a module's maps holds its A");
        Some((place, adapter.scaled_up()))
    });
    let ups = ups.collect();
    let drops = of_holders.iter().any(|(_, site)| site.is_some());
    let states = if drops {
        let narrowed = of_holders.into_iter().map(|(down, site)| {
            product(drop(x.clone(), site, pass.layout), &[(down, None)], None, None)
        });
        Tensor::cat(narrowed.collect(), 1)
    } else {
        let downs: Vec<_> = of_holders.into_iter().map(|(down, _)| (down, None)).collect();
        product(x.clone(), &downs, None, None)
    };
    LowRank { states, ups }
}

/// `f(x Wᵀ + b)` and what adapters add inside `f`, for several maps side by side.
fn product<B: Backend>(
    x: Tensor<B, 2>,
    maps: &[Factors<B>],
    low: Option<LowRank<B>>,
    activation: Option<Activation>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        return fused_product(x, maps, low, activation);
    }
    let outputs = maps.iter().enumerate().map(|(i, (weight, bias))| {
        let mut y = x.clone().matmul(weight.clone().transpose());
        if let Some(bias) = bias {
            y = y + bias.clone().unsqueeze();
        }
        match low.as_ref().and_then(|low| Some((&low.states, low.ups[i].as_ref()?))) {
            Some((states, (place, up))) => {
                let states = states.clone().narrow(1, place.start, place.len());
                y + states.matmul(up.clone().transpose())
            }
            None => y,
        }
    });
    let y = Tensor::cat(outputs.collect(), 1);
    match activation {
        Some(activation) => activation.forward(y),
        None => y,
    }
}

#[cfg(feature = "flex")]
fn fused_product<B: Backend>(
    x: Tensor<B, 2>,
    maps: &[Factors<B>],
    low: Option<LowRank<B>>,
    activation: Option<Activation>,
) -> Tensor<B, 2> {
    let has_bias = maps.iter().any(|(_, bias)| bias.is_some());
    let mut inputs = vec![kernel::input(x)];
    inputs.extend(maps.iter().map(|(weight, _)| kernel::input(weight.clone())));
    inputs.extend(maps.iter().filter_map(|(_, bias)| bias.clone()).map(kernel::input));
    let mut places = Vec::new();
    if let Some(LowRank { states, ups }) = low {
        inputs.push(kernel::input(states));
        for up in ups {
            let (place, up) = up.unzip();
            places.push(place);
            inputs.extend(up.map(kernel::input));
        }
    }
    let op = kernel::LinearOp { weights: maps.len(), has_bias, activation, low: places };
    kernel::run_any(op, inputs)
}

/// Layer norm: `(x - mean) / √(variance + ε) · γ + β` over each row; β is 0 where there is none.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 1>>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
    pub(crate) eps: f64,
}

impl<B: Backend> LayerNorm<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        width: usize,
        eps: f64,
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        let weight = builder.norm(&format!("{name}.weight"), width, Init::Ones)?;
        let bias = if has_bias {
            Some(builder.norm(&format!("{name}.bias"), width, Init::Zeros)?)
        } else {
            None
        };
        Ok(Self { weight, bias, eps })
    }

    /// The norm of every row of `x`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let op = self.fused(false, None);
            let (x, weight) = (kernel::input(x), kernel::input(self.weight.val()));
            return match &self.bias {
                Some(bias) => kernel::run(op, [x, weight, kernel::input(bias.val())]),
                None => kernel::run(op, [x, weight]),
            };
        }
        in_single(x, |x| {
            let centred = x.clone() - x.mean_dim(1);
            let variance = (centred.clone() * centred.clone()).mean_dim(1);
            let weight = self.weight.val().cast(variance.dtype()).unsqueeze();
            let dtype = variance.dtype();
            let y = centred / (variance + self.eps).sqrt() * weight;
            match &self.bias {
                Some(bias) => y + bias.val().cast(dtype).unsqueeze(),
                None => y,
            }
        })
    }

    /// The norm of every row of `drop(x) + residual`.
    pub(crate) fn forward_sum(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        dropout: Option<DropoutSite>,
        layout: &Layout,
    ) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let op = self.fused(true, dropout.map(|site| (site, layout.clone())));
            let (x, residual) = (kernel::input(x), kernel::input(residual));
            let weight = kernel::input(self.weight.val());
            return match &self.bias {
                Some(bias) => kernel::run(op, [x, residual, weight, kernel::input(bias.val())]),
                None => kernel::run(op, [x, residual, weight]),
            };
        }
        self.forward(drop(x, dropout, layout) + residual)
    }

    #[cfg(feature = "flex")]
    fn fused(&self, has_residual: bool, dropout: Option<(DropoutSite, Layout)>) -> kernel::NormOp {
        let has_bias = self.bias.is_some();
        let (kind, eps) = (kernel::NormKind::Layer, self.eps);
        kernel::NormOp { kind, eps, has_residual, has_bias, dropout }
    }
}

/// RMS norm: `x / √(mean(x²) + ε) · γ` over each row.
#[derive(Module, Debug)]
pub(crate) struct RmsNorm<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 1>>,
    pub(crate) eps: f64,
    /// Whether γ is one more than the weight (Gemma).
    adds_one: bool,
}

impl<B: Backend> RmsNorm<B> {
    /// A norm that starts with a γ of 1, as its weight is or, where it `adds_one`, one more than that.
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        width: usize,
        eps: f64,
        adds_one: bool,
    ) -> Result<Self, ModelError> {
        let init = if adds_one { Init::Zeros } else { Init::Ones };
        let weight = builder.norm(&format!("{name}.weight"), width, init)?;
        Ok(Self { weight, eps, adds_one })
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let weight = self.weight.val();
        let weight = if self.adds_one { weight + 1.0 } else { weight };
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let (kind, eps) = (kernel::NormKind::Rms, self.eps);
            let op =
                kernel::NormOp { kind, eps, has_residual: false, has_bias: false, dropout: None };
            return kernel::run(op, [kernel::input(x), kernel::input(weight)]);
        }
        in_single(x, |x| {
            let mean_square = (x.clone() * x.clone()).mean_dim(1);
            x.clone() / (mean_square + self.eps).sqrt() * weight.cast(x.dtype()).unsqueeze()
        })
    }
}

/// Either norm.
#[derive(Module, Debug)]
pub(crate) enum Norm<B: Backend> {
    /// By mean and variance.
    Layer(LayerNorm<B>),
    /// By the mean square.
    Rms(RmsNorm<B>),
}

impl<B: Backend> Norm<B> {
    /// The norm of every row of `x`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }

    /// The norm of every row of `drop(x) + residual`.
    pub(crate) fn forward_sum(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        dropout: Option<DropoutSite>,
        layout: &Layout,
    ) -> Tensor<B, 2> {
        match self {
            Self::Layer(norm) => norm.forward_sum(x, residual, dropout, layout),
            Self::Rms(norm) => norm.forward(drop(x, dropout, layout) + residual),
        }
    }
}

/// What is gated and its gate, side by side: `f(first half) · second half`, `[rows, 2 · inner]` →
/// `[rows, inner]`.
pub(crate) fn gate<B: Backend>(x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        return kernel::run(kernel::GateOp { activation }, [kernel::input(x)]);
    }
    let inner = x.dims()[1] / 2;
    activation.forward(x.clone().narrow(1, 0, inner)) * x.narrow(1, inner, inner)
}

/// `norm` of a half-precision tensor in f32, of any other in its own type.
fn in_single<B: Backend>(
    x: Tensor<B, 2>,
    norm: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    match x.dtype() {
        half @ (DType::F16 | DType::BF16) => norm(x.cast(DType::F32)).cast(half),
        _ => norm(x),
    }
}

impl Activation {
    /// Applies the nonlinearity to every element.
    pub(crate) fn forward<B: Backend, const D: usize>(self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            // Burn's own has the backward pass of another function, up to 9e-4 off.
            Self::Gelu => {
                let twice = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
                x * twice * 0.5
            }
            Self::GeluTanh => {
                let cubed = x.clone().powi_scalar(3);
                let slope = (2.0 / std::f64::consts::PI).sqrt();
                let inner = (x.clone() + cubed * 0.044_715) * slope;
                x * (inner.tanh() + 1.0) * 0.5
            }
            Self::Relu => relu(x),
            Self::Silu => x.clone() * sigmoid(x),
        }
    }
}

/// Drops elements of `x`, `[rows, width]`, if there is a site.
pub(crate) fn drop<B: Backend>(
    x: Tensor<B, 2>,
    dropout: Option<DropoutSite>,
    layout: &Layout,
) -> Tensor<B, 2> {
    match dropout {
        Some(site) => site.apply(x, layout),
        None => x,
    }
}

/// The sum of one row of each table per row: `[rows, width]`.
pub(crate) fn embed<B: Backend, const N: usize>(
    tables: [Tensor<B, 2>; N],
    indices: [Vec<usize>; N],
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&tables[0]) {
        let op = kernel::EmbedOp { indices: indices.into() };
        return kernel::run(op, tables.map(kernel::input));
    }
    let rows = tables.into_iter().zip(indices).map(|(table, indices)| {
        let indices: Vec<i32> = indices.into_iter().map(index).collect();
        let indices: Tensor<B, 1, Int> = Tensor::from_data(&*indices, &table.device());
        table.select(0, indices)
    });
    rows.reduce(|a, b| a + b).expect("an embedding has at least one table")
}

/// Whether the operations on tensors like `x` can leave padding out.
pub(crate) fn skips_padding<B: Backend>(x: &Tensor<B, 2>) -> bool {
    #[cfg(feature = "flex")]
    let skips = kernel::takes(x);
    #[cfg(not(feature = "flex"))]
    let skips = {
        let _ = x;
        false
    };
    skips
}

/// How the tokens of a batch lie where the operations on tensors like `x` want them: packed, where
/// they can be.
pub(crate) fn layout<B: Backend>(batch: &TokenBatch, x: &Tensor<B, 2>) -> Layout {
    if skips_padding(x) { Layout::packed(batch) } else { Layout::padded(batch) }
}

/// The rows of `x` that hold real tokens, the texts one after the other: `[tokens, width]`.
pub(crate) fn unpadded<B: Backend>(x: Tensor<B, 2>, layout: &Layout) -> Tensor<B, 2> {
    if layout.seq().is_none() {
        return x;
    }
    let rows: Vec<i32> = layout.spans().flatten().map(index).collect();
    let shape = [rows.len()];
    let rows: Tensor<B, 1, Int> = Tensor::from_data(TensorData::new(rows, shape), &x.device());
    x.select(0, rows)
}

/// Turns the first `heads` heads of every row: `[rows, width]` → `[rows, width]`.
pub(crate) fn turn<B: Backend>(x: Tensor<B, 2>, turns: &Turns, heads: usize) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        let op = kernel::RotateOp { turns: turns.clone(), heads };
        return kernel::run(op, [kernel::input(x)]);
    }
    let ([rows, width], pairs) = (x.dims(), turns.pairs);
    let turned = heads * 2 * pairs;
    let table = |values: &[f32]| {
        let values: Vec<f32> = turns
            .positions
            .iter()
            .flat_map(|&position| &values[position * pairs..][..pairs])
            .copied()
            .collect();
        let data = TensorData::new(values, [rows, 1, pairs]);
        Tensor::<B, 3>::from_data(data, (&x.device(), x.dtype()))
    };
    let (cos, sin) = (table(&turns.cos), table(&turns.sin));
    let halves = x.clone().narrow(1, 0, turned).reshape([rows, heads, 2 * pairs]);
    let (a, b) = (halves.clone().narrow(2, 0, pairs), halves.narrow(2, pairs, pairs));
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = b * cos + a * sin;
    let halves = Tensor::cat(vec![first, second], 2).reshape([rows, turned]);
    if turned == width {
        return halves;
    }
    Tensor::cat(vec![halves, x.narrow(1, turned, width - turned)], 1)
}

/// The loss of every row, in nats: `ln Σ_w e^(logits_w) − logits_target`.
///
/// `[rows, vocab]` → `[rows, 1]`
pub(crate) fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, targets: Vec<usize>) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&logits) {
        return kernel::run(kernel::CrossEntropyOp { targets }, [kernel::input(logits)]);
    }
    let rows = targets.len();
    let targets: Vec<i32> = targets.into_iter().map(index).collect();
    let targets: Tensor<B, 2, Int> =
        Tensor::from_data(TensorData::new(targets, [rows, 1]), &logits.device());
    log_softmax(logits, 1).gather(1, targets).neg()
}
