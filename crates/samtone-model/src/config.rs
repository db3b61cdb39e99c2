//! What a dual encoder is made of, as the user writes it.

use std::fmt;

use samtone_text::{TextError, TextTokenizer};
use serde::{Deserialize, Serialize};

pub(crate) mod activation;
pub(crate) mod bounds;
pub(crate) mod freeze;
pub(crate) mod pooling;

pub use self::activation::Activation;
pub use self::freeze::Freeze;
pub use self::pooling::{Pooling, Poolings};
use crate::adapter::{AdapterBias, AdapterConfig};
pub use crate::arch::bert::config::{BertConfig, BertKin};
pub use crate::arch::rotary::config::{RotaryConfig, RotaryKin};
pub use crate::arch::static_table::config::StaticConfig;
pub use crate::arch::t5::config::{T5Config, T5Kin};
use crate::error::ModelError;
use crate::memory::LayerFloats;
use crate::projection::{DenseLayer, DenseLayers};

/// A dual encoder: the encoder's architecture and how its two towers are built from it.
///
/// Tower = encoder → pooling → optional projection → optional L2 norm.
///
/// # Examples
///
/// ```
/// use samtone_model::{DualEncoderConfig, Sharing};
///
/// let config: DualEncoderConfig = serde_json::from_str(
///     r#"{ "sharing": "ade-spl", "projection": 64, "encoder": { "type": "bert", "hidden": 96 } }"#,
/// )?;
/// assert_eq!(config.sharing, Sharing::AdeSpl);
/// assert_eq!(config.dim(), 64);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DualEncoderConfig {
    /// The encoder both towers are instances of.
    pub encoder: EncoderConfig,
    /// Which parameters the two towers have in common.
    pub sharing: Sharing,
    /// How a text's hidden states become one vector.
    pub pooling: Pooling,
    /// What follows pooling: a number for one bias-free linear layer; none: no projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<DenseLayers>,
    /// Whether embeddings have length 1.
    pub normalize: bool,
    /// The adapters on the encoder, whose own weights are frozen then; none: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
    /// What training leaves as it is.
    #[serde(skip_serializing_if = "Freeze::is_default")]
    pub freeze: Freeze,
}

impl Default for DualEncoderConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderConfig::default(),
            sharing: Sharing::default(),
            pooling: Pooling::default(),
            projection: None,
            normalize: true,
            adapter: None,
            freeze: Freeze::default(),
        }
    }
}

impl DualEncoderConfig {
    /// Dimensions of an embedding.
    pub fn dim(&self) -> usize {
        self.projection.as_ref().map_or_else(|| self.pooled(), DenseLayers::dim)
    }

    /// The dense layers after pooling.
    pub(crate) fn dense_layers(&self) -> &[DenseLayer] {
        self.projection.as_ref().map_or(&[], DenseLayers::layers)
    }

    /// Dimensions of what pooling hands on.
    pub(crate) fn pooled(&self) -> usize {
        self.pooling.parts().count().saturating_mul(self.encoder.hidden())
    }

    /// What is frozen, and why ever.
    pub(crate) fn frozen(&self) -> Freeze {
        Freeze {
            embeddings: self.freeze.embeddings || self.sharing.freezes_embedder(),
            base: self.freeze.base || self.adapter.is_some(),
            ..self.freeze
        }
    }

    /// Checks that a model of this shape can exist.
    ///
    /// # Errors
    /// The first key with an impossible value.
    pub fn validate(&self) -> Result<(), ModelError> {
        match &self.encoder {
            EncoderConfig::Bert(bert) => bert.validate()?,
            EncoderConfig::T5(t5) => t5.validate()?,
            EncoderConfig::Rotary(rotary) => rotary.validate()?,
            EncoderConfig::Static(table) => table.validate()?,
        }
        if self.encoder.reads_bare_texts() && self.pooling != Pooling::Mean {
            return Err(ModelError::Config {
                key: "pooling",
                got: format!("{:?}", self.pooling).to_lowercase(),
                expected: "mean for a static table",
            });
        }
        self.projection.as_ref().map_or(Ok(()), DenseLayers::validate)?;
        self.validate_training()
    }

