//! `config_sentence_transformers.json`: the prompts and the similarity.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::json::{read_json_if_there, write_json};
use super::unsupported;
use crate::config::Similarity;
use crate::error::ModelError;
use crate::side::Side;

pub(super) const SETTINGS: &str = "config_sentence_transformers.json";

/// A folder's prompts by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prompts {
    pub(crate) texts: BTreeMap<String, String>,
    /// The name of the one for texts of which nobody says what they are: neither queries nor
    /// documents.
    pub(crate) default: Option<String>,
}

impl Prompts {
    /// What `encode_query` and `encode_document` of sentence-transformers (5 and 6) put before a
    /// text: the prompt of their own name or none, as a folder that does not have the name has it
    /// with an empty text. `passage` and `corpus`, which `encode_document` knows, and the default
    /// are never reached.
    pub(crate) fn of(&self, side: Side) -> String {
        self.texts.get(side.name()).cloned().unwrap_or_default()
    }

    /// The names of prompts that [`of`](Self::of) never gives, empty ones left out.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &str> {
        let is_read = |name: &str| Side::ALL.iter().any(|side| side.name() == name);
        let unread =
            self.texts.iter().filter(move |(name, text)| !text.is_empty() && !is_read(name));
        unread.map(|(name, _)| name.as_str())
    }
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) prompts: Prompts,
    pub(crate) similarity: Similarity,
}

impl Settings {
    /// Reads the settings of a folder whose embeddings have `dim` dimensions.
    pub(crate) fn read(folder: &Path, dim: usize) -> Result<Self, ModelError> {
        #[derive(Default, Deserialize)]
        struct File {
            prompts: Option<BTreeMap<String, Option<String>>>,
            default_prompt_name: Option<String>,
            similarity_fn_name: Option<String>,
            truncate_dim: Option<usize>,
            model_type: Option<String>,
        }
        let path = folder.join(SETTINGS);
        let file: File = read_json_if_there(&path)?.unwrap_or_default();
        let unsupported = |key, got: &str, expected| Err(unsupported(&path, key, got, expected));
        match file.model_type.as_deref() {
            None | Some("SentenceTransformer") => {}
            Some(other) => return unsupported("model_type", other, "SentenceTransformer"),
        }
        if let Some(cut) = file.truncate_dim.filter(|&cut| cut < dim) {
            return unsupported("truncate_dim", &cut.to_string(), "the whole embedding");
        }
        let similarity = match file.similarity_fn_name.as_deref() {
            None | Some("cosine") => Similarity::Cosine,
            Some("dot") => Similarity::Dot,
            Some(other) => return unsupported("similarity_fn_name", other, "cosine or dot"),
        };
        let texts = file.prompts.unwrap_or_default().into_iter();
        let texts = texts.map(|(name, text)| (name, text.unwrap_or_default()));
        let prompts = Prompts { texts: texts.collect(), default: file.default_prompt_name };
        let is_side = |name: &str| Side::ALL.iter().any(|side| side.name() == name);
        match &prompts.default {
            Some(name) if !prompts.texts.contains_key(name) && !is_side(name) => {
                unsupported("default_prompt_name", name, "the name of a prompt")
            }
            _ => Ok(Self { prompts, similarity }),
        }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), ModelError> {
        let file = json!({
            // The release whose schema this is.
            "__version__": { "sentence_transformers": "3.0.0" },
            "default_prompt_name": self.prompts.default,
            "prompts": self.prompts.texts,
            "similarity_fn_name": self.similarity,
        });
        write_json(&folder.join(SETTINGS), &file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SETTINGS), text).unwrap();
        Settings::read(folder.path(), 8)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let texts = [("query".into(), "ask: ".into()), ("other".into(), String::new())].into();
        let prompts = Prompts { texts, default: Some("other".into()) };
        let settings = Settings { prompts, similarity: Similarity::Dot };
        settings.write(folder.path()).unwrap();
        assert_eq!(Settings::read(folder.path(), 8).unwrap(), settings);
        assert_eq!(settings.prompts.of(Side::Query), "ask: ");
        assert_eq!(settings.prompts.of(Side::Document), "");
    }

    #[test]
    fn a_folder_without_the_file_compares_by_the_cosine() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(folder.path(), 8).unwrap(), Settings::default());
    }

    #[test]
    fn a_side_s_name_is_a_prompt_even_where_none_is_written() {
        assert!(read(r#"{ "default_prompt_name": "query" }"#).is_ok());
        let error = read(r#"{ "default_prompt_name": "nobody" }"#).unwrap_err().to_string();
        assert!(error.contains("default_prompt_name"), "{error}");
    }

    #[test]
    fn what_would_change_an_embedding_is_refused_by_name() {
        for (text, key) in [
            (r#"{ "truncate_dim": 7 }"#, "truncate_dim"),
            (r#"{ "similarity_fn_name": "euclidean" }"#, "similarity_fn_name"),
            (r#"{ "model_type": "SparseEncoder" }"#, "model_type"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
        // No dimension is cut away.
        assert!(read(r#"{ "truncate_dim": 8 }"#).is_ok());
    }
}
