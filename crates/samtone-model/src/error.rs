//! What can be wrong with a model's configuration.

use std::path::PathBuf;

/// A mistake in a model's configuration or files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A configuration value that no encoder can have.
    #[error("`{key}` is {got}, expected {expected}")]
    Config {
        /// The configuration key.
        key: &'static str,
        /// The value found.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A file of the model folder cannot be read or written.
    #[error("cannot access `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ModelError {
    /// What to try next, where there is a likely answer.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
