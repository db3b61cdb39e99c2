//! Token ids to hidden states: a file or folder an architecture, and the two enums that hold them.

pub(crate) mod bert;
pub(crate) mod rotary;
pub(crate) mod static_table;
pub(crate) mod t5;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use samtone_text::TokenBatch;

use crate::arch::bert::{BertEmbedder, BertStack};
use crate::arch::rotary::{RotaryEmbedder, RotaryStack};
use crate::arch::static_table::StaticEmbedder;
use crate::arch::t5::{T5Embedder, T5Stack};
use crate::blocks::layout::Layout;
use crate::blocks::ops::{layout, skips_padding};
use crate::blocks::pass::Pass;
use crate::config::EncoderConfig;
use crate::error::ModelError;
use crate::parameter::Builder;

/// The whole embedding module of an encoder: the part that `ade-ste` shares and `ade-fte` freezes.
#[expect(clippy::large_enum_variant, reason = "a model holds one or two of them")]
#[derive(Module, Debug)]
pub enum TokenEmbedder<B: Backend> {
    /// Words, positions, types and their norm.
    Bert(BertEmbedder<B>),
    /// The table.
    T5(T5Embedder<B>),
    /// Words, types and their norm, where there are any.
    Rotary(RotaryEmbedder<B>),
    /// The table.
    Static(StaticEmbedder<B>),
}

impl<B: Backend> TokenEmbedder<B> {
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &EncoderConfig,
    ) -> Result<Self, ModelError> {
        Ok(match config {
            EncoderConfig::Bert(bert) => Self::Bert(BertEmbedder::new(builder, bert)?),
            EncoderConfig::T5(t5) => Self::T5(T5Embedder::new(builder, t5)?),
            EncoderConfig::Rotary(rotary) => Self::Rotary(RotaryEmbedder::new(builder, rotary)?),
            EncoderConfig::Static(table) => Self::Static(StaticEmbedder::new(builder, table)?),
        })
    }

    /// How the encoder wants the tokens of a batch to lie: packed, where the operations can.
    pub(crate) fn layout(&self, batch: &TokenBatch) -> Layout {
        layout(batch, &self.words())
    }

    /// Whether the operations can leave padding out.
    pub(crate) fn skips_padding(&self) -> bool {
        skips_padding(&self.words())
    }

    fn words(&self) -> Tensor<B, 2> {
        match self {
            Self::Bert(bert) => bert.words(),
            Self::T5(t5) => t5.words(),
            Self::Rotary(rotary) => rotary.words(),
            Self::Static(table) => table.words(),
        }
    }

    pub(crate) fn forward(&self, batch: &TokenBatch, pass: Pass<'_, B>) -> Tensor<B, 2> {
        let ids = pass.layout.ids(batch);
        match self {
            Self::Bert(bert) => bert.forward(ids, None, pass),
            Self::T5(t5) => t5.forward(ids, pass),
            Self::Rotary(rotary) => rotary.forward(ids, pass),
            Self::Static(table) => table.forward(ids),
        }
    }
}

/// The transformer layers of an encoder.
#[expect(clippy::large_enum_variant, reason = "a model has one or two")]
#[derive(Module, Debug)]
pub enum Stack<B: Backend> {
    /// Norm after each block.
    Bert(BertStack<B>),
    /// Norm before each block, relative positions.
    T5(T5Stack<B>),
    /// Rotary positions.
    Rotary(RotaryStack<B>),
}

impl<B: Backend> Stack<B> {
    /// None: the encoder has no layers.
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        config: &EncoderConfig,
    ) -> Result<Option<Self>, ModelError> {
        Ok(match config {
            EncoderConfig::Bert(bert) => Some(Self::Bert(BertStack::new(builder, bert)?)),
            EncoderConfig::T5(t5) => Some(Self::T5(T5Stack::new(builder, t5)?)),
            EncoderConfig::Rotary(rotary) => Some(Self::Rotary(RotaryStack::new(builder, rotary)?)),
            EncoderConfig::Static(_) => None,
        })
    }

    /// How many layers there are.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.depth(),
            Self::T5(t5) => t5.depth(),
            Self::Rotary(rotary) => rotary.depth(),
        }
    }

    /// What some layers, one after the other, make of hidden states, `[rows, hidden]`.
    pub(crate) fn forward(
        &self,
        layers: Range<usize>,
        x: Tensor<B, 2>,
        pass: Pass<'_, B>,
    ) -> Tensor<B, 2> {
        match self {
            Self::Bert(bert) => bert.forward(layers, x, pass),
            Self::T5(t5) => t5.forward(layers, x, pass),
            Self::Rotary(rotary) => rotary.forward(layers, x, pass),
        }
    }
}
