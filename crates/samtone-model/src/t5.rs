//! T5's token embedder and encoder layers, versions 1.0 (Raffel et al. 2020, arXiv:1910.10683) and
//! 1.1 (gated GELU).
//!
//! Names are those of Hugging Face's checkpoints, weights keep their layout.

use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::config::T5Config;
use crate::dropout::{Dropout, DropoutSite};
use crate::error::ModelError;
use crate::layout::{Layout, index};
use crate::ops::{Attention, Linear, RmsNorm, drop, embed, linear};
use crate::parameter::{Builder, Init, Part};

/// Dropout sites; the embedder's layer is 0, the first transformer layer's 1.
mod site {
    pub(super) const HIDDEN: u64 = 0;
    pub(super) const ATTENTION: u64 = 1;
    pub(super) const ATTENTION_OUTPUT: u64 = 2;
    pub(super) const INNER: u64 = 3;
    pub(super) const FEED_FORWARD: u64 = 4;
}

/// Words to hidden states: the table alone.
#[derive(Module, Debug)]
pub struct T5Embedder<B: Backend> {
    words: Param<Tensor<B, 2>>,
    dropout: f64,
}

impl<B: Backend> T5Embedder<B> {
    pub(crate) fn new(builder: &mut Builder<'_, B>, config: &T5Config) -> Result<Self, ModelError> {
        builder.part(Part::Embedder);
        let shape = [config.vocab_size, config.hidden];
        let words = builder.tensor("shared.weight", shape, Init::Normal(1.0))?;
        Ok(Self { words, dropout: config.dropout })
    }

    /// The table of words.
    #[cfg(feature = "flex")]
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// Token ids of every row of `layout` → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        ids: Vec<usize>,
        layout: &Layout,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let x = embed([self.words.val()], [ids]);
        drop(x, DropoutSite::new(dropout, 0, site::HIDDEN, self.dropout), layout)
    }
}

/// One transformer layer: each block reads the norm of its input and is added to it.
#[derive(Module, Debug)]
pub struct T5Layer<B: Backend> {
    attention_norm: RmsNorm<B>,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    attention_output: Linear<B>,
    feed_forward_norm: RmsNorm<B>,
    inner: Linear<B>,
    gated: Option<Linear<B>>,
    output: Linear<B>,
}

impl<B: Backend> T5Layer<B> {
    fn new(
        builder: &mut Builder<'_, B>,
        config: &T5Config,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let T5Config { hidden, heads, head_dim, intermediate, norm_eps, gated, .. } = *config;
        let attended = heads * head_dim;
        let std = |inputs: usize| Init::Normal((inputs as f64).powf(-0.5));
        let name = |name: &str| format!("encoder.block.{layer}.layer.{name}");
        let norm = |builder: &mut Builder<'_, B>, part: &str| {
            RmsNorm::new(builder, &name(part), hidden, norm_eps)
        };
        let linear = |builder: &mut Builder<'_, B>, part: &str, sizes, init| {
            Linear::new(builder, &name(part), sizes, init, false)
        };
        builder.part(Part::Layer(layer));
        let first = if gated { "1.DenseReluDense.wi_0" } else { "1.DenseReluDense.wi" };
        let q = std(hidden * head_dim);
        Ok(Self {
            attention_norm: norm(builder, "0.layer_norm")?,
            query: linear(builder, "0.SelfAttention.q", [hidden, attended], q)?,
            key: linear(builder, "0.SelfAttention.k", [hidden, attended], std(hidden))?,
            value: linear(builder, "0.SelfAttention.v", [hidden, attended], std(hidden))?,
            attention_output: linear(
                builder,
                "0.SelfAttention.o",
                [attended, hidden],
                std(attended),
            )?,
            feed_forward_norm: norm(builder, "1.layer_norm")?,
            inner: linear(builder, first, [hidden, intermediate], std(hidden))?,
            gated: if gated {
                let sizes = [hidden, intermediate];
                Some(linear(builder, "1.DenseReluDense.wi_1", sizes, std(hidden))?)
            } else {
                None
            },
            output: linear(
                builder,
                "1.DenseReluDense.wo",
                [intermediate, hidden],
                std(intermediate),
            )?,
        })
    }
}

/// All transformer layers, the relative positions they share, and the norm after them.
#[derive(Module, Debug)]
pub struct T5Stack<B: Backend> {
    relative_bias: Param<Tensor<B, 2>>,
    layers: Vec<T5Layer<B>>,
    final_norm: RmsNorm<B>,
    #[module(skip)]
    config: T5Config,
}

