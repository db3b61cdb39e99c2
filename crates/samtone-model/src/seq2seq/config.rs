//! The shape of an encoder-decoder, and how it generates.

use serde::{Deserialize, Serialize};

use crate::config::T5Config;
use crate::error::ModelError;

/// An encoder-decoder: the sizes both stacks share, the decoder's layers and its head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seq2SeqConfig {
    /// Sizes of the encoder; the decoder's are the same.
    pub encoder: T5Config,
    /// Transformer layers of the decoder.
    pub decoder_layers: usize,
    /// How the decoder's states become scores of words.
    pub head: Head,
    /// The id that decoding starts from.
    pub start_id: u32,
    /// The id that ends a text.
    pub end_id: u32,
}

/// How the decoder's states become scores of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// By the token embedder's table, after scaling by `hidden^-½`: version 1.0.
    TiedScaled,
    /// By the token embedder's table as it is.
    Tied,
    /// By a table of its own: version 1.1.
    #[default]
    Own,
}

impl Default for Seq2SeqConfig {
    /// t5.1.1-small.
    fn default() -> Self {
        let encoder = T5Config::default();
        Self { decoder_layers: encoder.layers, encoder, head: Head::Own, start_id: 0, end_id: 1 }
    }
}

impl Seq2SeqConfig {
    /// Checks that a model of this shape can exist.
    ///
    /// # Errors
    /// The first key with an impossible value.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.encoder.validate()?;
        let wrong = |key, got: u32, expected| {
            Err(ModelError::Config { key, got: got.to_string(), expected })
        };
        if self.decoder_layers == 0 {
            return wrong("decoder_layers", 0, "at least 1");
        }
        for (key, id) in [("start_id", self.start_id), ("end_id", self.end_id)] {
            if id as usize >= self.encoder.vocab_size {
                return wrong(key, id, "an id below `vocab_size`");
            }
        }
        Ok(())
    }
}

/// How texts are generated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoding {
    /// Most tokens of a generated text, the end included.
    pub max_tokens: usize,
    /// Hypotheses kept; 1 is greedy decoding.
    pub beams: usize,
    /// A finished hypothesis scores `Σ ln p / tokens^length_penalty`.
    pub length_penalty: f64,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { max_tokens: 32, beams: 1, length_penalty: 1.0 }
    }
}
