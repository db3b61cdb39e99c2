//! Model folders: what sentence-transformers opens, in the older schema that every reader accepts.
//!
//! One tower:
//!
//! | file | holds |
//! |---|---|
//! | `modules.json` | the stages: encoder, pooling, projection, norm |
//! | `config.json`, `model.safetensors` | the encoder, as Hugging Face has it; `pytorch_model.bin` is read too |
//! | `tokenizer.json`, `tokenizer_config.json` | the tokenizer, lower-casing included |
//! | `sentence_bert_config.json` | the longest text read, in tokens |
//! | `config_sentence_transformers.json` | a prompt per side, the similarity |
//! | `1_Pooling/config.json` | the pooling, and whether prompts take part |
//! | `2_Dense/` | the projection, if there is one |
//! | `samtone.json` | what the other files cannot say |
//!
//! Of an encoder with adapters, `adapter_config.json` and `adapter_model.safetensors` stand for
//! `config.json` and the weights, which are another folder's (`peft`).
//!
//! Two towers: `query/` and `document/`, each as above, and `samtone.json` beside them; or, on
//! request, sentence-transformers' router: every stage in a folder of its own, `router_config.json`.
//!
//! Read is what sentence-transformers 2 to 6 write; where releases differ in what they make of a
//! file, it is taken as 6.2 takes it. A key that changes an embedding and is not honoured is refused.

pub(crate) mod checkpoint;
pub(crate) mod cross_encoder;
mod host_tensor;
pub(crate) mod hugging_face;
mod json;
pub(crate) mod keys;
mod limits;
pub(crate) mod locate;
pub(crate) mod model_folder;
pub(crate) mod names;
pub(crate) mod peft;
mod pytorch;
mod samtone;
mod settings;
mod stages;
mod tokenizer;
mod tower;

use std::path::Path;

pub(crate) use cross_encoder::{CrossEncoderFolder, ScoreActivation};
pub(crate) use json::{create_folder, replace_folder, write_json};
pub(crate) use peft::Base;
pub(crate) use samtone::SamtoneFile;
pub(crate) use settings::{Prompts, Settings};
pub(crate) use stages::{write_modules, write_routes};
pub(crate) use tokenizer::{TokenizerFiles, check_class, read_tokenizer, write_tokenizer};
pub(crate) use tower::{Layout, TowerContent, TowerFolder, read_towers};

use crate::error::ModelError;

pub(crate) const CONFIG: &str = "config.json";

/// What a tower reads of a text beside its weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideSettings {
    /// Put before every text.
    pub prompt: String,
    /// Texts are cut to this many tokens; none: to what the encoder can read.
    pub max_tokens: Option<usize>,
}

pub(crate) fn unsupported(
    path: &Path,
    key: &'static str,
    got: &str,
    expected: &'static str,
) -> ModelError {
    ModelError::Unsupported { path: path.to_owned(), key, got: got.to_owned(), expected }
}
