//! T5 whole: an encoder reads a text, a decoder writes another.

mod beam;
mod config;
mod hugging_face;
mod model;
mod text_to_text;

pub use self::config::{Decoding, Head, Seq2SeqConfig};
pub use self::model::Seq2Seq;
pub use self::text_to_text::TextToText;
