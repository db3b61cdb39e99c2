//! Encoders and decoders with rotary positions and gated feed-forward blocks: what was published since
//! 2024 differs in little else. A family's differences are [`RotaryKin`]'s, its files' are in `files`.
//!
//! Names of parameters are one spelling for all families, near transformers' of Llama and Gemma:
//! `input_layernorm` and `post_attention_layernorm` before and after attention,
//! `pre_feedforward_layernorm` and `post_feedforward_layernorm` around the feed-forward block.

pub(crate) mod config;
pub(crate) mod files;

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use self::config::{Norms, RotaryConfig, RotaryKin};
use crate::blocks::attention::Attention;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;
use crate::blocks::ops::{LayerNorm, Linear, Norm, RmsNorm, drop, embed, gate, linear, turn};
use crate::blocks::pass::Pass;
use crate::blocks::rotary::{Frequencies, Turns};
use crate::blocks::sight::Sight;
use crate::error::ModelError;
use crate::parameter::{Builder, Init};
use crate::part::Part;

/// The standard deviation of every weight of a new one.
const INIT: Init = Init::Normal(0.02);

/// Dropout sites; the embedder's layer is 0, the first transformer layer's 1.
mod site {
    pub(super) const HIDDEN: u64 = 0;
    pub(super) const ATTENTION: u64 = 1;
    pub(super) const ATTENTION_OUTPUT: u64 = 2;
    pub(super) const INNER: u64 = 3;
    pub(super) const FEED_FORWARD: u64 = 4;
}

/// The family's norm called `name`.
fn norm<B: Backend>(
    builder: &mut Builder<'_, B>,
    config: &RotaryConfig,
    name: &str,
    width: usize,
) -> Result<Norm<B>, ModelError> {
    let (kin, eps) = (config.kin, config.norm_eps);
    Ok(if kin.centres() {
        Norm::Layer(LayerNorm::new(builder, name, width, eps, config.norm_bias)?)
    } else {
        Norm::Rms(rms_norm(builder, kin, name, width, eps)?)
    })
}

fn rms_norm<B: Backend>(
    builder: &mut Builder<'_, B>,
    kin: RotaryKin,
    name: &str,
    width: usize,
    eps: f64,
) -> Result<RmsNorm<B>, ModelError> {
    RmsNorm::new(builder, name, width, eps, kin.is_gemma())
}

/// Words, and types where there are any, to hidden states.
#[derive(Module, Debug)]
pub struct RotaryEmbedder<B: Backend> {
    words: Param<Tensor<B, 2>>,
    token_types: Option<Param<Tensor<B, 2>>>,
    norm: Option<Norm<B>>,
    /// Factor of the table's rows.
    scale: Option<f64>,
    dropout: f64,
}

impl<B: Backend> RotaryEmbedder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &RotaryConfig,
    ) -> Result<Self, ModelError> {
        let (kin, hidden) = (config.kin, config.hidden);
        builder.part(Part::Embedder);
        let words = builder.tensor("embed_tokens.weight", [config.vocab_size, hidden], INIT)?;
        let token_types = (config.token_types > 0)
            .then(|| builder.tensor("embed_types.weight", [config.token_types, hidden], INIT))
            .transpose()?;
        let norm = kin
            .norms_embeddings()
            .then(|| norm(builder, config, "embed_norm", hidden))
            .transpose()?;
        let scale = kin.is_gemma().then(|| f64::from((hidden as f32).sqrt()));
        Ok(Self { words, token_types, norm, scale, dropout: config.dropout })
    }

    /// The table of words.
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// Token ids of every row → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(&self, ids: Vec<usize>, pass: Pass<'_, B>) -> Tensor<B, 2> {
        let words = self.words.val();
        let mut x = match &self.token_types {
            Some(types) => {
                let first = vec![0; ids.len()];
                embed([words, types.val()], [ids, first])
            }
            None => embed([words], [ids]),
        };
        if let Some(scale) = self.scale {
            x = x * scale;
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(x);
        }
        drop(x, DropoutSite::new(pass.dropout, 0, site::HIDDEN, self.dropout), pass.layout)
    }
}

