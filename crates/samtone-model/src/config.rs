//! What a dual encoder is made of, as the user writes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::blocks::pooling::Poolings;
use crate::error::ModelError;
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
}

impl Default for DualEncoderConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderConfig::default(),
            sharing: Sharing::default(),
            pooling: Pooling::default(),
            projection: None,
            normalize: true,
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

    /// Checks that a model of this shape can exist.
    ///
    /// # Errors
    /// The first key with an impossible value.
    pub fn validate(&self) -> Result<(), ModelError> {
        match &self.encoder {
            EncoderConfig::Bert(bert) => bert.validate()?,
            EncoderConfig::T5(t5) => t5.validate()?,
        }
        self.projection.as_ref().map_or(Ok(()), DenseLayers::validate)
    }
}

/// The architecture of an encoder, with its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum EncoderConfig {
    /// BERT and its kin: RoBERTa, XLM-RoBERTa, MiniLM.
    Bert(BertConfig),
    /// The encoder of T5, versions 1.0 and 1.1.
    T5(T5Config),
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
        }
    }

    /// Ids the token embedder knows.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.vocab_size,
            Self::T5(t5) => t5.vocab_size,
        }
    }

    /// Sets the number of ids the token embedder knows (a freshly trained tokenizer's size).
    pub fn set_vocab_size(&mut self, vocab_size: usize) {
        match self {
            Self::Bert(bert) => bert.vocab_size = vocab_size,
            Self::T5(t5) => t5.vocab_size = vocab_size,
        }
    }

    /// The longest text the encoder can read, in tokens; none: any length.
    pub fn max_tokens(&self) -> Option<usize> {
        match self {
            Self::Bert(bert) => Some(bert.max_positions.saturating_sub(bert.position_offset)),
            Self::T5(_) => None,
        }
    }

    /// What texts are cut to, in tokens: `asked`, or what the encoder can read if that is less; 512
    /// where there is neither.
    pub(crate) fn longest_text(&self, asked: Option<usize>) -> usize {
        match (asked, self.max_tokens()) {
            (Some(asked), Some(limit)) => asked.min(limit),
            (asked, limit) => asked.or(limit).unwrap_or(512),
        }
    }
}

/// Sizes of a BERT encoder; the default is MiniLM's (6 layers, 384 wide).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BertConfig {
    /// Ids of the token embedder.
    pub vocab_size: usize,
    /// Dimensions of a hidden state.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads of a layer; `hidden` is a multiple of it.
    pub heads: usize,
    /// Dimensions inside the feed-forward block.
    pub intermediate: usize,
    /// Rows of the position table.
    pub max_positions: usize,
    /// Position of the first token: 0 for BERT, the padding id + 1 for RoBERTa.
    pub position_offset: usize,
    /// Rows of the token type table; every token has type 0.
    pub token_types: usize,
    /// The feed-forward block's nonlinearity.
    pub activation: Activation,
    /// Added to the variance in every layer norm.
    pub norm_eps: f64,
    /// Probability of dropping an element of a hidden state while training.
    pub dropout: f64,
    /// Probability of dropping an attention weight while training.
    pub attention_dropout: f64,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden: 384,
            layers: 6,
            heads: 12,
            intermediate: 1536,
            max_positions: 512,
            position_offset: 0,
            token_types: 2,
            activation: Activation::Gelu,
            norm_eps: 1e-12,
            dropout: 0.1,
            attention_dropout: 0.1,
        }
    }
}

impl BertConfig {
    fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("heads", self.heads)?;
        at_least_one("intermediate", self.intermediate)?;
        at_least_one("token_types", self.token_types)?;
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(ModelError::Config {
                key: "heads",
                got: self.heads.to_string(),
                expected: "a divisor of `hidden`",
            });
        }
        if self.max_positions <= self.position_offset {
            return Err(ModelError::Config {
                key: "max_positions",
                got: self.max_positions.to_string(),
                expected: "more than `position_offset`",
            });
        }
        positive("norm_eps", self.norm_eps)?;
        probability("dropout", self.dropout)?;
        probability("attention_dropout", self.attention_dropout)
    }
}

