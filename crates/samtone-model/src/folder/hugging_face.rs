//! Hugging Face's `config.json` and weights to an encoder, and back. What each architecture's files
//! hold is in its own folder, `arch/<family>/files.rs`; here is which family a file is of.

use std::path::Path;

use serde_json::Value;

use super::keys::{Keys, TokenIds};
use super::names::Names;
use crate::arch::{bert, rotary, static_table, t5};
use crate::config::EncoderConfig;
use crate::error::ModelError;
use crate::folder::checkpoint::{Checkpoint, HostTensor};

/// Reads an encoder's configuration from `config.json`.
///
/// # Errors
/// If the file is missing or broken, or describes an encoder this crate does not have.
pub(crate) fn read_config(path: &Path) -> Result<EncoderConfig, ModelError> {
    let keys = Keys::read(path)?;
    let model_type = keys.text("model_type")?.unwrap_or("none").to_owned();
    let model_type = model_type.as_str();
    Ok(if bert::files::MODEL_TYPES.contains(&model_type) {
        EncoderConfig::Bert(bert::files::read(&keys, model_type)?)
    } else if t5::files::MODEL_TYPES.contains(&model_type) {
        EncoderConfig::T5(t5::files::read(&keys, model_type)?)
    } else if let Some(kin) = rotary::files::kin(model_type) {
        EncoderConfig::Rotary(rotary::files::read(&keys, kin)?)
    } else {
        return Err(keys.refuse("model_type", KNOWN));
    })
}

/// Every `model_type` that is read.
const KNOWN: &str = "bert, roberta, xlm-roberta, camembert, distilbert, mpnet, electra, t5, mt5, umt5, \
    modernbert, nomic_bert, gte, new, eurobert, llama, mistral, qwen2, qwen3 or gemma3_text";

/// The `config.json` of an encoder; a static table has none.
pub(crate) fn config_json(config: &EncoderConfig, ids: TokenIds) -> Option<Value> {
    match config {
        EncoderConfig::Bert(bert) => Some(bert::files::write(bert, ids.pad)),
        EncoderConfig::T5(t5) => Some(t5::files::write(t5, ids.pad)),
        EncoderConfig::Rotary(rotary) => Some(rotary::files::write(rotary, ids)),
        EncoderConfig::Static(_) => None,
    }
}

/// How the files that are written call the tensors of an encoder.
fn names(config: &EncoderConfig) -> &'static Names {
    match config {
        EncoderConfig::Bert(bert) => bert::files::names(bert.kin),
        EncoderConfig::T5(_) => &t5::files::NAMES,
        EncoderConfig::Rotary(rotary) => rotary::files::names(rotary.kin)[0],
        EncoderConfig::Static(_) => &static_table::files::NAMES,
    }
}

/// How transformers calls the modules of an encoder where it is loaded, and so does PEFT.
pub(crate) fn module_names(config: &EncoderConfig) -> &'static Names {
    match config {
        EncoderConfig::Rotary(rotary) => rotary::files::module_names(rotary.kin),
        _ => names(config),
    }
}

/// Reads an encoder's weights under the names of its parameters.
///
/// The prefix of a whole model (`bert.`, `model.`, `0.auto_model.`) falls away, heads and decoders are
/// left out, what a file holds in one tensor is split, and the norms of TensorFlow's days have their
/// newer names (`gamma` is the weight, `beta` the bias).
///
/// # Errors
/// As [`Checkpoint::read`], or if a tensor cannot be split.
pub(crate) fn read_weights(
    folder: &Path,
    config: &EncoderConfig,
) -> Result<Checkpoint, ModelError> {
    if let EncoderConfig::Static(_) = config {
        return static_table::files::read_weights(folder);
    }
    let names = names(config);
    let checkpoint = read_tensors(folder, |name| names.is_left_out(name))?;
    let names = match config {
        EncoderConfig::Rotary(rotary) => rotary::files::dialect(rotary.kin, &checkpoint),
        _ => names,
    };
    names.read(checkpoint)
}

