//! BERT's token embedder and layers (Devlin et al. 2018, arXiv:1810.04805), which RoBERTa and
//! MiniLM share.
//!
//! Names are those of Hugging Face's checkpoints, weights keep their layout.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::blocks::dropout::{Dropout, DropoutSite};
use crate::blocks::layout::Layout;
use crate::blocks::ops::{Attention, LayerNorm, Linear, drop, embed, linear};
use crate::config::BertConfig;
use crate::error::ModelError;
use crate::parameter::{Builder, Init, Part};

/// The standard deviation of every weight of a new BERT.
const INIT: Init = Init::Normal(0.02);

/// Dropout sites; the embedder's layer is 0, the first transformer layer's 1.
mod site {
    pub(super) const HIDDEN: u64 = 0;
    pub(super) const ATTENTION: u64 = 1;
    pub(super) const ATTENTION_OUTPUT: u64 = 2;
    pub(super) const FEED_FORWARD: u64 = 3;
}

/// Words, positions and types to hidden states.
#[derive(Module, Debug)]
pub struct BertEmbedder<B: Backend> {
    words: Param<Tensor<B, 2>>,
    positions: Param<Tensor<B, 2>>,
    token_types: Param<Tensor<B, 2>>,
    norm: LayerNorm<B>,
    position_offset: usize,
    dropout: f64,
}

impl<B: Backend> BertEmbedder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &BertConfig,
    ) -> Result<Self, ModelError> {
        let hidden = config.hidden;
        builder.part(Part::Embedder);
        let mut table = |name: &str, rows| {
            builder.tensor(&format!("embeddings.{name}_embeddings.weight"), [rows, hidden], INIT)
        };
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_positions)?,
            token_types: table("token_type", config.token_types)?,
            norm: LayerNorm::new(builder, "embeddings.LayerNorm", hidden, config.norm_eps)?,
            position_offset: config.position_offset,
            dropout: config.dropout,
        })
    }

    /// The table of words.
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// Token ids and types (0 if none are given) of every row of `layout` → hidden states,
    /// `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        ids: Vec<usize>,
        types: Option<Vec<usize>>,
        layout: &Layout,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let positions = layout.positions();
        let positions = positions.into_iter().map(|at| at + self.position_offset).collect();
        let types = types.unwrap_or_else(|| vec![0; ids.len()]);
        let tables = [&self.words, &self.positions, &self.token_types].map(Param::val);
        let x = embed(tables, [ids, positions, types]);
        let site = DropoutSite::new(dropout, 0, site::HIDDEN, self.dropout);
        drop(self.norm.forward(x), site, layout)
    }
}

/// One transformer layer: self-attention and feed-forward, each followed by residual and norm.
#[derive(Module, Debug)]
pub struct BertLayer<B: Backend> {
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    attention_output: Linear<B>,
    attention_norm: LayerNorm<B>,
    intermediate: Linear<B>,
    output: Linear<B>,
    output_norm: LayerNorm<B>,
}

impl<B: Backend> BertLayer<B> {
    fn new(
        builder: &mut Builder<'_, B>,
        config: &BertConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let (hidden, inner, eps) = (config.hidden, config.intermediate, config.norm_eps);
        builder.part(Part::Layer(layer));
        let name = |name: &str| format!("encoder.layer.{layer}.{name}");
        let linear = |builder: &mut Builder<'_, B>, part: &str, sizes| {
            Linear::new(builder, &name(part), sizes, INIT, true)
        };
        let norm = |builder: &mut Builder<'_, B>, part: &str| {
            LayerNorm::new(builder, &name(part), hidden, eps)
        };
        Ok(Self {
            query: linear(builder, "attention.self.query", [hidden, hidden])?,
            key: linear(builder, "attention.self.key", [hidden, hidden])?,
            value: linear(builder, "attention.self.value", [hidden, hidden])?,
            attention_output: linear(builder, "attention.output.dense", [hidden, hidden])?,
            attention_norm: norm(builder, "attention.output.LayerNorm")?,
            intermediate: linear(builder, "intermediate.dense", [hidden, inner])?,
            output: linear(builder, "output.dense", [inner, hidden])?,
            output_norm: norm(builder, "output.LayerNorm")?,
        })
    }
}

/// All transformer layers.
#[derive(Module, Debug)]
pub struct BertStack<B: Backend> {
    layers: Vec<BertLayer<B>>,
    #[module(skip)]
    config: BertConfig,
}

impl<B: Backend> BertStack<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &BertConfig,
    ) -> Result<Self, ModelError> {
        let layers = (0..config.layers)
            .map(|layer| BertLayer::new(builder, config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self { layers, config: config.clone() })
    }

    /// Hidden states → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<B, 2>,
        layout: &Layout,
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = self.layer(layer, x, layout, |operation, rate| {
                DropoutSite::new(dropout, i + 1, operation, rate)
            });
        }
        x
    }

    fn layer(
        &self,
        layer: &BertLayer<B>,
        x: Tensor<B, 2>,
        layout: &Layout,
        site: impl Fn(u64, f64) -> Option<DropoutSite>,
    ) -> Tensor<B, 2> {
        let BertConfig { hidden, heads, activation, dropout, attention_dropout, .. } = self.config;
        let attention = Attention {
            layout,
            heads,
            scale: ((hidden / heads) as f64).powf(-0.5),
            distance_bias: None,
            is_causal: false,
            dropout: site(site::ATTENTION, attention_dropout),
        };
        let parts = [&layer.query, &layer.key, &layer.value];
        let attended = attention.forward(linear(x.clone(), parts, None));
        let attended = layer.attention_output.forward(attended);
        let site_here = site(site::ATTENTION_OUTPUT, dropout);
        let x = layer.attention_norm.forward_sum(attended, x, site_here, layout);
        let inner = layer.intermediate.forward_then(x.clone(), activation);
        let output = layer.output.forward(inner);
        layer.output_norm.forward_sum(output, x, site(site::FEED_FORWARD, dropout), layout)
    }
}
