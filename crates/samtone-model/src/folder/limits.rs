//! `sentence_bert_config.json`: what the encoder's stage does with a text before it reads it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::json::{read_json_if_there, write_json};
use super::unsupported;
use crate::error::ModelError;
use crate::side::Side;

const LIMITS: &str = "sentence_bert_config.json";

/// The names the file had before, in the order in which sentence-transformers looks for them.
const OLDER: [&str; 6] = [
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Texts are cut to this many tokens.
    max_tokens: Option<usize>,
    /// Queries are, then documents.
    of_side: [Option<usize>; 2],
    /// Texts are turned into lower case.
    pub(crate) lowercase: bool,
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    // Of 2 to 5.
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
    // Of 6.
    query_length: Option<usize>,
    document_length: Option<usize>,
    transformer_task: Option<String>,
    modality_config: Option<Map<String, Value>>,
    module_output_name: Option<String>,
    processing_kwargs: Option<Map<String, Value>>,
    query_expansion: Option<Value>,
    // How texts are batched, never what they become.
    #[serde(rename = "unpad_inputs")]
    _unpad_inputs: Option<bool>,
    // Arguments of transformers, by the older and the newer name.
    #[serde(alias = "model_args")]
    model_kwargs: Option<Map<String, Value>>,
    #[serde(alias = "tokenizer_args")]
    processor_kwargs: Option<Map<String, Value>>,
    #[serde(alias = "config_args")]
    config_kwargs: Option<Map<String, Value>>,
}

/// Arguments that say how weights are found and held, not what they compute.
const HARMLESS: [&str; 8] = [
    "attn_implementation",
    "cache_dir",
    "dtype",
    "local_files_only",
    "revision",
    "token",
    "torch_dtype",
    "trust_remote_code",
];

/// The tokenizer's argument for the longest text, in tokens.
const MODEL_MAX_LENGTH: &str = "model_max_length";

/// What the encoder's stage hands on.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// Hidden states, to be pooled.
    States,
    /// The score of a pair.
    Scores,
}

impl File {
    /// Checks that nothing changes a result but what [`Limits`] holds.
    fn check(&self, path: &Path, task: Task) -> Result<(), ModelError> {
        let [name, output, method_output] = match task {
            Task::States => ["feature-extraction", "token_embeddings", "last_hidden_state"],
            Task::Scores => ["sequence-classification", "scores", "logits"],
        };
        for (key, got, only) in [
            ("transformer_task", &self.transformer_task, name),
            ("module_output_name", &self.module_output_name, output),
        ] {
            if let Some(got) = got.as_ref().filter(|got| *got != only) {
                return Err(unsupported(path, key, got, only));
            }
        }
        let text = json!({ "method": "forward", "method_output_name": method_output });
        for (modality, got) in self.modality_config.iter().flatten() {
            if modality != "text" || *got != text {
                let got = format!("{modality}: {got}");
                let expected = match task {
                    Task::States => "text, its last hidden state",
                    Task::Scores => "text, its logits",
                };
                return Err(unsupported(path, "modality_config", &got, expected));
            }
        }
        if let Some(got) = self.query_expansion.as_ref().filter(|got| !got.is_null()) {
            return Err(unsupported(path, "query_expansion", &got.to_string(), "none"));
        }
        for (key, arguments) in [
            ("processing_kwargs", &self.processing_kwargs),
            ("model_kwargs", &self.model_kwargs),
            ("processor_kwargs", &self.processor_kwargs),
            ("config_kwargs", &self.config_kwargs),
        ] {
            for (name, got) in arguments.iter().flatten() {
                let is_length =
                    key == "processor_kwargs" && name == MODEL_MAX_LENGTH && got.is_u64();
                if !is_length && !HARMLESS.contains(&name.as_str()) && !is_empty(got) {
                    let got = format!("{name}: {got}");
                    return Err(unsupported(path, key, &got, "none that change results"));
                }
            }
        }
        Ok(())
    }
}

impl Limits {
    pub(crate) fn max_tokens(&self, side: Side) -> Option<usize> {
        self.of_side[side as usize].or(self.max_tokens)
    }

