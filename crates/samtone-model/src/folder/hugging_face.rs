//! Hugging Face's `config.json` to an encoder's configuration, and back; checkpoint names.
//!
//! | architecture | `model_type` read | written | tensors left out |
//! |---|---|---|---|
//! | BERT | `bert`, `roberta`, `xlm-roberta`, `camembert` | `bert`, `roberta` | pooler, pre-training heads |
//! | T5 | `t5`, `mt5` | `t5` | decoder, language model head; none where the whole T5 is read |

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{Activation, BertConfig, EncoderConfig, T5Config};
use crate::error::ModelError;
use crate::folder::checkpoint::Checkpoint;

/// The keys of `config.json` that decide what is computed. Absent ones have the defaults of
/// transformers' configuration classes, which are BERT's but for the vocabulary and the padding id.
#[derive(Deserialize)]
#[serde(default)]
struct BertFile {
    vocab_size: Option<usize>,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    hidden_dropout_prob: f64,
    attention_probs_dropout_prob: f64,
    pad_token_id: Option<usize>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
}

impl Default for BertFile {
    fn default() -> Self {
        Self {
            vocab_size: None,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            pad_token_id: None,
            position_embedding_type: None,
            is_decoder: None,
        }
    }
}

/// As [`BertFile`]; absent keys are [`None`] where T5's and mT5's defaults differ.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct T5File {
    model_type: String,
    vocab_size: Option<usize>,
    d_model: usize,
    num_layers: Option<usize>,
    num_heads: Option<usize>,
    d_kv: usize,
    d_ff: Option<usize>,
    feed_forward_proj: Option<String>,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    layer_norm_epsilon: f64,
    dropout_rate: f64,
}

impl Default for T5File {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            vocab_size: None,
            d_model: 512,
            num_layers: None,
            num_heads: None,
            d_kv: 64,
            d_ff: None,
            feed_forward_proj: None,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            dropout_rate: 0.1,
        }
    }
}

impl T5File {
    pub(crate) fn config(self, path: &Path) -> Result<T5Config, ModelError> {
        let is_mt5 = self.model_type == "mt5";
        let either = |t5, mt5| if is_mt5 { mt5 } else { t5 };
        let projection = if is_mt5 { "gated-gelu" } else { "relu" };
        let (activation, gated) = match self.feed_forward_proj.as_deref().unwrap_or(projection) {
            "relu" => (Activation::Relu, false),
            "gated-gelu" => (Activation::GeluTanh, true),
            "gelu" => (Activation::Gelu, false),
            "gelu_new" => (Activation::GeluTanh, false),
            "gated-relu" => (Activation::Relu, true),
            other => {
                return Err(ModelError::Unsupported {
                    path: path.to_owned(),
                    key: "feed_forward_proj",
                    got: other.into(),
                    expected: "relu or gated-gelu",
                });
            }
        };
        Ok(T5Config {
            vocab_size: self.vocab_size.unwrap_or(either(32_128, 250_112)),
            hidden: self.d_model,
            layers: self.num_layers.unwrap_or(either(6, 8)),
            heads: self.num_heads.unwrap_or(either(8, 6)),
            head_dim: self.d_kv,
            intermediate: self.d_ff.unwrap_or(either(2048, 1024)),
            activation,
            gated,
            relative_buckets: self.relative_attention_num_buckets,
            relative_max_distance: self.relative_attention_max_distance,
            norm_eps: self.layer_norm_epsilon,
            dropout: self.dropout_rate,
        })
    }
}

/// The table of words, whose second name a tied head is.
pub(crate) const TABLE: &str = "shared.weight";

