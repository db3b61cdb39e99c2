//! A whole T5 as Hugging Face's folders hold it.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{Head, Seq2SeqConfig};
use crate::arch::t5::files::{self, TABLE};
use crate::error::ModelError;
use crate::folder::checkpoint::Checkpoint;
use crate::folder::keys::Keys;

/// The language model head's name, where it is a table of its own.
pub(super) const HEAD: &str = "lm_head.weight";

/// Reads the configuration of a whole T5 from `config.json`; whether its head is its own is for
/// the weights to say.
///
/// # Errors
/// If the file is missing or broken, or describes no T5.
pub(super) fn read_seq2seq_config(path: &Path) -> Result<Seq2SeqConfig, ModelError> {
    let keys = Keys::read(path)?;
    let model_type = keys.text("model_type")?.unwrap_or("none");
    if !["t5", "mt5"].contains(&model_type) {
        return Err(keys.refuse("model_type", "t5 or mt5: an encoder and a decoder"));
    }
    let encoder = files::read(&keys, model_type)?;
    // Before transformers 5 the tied head was the scaled one; since then the scale has a key.
    let is_tied = keys.flag("tie_word_embeddings")?.unwrap_or(true);
    let is_scaled = keys.flag("scale_decoder_outputs")?.unwrap_or(is_tied);
    let id = |key| Ok::<_, ModelError>(keys.count(key)?.map(|id| id as u32));
    Ok(Seq2SeqConfig {
        decoder_layers: keys.count("num_decoder_layers")?.unwrap_or(encoder.layers),
        head: if is_scaled { Head::TiedScaled } else { Head::Tied },
        start_id: id("decoder_start_token_id")?.or(id("pad_token_id")?).unwrap_or(0),
        end_id: id("eos_token_id")?.unwrap_or(1),
        encoder,
    })
}

/// The `config.json` of a whole T5.
pub(super) fn seq2seq_config_json(config: &Seq2SeqConfig, pad_id: u32) -> Value {
    let mut file = files::write(&config.encoder, pad_id);
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
