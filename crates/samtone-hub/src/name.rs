//! What a model is called on the hub.

use std::fmt;

/// A model's name on the hub, `organisation/name` or `name` alone, and perhaps one of its revisions,
/// as in `organisation/name@revision`: a branch, a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    pub(crate) repository: String,
    pub(crate) revision: Option<String>,
}

impl ModelName {
    /// The name without the revision.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The revision that is asked for; none: `main`.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The same model at `commit`.
    pub(crate) fn at(&self, commit: &str) -> Self {
        Self { repository: self.repository.clone(), revision: Some(commit.to_owned()) }
    }

    /// The revision, `main` if none is asked for.
    pub(crate) fn revision_or_main(&self) -> &str {
        self.revision().unwrap_or("main")
    }

    /// The model's folder in a cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// Whether `text` is a commit, written out.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

/// Whether `text` is written as commits and sums are: digits and small letters.
pub(crate) fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
