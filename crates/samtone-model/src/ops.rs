//! The operations of a transformer layer on matrices of tokens, `[rows, width]`.
//!
//! Each is written once in plain tensor operations, for any backend.

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::config::Activation;
use crate::dropout::DropoutSite;
use crate::error::ModelError;
use crate::layout::Layout;
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
        let bias = match has_bias {
            true => Some(builder.tensor(&format!("{name}.bias"), [outputs], Init::Zeros)?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` → `[rows, out]`.
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let y = x.matmul(self.weight.val().transpose());
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }
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
        let weight = builder.tensor(&format!("{name}.weight"), [width], Init::Ones)?;
        let bias = builder.tensor(&format!("{name}.bias"), [width], Init::Zeros)?;
        Ok(Self { weight, bias, eps })
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let centred = x.clone() - x.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        centred / (variance + self.eps).sqrt() * self.weight.val().unsqueeze()
            + self.bias.val().unsqueeze()
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
        let weight = builder.tensor(&format!("{name}.weight"), [width], Init::Ones)?;
        Ok(Self { weight, eps })
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let mean_square = (x.clone() * x.clone()).mean_dim(1);
        x / (mean_square + self.eps).sqrt() * self.weight.val().unsqueeze()
    }
}

impl Activation {
    /// Applies the nonlinearity to every element.
    pub(crate) fn forward<B: Backend, const D: usize>(self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Self::Gelu => gelu(x),
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
    pub(crate) dropout: Option<DropoutSite>,
}

impl<B: Backend> Attention<'_, B> {
    /// Every token attends to the real tokens of its text: `softmax(q kᵀ · scale + bias) v`.
    ///
    /// `query`, `key`, `value` and the result are `[rows, heads · head_dim]`.
    pub(crate) fn forward(
        &self,
        query: Tensor<B, 2>,
        key: Tensor<B, 2>,
        value: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let [rows, width] = query.dims();
        let (batch, heads) = (self.layout.batch(), self.heads);
        let seq = self.layout.seq().expect("only a padded layout reaches the portable attention");
        // [batch, heads, seq, head_dim]
        let split = |x: Tensor<B, 2>| x.reshape([batch, seq, heads, width / heads]).swap_dims(1, 2);
        let (query, key, value) = (split(query), split(key), split(value));
        // [batch, heads, seq, seq]
        let mut scores = (query * self.scale).matmul(key.transpose());
        if let Some(bias) = &self.distance_bias {
            scores = scores + spread_distances(bias.clone(), seq).unsqueeze();
        }
        let scores = match self.padding(seq, &scores.device()) {
            Some(padding) => {
                scores.mask_fill(padding.expand([batch, heads, seq, seq]), f64::NEG_INFINITY)
            }
            None => scores,
        };
        let mut weights = softmax(scores, 3);
        if let Some(dropout) = &self.dropout {
            weights = dropout.apply_to_attention(weights, self.layout);
        }
        weights.matmul(value).swap_dims(1, 2).reshape([rows, width])
    }

    /// True where a key is padding, `[batch, 1, 1, seq]`; none where there is no padding.
    fn padding(&self, seq: usize, device: &B::Device) -> Option<Tensor<B, 4, Bool>> {
        let lengths = self.layout.lengths();
        if lengths.iter().all(|&length| length == seq) {
            return None;
        }
        let padding: Vec<bool> =
            lengths.iter().flat_map(|&length| (0..seq).map(move |at| at >= length)).collect();
        Some(Tensor::from_data(TensorData::new(padding, [lengths.len(), 1, 1, seq]), device))
    }
}

/// The bias of every (query, key): `[2 · longest - 1, heads]` → `[heads, seq, seq]`.
///
/// Keys beyond the longest text are padding, so their bias is anyone's.
fn spread_distances<B: Backend>(bias: Tensor<B, 2>, seq: usize) -> Tensor<B, 3> {
    let [distances, heads] = bias.dims();
    let furthest = (distances / 2) as i32;
    let seq_i = seq as i32;
    let index: Vec<i32> = (0..seq_i)
        .flat_map(|query| (0..seq_i).map(move |key| (key - query).clamp(-furthest, furthest)))
        .map(|distance| distance + furthest)
        .collect();
    let index: Tensor<B, 1, Int> =
        Tensor::from_data(TensorData::new(index, [seq * seq]), &bias.device());
    bias.select(0, index).swap_dims(0, 1).reshape([heads, seq, seq])
}
