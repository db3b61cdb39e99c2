//! What a model is called on the hub.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Most characters of an organisation's and of a model's name.
const LONGEST: usize = 96;

/// A model's name on the hub, `organisation/name` or `name` alone, and perhaps one of its revisions,
/// as in `organisation/name@revision`: a branch, a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    repository: String,
    revision: Option<String>,
}

impl ModelName {
    /// The name that `path` is, if it could be one.
    pub fn of_path(path: &Path) -> Option<Self> {
        path.to_str()?.parse().ok()
    }

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

/// A text that is no model's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{got}` is no model's name, which is `organisation/name` or `organisation/name@revision`")]
pub struct NotAName {
    /// What was given.
    pub got: String,
}

impl FromStr for ModelName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        if !is_repository(repository) || !revision.is_none_or(is_revision) {
            return Err(NotAName { got: text.to_owned() });
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// The hub's own rules for a repository's name.
fn is_repository(text: &str) -> bool {
    let is_word = |word: &str| {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        word.len() <= LONGEST
            && word.starts_with(is_of_word)
            && word.ends_with(is_of_word)
            && word.chars().all(|c| is_of_word(c) || c == '-' || c == '.')
            && !word.contains("--")
            && !word.contains("..")
    };
    text.strip_suffix(".git").is_none()
        && text.split('/').count() <= 2
        && text.split('/').all(is_word)
}

/// Whether `text` could be a revision's name, and is safe as a path inside a folder: git's rules for
/// references.
fn is_revision(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    text.split('/').all(is_part)
        && !text.contains("..")
        && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && !r"\:?*[~^".contains(c))
}

/// Whether `text` is a commit, written out.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hexadecimal(text)
}

/// Whether `text` is written as commits and sums are: digits and small letters.
pub(crate) fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a sum looks like.
#[cfg(feature = "download")]
pub(crate) const SUM: &str = "40 or 64 hexadecimal digits";

/// Whether `text` is the sum of a file, and so may become a blob's name.
#[cfg(feature = "download")]
pub(crate) fn is_sum(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hexadecimal(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_hub_takes_for_one() {
        let long = format!("a/{}", "b".repeat(LONGEST));
        for (text, repository, revision) in [
            ("gpt2", "gpt2", None),
            ("org/name", "org/name", None),
            ("BAAI/bge-small-en-v1.5", "BAAI/bge-small-en-v1.5", None),
            ("_o/n_@v1.0", "_o/n_", Some("v1.0")),
            ("org/name@refs/pr/1", "org/name", Some("refs/pr/1")),
            (&long, &long, None),
        ] {
            let name: ModelName = text.parse().unwrap();
            assert_eq!((name.repository(), name.revision()), (repository, revision));
            assert_eq!(name.to_string(), text);
        }
        let too_long = format!("a/{}", "b".repeat(LONGEST + 1));
        for text in [
            "", "/", "a/", "/a", "./a", "../a", "a/b/c", "a b", "~/a", "a--b", "a..b", "-a", "a-",
            ".a", "a.", "o/a.git", "o\\a", "ä/b", "a@", "a@b c", "a@../b", "a@/b", "a@b/", "a@b:c",
            "a@.b", &too_long,
        ] {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
    }
}