impl<B: Backend> T5Stack<B> {
    pub(crate) fn new(builder: &mut Builder<'_, B>, config: &T5Config) -> Result<Self, ModelError> {
        let T5Config { hidden, heads, relative_buckets, norm_eps, .. } = *config;
        let relative_bias = builder.part(Part::Layer(0)).tensor(
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            [relative_buckets, heads],
            Init::Normal((hidden as f64).powf(-0.5)),
        )?;
        let layers = (0..config.layers)
            .map(|layer| T5Layer::new(builder, config, layer))
            .collect::<Result<_, _>>()?;
        builder.part(Part::FinalNorm);
        let final_norm = RmsNorm::new(builder, "encoder.final_layer_norm", hidden, norm_eps)?;
        Ok(Self { relative_bias, layers, final_norm, config: config.clone() })
    }

    /// Hidden states → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<B, 2>,
        layout: &Layout,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let bias = self.distance_bias(layout.longest());
        let rate = self.config.dropout;
        for (i, layer) in self.layers.iter().enumerate() {
            let site = |operation| DropoutSite::new(dropout, i + 1, operation, rate);
            x = self.layer(layer, x, layout, bias.clone(), site);
        }
        let x = self.final_norm.forward(x);
        let last = self.layers.len() + 1;
        drop(x, DropoutSite::new(dropout, last, site::HIDDEN, rate), layout)
    }

    fn layer(
        &self,
        layer: &T5Layer<B>,
        x: Tensor<B, 2>,
        layout: &Layout,
        distance_bias: Tensor<B, 2>,
        site: impl Fn(u64) -> Option<DropoutSite>,
    ) -> Tensor<B, 2> {
        let drop = |x, operation| drop(x, site(operation), layout);
        let attention = Attention {
            layout,
            heads: self.config.heads,
            scale: 1.0,
            distance_bias: Some(distance_bias),
            dropout: site(site::ATTENTION),
        };
        let normed = layer.attention_norm.forward(x.clone());
        let parts = [&layer.query, &layer.key, &layer.value];
        let attended = attention.forward(linear(normed, parts, None));
        let x = x + drop(layer.attention_output.forward(attended), site::ATTENTION_OUTPUT);
        let normed = layer.feed_forward_norm.forward(x.clone());
        let inner = layer.inner.forward_then(normed.clone(), self.config.activation);
        let inner = match &layer.gated {
            Some(gated) => inner * gated.forward(normed),
            None => inner,
        };
        let output = layer.output.forward(drop(inner, site::INNER));
        x + drop(output, site::FEED_FORWARD)
    }

    /// The bias of every distance `key - query` from `1 - seq` up, `[2 · seq - 1, heads]`.
    fn distance_bias(&self, seq: usize) -> Tensor<B, 2> {
        let rows = 0..2 * seq - 1;
        let buckets: Vec<i32> = rows
            .map(|row| bucket(row.abs_diff(seq - 1), row + 1 > seq, &self.config))
            .map(index)
            .collect();
        let table = self.relative_bias.val();
        let buckets: Tensor<B, 1, Int> =
            Tensor::from_data(TensorData::new(buckets, [2 * seq - 1]), &table.device());
        table.select(0, buckets)
    }
}

/// The class of a distance in tokens, and of whether the key comes after the query: exact when
/// near, logarithmic further off.
///
/// Computed in f32, as Hugging Face does, so that the classes' borders are the same.
#[expect(clippy::cast_sign_loss, reason = "the logarithm of a number above 1 is positive")]
fn bucket(distance: usize, after: bool, config: &T5Config) -> usize {
    let half = config.relative_buckets / 2;
    let exact = half / 2;
    let base = if after { half } else { 0 };
    let class = if distance < exact {
        distance
    } else {
        let reach = (config.relative_max_distance as f64 / exact as f64).ln() as f32;
        let share = (distance as f32 / exact as f32).ln() / reach;
        half.min(exact + (share * (half - exact) as f32) as usize + 1) - 1
    };
    base + class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_the_published_buckets() {
        // Worked by hand from the formula with 32 buckets and a maximum distance of 128.
        let config = T5Config::default();
        for (distance, expected) in
            [(0, 0), (-1, 1), (1, 17), (-7, 7), (7, 23), (-8, 8), (-16, 10), (-127, 15), (500, 31)]
        {
            let got = bucket(i32::unsigned_abs(distance) as usize, distance > 0, &config);
            assert_eq!(got, expected, "distance {distance}");
        }
    }
}
