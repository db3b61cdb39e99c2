//! The operations of a transformer layer on matrices of tokens, `[rows, width]`.
//!
//! Each is written once in plain tensor operations, for any backend, and has a fused form where the
//! backend's tensors allow it (`kernel`).

use burn::module::{Module, Param};
use burn::tensor::activation::{log_softmax, relu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use samtone_text::TokenBatch;

use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::{Layout, index};
use crate::config::Activation;
use crate::error::ModelError;
#[cfg(feature = "flex")]
use crate::kernel;
use crate::parameter::{Builder, Init};

/// `x Wᵀ + b`, the weight held as Hugging Face holds it: `[out, in]`.
#[derive(Module, Debug)]
pub(crate) struct Linear<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 2>>,
    pub(crate) bias: Option<Param<Tensor<B, 1>>>,
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
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` → `[rows, out]`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(x, [self], None)
    }

    /// [`forward`](Self::forward), then the nonlinearity.
    pub(crate) fn forward_then(&self, x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
        linear(x, [self], Some(activation))
    }
}

/// Applies several linear maps to one input: `[rows, in]` → `[rows, Σ out]`, their outputs side by
/// side. All of them have a bias, or none.
pub(crate) fn linear<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [&Linear<B>; N],
    activation: Option<Activation>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if kernel::takes(&x) {
        return fused_linear(x, &maps, activation);
    }
    let outputs = maps.map(|map| {
        let y = x.clone().matmul(map.weight.val().transpose());
        match &map.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    });
    let y = Tensor::cat(outputs.into(), 1);
    match activation {
        Some(activation) => activation.forward(y),
        None => y,
    }
}

#[cfg(feature = "flex")]
fn fused_linear<B: Backend>(
    x: Tensor<B, 2>,
    maps: &[&Linear<B>],
    activation: Option<Activation>,
) -> Tensor<B, 2> {
    let biases: Vec<_> = maps.iter().filter_map(|map| map.bias.as_ref()).collect();
    let has_bias = !biases.is_empty();
    let op = kernel::LinearOp { weights: maps.len(), has_bias, activation };
    let mut inputs = vec![kernel::input(x)];
    inputs.extend(maps.iter().map(|map| kernel::input(map.weight.val())));
    inputs.extend(biases.into_iter().map(|bias| kernel::input(bias.val())));
    kernel::run_any(op, inputs)
}

/// Layer norm: `(x - mean) / √(variance + ε) · γ + β` over each row.
#[derive(Module, Debug)]
pub(crate) struct LayerNorm<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 1>>,
    pub(crate) bias: Param<Tensor<B, 1>>,
    pub(crate) eps: f64,
}

impl<B: Backend> LayerNorm<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        width: usize,
        eps: f64,
    ) -> Result<Self, ModelError> {
        let weight = builder.norm(&format!("{name}.weight"), width, Init::Ones)?;
        let bias = builder.norm(&format!("{name}.bias"), width, Init::Zeros)?;
        Ok(Self { weight, bias, eps })
    }

    /// The norm of every row of `x`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let op = self.fused(false, None);
            let (weight, bias) = (self.weight.val(), self.bias.val());
            return kernel::run(op, [kernel::input(x), kernel::input(weight), kernel::input(bias)]);
        }
        in_single(x, |x| {
            let centred = x.clone() - x.mean_dim(1);
            let variance = (centred.clone() * centred.clone()).mean_dim(1);
            let weight = self.weight.val().cast(variance.dtype()).unsqueeze();
            let bias = self.bias.val().cast(variance.dtype()).unsqueeze();
            centred / (variance + self.eps).sqrt() * weight + bias
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
            let (weight, bias) = (kernel::input(self.weight.val()), kernel::input(self.bias.val()));
            return kernel::run(op, [kernel::input(x), kernel::input(residual), weight, bias]);
        }
        self.forward(drop(x, dropout, layout) + residual)
    }

    #[cfg(feature = "flex")]
    fn fused(&self, has_residual: bool, dropout: Option<(DropoutSite, Layout)>) -> kernel::NormOp {
        kernel::NormOp { kind: kernel::NormKind::Layer, eps: self.eps, has_residual, dropout }
    }
}

/// RMS norm: `x / √(mean(x²) + ε) · γ` over each row.
#[derive(Module, Debug)]
pub(crate) struct RmsNorm<B: Backend> {
    pub(crate) weight: Param<Tensor<B, 1>>,
    pub(crate) eps: f64,
}

impl<B: Backend> RmsNorm<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        width: usize,
        eps: f64,
    ) -> Result<Self, ModelError> {
        let weight = builder.norm(&format!("{name}.weight"), width, Init::Ones)?;
        Ok(Self { weight, eps })
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if kernel::takes(&x) {
            let (kind, eps) = (kernel::NormKind::Rms, self.eps);
            let op = kernel::NormOp { kind, eps, has_residual: false, dropout: None };
            return kernel::run(op, [kernel::input(x), kernel::input(self.weight.val())]);
        }
        in_single(x, |x| {
            let mean_square = (x.clone() * x.clone()).mean_dim(1);
            let weight = self.weight.val().cast(x.dtype()).unsqueeze();
            x / (mean_square + self.eps).sqrt() * weight
        })
    }
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

/// What an attention layer does beside the products.
#[derive(Clone, Debug)]
pub(crate) struct Attention<'a, B: Backend> {
    pub(crate) layout: &'a Layout,
    pub(crate) heads: usize,
    /// Factor of the scores.
    pub(crate) scale: f64,
    /// Added to the score of each distance `key - query` from `1 - seq` up, `[2 · seq - 1, heads]`
    /// with `seq` the longest text's.
    pub(crate) distance_bias: Option<Tensor<B, 2>>,
    /// Whether a token sees none of those after it.
    pub(crate) is_causal: bool,
    pub(crate) dropout: Option<DropoutSite>,
}

impl<B: Backend> Attention<'_, B> {
    /// Every token attends to the real tokens of its text: `softmax(q kᵀ · scale + bias) v`.
    ///
    /// Queries, keys and values lie side by side: `[rows, 3 · heads · head_dim]` →
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
        let parts = self.heads_of::<3>(x, self.layout);
        self.portable(parts, self.layout)
    }

    /// Every token attends to the real tokens of the text of the same number in `memory`.
    ///
    /// `queries` are `[rows, heads · head_dim]`; keys and values of the memory lie side by side,
    /// `[memory rows, 2 · heads · head_dim]`; gives `[rows, heads · head_dim]`.
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
        let [queries] = self.heads_of::<1>(queries, self.layout);
        let [keys, values] = self.heads_of::<2>(keys_and_values, memory);
        self.portable([queries, keys, values], memory)
    }

    #[cfg(feature = "flex")]
    fn fused(&self, memory: Option<Layout>) -> kernel::AttentionOp {
        let Self { heads, scale, is_causal, dropout, .. } = *self;
        kernel::AttentionOp {
            layout: self.layout.clone(),
            memory,
            heads,
            scale,
            is_causal,
            dropout,
        }
    }

    /// `N` parts that lie side by side, each as `[batch, heads, seq, head_dim]`.
    fn heads_of<const N: usize>(&self, x: Tensor<B, 2>, layout: &Layout) -> [Tensor<B, 4>; N] {
        let (batch, heads) = (layout.batch(), self.heads);
        let dim = x.dims()[1] / (N * heads);
        let seq = layout.seq().expect("only a padded layout reaches the portable attention");
        // [N, batch, heads, seq, dim]
        let x = x.reshape([batch, seq, N, heads, dim]).permute([2, 0, 3, 1, 4]);
        std::array::from_fn(|i| x.clone().narrow(0, i, 1).reshape([batch, heads, seq, dim]))
    }

    fn portable(&self, parts: [Tensor<B, 4>; 3], keys: &Layout) -> Tensor<B, 2> {
        let [query, key, value] = parts;
        let [batch, heads, seq, dim] = query.dims();
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

    /// True where a key is padding or yet to come, `[batch, 1, queries or 1, keys]`; none where all
    /// are seen.
    fn hidden(&self, keys: &Layout, scores: &Tensor<B, 4>) -> Option<Tensor<B, 4, Bool>> {
        let [batch, _, queries, seq] = scores.dims();
        let lengths = keys.lengths();
        if !self.is_causal && lengths.iter().all(|&length| length == seq) {
            return None;
        }
        let rows = if self.is_causal { queries } else { 1 };
        let is_hidden = |query: usize, key: usize, length: usize| {
            key >= length || (self.is_causal && key > query)
        };
        let mut hidden = Vec::with_capacity(batch * rows * seq);
        for &length in lengths {
            for query in 0..rows {
                hidden.extend((0..seq).map(|key| is_hidden(query, key, length)));
            }
        }
        Some(Tensor::from_data(TensorData::new(hidden, [batch, 1, rows, seq]), &scores.device()))
    }
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
