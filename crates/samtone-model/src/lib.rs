//! Dual encoders on Burn: token batches to embeddings; and T5 whole, which writes texts.
//!
//! The principal type is [`DualEncoder`], two towers (encoder → pooling → projection → L2 norm)
//! and how they share parameters. Encoders are BERT's family and T5's encoder. [`Seq2Seq`] is T5's
//! encoder with its decoder, and [`TextToText`] that with its tokenizer. This crate knows neither
//! contrastive losses nor optimisers; it reads text only where a model folder brings its tokenizer.

mod bert;
mod checkpoint;
mod config;
mod dropout;
mod dual_encoder;
mod encoder;
mod error;
mod folder;
mod hugging_face;
#[cfg(feature = "flex")]
mod kernel;
mod layout;
mod model_folder;
mod ops;
mod parameter;
mod pooling;
mod retriever;
mod seq2seq;
mod t5;
mod text_to_text;
mod visit;

pub use checkpoint::{Checkpoint, HostTensor};
pub use config::{
    Activation, BertConfig, DualEncoderConfig, EncoderConfig, Pooling, Sharing, Side, Similarity,
    T5Config,
};
pub use dropout::Dropout;
pub use dual_encoder::DualEncoder;
pub use error::ModelError;
pub use folder::SideSettings;
pub use model_folder::ModelFolder;
pub use parameter::{Parameter, Part};
pub use retriever::Retriever;
pub use seq2seq::{Decoding, Head, Seq2Seq, Seq2SeqConfig};
pub use text_to_text::TextToText;
pub use visit::{DeadParameter, GradientFault};

/// The guide's examples run as this crate's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
struct Guide;
