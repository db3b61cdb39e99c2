//! How two embeddings are scored.

use serde::{Deserialize, Serialize};

/// How two embeddings are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Similarity {
    /// The cosine of the angle between them. Embeddings need not be normalised.
    #[default]
    Cosine,
    /// Their dot product.
    Dot,
}
