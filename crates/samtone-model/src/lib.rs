//! Dual encoders on Burn: token batches to embeddings; cross-encoders, which score pairs of texts; and
//! T5 whole, which writes texts.
//!
//! [`DualEncoder`] is two towers (encoder → pooling → projection → L2 norm) and how they share
//! parameters: token batches go in. Encoders are BERT and its kin, T5's encoder, and those with rotary
//! positions, from ModernBERT to Qwen3. [`Retriever`] is that
//! with its tokenizer and the settings of each side: texts go in. [`ModelFolder`] opens what Hugging
//! Face, sentence-transformers or samtone wrote, and [`Retriever::save`] writes what
//! sentence-transformers opens. [`AdapterConfig`] puts adapters of low rank (LoRA) on an encoder, in
//! PEFT's folders; [`Freeze`] says what else is not trained. [`CrossEncoder`] reads a query and a
//! document together and scores them.
//!
//! This crate knows neither contrastive losses nor optimisers; it reads text only where a model folder
//! brings its tokenizer.
//!
//! # Features
//!
//! Tensors are Burn's, of one version: `burn = { version = "=0.21.0", features = ["flex"] }`.
//!
//! - `flex` (default): fused operations for f32 and bf16 tensors of the Flex backend, which leave
//!   padding out. Every other backend and type takes tensor operations.
//! - `seq2seq`: `Seq2Seq`, T5's encoder with its decoder, and `TextToText`, that with its tokenizer.

#![cfg_attr(
    not(feature = "seq2seq"),
    allow(dead_code, unused_imports, reason = "what T5's decoder alone uses of the blocks")
)]

mod adapter;
mod arch;
mod blocks;
mod config;
mod cross_encoder;
mod dual_encoder;
mod error;
mod folder;
#[cfg(feature = "flex")]
mod kernel;
mod length_batches;
mod memory;
mod parameter;
mod part;
mod precision;
mod projection;
mod recompute;
mod retriever;
#[cfg(feature = "seq2seq")]
mod seq2seq;
mod side;
mod visit;

pub use adapter::{AdapterBias, AdapterConfig, Targets};
pub use blocks::dropout::Dropout;
pub use blocks::rotary::RotaryScaling;
pub use config::{
    Activation, BertConfig, BertKin, DualEncoderConfig, EncoderConfig, Freeze, Pooling, Poolings,
    RotaryConfig, RotaryKin, Sharing, Similarity, StaticConfig, T5Config, T5Kin,
};
pub use cross_encoder::CrossEncoder;
pub use dual_encoder::DualEncoder;
pub use error::ModelError;
pub use folder::SideSettings;
pub use folder::checkpoint::{Checkpoint, HostTensor};
pub use folder::model_folder::ModelFolder;
pub use memory::{LayerFloats, keep_freed_memory};
pub use parameter::Parameter;
pub use part::Part;
pub use precision::Precision;
pub use projection::{DenseActivation, DenseLayer, DenseLayers};
pub use recompute::LayerInputs;
pub use retriever::Retriever;
#[cfg(feature = "seq2seq")]
pub use seq2seq::{Decoding, Head, Seq2Seq, Seq2SeqConfig, TextToText};
pub use side::Side;
pub use visit::{DeadParameter, GradientFault};
