//! What may be a model's name: the hub's rules, and git's for revisions.

use std::path::Path;
use std::str::FromStr;

use crate::error::HubError;
use crate::name::ModelName;

/// Most characters of an organisation's and of a model's name.
const LONGEST: usize = 96;

impl ModelName {
    /// The name that `path` is, if it could be one.
    pub fn of_path(path: &Path) -> Option<Self> {
        path.to_str()?.parse().ok()
    }
}

impl FromStr for ModelName {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        if !is_repository(repository) || !revision.is_none_or(is_revision) {
            return Err(HubError::Name { got: text.to_owned() });
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.map(str::to_owned) })
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