    /// What pairs of texts are cut to.
    pub(crate) fn pair_max_tokens(&self) -> Option<usize> {
        self.max_tokens
    }

    /// Reads the first file that holds something; keys that would change a result and are none of ours
    /// are refused.
    pub(crate) fn read(folder: &Path, task: Task) -> Result<Self, ModelError> {
        let mut found = None;
        for name in std::iter::once(LIMITS).chain(OLDER) {
            let path = folder.join(name);
            let value = read_json_if_there::<Value>(&path)?;
            if let Some(value) = value.filter(|value| value != &json!({})) {
                found = Some((path, value));
                break;
            }
        }
        let Some((path, value)) = found else { return Ok(Self::default()) };
        let file: File = serde_json::from_value(value)
            .map_err(|source| ModelError::Json { path: path.clone(), source })?;
        file.check(&path, task)?;
        let of_tokenizer = file.processor_kwargs.as_ref().and_then(|it| it.get(MODEL_MAX_LENGTH));
        let of_tokenizer = of_tokenizer.and_then(Value::as_u64).map(|length| length as usize);
        Ok(Self {
            max_tokens: of_tokenizer.or(file.max_seq_length),
            of_side: [file.query_length, file.document_length],
            lowercase: file.do_lower_case == Some(true),
        })
    }

    /// Writes the file of a tower; the tokenizer's own file says whether it turns texts into lower
    /// case.
    ///
    /// `do_lower_case` would have releases 2 to 5 do so before the tokenizer, by Python's rules (a
    /// final sigma), where 6 and this crate let the tokenizer do it; without it all do the same.
    pub(crate) fn write(folder: &Path, max_tokens: usize) -> Result<(), ModelError> {
        let file = json!({ "max_seq_length": max_tokens, "do_lower_case": false });
        write_json(&folder.join(LIMITS), &file)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(inner) => inner.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Limits, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        Limits::read(folder.path(), Task::States)
    }

    #[test]
    fn a_length_is_found_wherever_a_release_put_it() {
        for (text, [query, document]) in [
            (r#"{ "max_seq_length": 64 }"#, [Some(64); 2]),
            (r#"{ "max_seq_length": 64, "query_length": 32 }"#, [Some(32), Some(64)]),
            (r#"{ "document_length": 200 }"#, [None, Some(200)]),
            (r#"{ "processor_kwargs": { "model_max_length": 48 } }"#, [Some(48); 2]),
            (
                r#"{ "max_seq_length": 64, "tokenizer_args": { "model_max_length": 9 } }"#,
                [Some(9); 2],
            ),
            (r#"{ "max_seq_length": null }"#, [None; 2]),
        ] {
            let limits = read(LIMITS, text).unwrap();
            assert_eq!(limits.max_tokens(Side::Query), query, "{text}");
            assert_eq!(limits.max_tokens(Side::Document), document, "{text}");
        }
    }

    #[test]
    fn older_names_are_looked_for_where_the_newer_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put(OLDER[5], r#"{ "max_seq_length": 7 }"#);
        put(OLDER[2], r#"{ "max_seq_length": 5, "do_lower_case": true }"#);
        put(LIMITS, "{}");
        let limits = Limits::read(folder.path(), Task::States).unwrap();
        assert_eq!(limits.max_tokens(Side::Query), Some(5));
        assert!(limits.lowercase);
    }

    #[test]
    fn what_would_change_an_embedding_is_refused_by_name() {
        for (text, key) in [
            (r#"{ "query_expansion": 3 }"#, "query_expansion"),
            (r#"{ "model_args": { "rope_scaling": 2 } }"#, "model_kwargs"),
            (r#"{ "processing_kwargs": { "padding": "longest" } }"#, "processing_kwargs"),
            (r#"{ "transformer_task": "fill-mask" }"#, "transformer_task"),
            (r#"{ "modality_config": { "image": {} } }"#, "modality_config"),
        ] {
            let error = read(LIMITS, text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
        assert!(read(LIMITS, r#"{ "model_args": { "torch_dtype": "float16" } }"#).is_ok());
    }
}
