//! Sizes of an encoder with rotary positions.

use serde::{Deserialize, Serialize};

use crate::blocks::rotary::RotaryScaling;
use crate::config::activation::Activation;
use crate::config::bounds::{at_least_one, countable_heads, positive, probability};
use crate::error::ModelError;
use crate::memory::LayerFloats;

/// The families of encoders with rotary positions. What they differ in and no file says is here;
/// what files say is in [`RotaryConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotaryKin {
    /// ModernBERT (Warner et al. 2024, arXiv:2412.13663).
    #[default]
    ModernBert,
    /// NomicBERT (Nussbaum et al. 2024, arXiv:2402.01613), without experts.
    NomicBert,
    /// GTE's encoder (Zhang et al. 2024, arXiv:2407.19669) as transformers spells it.
    Gte,
    /// GTE's encoder as its own code spells it (`new`).
    New,
    /// EuroBERT (Boizard et al. 2025, arXiv:2503.05500).
    EuroBert,
    /// Llama.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2.
    Qwen2,
    /// Qwen3.
    Qwen3,
    /// Gemma 3's text model, and EmbeddingGemma.
    Gemma3,
}

/// Where the norms of a layer stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before each block.
    Before,
    /// After each block and its residual.
    After,
    /// Before each block, and after it, before its residual.
    Around,
}

impl RotaryKin {
    pub(crate) fn norms(self) -> Norms {
        match self {
            Self::NomicBert | Self::Gte | Self::New => Norms::After,
            Self::Gemma3 => Norms::Around,
            _ => Norms::Before,
        }
    }

    /// Whether norms take off the mean (layer norm) or not (RMS norm).
    pub(crate) fn centres(self) -> bool {
        matches!(self, Self::ModernBert | Self::NomicBert | Self::Gte | Self::New)
    }

    /// Whether the token embedder ends with a norm.
    pub(crate) fn norms_embeddings(self) -> bool {
        self.centres()
    }

    /// Whether the first layer's attention reads its input as it is, which is a norm's already.
    pub(crate) fn skips_first_norm(self) -> bool {
        self == Self::ModernBert
    }

    /// Whether each head of queries and keys passes a norm before it turns.
    pub(crate) fn norms_heads(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// Whether a norm's γ is one more than its weight, and embeddings are scaled by √hidden.
    pub(crate) fn is_gemma(self) -> bool {
        self == Self::Gemma3
    }
}

/// Sizes of an encoder with rotary positions; the default is ModernBERT-base's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct RotaryConfig {
    /// The family.
    pub kin: RotaryKin,
    /// Ids of the token embedder.
    pub vocab_size: usize,
    /// Dimensions of a hidden state.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Heads of keys and values; `heads` is a multiple of it.
    pub kv_heads: usize,
    /// Dimensions of one head, even; `heads` × `head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Dimensions inside the feed-forward block.
    pub intermediate: usize,
    /// The longest text that it was made for, in tokens.
    pub max_positions: usize,
    /// Whether it can read no longer one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_bounded: bool,
    /// Rows of the token type table, of which every token has the first; 0: there is no table.
    pub token_types: usize,
    /// The nonlinearity of the feed-forward block's gate.
    pub activation: Activation,
    /// Added to the variance or the mean square in every norm.
    pub norm_eps: f64,
    /// Whether norms have a bias (layer norms alone).
    pub norm_bias: bool,
    /// Whether the maps to queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the map behind attention has.
    pub attention_output_bias: bool,
    /// Whether the maps into the feed-forward block have.
    pub inner_bias: bool,
    /// Whether the map out of it has.
    pub outer_bias: bool,
    /// Whether a token sees none of those after it.
    pub is_causal: bool,
    /// The furthest token, in tokens, that a local layer sees; none: all layers are global.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Every how many layers one is global; 0: none is.
    pub global_every: usize,
    /// The first global layer, less than `global_every`.
    pub first_global: usize,
    /// The base of the angles in global layers.
    pub rotary_base: f64,
    /// The base of the angles in local layers.
    pub local_rotary_base: f64,
    /// How the angles are stretched; Gemma 3's in global layers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotary_scaling: Option<RotaryScaling>,
    /// Scores are divided by the square root of this; none: of `head_dim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_dim: Option<usize>,
    /// Probability of dropping an element of a hidden state while training.
    pub dropout: f64,
    /// Probability of dropping an attention weight while training.
    pub attention_dropout: f64,
}

