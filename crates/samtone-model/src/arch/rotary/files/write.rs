//! The `config.json` of a rotary encoder.

use serde_json::{Value, json};

use super::KINS;
use crate::arch::rotary::config::{RotaryConfig, RotaryKin};
use crate::blocks::rotary::RotaryScaling;
use crate::config::Activation;
use crate::folder::keys::{TokenIds, activation_name};

/// The `config.json`, in the older keys, which every reader knows.
pub(crate) fn write(config: &RotaryConfig, ids: TokenIds) -> Value {
    let known = KINS.iter().find(|(_, _, kin)| *kin == config.kin);
    let (model_type, class, _) = known.expect("every kin has a name");
    let mut file = json!({
        "architectures": [class],
        "hidden_size": config.hidden,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate,
        "max_position_embeddings": config.max_positions,
        "model_type": model_type,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": ids.pad,
        "torch_dtype": "float32",
        "vocab_size": config.vocab_size,
    });
    let more = own_keys(config, ids);
    let Value::Object(more) = more else { unreachable!("written as an object above") };
    for (key, value) in more {
        file[key] = value;
    }
    match config.kin {
        RotaryKin::ModernBert | RotaryKin::NomicBert => {}
        kin => {
            file["rope_theta"] = config.rotary_base.into();
            file["rope_scaling"] = scaling_json(config.rotary_scaling);
            if kin == RotaryKin::Mistral {
                let own = usize::from(config.is_causal);
                file["sliding_window"] = config.window.map(|window| window + own).into();
            }
            if matches!(kin, RotaryKin::Qwen2 | RotaryKin::Qwen3) {
                file["use_sliding_window"] = false.into();
            }
            if kin == RotaryKin::New {
                file["auto_map"] = json!({
                    "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
                    "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
                });
            }
        }
    }
    file
}

/// The keys of a kin beside what all have.
fn own_keys(config: &RotaryConfig, ids: TokenIds) -> Value {
    let activation = activation_name(config.activation);
    match config.kin {
        RotaryKin::ModernBert => json!({
            "attention_bias": config.qkv_bias,
            "attention_dropout": config.attention_dropout,
            "bos_token_id": ids.first,
            "classifier_activation": "gelu",
            "cls_token_id": ids.first,
            "embedding_dropout": config.dropout,
            "eos_token_id": ids.last,
            "global_attn_every_n_layers": config.global_every,
            "global_rope_theta": config.rotary_base,
            "hidden_activation": activation,
            "initializer_cutoff_factor": 2.0,
            "layer_norm_eps": config.norm_eps,
            "layer_types": layer_types(config),
            "local_attention": config.window.map(|window| 2 * window),
            "local_rope_theta": config.local_rotary_base,
            "mlp_bias": config.inner_bias,
            "mlp_dropout": config.dropout,
            "norm_bias": config.norm_bias,
            "norm_eps": config.norm_eps,
            "position_embedding_type": "absolute",
            "sep_token_id": ids.last,
        }),
        // Both spellings: its own code's, and transformers'.
        RotaryKin::NomicBert => json!({
            "activation_function": if config.activation == Activation::Silu { "swiglu" } else { "geglu" },
            "attention_probs_dropout_prob": config.attention_dropout,
            "attn_pdrop": config.attention_dropout,
            "auto_map": {
                "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
                "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
            },
            "causal": false,
            "head_dim": config.head_dim,
            "hidden_act": activation,
            "hidden_dropout_prob": config.dropout,
            "layer_norm_eps": config.norm_eps,
            "layer_norm_epsilon": config.norm_eps,
            "mlp_fc1_bias": config.inner_bias,
            "mlp_fc2_bias": config.outer_bias,
            "n_embd": config.hidden,
            "n_head": config.heads,
            "n_inner": config.intermediate,
            "n_layer": config.layers,
            "n_positions": config.max_positions,
            "prenorm": false,
            "qkv_proj_bias": config.qkv_bias,
            "resid_pdrop": config.dropout,
            "rope_parameters": { "rope_theta": config.rotary_base, "rope_type": "default" },
            "rotary_emb_base": config.rotary_base,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": false,
            "rotary_scaling_factor": null,
            "type_vocab_size": config.token_types,
            "use_rms_norm": false,
        }),
        RotaryKin::Gte | RotaryKin::New => json!({
            "attention_probs_dropout_prob": config.attention_dropout,
            "hidden_act": activation,
            "hidden_dropout_prob": config.dropout,
            "layer_norm_eps": config.norm_eps,
            "layer_norm_type": "layer_norm",
            "logn_attention_scale": false,
            "pack_qkv": true,
            "position_embedding_type": "rope",
            "type_vocab_size": config.token_types,
        }),
        RotaryKin::Gemma3 => json!({
            "_sliding_window_pattern": config.global_every,
            "attention_bias": config.qkv_bias,
            "attention_dropout": config.attention_dropout,
            "head_dim": config.head_dim,
            "hidden_activation": activation,
            "layer_types": layer_types(config),
            "num_key_value_heads": config.kv_heads,
            "query_pre_attn_scalar": config.score_dim,
            "rms_norm_eps": config.norm_eps,
            "rope_local_base_freq": config.local_rotary_base,
            "sliding_window": config.window.map(|window| {
                if config.is_causal { window + 1 } else { 2 * window }
            }),
            "use_bidirectional_attention": !config.is_causal,
        }),
        // Whether tokens see those after them: transformers goes by one key, text-embeddings-inference by
        // the other.
        kin => json!({
            "attention_bias": config.qkv_bias,
            "attention_dropout": config.attention_dropout,
            "bos_token_id": ids.first,
            "eos_token_id": ids.last,
            "head_dim": config.head_dim,
            "hidden_act": activation,
            "is_causal": config.is_causal,
            "mlp_bias": config.inner_bias,
            "num_key_value_heads": config.kv_heads,
            "rms_norm_eps": config.norm_eps,
            "tie_word_embeddings": false,
            "use_bidirectional_attention": !config.is_causal && kin != RotaryKin::EuroBert,
        }),
    }
}

fn layer_types(config: &RotaryConfig) -> Vec<&'static str> {
    let kind = |layer| if config.is_local(layer) { "sliding_attention" } else { "full_attention" };
    (0..config.layers).map(kind).collect()
}

fn scaling_json(scaling: Option<RotaryScaling>) -> Value {
    match scaling {
        None => Value::Null,
        Some(RotaryScaling::Linear { factor }) => {
            json!({ "rope_type": "linear", "factor": factor })
        }
        Some(RotaryScaling::Ntk { factor }) => json!({ "type": "ntk", "factor": factor }),
        Some(RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
    }
}
