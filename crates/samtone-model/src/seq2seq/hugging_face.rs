//! A whole T5 as Hugging Face's folders hold it.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{Head, Seq2SeqConfig};
use crate::config::EncoderConfig;
use crate::error::ModelError;
use crate::folder::checkpoint::Checkpoint;
use crate::folder::hugging_face::{T5File, TABLE, config_json};

/// The language model head's name, where it is a table of its own.
pub(super) const HEAD: &str = "lm_head.weight";

/// The keys of a whole T5 beside its encoder's.
#[derive(Deserialize)]
struct Seq2SeqFile {
    num_decoder_layers: Option<usize>,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    scale_decoder_outputs: Option<bool>,
    decoder_start_token_id: Option<u32>,
    pad_token_id: Option<u32>,
    #[serde(default = "one")]
    eos_token_id: u32,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// Reads the configuration of a whole T5 from `config.json`; whether its head is its own is for
/// the weights to say.
///
/// # Errors
/// If the file is missing or broken, or describes no T5.
pub(super) fn read_seq2seq_config(path: &Path) -> Result<Seq2SeqConfig, ModelError> {
    let json_error = |source| ModelError::Json { path: path.to_owned(), source };
    let text = fs::read_to_string(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let value: Value = serde_json::from_str(&text).map_err(json_error)?;
    let model_type = value["model_type"].as_str().unwrap_or("none").to_owned();
    if !["t5", "mt5"].contains(&model_type.as_str()) {
        return Err(ModelError::Unsupported {
            path: path.to_owned(),
            key: "model_type",
            got: model_type,
            expected: "t5 or mt5: an encoder and a decoder",
        });
    }
    let whole: Seq2SeqFile = serde_json::from_value(value.clone()).map_err(json_error)?;
    let file: T5File = serde_json::from_value(value).map_err(json_error)?;
    // Before transformers 5 the tied head was the scaled one; since then the scale has a key.
    let is_scaled = whole.scale_decoder_outputs.unwrap_or(whole.tie_word_embeddings);
    let encoder = file.config(path)?;
    Ok(Seq2SeqConfig {
        decoder_layers: whole.num_decoder_layers.unwrap_or(encoder.layers),
        head: if is_scaled { Head::TiedScaled } else { Head::Tied },
        start_id: whole.decoder_start_token_id.or(whole.pad_token_id).unwrap_or(0),
        end_id: whole.eos_token_id,
        encoder,
    })
}

/// The `config.json` of a whole T5.
pub(super) fn seq2seq_config_json(config: &Seq2SeqConfig, pad_id: u32) -> Value {
    let mut file = config_json(&EncoderConfig::T5(config.encoder.clone()), pad_id);
    let more = json!({
        "architectures": ["T5ForConditionalGeneration"],
        "decoder_start_token_id": config.start_id,
        "eos_token_id": config.end_id,
        "num_decoder_layers": config.decoder_layers,
        "scale_decoder_outputs": config.head == Head::TiedScaled,
        // What readers before transformers 5 tie and scale by.
        "tie_word_embeddings": config.head == Head::TiedScaled,
        "use_cache": true,
    });
    for (key, value) in more.as_object().expect("written as one above") {
        file[key] = value.clone();
    }
    file
}

/// Reads a whole T5's weights under the names of its parameters, and sets in `config` whether the
/// head is its own. A copy of the table under the head's name is no head of its own.
///
/// # Errors
/// As [`Checkpoint::read`], or if a head of its own should be scaled.
pub(super) fn read_seq2seq_weights(
    folder: &Path,
    config: &mut Seq2SeqConfig,
) -> Result<Checkpoint, ModelError> {
    // A table that no layer ever read lies in the first checkpoints.
    let unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    let checkpoint =
        Checkpoint::read(folder, |name| name == unread)?.rename(|name| match name {
            "encoder.embed_tokens.weight" | "decoder.embed_tokens.weight" => {
                "shared.weight".to_owned()
            }
            other => other.to_owned(),
        })?;
    let shape = [config.encoder.vocab_size, config.encoder.hidden];
    if !checkpoint.names().any(|name| name == HEAD) {
        return Ok(checkpoint);
    }
    if checkpoint.get(HEAD, &shape)? == checkpoint.get(TABLE, &shape)? {
        return Ok(checkpoint.without(HEAD));
    }
    if config.head == Head::TiedScaled {
        return Err(ModelError::Unsupported {
            path: folder.join("config.json"),
            key: "tie_word_embeddings",
            got: "true".into(),
            expected: "false where `lm_head.weight` differs from `shared.weight`",
        });
    }
    config.head = Head::Own;
    Ok(checkpoint)
}