impl Default for RotaryConfig {
    fn default() -> Self {
        Self {
            kin: RotaryKin::ModernBert,
            vocab_size: 50_368,
            hidden: 768,
            layers: 22,
            heads: 12,
            kv_heads: 12,
            head_dim: 64,
            intermediate: 1152,
            max_positions: 8192,
            is_bounded: false,
            token_types: 0,
            activation: Activation::Gelu,
            norm_eps: 1e-5,
            norm_bias: false,
            qkv_bias: false,
            attention_output_bias: false,
            inner_bias: false,
            outer_bias: false,
            is_causal: false,
            window: Some(64),
            global_every: 3,
            first_global: 0,
            rotary_base: 160_000.0,
            local_rotary_base: 10_000.0,
            rotary_scaling: None,
            score_dim: None,
            dropout: 0.0,
            attention_dropout: 0.0,
        }
    }
}

impl RotaryConfig {
    pub(crate) fn layer_floats(&self) -> LayerFloats {
        // Two norms' normalised values (2), two block outputs (2); queries, keys and values before and
        // after they turn (and between, where heads have norms), and attention's output; the gate and
        // the gated. Two norms' values and the product of the gate go into maps.
        let queries = self.heads * self.head_dim;
        let projected = queries + 2 * self.kv_heads * self.head_dim;
        let kept = 4 * self.hidden + 3 * projected + queries + 2 * self.intermediate;
        LayerFloats { kept, inputs: 2 * self.hidden + self.intermediate, heads: self.heads }
    }

    /// Whether a layer sees no further than the window.
    pub(crate) fn is_local(&self, layer: usize) -> bool {
        let is_global = self.global_every > 0 && layer % self.global_every == self.first_global;
        self.window.is_some() && !is_global
    }

    /// How the angles of local layers are stretched: as those of global ones, but in Gemma 3.
    pub(crate) fn local_scaling(&self) -> Option<RotaryScaling> {
        self.rotary_scaling.filter(|_| self.kin != RotaryKin::Gemma3)
    }

    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("heads", self.heads)?;
        at_least_one("kv_heads", self.kv_heads)?;
        at_least_one("head_dim", self.head_dim)?;
        at_least_one("intermediate", self.intermediate)?;
        at_least_one("max_positions", self.max_positions)?;
        countable_heads(self.heads, self.head_dim)?;
        let refused = |key, got: String, expected| Err(ModelError::Config { key, got, expected });
        if !self.heads.is_multiple_of(self.kv_heads) {
            return refused("kv_heads", self.kv_heads.to_string(), "a divisor of `heads`");
        }
        if !self.head_dim.is_multiple_of(2) {
            return refused("head_dim", self.head_dim.to_string(), "an even number");
        }
        if self.norm_bias && !self.kin.centres() {
            return refused("norm_bias", "true".into(), "false: this `kin` has RMS norms");
        }
        if self.global_every > 0 && self.first_global >= self.global_every {
            let got = self.first_global.to_string();
            return refused("first_global", got, "less than `global_every`");
        }
        positive("rotary_base", self.rotary_base)?;
        positive("local_rotary_base", self.local_rotary_base)?;
        if let Some(dim) = self.score_dim {
            at_least_one("score_dim", dim)?;
        }
        if let Some(scaling) = self.rotary_scaling {
            let (RotaryScaling::Linear { factor }
            | RotaryScaling::Ntk { factor }
            | RotaryScaling::Llama3 { factor, .. }) = scaling;
            positive("rotary_scaling.factor", factor)?;
            if matches!(self.kin, RotaryKin::ModernBert | RotaryKin::NomicBert) {
                // Their files have no place for it.
                return refused("rotary_scaling", format!("{scaling:?}"), "none for this `kin`");
            }
        }
        positive("norm_eps", self.norm_eps)?;
        probability("dropout", self.dropout)?;
        probability("attention_dropout", self.attention_dropout)
    }
}
