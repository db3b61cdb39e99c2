//! Where a piece of configuration was written.

use std::fmt;
use std::path::PathBuf;

/// Where a piece of configuration was written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A file, with line and column (from 1) where they are known.
    File(PathBuf, Option<(usize, usize)>),
    /// A `--set` override.
    Override(String),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, None) => write!(f, "`{}`", path.display()),
            Self::File(path, Some((line, column))) => {
                write!(f, "`{}`, line {line}, column {column}", path.display())
            }
            Self::Override(text) => write!(f, "`--set {text}`"),
        }
    }
}
