//! BERT's token embedder and layers (Devlin et al. 2018, arXiv:1810.04805) and those of its kin, which
//! differ in details: RoBERTa (Liu et al. 2019, arXiv:1907.11692), MiniLM, DistilBERT (Sanh et al.
//! 2019, arXiv:1910.01108), MPNet (Song et al. 2020, arXiv:2004.09297), ELECTRA (Clark et al. 2020,
//! arXiv:2003.10555) and Jina's BERT with ALiBi (Günther et al. 2023, arXiv:2310.19923).
//!
//! Names of parameters are those of BERT's checkpoints, weights keep their layout.

pub(crate) mod config;
pub(crate) mod files;

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use self::config::{BertConfig, BertKin};
use crate::blocks::alibi;
use crate::blocks::attention::Attention;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::layout::Layout;
use crate::blocks::ops::{LayerNorm, Linear, drop, embed, gate, linear};
use crate::blocks::pass::Pass;
use crate::blocks::relative_positions::{Classes, RelativePositions};
use crate::blocks::sight::Sight;
use crate::error::ModelError;
use crate::parameter::{Builder, Init};
use crate::part::Part;

/// The standard deviation of every weight of a new BERT.
const INIT: Init = Init::Normal(0.02);

/// Classes of MPNet's relative positions.
const RELATIVE_BUCKETS: usize = 32;
/// Distance, in tokens, from which they share a class.
const RELATIVE_MAX_DISTANCE: usize = 128;

/// Dropout sites; the embedder's layer is 0, the first transformer layer's 1.
mod site {
    pub(super) const HIDDEN: u64 = 0;
    pub(super) const ATTENTION: u64 = 1;
    pub(super) const ATTENTION_OUTPUT: u64 = 2;
    pub(super) const FEED_FORWARD: u64 = 3;
    pub(super) const INNER: u64 = 4;
}

/// Words, positions and types to hidden states.
#[derive(Module, Debug)]
pub struct BertEmbedder<B: Backend> {
    words: Param<Tensor<B, 2>>,
    positions: Option<Param<Tensor<B, 2>>>,
    token_types: Option<Param<Tensor<B, 2>>>,
    norm: LayerNorm<B>,
    // From the tables' width to the layers'.
    projection: Option<Linear<B>>,
    position_offset: usize,
    dropout: f64,
}

impl<B: Backend> BertEmbedder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &BertConfig,
    ) -> Result<Self, ModelError> {
        let width = config.embedding_size.unwrap_or(config.hidden);
        builder.part(Part::Embedder);
        let mut table = |name: &str, rows| {
            builder.tensor(&format!("embeddings.{name}_embeddings.weight"), [rows, width], INIT)
        };
        let words = table("word", config.vocab_size)?;
        let has_positions = config.kin.has_position_table();
        let positions =
            has_positions.then(|| table("position", config.max_positions)).transpose()?;
        let has_types = config.token_types > 0;
        let token_types = has_types.then(|| table("token_type", config.token_types)).transpose()?;
        let norm = LayerNorm::new(builder, "embeddings.LayerNorm", width, config.norm_eps, true)?;
        let projects = width != config.hidden;
        let sizes = [width, config.hidden];
        let projection = projects
            .then(|| Linear::new(builder, "embeddings_project", sizes, INIT, true))
            .transpose()?;
        Ok(Self {
            words,
            positions,
            token_types,
            norm,
            projection,
            position_offset: config.position_offset,
            dropout: config.dropout,
        })
    }

    /// The table of words.
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// The row of the position table of every token. Where positions start behind the padding's id, a
    /// token of that id within a text has that row and none follows from it, as in transformers.
    fn rows_of_positions(&self, ids: &[usize], layout: &Layout) -> Vec<usize> {
        let positions = layout.positions();
        let Some(pad) = self.position_offset.checked_sub(1) else { return positions };
        let mut row = pad;
        let rows = ids.iter().zip(positions).map(|(&id, position)| {
            if position == 0 {
                row = pad;
            }
            if id == pad {
                return pad;
            }
            row += 1;
            row
        });
        rows.collect()
    }

    /// Token ids and types (0 if none are given) of every row → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        ids: Vec<usize>,
        types: Option<Vec<usize>>,
        pass: Pass<'_, B>,
    ) -> Tensor<B, 2> {
        let Pass { layout, dropout, .. } = pass;
        let positions = self.rows_of_positions(&ids, layout);
        let types = types.unwrap_or_else(|| vec![0; ids.len()]);
        let words = self.words.val();
        let x = match (&self.positions, &self.token_types) {
            (Some(at), Some(of)) => embed([words, at.val(), of.val()], [ids, positions, types]),
            (Some(at), None) => embed([words, at.val()], [ids, positions]),
            (None, Some(of)) => embed([words, of.val()], [ids, types]),
            (None, None) => embed([words], [ids]),
        };
        let site = DropoutSite::new(dropout, 0, site::HIDDEN, self.dropout);
        let x = drop(self.norm.forward(x), site, layout);
        match &self.projection {
            Some(projection) => projection.forward_in(x, pass),
            None => x,
        }
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
    // What the intermediate map gates, where it does.
    gated: Option<Linear<B>>,
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
        let is_gated = config.kin.is_gated();
        let inside = |builder: &mut Builder<'_, B>, part: &str| {
            Linear::new(builder, &name(part), [hidden, inner], INIT, !is_gated)
        };
        let norm = |builder: &mut Builder<'_, B>, part: &str| {
            LayerNorm::new(builder, &name(part), hidden, eps, true)
        };
        Ok(Self {
            query: linear(builder, "attention.self.query", [hidden, hidden])?,
            key: linear(builder, "attention.self.key", [hidden, hidden])?,
            value: linear(builder, "attention.self.value", [hidden, hidden])?,
            attention_output: linear(builder, "attention.output.dense", [hidden, hidden])?,
            attention_norm: norm(builder, "attention.output.LayerNorm")?,
            intermediate: inside(builder, "intermediate.dense")?,
            gated: is_gated.then(|| inside(builder, "intermediate.gated")).transpose()?,
            output: linear(builder, "output.dense", [inner, hidden])?,
            output_norm: norm(builder, "output.LayerNorm")?,
        })
    }
}

