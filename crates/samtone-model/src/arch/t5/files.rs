//! T5's kin in Hugging Face's files.

use serde_json::{Value, json};

use super::config::{T5Config, T5Kin};
use crate::config::Activation;
use crate::error::ModelError;
use crate::folder::keys::Keys;
use crate::folder::names::Names;

pub(crate) const MODEL_TYPES: [&str; 3] = ["t5", "mt5", "umt5"];

/// The table of words, whose second name a tied head is.
pub(crate) const TABLE: &str = "shared.weight";

/// How the files call the tensors of the encoder: the table has a second name there.
pub(crate) const NAMES: Names = Names {
    // The first is the one that is written.
    rules: &[("shared", &["shared"]), ("encoder.embed_tokens", &["shared"])],
    words: TABLE,
    left_out: &["decoder", "lm_head"],
    adapted: &["q", "v"],
};

/// The configuration; absent keys have the defaults of transformers' configuration classes.
pub(crate) fn read(keys: &Keys<'_>, model_type: &str) -> Result<T5Config, ModelError> {
    let kin = match model_type {
        "mt5" => T5Kin::Mt5,
        "umt5" => T5Kin::Umt5,
        _ => T5Kin::T5,
    };
    let either = |t5, others| if kin == T5Kin::T5 { t5 } else { others };
    let projection = if kin == T5Kin::T5 { "relu" } else { "gated-gelu" };
    let (activation, gated) = match keys.text("feed_forward_proj")?.unwrap_or(projection) {
        "relu" => (Activation::Relu, false),
        "gated-gelu" => (Activation::GeluTanh, true),
        "gelu" => (Activation::Gelu, false),
        "gelu_new" => (Activation::GeluTanh, false),
        "gated-relu" => (Activation::Relu, true),
        "gated-silu" => (Activation::Silu, true),
        "silu" => (Activation::Silu, false),
        _ => return Err(keys.refuse("feed_forward_proj", "relu or gated-gelu")),
    };
    if keys.activation("dense_act_fn", activation)? != activation {
        return Err(keys.refuse("dense_act_fn", "what `feed_forward_proj` says"));
    }
    Ok(T5Config {
        kin,
        vocab_size: keys.count("vocab_size")?.unwrap_or(either(32_128, 250_112)),
        hidden: keys.count("d_model")?.unwrap_or(512),
        layers: keys.count("num_layers")?.unwrap_or(either(6, 8)),
        heads: keys.count("num_heads")?.unwrap_or(either(8, 6)),
        head_dim: keys.count("d_kv")?.unwrap_or(64),
        intermediate: keys.count("d_ff")?.unwrap_or(either(2048, 1024)),
        activation,
        gated,
        relative_buckets: keys.count("relative_attention_num_buckets")?.unwrap_or(32),
        relative_max_distance: keys.count("relative_attention_max_distance")?.unwrap_or(128),
        norm_eps: keys.number("layer_norm_epsilon")?.unwrap_or(1e-6),
        dropout: keys.number("dropout_rate")?.unwrap_or(0.1),
    })
}

/// The `config.json` of the encoder.
pub(crate) fn write(t5: &T5Config, pad_id: u32) -> Value {
    let (model_type, class) = match t5.kin {
        T5Kin::T5 => ("t5", "T5EncoderModel"),
        T5Kin::Mt5 => ("mt5", "MT5EncoderModel"),
        T5Kin::Umt5 => ("umt5", "UMT5EncoderModel"),
    };
    json!({
        "architectures": [class],
        "d_ff": t5.intermediate,
        "d_kv": t5.head_dim,
        "d_model": t5.hidden,
        "decoder_start_token_id": 0,
        "dropout_rate": t5.dropout,
        "eos_token_id": 1,
        "feed_forward_proj": match (t5.activation, t5.gated) {
            (Activation::Relu, false) => "relu",
            (Activation::Relu, true) => "gated-relu",
            // The format's gated GELU is the tanh one; `validate` refuses the other.
            (Activation::GeluTanh | Activation::Gelu, true) => "gated-gelu",
            (Activation::GeluTanh, false) => "gelu_new",
            (Activation::Gelu, false) => "gelu",
            (Activation::Silu, true) => "gated-silu",
            (Activation::Silu, false) => "silu",
        },
        "is_encoder_decoder": true,
        "layer_norm_epsilon": t5.norm_eps,
        "model_type": model_type,
        "num_heads": t5.heads,
        "num_layers": t5.layers,
        "pad_token_id": pad_id,
        "relative_attention_max_distance": t5.relative_max_distance,
        "relative_attention_num_buckets": t5.relative_buckets,
        "torch_dtype": "float32",
        "use_cache": false,
        "vocab_size": t5.vocab_size,
    })
}
