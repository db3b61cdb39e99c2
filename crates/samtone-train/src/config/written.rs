//! Where a piece of configuration was written: a file, or a change on top of one.

use std::fmt;
use std::path::PathBuf;

/// Where a piece of configuration was written, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A file, with line and column (from 1) where they are known.
    File(PathBuf, Option<(usize, usize)>),
    /// A change on top of a file.
    Override(Override),
}

/// A change of one key on top of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// `section.key=value`: the key's value, as TOML; text that is none is a string with all its blanks.
    Set(String),
    /// `section.key`: taken away, so that its default holds.
    Unset(String),
}

impl Override {
    /// A [`Set`](Self::Set) of each text.
    pub fn set_all(texts: impl IntoIterator<Item: Into<String>>) -> Vec<Self> {
        texts.into_iter().map(|text| Self::Set(text.into())).collect()
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(text) => write!(f, "`--set {text}`"),
            Self::Unset(key) => write!(f, "`--unset {key}`"),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, None) => write!(f, "`{}`", path.display()),
            Self::File(path, Some((line, column))) => {
                write!(f, "`{}`, line {line}, column {column}", path.display())
            }
            Self::Override(change) => change.fmt(f),
        }
    }
}