/// One transformer layer: self-attention, then the gated feed-forward block.
#[derive(Module, Debug)]
pub struct RotaryLayer<B: Backend> {
    before_attention: Option<Norm<B>>,
    query: Linear<B>,
    key: Linear<B>,
    value: Linear<B>,
    // Of each head of the queries and of the keys.
    head_norms: Option<[RmsNorm<B>; 2]>,
    attention_output: Linear<B>,
    after_attention: Option<Norm<B>>,
    before_feed_forward: Option<Norm<B>>,
    gate: Linear<B>,
    up: Linear<B>,
    down: Linear<B>,
    after_feed_forward: Option<Norm<B>>,
}

impl<B: Backend> RotaryLayer<B> {
    fn new(
        builder: &mut Builder<'_, B>,
        config: &RotaryConfig,
        layer: usize,
    ) -> Result<Self, ModelError> {
        let RotaryConfig { kin, hidden, heads, kv_heads, head_dim, intermediate, .. } = *config;
        builder.part(Part::Layer(layer));
        let name = |name: &str| format!("layers.{layer}.{name}");
        let map = |builder: &mut Builder<'_, B>, part: &str, sizes, has_bias| {
            Linear::new(builder, &name(part), sizes, INIT, has_bias)
        };
        let norm = |builder: &mut Builder<'_, B>, part: &str, is_there: bool| {
            is_there.then(|| norm(builder, config, &name(part), hidden)).transpose()
        };
        let (before, after) = match kin.norms() {
            Norms::Before => (true, false),
            Norms::After => (false, true),
            Norms::Around => (true, true),
        };
        let is_first = layer == 0 && kin.skips_first_norm();
        let (of_queries, of_keys) = ([hidden, heads * head_dim], [hidden, kv_heads * head_dim]);
        let (qkv, inner) = (config.qkv_bias, config.inner_bias);
        let head_norm = |builder: &mut Builder<'_, B>, part: &str| {
            rms_norm(builder, kin, &name(part), head_dim, config.norm_eps)
        };
        Ok(Self {
            before_attention: norm(builder, "input_layernorm", before && !is_first)?,
            query: map(builder, "self_attn.q_proj", of_queries, qkv)?,
            key: map(builder, "self_attn.k_proj", of_keys, qkv)?,
            value: map(builder, "self_attn.v_proj", of_keys, qkv)?,
            head_norms: if kin.norms_heads() {
                let of_queries = head_norm(builder, "self_attn.q_norm")?;
                Some([of_queries, head_norm(builder, "self_attn.k_norm")?])
            } else {
                None
            },
            attention_output: map(
                builder,
                "self_attn.o_proj",
                [heads * head_dim, hidden],
                config.attention_output_bias,
            )?,
            after_attention: norm(builder, "post_attention_layernorm", after)?,
            before_feed_forward: norm(builder, "pre_feedforward_layernorm", before)?,
            gate: map(builder, "mlp.gate_proj", [hidden, intermediate], inner)?,
            up: map(builder, "mlp.up_proj", [hidden, intermediate], inner)?,
            down: map(builder, "mlp.down_proj", [intermediate, hidden], config.outer_bias)?,
            after_feed_forward: norm(builder, "post_feedforward_layernorm", after)?,
        })
    }

    /// Queries, keys and values side by side, `[rows, (heads + 2 · kv_heads) · head_dim]`.
    fn project(&self, x: Tensor<B, 2>, head_dim: usize, pass: Pass<'_, B>) -> Tensor<B, 2> {
        let Some([of_queries, of_keys]) = &self.head_norms else {
            return linear(x, [&self.query, &self.key, &self.value], None, Some(pass));
        };
        let normed = |map: &Linear<B>, norm: &RmsNorm<B>| {
            let y = map.forward_in(x.clone(), pass);
            let [rows, width] = y.dims();
            let heads = y.reshape([rows * width / head_dim, head_dim]);
            norm.forward(heads).reshape([rows, width])
        };
        let queries = normed(&self.query, of_queries);
        let keys = normed(&self.key, of_keys);
        Tensor::cat(vec![queries, keys, self.value.forward_in(x, pass)], 1)
    }
}

/// All layers, and the norm after them.
#[derive(Module, Debug)]
pub struct RotaryStack<B: Backend> {
    layers: Vec<RotaryLayer<B>>,
    final_norm: Option<Norm<B>>,
    #[module(skip)]
    config: RotaryConfig,
}

