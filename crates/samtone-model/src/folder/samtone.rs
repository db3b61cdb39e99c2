//! `samtone.json`: what the other files cannot say.

use std::path::Path;

use samtone_text::DocumentText;
use serde::{Deserialize, Serialize};

use super::json::{read_json_if_there, write_json};
use crate::config::Sharing;
use crate::error::ModelError;

const SAMTONE: &str = "samtone.json";

/// The content of `samtone.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SamtoneFile {
    #[serde(default)]
    pub(crate) sharing: Sharing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) query_max_tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) document_max_tokens: Option<usize>,
    /// What of a document the model was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) document_text: Option<DocumentText>,
    /// A temperature learned in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) temperature: Option<f64>,
}

impl SamtoneFile {
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, ModelError> {
        read_json_if_there(&folder.join(SAMTONE))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), ModelError> {
        write_json(&folder.join(SAMTONE), self)
    }
}
