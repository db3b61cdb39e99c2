//! Sizes of a T5.

use serde::{Deserialize, Serialize};

use crate::config::activation::Activation;
use crate::config::bounds::{at_least_one, countable_heads, positive, probability};
use crate::error::ModelError;
use crate::memory::LayerFloats;

/// T5 and what differs from it in a detail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum T5Kin {
    /// T5 itself.
    #[default]
    T5,
    /// mT5: T5 1.1 with a vocabulary of many languages.
    Mt5,
    /// UMT5: mT5 with relative positions of its own in each layer.
    Umt5,
}

impl T5Kin {
    pub(crate) fn positions_of_each_layer(self) -> bool {
        self == Self::Umt5
    }
}

/// Sizes of a T5 encoder; the default is t5.1.1-small's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct T5Config {
    /// Which of its kin it is.
    pub kin: T5Kin,
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
            kin: T5Kin::T5,
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
    pub(crate) fn layer_floats(&self) -> LayerFloats {
        // Two norms' normalised values (2), two block outputs (2); queries, keys, values and attention's
        // output; the feed-forward block and its gate. Two norms' values and the feed-forward block's,
        // once more with a gate, go into maps.
        let blocks = if self.gated { 2 } else { 1 };
        let kept = 4 * self.hidden + 4 * self.heads * self.head_dim + blocks * self.intermediate;
        let inputs = 2 * self.hidden + blocks * self.intermediate;
        LayerFloats { kept, inputs, heads: self.heads }
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("layers", self.layers)?;
        at_least_one("heads", self.heads)?;
        at_least_one("head_dim", self.head_dim)?;
        at_least_one("intermediate", self.intermediate)?;
        countable_heads(self.heads, self.head_dim)?;
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