    /// Checks that adapters and what is frozen fit the encoder.
    fn validate_training(&self) -> Result<(), ModelError> {
        let wrong = |key, got: String, expected| Err(ModelError::Config { key, got, expected });
        if self.freeze.layers > self.encoder.layers() {
            let got = self.freeze.layers.to_string();
            return wrong("freeze.layers", got, "at most the encoder's layers");
        }
        let Some(adapter) = &self.adapter else {
            return match self.sharing {
                Sharing::AdeAdapter => {
                    wrong("sharing", "ade-adapter".into(), "an `adapter` with it")
                }
                _ => Ok(()),
            };
        };
        adapter.validate()?;
        if self.freeze.layers > 0 || self.freeze.embeddings {
            let got = if self.freeze.embeddings { "embeddings" } else { "layers" };
            return wrong("freeze", got.into(), "nothing beside an `adapter`: its base is frozen");
        }
        let is_whole = adapter.bias != AdapterBias::None
            || !adapter.modules_to_save.is_empty()
            || self.freeze.train_norms;
        if self.sharing == Sharing::AdeAdapter && is_whole {
            let expected = "no bias, norm or module of the base trained: the towers share it";
            return wrong("sharing", "ade-adapter".into(), expected);
        }
        Ok(())
    }
}

/// Tokens of a text that a table reads where nobody says: as good as all, and a number that sums and
/// products of it do not leave.
pub(crate) const LONGEST_OF_TABLES: usize = 1 << 20;

/// The architecture of an encoder, with its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum EncoderConfig {
    /// BERT and its kin: RoBERTa, MiniLM, MPNet, DistilBERT, ELECTRA, ...
    Bert(BertConfig),
    /// The encoder of T5 and its kin: versions 1.0 and 1.1, mT5, UMT5.
    T5(T5Config),
    /// Encoders and decoders with rotary positions: ModernBERT, NomicBERT, GTE, Llama, Qwen3, ...
    Rotary(RotaryConfig),
    /// A table of tokens without any layer.
    Static(StaticConfig),
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::Bert(BertConfig::default())
    }
}

impl EncoderConfig {
    /// Dimensions of a hidden state.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.hidden,
            Self::T5(t5) => t5.hidden,
            Self::Rotary(rotary) => rotary.hidden,
            Self::Static(table) => table.hidden,
        }
    }

    /// Transformer layers.
    pub fn layers(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.layers,
            Self::T5(t5) => t5.layers,
            Self::Rotary(rotary) => rotary.layers,
            Self::Static(_) => 0,
        }
    }

    /// What one token keeps in a layer for the way back.
    pub fn layer_floats(&self) -> LayerFloats {
        match self {
            Self::Bert(bert) => bert.layer_floats(),
            Self::T5(t5) => t5.layer_floats(),
            Self::Rotary(rotary) => rotary.layer_floats(),
            // It has none.
            Self::Static(_) => LayerFloats { kept: 0, inputs: 0, heads: 1 },
        }
    }

    /// Ids the token embedder knows.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.vocab_size,
            Self::T5(t5) => t5.vocab_size,
            Self::Rotary(rotary) => rotary.vocab_size,
            Self::Static(table) => table.vocab_size,
        }
    }

    /// Sets the number of ids the token embedder knows (a freshly trained tokenizer's size).
    pub fn set_vocab_size(&mut self, vocab_size: usize) {
        match self {
            Self::Bert(bert) => bert.vocab_size = vocab_size,
            Self::T5(t5) => t5.vocab_size = vocab_size,
            Self::Rotary(rotary) => rotary.vocab_size = vocab_size,
            Self::Static(table) => table.vocab_size = vocab_size,
        }
    }

    /// The longest text the encoder can read, in tokens; none: any length, as it has no table of
    /// positions.
    pub fn max_tokens(&self) -> Option<usize> {
        let is_bounded = match self {
            Self::Bert(bert) => bert.kin.has_position_table(),
            Self::Rotary(rotary) => rotary.is_bounded,
            Self::T5(_) | Self::Static(_) => false,
        };
        self.usual_tokens().filter(|_| is_bounded)
    }

    /// The longest text the encoder was made for, in tokens: what texts are cut to where nobody asks for
    /// another length; none: its configuration does not say.
    pub fn usual_tokens(&self) -> Option<usize> {
        match self {
            Self::Bert(bert) => Some(bert.max_positions.saturating_sub(bert.position_offset)),
            Self::T5(_) | Self::Static(_) => None,
            Self::Rotary(rotary) => Some(rotary.max_positions),
        }
    }

    /// What texts are cut to, in tokens: `asked`, or what the encoder can read if that is less; where
    /// nobody asks what it was made for, or 512, or nothing if it is a table of tokens.
    pub(crate) fn longest_text(&self, asked: Option<usize>) -> usize {
        let asked = asked.or(self.usual_tokens()).unwrap_or(match self {
            Self::Static(_) => LONGEST_OF_TABLES,
            _ => 512,
        });
        self.max_tokens().map_or(asked, |limit| asked.min(limit))
    }

    /// Whether texts are read without special tokens, and without any become zeros.
    pub(crate) fn reads_bare_texts(&self) -> bool {
        matches!(self, Self::Static(_))
    }

    /// The tokenizer as the encoder reads texts with it.
    ///
    /// # Errors
    /// If the encoder has no embedding for a token that texts have.
    pub(crate) fn fitted(&self, tokenizer: TextTokenizer) -> Result<TextTokenizer, TextError> {
        let tokenizer = tokenizer.limited_to(self.vocab_size())?;
        Ok(if self.reads_bare_texts() {
            tokenizer.without_special_tokens(self.vocab_size() as u32)
        } else {
            tokenizer
        })
    }
}

