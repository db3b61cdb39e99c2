//! What of a document the encoder reads.

use serde::{Deserialize, Serialize};

/// What of a document the encoder reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentText {
    /// Title, a space, text: BEIR's convention.
    #[default]
    TitleText,
    /// The text alone.
    Text,
}