/// All transformer layers.
#[derive(Module, Debug)]
pub struct BertStack<B: Backend> {
    // Of MPNet.
    relative_positions: Option<RelativePositions<B>>,
    layers: Vec<BertLayer<B>>,
    #[module(skip)]
    config: BertConfig,
}

impl<B: Backend> BertStack<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &BertConfig,
    ) -> Result<Self, ModelError> {
        builder.part(Part::Layer(0));
        let classes = Classes {
            buckets: RELATIVE_BUCKETS,
            furthest: RELATIVE_MAX_DISTANCE,
            looks_ahead: true,
        };
        let name = "encoder.relative_attention_bias";
        let relative_positions = (config.kin == BertKin::Mpnet)
            .then(|| RelativePositions::new(builder, name, config.heads, INIT, classes))
            .transpose()?;
        let layers = (0..config.layers)
            .map(|layer| BertLayer::new(builder, config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Self { relative_positions, layers, config: config.clone() })
    }

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// What some layers make of hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        layers: Range<usize>,
        mut x: Tensor<B, 2>,
        pass: Pass<'_, B>,
    ) -> Tensor<B, 2> {
        let Pass { layout, dropout, .. } = pass;
        let bias = match &self.relative_positions {
            Some(positions) => Some(positions.distances(layout.longest())),
            None if self.config.kin == BertKin::JinaBert => {
                let device = (&x.device(), x.dtype());
                Some(alibi::distances(self.config.heads, layout.longest(), device))
            }
            None => None,
        };
        for i in layers {
            x = self.layer(&self.layers[i], x, pass, bias.clone(), |operation, rate| {
                DropoutSite::new(dropout, i + 1, operation, rate)
            });
        }
        x
    }

    fn layer(
        &self,
        layer: &BertLayer<B>,
        x: Tensor<B, 2>,
        pass: Pass<'_, B>,
        distance_bias: Option<Tensor<B, 2>>,
        site: impl Fn(u64, f64) -> Option<DropoutSite>,
    ) -> Tensor<B, 2> {
        let layout = pass.layout;
        let BertConfig { hidden, heads, activation, dropout, attention_dropout, .. } = self.config;
        let attention = Attention {
            layout,
            heads,
            kv_heads: heads,
            scale: ((hidden / heads) as f64).powf(-0.5),
            distance_bias,
            sight: Sight::default(),
            dropout: site(site::ATTENTION, attention_dropout),
        };
        let parts = [&layer.query, &layer.key, &layer.value];
        let attended = (pass.attend)(attention, linear(x.clone(), parts, None, Some(pass)));
        let attended = layer.attention_output.forward_in(attended, pass);
        let site_here = site(site::ATTENTION_OUTPUT, dropout);
        let x = layer.attention_norm.forward_sum(attended, x, site_here, layout);
        let inner = match &layer.gated {
            None => linear(x.clone(), [&layer.intermediate], Some(activation), Some(pass)),
            Some(gated) => {
                let both = linear(x.clone(), [&layer.intermediate, gated], None, Some(pass));
                drop(gate(both, activation), site(site::INNER, dropout), layout)
            }
        };
        let output = layer.output.forward_in(inner, pass);
        layer.output_norm.forward_sum(output, x, site(site::FEED_FORWARD, dropout), layout)
    }
}