/// Reads an encoder's configuration from `config.json`.
///
/// # Errors
/// If the file is missing or broken, or describes an encoder this crate does not have.
pub(crate) fn read_config(path: &Path) -> Result<EncoderConfig, ModelError> {
    let json_error = |source| ModelError::Json { path: path.to_owned(), source };
    let unsupported = |key, got: &str, expected| {
        Err(ModelError::Unsupported { path: path.to_owned(), key, got: got.into(), expected })
    };
    let text = fs::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let value: Value = serde_json::from_str(&text).map_err(json_error)?;
    let model_type = value["model_type"].as_str().unwrap_or("none").to_owned();
    match model_type.as_str() {
        "bert" | "roberta" | "xlm-roberta" | "camembert" => {
            let file: BertFile = serde_json::from_value(value).map_err(json_error)?;
            let activation = match file.hidden_act.as_str() {
                "gelu" | "gelu_python" => Activation::Gelu,
                "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
                "relu" => Activation::Relu,
                other => return unsupported("hidden_act", other, "gelu, gelu_new or relu"),
            };
            match file.position_embedding_type.as_deref() {
                None | Some("absolute") => {}
                Some(other) => return unsupported("position_embedding_type", other, "absolute"),
            }
            if file.is_decoder == Some(true) {
                return unsupported("is_decoder", "true", "false");
            }
            let position_offset = match model_type.as_str() {
                "bert" => 0,
                _ => file.pad_token_id.unwrap_or(1).saturating_add(1),
            };
            Ok(EncoderConfig::Bert(BertConfig {
                vocab_size: file.vocab_size.unwrap_or(match model_type.as_str() {
                    "roberta" => 50_265,
                    _ => 30_522,
                }),
                hidden: file.hidden_size,
                layers: file.num_hidden_layers,
                heads: file.num_attention_heads,
                intermediate: file.intermediate_size,
                max_positions: file.max_position_embeddings,
                position_offset,
                token_types: file.type_vocab_size,
                activation,
                norm_eps: file.layer_norm_eps,
                dropout: file.hidden_dropout_prob,
                attention_dropout: file.attention_probs_dropout_prob,
            }))
        }
        "t5" | "mt5" => {
            let file: T5File = serde_json::from_value(value).map_err(json_error)?;
            Ok(EncoderConfig::T5(file.config(path)?))
        }
        other => {
            unsupported("model_type", other, "bert, roberta, xlm-roberta, camembert, t5 or mt5")
        }
    }
}

/// The `config.json` of an encoder.
pub(crate) fn config_json(config: &EncoderConfig, pad_id: u32) -> Value {
    match config {
        EncoderConfig::Bert(bert) => {
            let is_bert = bert.position_offset == 0;
            json!({
                "architectures": [if is_bert { "BertModel" } else { "RobertaModel" }],
                "attention_probs_dropout_prob": bert.attention_dropout,
                "hidden_act": match bert.activation {
                    Activation::Gelu => "gelu",
                    Activation::GeluTanh => "gelu_new",
                    Activation::Relu => "relu",
                },
                "hidden_dropout_prob": bert.dropout,
                "hidden_size": bert.hidden,
                "initializer_range": 0.02,
                "intermediate_size": bert.intermediate,
                "layer_norm_eps": bert.norm_eps,
                "max_position_embeddings": bert.max_positions,
                "model_type": if is_bert { "bert" } else { "roberta" },
                "num_attention_heads": bert.heads,
                "num_hidden_layers": bert.layers,
                // RoBERTa's positions start behind its padding id.
                "pad_token_id": if is_bert { pad_id as usize } else { bert.position_offset - 1 },
                "position_embedding_type": "absolute",
                "torch_dtype": "float32",
                "type_vocab_size": bert.token_types,
                "vocab_size": bert.vocab_size,
            })
        }
        EncoderConfig::T5(t5) => json!({
            "architectures": ["T5EncoderModel"],
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
            },
            "is_encoder_decoder": true,
            "layer_norm_epsilon": t5.norm_eps,
            "model_type": "t5",
            "num_heads": t5.heads,
            "num_layers": t5.layers,
            "pad_token_id": pad_id,
            "relative_attention_max_distance": t5.relative_max_distance,
            "relative_attention_num_buckets": t5.relative_buckets,
            "torch_dtype": "float32",
            "use_cache": false,
            "vocab_size": t5.vocab_size,
        }),
    }
}

/// What stands around BERT's encoder: parts of whole models.
const BERT_HEADS: [&str; 5] = ["pooler", "cls", "lm_head", "classifier", "qa_outputs"];

