//! T5's encoder layers.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::block::{AttentionBlock, FeedForwardBlock, Sites, site};
use super::relative_positions;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::ops::{RmsNorm, drop};
use crate::blocks::pass::Pass;
use crate::blocks::relative_positions::RelativePositions;
use crate::config::T5Config;
use crate::error::ModelError;
use crate::parameter::Builder;
use crate::part::Part;

/// One layer of the encoder.
#[derive(Module, Debug)]
pub(crate) struct EncoderLayer<B: Backend> {
    attention: AttentionBlock<B>,
    feed_forward: FeedForwardBlock<B>,
}

/// All layers of the encoder, the relative positions that they share or that each has, and the norm
/// after them.
#[derive(Module, Debug)]
pub struct T5Stack<B: Backend> {
    positions: Vec<RelativePositions<B>>,
    layers: Vec<EncoderLayer<B>>,
    final_norm: RmsNorm<B>,
    dropout: f64,
}

impl<B: Backend> T5Stack<B> {
    pub(crate) fn new(builder: &mut Builder<'_, B>, config: &T5Config) -> Result<Self, ModelError> {
        let tables = if config.kin.positions_of_each_layer() { config.layers } else { 1 };
        let positions = (0..tables)
            .map(|layer| {
                builder.part(Part::Layer(layer));
                relative_positions(builder, config, "encoder", layer)
            })
            .collect::<Result<_, _>>()?;
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            builder.part(Part::Layer(layer));
            let name = |block: usize| format!("encoder.block.{layer}.layer.{block}");
            layers.push(EncoderLayer {
                attention: AttentionBlock::new(builder, config, &name(0), "SelfAttention")?,
                feed_forward: FeedForwardBlock::new(builder, config, &name(1))?,
            });
        }
        builder.part(Part::FinalNorm);
        let (hidden, eps) = (config.hidden, config.norm_eps);
        let final_norm = RmsNorm::new(builder, "encoder.final_layer_norm", hidden, eps, false)?;
        Ok(Self { positions, layers, final_norm, dropout: config.dropout })
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
        let biases: Vec<_> =
            self.positions.iter().map(|table| table.distances(layout.longest())).collect();
        let rate = self.dropout;
        let is_last = layers.end == self.depth();
        for i in layers {
            let layer = &self.layers[i];
            let sites = Sites { pass, layer: i + 1, rate };
            let bias = biases[i.min(biases.len() - 1)].clone();
            x = layer.attention.forward(x, bias, false, sites);
            x = layer.feed_forward.forward(x, sites);
        }
        if !is_last {
            return x;
        }
        let x = self.final_norm.forward(x);
        let last = self.layers.len() + 1;
        drop(x, DropoutSite::new(dropout, last, site::HIDDEN, rate), layout)
    }
}
