//! T5's decoder: each token attends to those before it and to the encoder's states.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::block::{AttentionBlock, FeedForwardBlock, Sites, site};
use super::relative_positions;
use crate::blocks::dropout::{Dropout, DropoutSite};
use crate::blocks::layout::{Layout, index};
use crate::blocks::ops::{RmsNorm, drop};
use crate::blocks::pass::Pass;
use crate::blocks::relative_positions::RelativePositions;
use crate::config::T5Config;
use crate::error::ModelError;
use crate::parameter::Builder;
use crate::part::Part;

/// One layer of the decoder.
#[derive(Module, Debug)]
pub(crate) struct DecoderLayer<B: Backend> {
    attention: AttentionBlock<B>,
    memory: AttentionBlock<B>,
    feed_forward: FeedForwardBlock<B>,
}

impl<B: Backend> DecoderLayer<B> {
    fn new(
        builder: &mut Builder<'_, B>,
        config: &T5Config,
        layer: usize,
    ) -> Result<Self, ModelError> {
        builder.part(Part::Layer(config.layers + layer));
        let name = |block: usize| format!("decoder.block.{layer}.layer.{block}");
        Ok(Self {
            attention: AttentionBlock::new(builder, config, &name(0), "SelfAttention")?,
            memory: AttentionBlock::new(builder, config, &name(1), "EncDecAttention")?,
            feed_forward: FeedForwardBlock::new(builder, config, &name(2))?,
        })
    }
}

/// All layers of the decoder, the relative positions they share, and the norm after them.
#[derive(Module, Debug)]
pub(crate) struct Decoder<B: Backend> {
    positions: RelativePositions<B>,
    layers: Vec<DecoderLayer<B>>,
    final_norm: RmsNorm<B>,
    #[module(skip)]
    config: T5Config,
}

impl<B: Backend> Decoder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &T5Config,
        layers: usize,
    ) -> Result<Self, ModelError> {
        builder.part(Part::Layer(config.layers));
        let positions = relative_positions(builder, config, "decoder", 0)?;
        let layers = (0..layers)
            .map(|layer| DecoderLayer::new(builder, config, layer))
            .collect::<Result<_, _>>()?;
        builder.part(Part::FinalNorm);
        let (hidden, eps) = (config.hidden, config.norm_eps);
        let final_norm = RmsNorm::new(builder, "decoder.final_layer_norm", hidden, eps, false)?;
        Ok(Self { positions, layers, final_norm, config: config.clone() })
    }

    /// Embedded tokens → states, `[rows, hidden]`, all tokens of the texts at once. `memory` holds
    /// the encoder's states of as many texts.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<B, 2>,
        layout: &Layout,
        memory: (Tensor<B, 2>, &Layout),
        dropout: Option<Dropout>,
    ) -> Tensor<B, 2> {
        let pass = Pass::new(layout, dropout);
        let bias = self.positions.distances(layout.longest());
        let rate = self.config.dropout;
        for (i, layer) in self.layers.iter().enumerate() {
            let sites = Sites { pass, layer: i + 1, rate };
            x = layer.attention.forward(x, bias.clone(), true, sites);
            x = layer.memory.forward_to(x, memory.clone(), sites);
            x = layer.feed_forward.forward(x, sites);
        }
        let x = self.final_norm.forward(x);
        let last = self.layers.len() + 1;
        drop(x, DropoutSite::new(dropout, last, site::HIDDEN, rate), layout)
    }

    /// What [`step`](Self::step) starts from: the keys and values of the encoder's states.
    pub(crate) fn start(&self, (memory, layout): (Tensor<B, 2>, &Layout)) -> Cache<B> {
        let (texts, seq) = (layout.batch(), layout.seq().unwrap_or_else(|| layout.longest()));
        let memory = match layout.seq() {
            Some(_) => memory,
            None => memory.clone().select(0, padded_rows(layout, seq, &memory.device())),
        };
        let (heads, dim) = (self.config.heads, self.config.head_dim);
        let layers = self.layers.iter().map(|layer| {
            let x = layer.memory.keys_and_values(memory.clone());
            // [2, texts, heads, seq, dim]
            let x = x.reshape([texts, seq, 2, heads, dim]).permute([2, 0, 3, 1, 4]);
            let part = |i: usize| x.clone().narrow(0, i, 1).reshape([texts, heads, seq, dim]);
            LayerCache { own: None, memory: (part(0), part(1)) }
        });
        let lengths = layout.lengths();
        let is_padding: Vec<bool> =
            lengths.iter().flat_map(|&length| (0..seq).map(move |at| at >= length)).collect();
        let padding = is_padding.contains(&true).then(|| {
            let data = TensorData::new(is_padding, [texts, 1, 1, seq]);
            Tensor::from_data(data, &memory.device())
        });
        Cache { layers: layers.collect(), tokens: 0, texts, padding }
    }

    /// The states of one more token of every hypothesis, `[rows, hidden]` → `[rows, hidden]`.
    ///
    /// The rows are the hypotheses of the first text, then those of the second, and so on, as many
    /// for each.
    pub(crate) fn step(&self, mut x: Tensor<B, 2>, cache: &mut Cache<B>) -> Tensor<B, 2> {
        let [rows, _] = x.dims();
        let (heads, dim) = (self.config.heads, self.config.head_dim);
        let tokens = cache.tokens + 1;
        let bias = self.positions.before(cache.tokens);
        let bias: Tensor<B, 4> = bias.swap_dims(0, 1).reshape([1, heads, 1, tokens]);
        for (layer, cached) in self.layers.iter().zip(&mut cache.layers) {
            let parts = layer.attention.project(x.clone()).reshape([rows, 3, heads, dim]);
            let part = |i: usize| parts.clone().narrow(1, i, 1).reshape([rows, heads, 1, dim]);
            let (keys, values) = match cached.own.take() {
                None => (part(1), part(2)),
                Some((keys, values)) => {
                    (Tensor::cat(vec![keys, part(1)], 2), Tensor::cat(vec![values, part(2)], 2))
                }
            };
            let scores = part(0).matmul(keys.clone().transpose()) + bias.clone();
            let attended = softmax(scores, 3).matmul(values.clone());
            cached.own = Some((keys, values));
            x = layer.attention.add(x, attended.reshape([rows, heads * dim]));

            let (keys, values) = cached.memory.clone();
            let hypotheses = rows / cache.texts;
            let queries = layer.memory.queries(x.clone());
            let queries = queries.reshape([cache.texts, hypotheses, heads, dim]).swap_dims(1, 2);
            let mut scores = queries.matmul(keys.transpose());
            if let Some(padding) = &cache.padding {
                let padding = padding.clone().expand(scores.shape());
                scores = scores.mask_fill(padding, f64::NEG_INFINITY);
            }
            let attended = softmax(scores, 3).matmul(values).swap_dims(1, 2);
            x = layer.memory.add(x, attended.reshape([rows, heads * dim]));
            x = layer.feed_forward.step(x);
        }
        cache.tokens = tokens;
        self.final_norm.forward(x)
    }
}