/// BERT's table of words, by which its place in a whole model is known.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// Reads an encoder's weights under the names of its parameters.
///
/// The prefix of a whole model (`bert.`, `roberta.`, `0.auto_model.`) falls away, heads and decoders
/// are left out, T5's second name for its table is the first one, and the norms of TensorFlow's days
/// have their newer names (`gamma` is the weight, `beta` the bias).
///
/// # Errors
/// As [`Checkpoint::read`].
pub(crate) fn read_weights(
    folder: &Path,
    config: &EncoderConfig,
) -> Result<Checkpoint, ModelError> {
    match config {
        EncoderConfig::Bert(_) => {
            read_bert(folder, |name| name.split('.').any(|part| BERT_HEADS.contains(&part)))
        }
        EncoderConfig::T5(_) => Checkpoint::read(folder, |name| {
            name.starts_with("decoder.") || name == "lm_head.weight"
        })?
        .rename(|name| match name {
            "encoder.embed_tokens.weight" => "shared.weight".to_owned(),
            other => other.to_owned(),
        }),
    }
}

/// Reads BERT's weights as [`read_weights`] does, but for the heads that `is_left_out` accepts.
///
/// # Errors
/// As [`Checkpoint::read`].
pub(crate) fn read_bert(
    folder: &Path,
    is_left_out: impl Fn(&str) -> bool,
) -> Result<Checkpoint, ModelError> {
    let checkpoint = Checkpoint::read(folder, |name| {
        is_left_out(name) || name.ends_with("embeddings.position_ids")
    })?;
    let prefix = checkpoint.names().find_map(|name| name.strip_suffix(WORDS));
    let prefix = prefix.unwrap_or_default().to_owned();
    checkpoint.rename(|name| {
        let name = name.strip_prefix(&prefix).unwrap_or(name);
        match name.rsplit_once("LayerNorm.") {
            Some((norm, "gamma")) => format!("{norm}LayerNorm.weight"),
            Some((norm, "beta")) => format!("{norm}LayerNorm.bias"),
            _ => name.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_round_trip(config: EncoderConfig) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, config_json(&config, 0).to_string()).unwrap();
        assert_eq!(read_config(&path).unwrap(), config);
    }

    #[test]
    fn a_configuration_survives_the_file() {
        check_round_trip(EncoderConfig::Bert(BertConfig::default()));
        check_round_trip(EncoderConfig::T5(T5Config::default()));
        check_round_trip(EncoderConfig::Bert(BertConfig {
            position_offset: 2,
            activation: Activation::GeluTanh,
            ..BertConfig::default()
        }));
        let (gated, activation) = (false, Activation::Relu);
        check_round_trip(EncoderConfig::T5(T5Config { activation, gated, ..T5Config::default() }));
    }

    /// The values are those of `BertConfig()`, `RobertaConfig()`, `T5Config()`, ... in transformers
    /// 5.24.0, those of 4.57.1 are the same.
    #[test]
    fn absent_keys_have_the_defaults_of_transformers() {
        let read = |model_type: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.json");
            fs::write(&path, json!({ "model_type": model_type }).to_string()).unwrap();
            read_config(&path).unwrap()
        };
        let bert = BertConfig {
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
        let shifted = BertConfig { position_offset: 2, ..bert };
        for model_type in ["xlm-roberta", "camembert"] {
            assert_eq!(read(model_type), EncoderConfig::Bert(shifted.clone()));
        }
        let roberta = BertConfig { vocab_size: 50_265, ..shifted };
        assert_eq!(read("roberta"), EncoderConfig::Bert(roberta));
        let t5 = T5Config {
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

    #[track_caller]
    fn check_refused(edit: impl Fn(&mut Value), expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let mut value = config_json(&EncoderConfig::default(), 0);
        edit(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        let error = read_config(&path).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let message = format!("{error} {}", source.unwrap_or_default());
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_is_not_supported_is_named() {
        check_refused(|v| v["model_type"] = "gpt2".into(), "`model_type` = `gpt2`, expected bert");
        check_refused(|v| v["model_type"] = Value::Null, "`model_type` = `none`");
        check_refused(|v| v["hidden_act"] = "swish".into(), "`hidden_act` = `swish`");
        check_refused(|v| v["is_decoder"] = true.into(), "`is_decoder` = `true`");
        check_refused(
            |v| v["position_embedding_type"] = "relative_key".into(),
            "`position_embedding_type` = `relative_key`",
        );
        check_refused(|v| v["hidden_size"] = "wide".into(), "invalid type: string \"wide\"");
        check_refused(|v| v["vocab_size"] = "many".into(), "invalid type: string \"many\"");
    }
}