/// Sizes of a T5 encoder; the default is t5.1.1-small's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct T5Config {
    /// Ids of the token embedder.
    pub vocab_size: usize,
    /// Dimensions of a hidden state.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Dimensions of one head; `heads` × `head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Dimensions inside the feed-forward block.
    pub intermediate: usize,
    /// The feed-forward block's nonlinearity.
    pub activation: Activation,
    /// Whether the nonlinearity gates a second linear map (version 1.1) or stands alone (1.0).
    pub gated: bool,
    /// Learned classes of relative positions.
    pub relative_buckets: usize,
    /// Distance, in tokens, from which all positions share a class.
    pub relative_max_distance: usize,
    /// Added to the mean square in every RMS norm.
    pub norm_eps: f64,
    /// Probability of dropping an element while training.
    pub dropout: f64,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            hidden: 512,
            layers: 8,
            heads: 6,
            head_dim: 64,
            intermediate: 1024,
            activation: Activation::GeluTanh,
            gated: true,
            relative_buckets: 32,
            relative_max_distance: 128,
            norm_eps: 1e-6,
            dropout: 0.1,
        }
    }
}

impl T5Config {
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("layers", self.layers)?;
        at_least_one("heads", self.heads)?;
        at_least_one("head_dim", self.head_dim)?;
        at_least_one("intermediate", self.intermediate)?;
        if self.relative_buckets < 4 || !self.relative_buckets.is_multiple_of(2) {
            return Err(ModelError::Config {
                key: "relative_buckets",
                got: self.relative_buckets.to_string(),
                expected: "an even number, at least 4",
            });
        }
        if self.relative_max_distance <= self.relative_buckets / 4 {
            return Err(ModelError::Config {
                key: "relative_max_distance",
                got: self.relative_max_distance.to_string(),
                expected: "more than a quarter of `relative_buckets`",
            });
        }
        if self.gated && self.activation == Activation::Gelu {
            return Err(ModelError::Config {
                key: "activation",
                got: "gelu".into(),
                expected: "gelu-tanh or relu where `gated` is true",
            });
        }
        positive("norm_eps", self.norm_eps)?;
        probability("dropout", self.dropout)
    }
}

/// Which parameters the query and the document tower have in common.
///
/// Source: Dong et al. 2022, arXiv:2204.07120. The token embedder is the encoder's whole embedding
/// module (BERT: words, positions, types and their norm; T5: the table).
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
}

impl Sharing {
    /// Every way of sharing, in the paper's order.
    pub const ALL: [Self; 5] = [Self::Sde, Self::Ade, Self::AdeSte, Self::AdeFte, Self::AdeSpl];

    /// Whether one tower serves both sides.
    pub fn is_siamese(self) -> bool {
        self == Self::Sde
    }

    pub(crate) fn shares_embedder(self) -> bool {
        matches!(self, Self::Sde | Self::AdeSte | Self::AdeFte)
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
        })
    }
}

/// How a text's hidden states become one vector; padding never takes part.
///
/// Written by its name, as `mean` or `weighted-mean`; several side by side as `cls+mean`, in the order
/// `cls`, `max`, `mean`, `mean-sqrt-len`, `weighted-mean`, `last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pooling {
    /// The mean over the text's tokens.
    #[default]
    Mean,
    /// The first token's state.
    Cls,
    /// The last token's state.
    Last,
    /// The greatest of each dimension over the text's tokens.
    Max,
    /// The sum over the text's tokens, divided by the square root of their number.
    MeanSqrtLen,
    /// The mean over the text's tokens, each weighed by its position from 1.
    WeightedMean,
    /// Several side by side.
    Several(Poolings),
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

/// The nonlinearity of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x Φ(x)`, with the normal distribution function itself (Hugging Face's `gelu`).
    Gelu,
    /// GELU by its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

fn at_least_one(key: &'static str, value: usize) -> Result<(), ModelError> {
    if value > 0 {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "at least 1" })
}

fn positive(key: &'static str, value: f64) -> Result<(), ModelError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "a positive number" })
}

fn probability(key: &'static str, value: f64) -> Result<(), ModelError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(ModelError::Config { key, got: value.to_string(), expected: "0 or more and less than 1" })
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
    fn unknown_keys_are_refused() {
        let typo = r#"{ "encoder": { "type": "bert", "hiden": 96 } }"#;
        let message = serde_json::from_str::<DualEncoderConfig>(typo).unwrap_err().to_string();
        assert!(message.contains("unknown field `hiden`"), "{message}");
    }
}