/// Keys and values of what was decoded so far, and of the encoder's states.
#[derive(Clone, Debug)]
pub(crate) struct Cache<B: Backend> {
    layers: Vec<LayerCache<B>>,
    /// Tokens decoded.
    tokens: usize,
    /// Texts that are answered.
    texts: usize,
    /// True where a token of the memory is padding, `[texts, 1, 1, seq]`.
    padding: Option<Tensor<B, 4, Bool>>,
}

/// Keys, then values.
type KeysAndValues<B> = (Tensor<B, 4>, Tensor<B, 4>);

#[derive(Clone, Debug)]
struct LayerCache<B: Backend> {
    /// `[rows, heads, tokens, head_dim]`, from the first token on.
    own: Option<KeysAndValues<B>>,
    /// `[texts, heads, seq, head_dim]`
    memory: KeysAndValues<B>,
}

impl<B: Backend> Cache<B> {
    /// Lets row i go on from what row `parents[i]` was; both are hypotheses of one text.
    pub(crate) fn reorder(&mut self, parents: &[usize]) {
        for layer in &mut self.layers {
            layer.own = layer.own.take().map(|(keys, values)| {
                let parents: Vec<i32> = parents.iter().copied().map(index).collect();
                let shape = [parents.len()];
                let parents: Tensor<B, 1, Int> =
                    Tensor::from_data(TensorData::new(parents, shape), &keys.device());
                (keys.select(0, parents.clone()), values.select(0, parents))
            });
        }
    }
}

/// The row of every token of a packed layout once it is padded to `seq`; padding repeats a row.
fn padded_rows<B: Backend>(layout: &Layout, seq: usize, device: &B::Device) -> Tensor<B, 1, Int> {
    let row = |span: std::ops::Range<usize>| {
        (0..seq).map(move |at| index(span.start + at.min(span.len() - 1)))
    };
    let rows: Vec<i32> = layout.spans().flat_map(row).collect();
    let shape = [rows.len()];
    Tensor::from_data(TensorData::new(rows, shape), device)
}
