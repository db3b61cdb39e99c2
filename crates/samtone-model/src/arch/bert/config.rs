//! Sizes of a BERT.

use serde::{Deserialize, Serialize};

use crate::config::activation::Activation;
use crate::config::bounds::{at_least_one, positive, probability};
use crate::error::ModelError;
use crate::memory::LayerFloats;

/// BERT and what differs from it in a detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BertKin {
    /// BERT itself, and MiniLM.
    #[default]
    Bert,
    /// RoBERTa: positions start behind the padding's id.
    Roberta,
    /// XLM-RoBERTa: RoBERTa with a vocabulary of many languages.
    XlmRoberta,
    /// CamemBERT: RoBERTa in French.
    Camembert,
    /// DistilBERT: no token types.
    Distilbert,
    /// MPNet: no token types; relative positions, whose classes all layers share, beside absolute ones.
    Mpnet,
    /// ELECTRA: tables narrower than the layers.
    Electra,
    /// Jina's BERT (v2): no position table but a slope per head by which scores fall with distance
    /// (ALiBi), and a gated feed-forward block.
    JinaBert,
}

impl BertKin {
    pub(crate) fn has_token_types(self) -> bool {
        !matches!(self, Self::Distilbert | Self::Mpnet)
    }

    pub(crate) fn has_position_table(self) -> bool {
        self != Self::JinaBert
    }

    pub(crate) fn is_gated(self) -> bool {
        self == Self::JinaBert
    }
}

/// Sizes of a BERT encoder; the default is MiniLM's (6 layers, 384 wide).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BertConfig {
    /// Which of its kin it is; a `bert` whose positions are shifted is a `roberta`.
    pub kin: BertKin,
    /// Ids of the token embedder.
    pub vocab_size: usize,
    /// Dimensions of a hidden state.
    pub hidden: usize,
    /// Dimensions of a row of the token embedder's tables, where they are not `hidden` (ELECTRA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads of a layer; `hidden` is a multiple of it.
    pub heads: usize,
    /// Dimensions inside the feed-forward block.
    pub intermediate: usize,
    /// Rows of the position table; where there is no table, the longest text, in tokens.
    pub max_positions: usize,
    /// Position of the first token: 0 for BERT, the padding id + 1 for RoBERTa.
    pub position_offset: usize,
    /// Rows of the token type table, of which every token has the first; 0: there is no table.
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
            kin: BertKin::Bert,
            vocab_size: 30_522,
            hidden: 384,
            embedding_size: None,
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
    pub(crate) fn layer_floats(&self) -> LayerFloats {
        // Queries, keys and values (3), attention's output (1), two norms' normalised values (2); the
        // feed-forward block before its nonlinearity. Two norms' values and the feed-forward block after
        // it go into maps.
        let kept = 6 * self.hidden + self.intermediate;
        LayerFloats { kept, inputs: 2 * self.hidden + self.intermediate, heads: self.heads }
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("heads", self.heads)?;
        at_least_one("intermediate", self.intermediate)?;
        if let Some(size) = self.embedding_size {
            at_least_one("embedding_size", size)?;
        }
        if self.token_types > 0 && !self.kin.has_token_types() {
            return Err(ModelError::Config {
                key: "token_types",
                got: self.token_types.to_string(),
                expected: "0 for this `kin`",
            });
        }
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
