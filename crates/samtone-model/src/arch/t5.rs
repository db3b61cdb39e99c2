//! T5's token embedder, encoder and decoder, versions 1.0 (Raffel et al. 2020, arXiv:1910.10683)
//! and 1.1 (gated GELU), mT5 (Xue et al. 2021, arXiv:2010.11934) and UMT5 (Chung et al. 2023,
//! arXiv:2304.09151).
//!
//! Names are those of Hugging Face's checkpoints, weights keep their layout.

mod block;
pub(crate) mod config;
#[cfg(feature = "seq2seq")]
mod decoder;
mod encoder;
pub(crate) mod files;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

#[cfg(feature = "seq2seq")]
pub(crate) use self::decoder::{Cache, Decoder};
pub(crate) use self::encoder::T5Stack;

use self::block::site;
use self::config::T5Config;
use crate::blocks::dropout::DropoutSite;
use crate::blocks::ops::{Linear, drop, embed};
use crate::blocks::pass::Pass;
use crate::blocks::relative_positions::{Classes, RelativePositions};
use crate::error::ModelError;
use crate::parameter::{Builder, Init};
use crate::part::Part;

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
    pub(crate) fn words(&self) -> Tensor<B, 2> {
        self.words.val()
    }

    /// The table as a map from hidden states to the scores of words.
    pub(crate) fn tied_head(&self) -> Linear<B> {
        Linear::of_table(self.words.clone())
    }

    /// Token ids of every row → hidden states, `[rows, hidden]`.
    pub(crate) fn forward(&self, ids: Vec<usize>, pass: Pass<'_, B>) -> Tensor<B, 2> {
        let site = DropoutSite::new(pass.dropout, 0, site::HIDDEN, self.dropout);
        drop(self.rows(ids), site, pass.layout)
    }

    /// The rows of the table, `[ids, hidden]`.
    pub(crate) fn rows(&self, ids: Vec<usize>) -> Tensor<B, 2> {
        embed([self.words.val()], [ids])
    }
}

/// The relative positions of a stack, which lie in one of its layers.
fn relative_positions<B: Backend>(
    builder: &mut Builder<'_, B>,
    config: &T5Config,
    stack: &str,
    layer: usize,
) -> Result<RelativePositions<B>, ModelError> {
    let name = format!("{stack}.block.{layer}.layer.0.SelfAttention.relative_attention_bias");
    let classes = Classes {
        buckets: config.relative_buckets,
        furthest: config.relative_max_distance,
        // A decoder never does.
        looks_ahead: stack == "encoder",
    };
    let init = Init::Normal((config.hidden as f64).powf(-0.5));
    RelativePositions::new(builder, &name, config.heads, init, classes)
}