/// Which parameters the query and the document tower have in common.
///
/// Source: Dong et al. 2022, arXiv:2204.07120, but for the last. The token embedder is the encoder's
/// whole embedding module (BERT: words, positions, types and their norm; T5: the table).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Siamese: all of them.
    #[default]
    Sde,
    /// Asymmetric: none.
    Ade,
    /// Asymmetric, one token embedder.
    AdeSte,
    /// Asymmetric, one token embedder that is never updated.
    AdeFte,
    /// Asymmetric, one projection.
    AdeSpl,
    /// Asymmetric, one encoder that is never updated, and adapters of either tower on it. A projection
    /// that is trained is each tower's own.
    AdeAdapter,
}

impl Sharing {
    /// Every way of sharing, in the paper's order.
    pub const ALL: [Self; 6] =
        [Self::Sde, Self::Ade, Self::AdeSte, Self::AdeFte, Self::AdeSpl, Self::AdeAdapter];

    /// Whether one tower serves both sides.
    pub fn is_siamese(self) -> bool {
        self == Self::Sde
    }

    pub(crate) fn shares_embedder(self) -> bool {
        matches!(self, Self::Sde | Self::AdeSte | Self::AdeFte | Self::AdeAdapter)
    }

    pub(crate) fn shares_stack(self) -> bool {
        matches!(self, Self::Sde | Self::AdeAdapter)
    }

    pub(crate) fn freezes_embedder(self) -> bool {
        self == Self::AdeFte
    }

    pub(crate) fn shares_projection(self) -> bool {
        matches!(self, Self::Sde | Self::AdeSpl)
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sde => "sde",
            Self::Ade => "ade",
            Self::AdeSte => "ade-ste",
            Self::AdeFte => "ade-fte",
            Self::AdeSpl => "ade-spl",
            Self::AdeAdapter => "ade-adapter",
        })
    }
}

/// How the embeddings of a query and a document are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// The cosine of their angle.
    #[default]
    Cosine,
    /// Their dot product.
    Dot,
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_named() {
        let bert = BertConfig { hidden: 10, heads: 3, ..BertConfig::default() };
        let config = DualEncoderConfig {
            encoder: EncoderConfig::Bert(bert),
            ..DualEncoderConfig::default()
        };
        let message = config.validate().unwrap_err().to_string();
        assert_eq!(message, "`heads` is 3, expected a divisor of `hidden`");
    }

    #[test]
    fn a_frozen_part_of_an_adapter_s_base_is_refused() {
        for freeze in [
            Freeze { layers: 1, ..Freeze::default() },
            Freeze { embeddings: true, ..Freeze::default() },
        ] {
            let adapter = Some(AdapterConfig::default());
            let config = DualEncoderConfig { adapter, freeze, ..DualEncoderConfig::default() };
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains("its base is frozen"), "{message}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let typo = r#"{ "encoder": { "type": "bert", "hiden": 96 } }"#;
        let message = serde_json::from_str::<DualEncoderConfig>(typo).unwrap_err().to_string();
        assert!(message.contains("unknown field `hiden`"), "{message}");
    }
}