/// Reads BERT's weights as [`read_weights`] does, with what stands around the encoder.
///
/// # Errors
/// As [`Checkpoint::read`].
pub(crate) fn read_bert(folder: &Path) -> Result<Checkpoint, ModelError> {
    let names = bert::files::names(bert::config::BertKin::Bert);
    names.read(read_tensors(folder, |_| false)?)
}

fn read_tensors(
    folder: &Path,
    is_left_out: impl Fn(&str) -> bool,
) -> Result<Checkpoint, ModelError> {
    let is_left_out = |name: &str| is_left_out(name) || name.ends_with("embeddings.position_ids");
    Checkpoint::read(folder, is_left_out)?.rename(|name| match name.rsplit_once("LayerNorm.") {
        Some((norm, "gamma")) => format!("{norm}LayerNorm.weight"),
        Some((norm, "beta")) => format!("{norm}LayerNorm.bias"),
        _ => name.to_owned(),
    })
}

/// An encoder's parameters under the names of the files that are written.
pub(crate) fn file_tensors(
    config: &EncoderConfig,
    parameters: Vec<(String, HostTensor)>,
) -> Vec<(String, HostTensor)> {
    names(config).write(parameters)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::blocks::rotary::RotaryScaling;
    use crate::config::{
        Activation, BertConfig, BertKin, RotaryConfig, RotaryKin, T5Config, T5Kin,
    };

    #[track_caller]
    fn read(value: &Value) -> EncoderConfig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, value.to_string()).unwrap();
        read_config(&path).unwrap()
    }

    #[track_caller]
    fn check_round_trip(config: EncoderConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, config_json(&config, TokenIds::default()).unwrap().to_string()).unwrap();
        assert_eq!(read_config(&path).unwrap(), config);
    }

    #[test]
    fn a_configuration_survives_the_file() {
        check_round_trip(EncoderConfig::Bert(BertConfig::default()));
        check_round_trip(EncoderConfig::T5(T5Config::default()));
        check_round_trip(EncoderConfig::Bert(BertConfig {
            kin: BertKin::Roberta,
            position_offset: 2,
            activation: Activation::GeluTanh,
            ..BertConfig::default()
        }));
        for kin in [
            BertKin::Roberta,
            BertKin::XlmRoberta,
            BertKin::Camembert,
            BertKin::Mpnet,
            BertKin::Distilbert,
            BertKin::Electra,
            BertKin::JinaBert,
        ] {
            let shifted =
                !matches!(kin, BertKin::Distilbert | BertKin::Electra | BertKin::JinaBert);
            check_round_trip(EncoderConfig::Bert(BertConfig {
                kin,
                embedding_size: (kin == BertKin::Electra).then_some(96),
                position_offset: if shifted { 2 } else { 0 },
                token_types: if kin.has_token_types() { 2 } else { 0 },
                ..BertConfig::default()
            }));
        }
        for kin in [T5Kin::Mt5, T5Kin::Umt5] {
            check_round_trip(EncoderConfig::T5(T5Config { kin, ..T5Config::default() }));
        }
        check_round_trip(EncoderConfig::Rotary(RotaryConfig::default()));
        for (model_type, _, _) in rotary::files::KINS {
            let EncoderConfig::Rotary(config) = read(&json!({ "model_type": model_type })) else {
                panic!("{model_type}")
            };
            check_round_trip(EncoderConfig::Rotary(config.clone()));
            let rotary_scaling = match config.kin {
                RotaryKin::ModernBert | RotaryKin::NomicBert => None,
                RotaryKin::Gte | RotaryKin::New => Some(RotaryScaling::Ntk { factor: 2.0 }),
                _ => Some(RotaryScaling::Llama3 {
                    factor: 8.0,
                    low_freq_factor: 1.0,
                    high_freq_factor: 4.0,
                    original_max_position_embeddings: 8192,
                }),
            };
            let local_rotary_base = match config.kin {
                // One base for all layers.
                RotaryKin::Mistral => 1234.5,
                _ => config.local_rotary_base,
            };
            check_round_trip(EncoderConfig::Rotary(RotaryConfig {
                layers: 7,
                rotary_base: 1234.5,
                local_rotary_base,
                rotary_scaling,
                ..config
            }));
        }
        let (gated, activation) = (false, Activation::Relu);
        check_round_trip(EncoderConfig::T5(T5Config { activation, gated, ..T5Config::default() }));
    }

    /// The values are those of `BertConfig()`, `RobertaConfig()`, `T5Config()`, ... in transformers
    /// 5.24.0, those of 4.57.1 are the same.
    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let read = |model_type: &str| read(&json!({ "model_type": model_type }));
        let bert = BertConfig {
            kin: BertKin::Bert,
            embedding_size: None,
            vocab_size: 30_522,
            hidden: 768,
            layers: 12,
            heads: 12,
            intermediate: 3072,
            max_positions: 512,
            position_offset: 0,
            token_types: 2,
            activation: Activation::Gelu,
            norm_eps: 1e-12,
            dropout: 0.1,
            attention_dropout: 0.1,
        };
        assert_eq!(read("bert"), EncoderConfig::Bert(bert.clone()));
        let shifted = BertConfig { position_offset: 2, ..bert.clone() };
        for (model_type, kin) in
            [("xlm-roberta", BertKin::XlmRoberta), ("camembert", BertKin::Camembert)]
        {
            let expected = BertConfig { kin, ..shifted.clone() };
            assert_eq!(read(model_type), EncoderConfig::Bert(expected));
        }
        let distilbert =
            BertConfig { kin: BertKin::Distilbert, layers: 6, token_types: 0, ..bert.clone() };
        assert_eq!(read("distilbert"), EncoderConfig::Bert(distilbert));
        let mpnet = BertConfig {
            kin: BertKin::Mpnet,
            vocab_size: 30_527,
            token_types: 0,
            ..shifted.clone()
        };
        assert_eq!(read("mpnet"), EncoderConfig::Bert(mpnet));
        let electra = BertConfig {
            kin: BertKin::Electra,
            hidden: 256,
            embedding_size: Some(128),
            heads: 4,
            intermediate: 1024,
            ..bert
        };
        assert_eq!(read("electra"), EncoderConfig::Bert(electra));
        let roberta = BertConfig { kin: BertKin::Roberta, vocab_size: 50_265, ..shifted };
        assert_eq!(read("roberta"), EncoderConfig::Bert(roberta));
        let t5 = T5Config {
            kin: T5Kin::T5,
            vocab_size: 32_128,
            hidden: 512,
            layers: 6,
            heads: 8,
            head_dim: 64,
            intermediate: 2048,
            activation: Activation::Relu,
            gated: false,
            relative_buckets: 32,
            relative_max_distance: 128,
            norm_eps: 1e-6,
            dropout: 0.1,
        };
        let mt5 = T5Config {
            kin: T5Kin::Mt5,
            vocab_size: 250_112,
            layers: 8,
            heads: 6,
            intermediate: 1024,
            activation: Activation::GeluTanh,
            gated: true,
            ..t5.clone()
        };
        assert_eq!(read("t5"), EncoderConfig::T5(t5));
        assert_eq!(read("mt5"), EncoderConfig::T5(mt5));
    }

    /// The values are those of `ModernBertConfig()`, `NomicBertConfig()`, ... in transformers 5.24.0.
    #[test]
    fn absent_keys_of_rotary_encoders_have_the_defaults_of_transformers() {
        let read = |model_type: &str| read(&json!({ "model_type": model_type }));
        let modern = RotaryConfig::default();
        assert_eq!(read("modernbert"), EncoderConfig::Rotary(modern.clone()));
        let nomic = RotaryConfig {
            kin: RotaryKin::NomicBert,
            vocab_size: 30_528,
            layers: 12,
            intermediate: 3072,
            max_positions: 2048,
            token_types: 2,
            activation: Activation::Silu,
            norm_eps: 1e-12,
            norm_bias: true,
            window: None,
            global_every: 1,
            rotary_base: 1000.0,
            ..modern
        };
        assert_eq!(read("nomic_bert"), EncoderConfig::Rotary(nomic.clone()));
        let gte = RotaryConfig {
            kin: RotaryKin::Gte,
            vocab_size: 250_048,
            max_positions: 8192,
            token_types: 1,
            activation: Activation::Gelu,
            qkv_bias: true,
            attention_output_bias: true,
            outer_bias: true,
            rotary_base: 160_000.0,
            dropout: 0.1,
            ..nomic
        };
        assert_eq!(read("gte"), EncoderConfig::Rotary(gte));
    }

    /// The values are those of `LlamaConfig()`, `Qwen3Config()`, ... in transformers 5.24.0.
    #[test]
    fn absent_keys_of_decoders_have_the_defaults_of_transformers() {
        let read = |model_type: &str| read(&json!({ "model_type": model_type }));
        let llama = RotaryConfig {
            kin: RotaryKin::Llama,
            vocab_size: 32_000,
            hidden: 4096,
            layers: 32,
            heads: 32,
            kv_heads: 32,
            head_dim: 128,
            intermediate: 11_008,
            max_positions: 2048,
            activation: Activation::Silu,
            norm_eps: 1e-6,
            is_causal: true,
            window: None,
            global_every: 1,
            rotary_base: 10_000.0,
            ..RotaryConfig::default()
        };
        assert_eq!(read("llama"), EncoderConfig::Rotary(llama.clone()));
        let qwen3 = RotaryConfig {
            kin: RotaryKin::Qwen3,
            vocab_size: 151_936,
            intermediate: 22_016,
            max_positions: 32_768,
            ..llama.clone()
        };
        assert_eq!(read("qwen3"), EncoderConfig::Rotary(qwen3.clone()));
        let qwen2 = RotaryConfig { kin: RotaryKin::Qwen2, qkv_bias: true, ..qwen3 };
        assert_eq!(read("qwen2"), EncoderConfig::Rotary(qwen2));
        let mistral = RotaryConfig {
            kin: RotaryKin::Mistral,
            kv_heads: 8,
            intermediate: 14_336,
            max_positions: 131_072,
            window: Some(4095),
            global_every: 0,
            ..llama.clone()
        };
        assert_eq!(read("mistral"), EncoderConfig::Rotary(mistral));
        let eurobert = RotaryConfig {
            kin: RotaryKin::EuroBert,
            vocab_size: 128_256,
            hidden: 768,
            layers: 12,
            heads: 12,
            kv_heads: 12,
            head_dim: 64,
            intermediate: 3072,
            max_positions: 8192,
            norm_eps: 1e-5,
            is_causal: false,
            ..llama.clone()
        };
        assert_eq!(read("eurobert"), EncoderConfig::Rotary(eurobert));
        let gemma = RotaryConfig {
            kin: RotaryKin::Gemma3,
            vocab_size: 262_208,
            hidden: 2304,
            layers: 26,
            heads: 8,
            kv_heads: 4,
            head_dim: 256,
            intermediate: 9216,
            max_positions: 131_072,
            activation: Activation::GeluTanh,
            window: Some(4095),
            global_every: 6,
            first_global: 5,
            rotary_base: 1_000_000.0,
            score_dim: Some(256),
            ..llama
        };
        assert_eq!(read("gemma3_text"), EncoderConfig::Rotary(gemma));
    }

    #[test]
    fn older_and_newer_keys_say_the_same() {
        let same = |model_type: &str, older: Value, newer: Value| {
            let [older, newer] = [older, newer].map(|mut keys| {
                keys["model_type"] = model_type.into();
                read(&keys)
            });
            assert_eq!(older, newer, "{model_type}");
        };
        let types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
        same(
            "modernbert",
            json!({
                "num_hidden_layers": 4,
                "global_attn_every_n_layers": 2,
                "global_rope_theta": 80_000.0,
                "local_rope_theta": 500.0,
                "local_attention": 12,
                "norm_eps": 1e-6,
                // Of which transformers takes no notice.
                "layer_norm_eps": 1e-3,
            }),
            json!({
                "num_hidden_layers": 4,
                "layer_types": types,
                "rope_parameters": {
                    "full_attention": { "rope_type": "default", "rope_theta": 80_000.0 },
                    "sliding_attention": { "rope_type": "default", "rope_theta": 500.0 },
                },
                "sliding_window": 6,
                "norm_eps": 1e-6,
            }),
        );
        same(
            "gemma3_text",
            json!({
                "num_hidden_layers": 4,
                "sliding_window_pattern": 2,
                "rope_theta": 7e5,
                "rope_local_base_freq": 1e3,
            }),
            json!({
                "num_hidden_layers": 4,
                "layer_types":
                    ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
                "rope_parameters": {
                    "full_attention": { "rope_type": "default", "rope_theta": 7e5 },
                    "sliding_attention": { "rope_type": "default", "rope_theta": 1e3 },
                },
            }),
        );
        same(
            "llama",
            json!({ "rope_theta": 5e5, "rope_scaling": { "type": "linear", "factor": 2.0 } }),
            json!({ "rope_parameters":
                { "rope_theta": 5e5, "rope_type": "linear", "factor": 2.0 } }),
        );
        same(
            "mistral",
            json!({ "rope_theta": 5e5, "is_causal": false, "sliding_window": null }),
            json!({ "rope_scaling": { "rope_type": "default", "rope_theta": 5e5 },
                "rope_parameters": {}, "use_bidirectional_attention": true,
                "sliding_window": null }),
        );
        same(
            "nomic_bert",
            json!({ "n_embd": 32, "n_head": 4, "n_layer": 3, "n_inner": 50, "n_positions": 2048,
                "rotary_emb_base": 777, "layer_norm_epsilon": 1e-5, "resid_pdrop": 0.25 }),
            json!({ "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3,
                "intermediate_size": 50, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5,
                "rope_parameters": { "rope_theta": 777 }, "hidden_dropout_prob": 0.25 }),
        );
    }

    /// Causal, a window counts the asking token; else it lies on either side.
    #[test]
    fn a_window_is_as_wide_as_transformers_has_it() {
        for (is_causal, window) in [(true, 2), (false, 3)] {
            let file =
                json!({ "model_type": "mistral", "is_causal": is_causal, "sliding_window": 3 });
            let config = read(&file);
            let EncoderConfig::Rotary(rotary) = &config else { unreachable!() };
            assert_eq!(rotary.window, Some(window));
            let written = config_json(&config, TokenIds::default()).unwrap();
            assert_eq!(written["sliding_window"], 3);
            assert_eq!(read(&written), config);
        }
    }

    /// Without a table of positions a length that is asked for stands.
    #[test]
    fn the_longest_text_is_what_is_asked_for_or_can_be_read() {
        let of = |file: Value| read(&file);
        let modern = of(json!({ "model_type": "modernbert", "max_position_embeddings": 100 }));
        assert_eq!([Some(300), None].map(|asked| modern.longest_text(asked)), [300, 100]);
        let nomic = of(json!({ "model_type": "nomic_bert", "max_position_embeddings": 100 }));
        assert_eq!([Some(300), None].map(|asked| nomic.longest_text(asked)), [300, 100]);
        // Longer texts would turn by other angles.
        let stretched =
            json!({ "model_type": "nomic_bert", "n_positions": 8192, "rotary_scaling_factor": 2 });
        assert_eq!(
            [Some(3000), None].map(|asked| of(stretched.clone()).longest_text(asked)),
            [2048; 2]
        );
        let bert = EncoderConfig::default();
        assert_eq!([Some(3000), None].map(|asked| bert.longest_text(asked)), [512; 2]);
    }

    #[track_caller]
    fn check_refused(edit: impl Fn(&mut Value), expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let mut value = config_json(&EncoderConfig::default(), TokenIds::default()).unwrap();
        edit(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        let error = read_config(&path).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", source.unwrap_or_default());
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_a_rotary_encoder_does_not_do_is_named() {
        let refused = |value: Value, expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.json");
            fs::write(&path, value.to_string()).unwrap();
            let message = read_config(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        for (value, expected) in [
            (
                json!({ "model_type": "llama", "rope_scaling": { "type": "dynamic", "factor": 2 } }),
                "`type` = `dynamic`",
            ),
            (
                json!({ "model_type": "llama", "rope_parameters": { "rope_type": "yarn" } }),
                "`rope_type` = `yarn`",
            ),
            (
                json!({ "model_type": "llama", "rope_scaling": { "rope_type": "linear" } }),
                "`factor` = `none`",
            ),
            (
                json!({ "model_type": "qwen3", "rope_parameters": { "rope_theta": 1e6 },
                    "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }),
                "`rope_scaling` = ",
            ),
            (
                json!({ "model_type": "llama", "rope_scaling": { "type": "ntk", "factor": 2.0 } }),
                "`rope_scaling` = ",
            ),
            (
                json!({ "model_type": "new", "rope_scaling":
                    { "type": "ntk", "factor": 2.0, "mixed_b": 0.5 } }),
                "`mixed_b` = `0.5`",
            ),
            (json!({ "model_type": "gemma3_text", "is_causal": false }), "`is_causal` = `false`"),
            (
                json!({ "model_type": "nomic_bert", "rotary_emb_scale_base": 512 }),
                "`rotary_emb_scale_base` = `512`",
            ),
            (
                json!({ "model_type": "t5", "feed_forward_proj": "relu", "dense_act_fn": "silu" }),
                "`dense_act_fn` = `silu`",
            ),
            (
                json!({ "model_type": "qwen2", "use_sliding_window": true }),
                "`use_sliding_window` = `true`",
            ),
            (
                json!({ "model_type": "modernbert", "num_hidden_layers": 3, "layer_types":
                    ["full_attention", "full_attention", "sliding_attention"] }),
                "`layer_types`",
            ),
            (
                json!({ "model_type": "modernbert", "embedding_dropout": 0.1 }),
                "`embedding_dropout` = `0.1`",
            ),
            (
                json!({ "model_type": "nomic_bert", "moe_every_n_layers": 2, "num_experts": 8 }),
                "`moe_every_n_layers` = `2`",
            ),
            (json!({ "model_type": "nomic_bert", "prenorm": true }), "`prenorm` = `true`"),
            (
                json!({ "model_type": "nomic_bert", "rotary_emb_fraction": 0.5 }),
                "`rotary_emb_fraction` = `0.5`",
            ),
            (json!({ "model_type": "new", "pack_qkv": "false" }), "`pack_qkv` = `false`"),
            (
                json!({ "model_type": "new", "logn_attention_scale": true }),
                "`logn_attention_scale` = `true`",
            ),
            (
                json!({ "model_type": "gemma3_text", "attn_logit_softcapping": 30.0 }),
                "`attn_logit_softcapping` = `30.0`",
            ),
            (
                json!({ "model_type": "mpnet", "relative_attention_num_buckets": 8 }),
                "`relative_attention_num_buckets` = `8`",
            ),
        ] {
            refused(value, expected);
        }
    }

    #[test]
    fn what_is_not_supported_is_named() {
        check_refused(|v| v["model_type"] = "gpt2".into(), "`model_type` = `gpt2`, expected bert");
        check_refused(|v| v["model_type"] = Value::Null, "`model_type` = `none`");
        check_refused(|v| v["hidden_act"] = "mish".into(), "`hidden_act` = `mish`");
        check_refused(|v| v["is_decoder"] = true.into(), "`is_decoder` = `true`");
        check_refused(
            |v| v["position_embedding_type"] = "relative_key".into(),
            "`position_embedding_type` = `relative_key`",
        );
        check_refused(|v| v["hidden_size"] = "wide".into(), "`hidden_size` = `wide`");
        check_refused(|v| v["vocab_size"] = (-3).into(), "`vocab_size` = `-3`");
        check_refused(|v| v["layer_norm_eps"] = "small".into(), "`layer_norm_eps` = `small`");
    }
}