impl<B: Backend> RotaryStack<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &RotaryConfig,
    ) -> Result<Self, ModelError> {
        let layers = (0..config.layers)
            .map(|layer| RotaryLayer::new(builder, config, layer))
            .collect::<Result<_, _>>()?;
        builder.part(Part::FinalNorm);
        let ends = config.kin.norms() != Norms::After;
        let final_norm = ends.then(|| norm(builder, config, "norm", config.hidden)).transpose()?;
        Ok(Self { layers, final_norm, config: config.clone() })
    }

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// What some layers make of hidden states, `[rows, hidden]`; the norm after the last one is part
    /// of it.
    pub(crate) fn forward(
        &self,
        layers: Range<usize>,
        mut x: Tensor<B, 2>,
        pass: Pass<'_, B>,
    ) -> Tensor<B, 2> {
        let Pass { layout, dropout, .. } = pass;
        let config = &self.config;
        let turns =
            |base, scaling| Turns::new(&Frequencies::new(config.head_dim, base, scaling), layout);
        let global = turns(config.rotary_base, config.rotary_scaling);
        let has_local = layers.clone().any(|layer| config.is_local(layer));
        let local = has_local.then(|| turns(config.local_rotary_base, config.local_scaling()));
        let is_last = layers.end == self.depth();
        for i in layers {
            let is_local = config.is_local(i);
            let turns = local.as_ref().filter(|_| is_local).unwrap_or(&global);
            let window = config.window.filter(|_| is_local);
            let sight = Sight { is_causal: config.is_causal, window };
            x = self.layer(&self.layers[i], x, pass, (turns, sight), |operation, rate| {
                DropoutSite::new(dropout, i + 1, operation, rate)
            });
        }
        match &self.final_norm {
            Some(norm) if is_last => norm.forward(x),
            _ => x,
        }
    }

    fn layer(
        &self,
        layer: &RotaryLayer<B>,
        x: Tensor<B, 2>,
        pass: Pass<'_, B>,
        (turns, sight): (&Turns, Sight),
        site: impl Fn(u64, f64) -> Option<DropoutSite>,
    ) -> Tensor<B, 2> {
        let layout = pass.layout;
        let RotaryConfig { heads, kv_heads, head_dim, activation, dropout, .. } = self.config;
        let normed = |norm: &Option<Norm<B>>, x: Tensor<B, 2>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let projected = layer.project(normed(&layer.before_attention, x.clone()), head_dim, pass);
        let attention = Attention {
            layout,
            heads,
            kv_heads,
            scale: (self.config.score_dim.unwrap_or(head_dim) as f64).powf(-0.5),
            distance_bias: None,
            sight,
            dropout: site(site::ATTENTION, self.config.attention_dropout),
        };
        let turned = turn(projected, turns, heads + kv_heads);
        let attended = (pass.attend)(attention, turned);
        let branch = layer.attention_output.forward_in(attended, pass);
        let place = site(site::ATTENTION_OUTPUT, dropout);
        let x = self.join(branch, x, layer.after_attention.as_ref(), place, layout);

        let inner = normed(&layer.before_feed_forward, x.clone());
        let inner = gate(linear(inner, [&layer.gate, &layer.up], None, Some(pass)), activation);
        let inner = drop(inner, site(site::INNER, dropout), layout);
        let branch = layer.down.forward_in(inner, pass);
        let place = site(site::FEED_FORWARD, dropout);
        self.join(branch, x, layer.after_feed_forward.as_ref(), place, layout)
    }

    /// A block's output and its residual.
    fn join(
        &self,
        branch: Tensor<B, 2>,
        residual: Tensor<B, 2>,
        after: Option<&Norm<B>>,
        dropout: Option<DropoutSite>,
        layout: &Layout,
    ) -> Tensor<B, 2> {
        match (self.config.kin.norms(), after) {
            (Norms::After, Some(norm)) => norm.forward_sum(branch, residual, dropout, layout),
            (Norms::Around, Some(norm)) => residual + drop(norm.forward(branch), dropout, layout),
            _ => residual + drop(branch, dropout, layout),
        }
    }
}
