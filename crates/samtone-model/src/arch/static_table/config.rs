//! Sizes of a static table.

use serde::{Deserialize, Serialize};

use crate::config::bounds::at_least_one;
use crate::error::ModelError;

/// Sizes of a static table; texts have no special tokens and no longest length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticConfig {
    /// Rows: ids of tokens.
    pub vocab_size: usize,
    /// Dimensions of a row.
    pub hidden: usize,
}

impl Default for StaticConfig {
    fn default() -> Self {
        Self { vocab_size: 30_522, hidden: 256 }
    }
}

impl StaticConfig {
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        at_least_one("vocab_size", self.vocab_size)?;
        at_least_one("hidden", self.hidden)
    }
}
