//! Which split a file is, by its name.

use std::path::Path;

/// What names of files call a split, and its own name.
const NAMES: [(&str, &str); 6] = [
    ("train", "train"),
    ("dev", "dev"),
    ("val", "dev"),
    ("valid", "dev"),
    ("validation", "dev"),
    ("test", "test"),
];

/// The split that a file's name says: `dev.csv`, `faq-dev.jsonl.gz`, `dev-00000-of-00002.parquet`,
/// `dev-v1.1.json`. One of a single input must be nothing but that.
pub(super) fn split_of(path: &Path, is_single: bool) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let (stem, _) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut words: Vec<&str> = stem.split(['-', '_', '.']).collect();
    // Numbers of shards and versions.
    while words.len() > 1 && words.last().is_some_and(|word| is_number(word)) {
        words.pop();
    }
    let last = words.last()?;
    let (_, split) = NAMES.into_iter().find(|(name, _)| name == last)?;
    (!is_single || words.len() == 1).then_some(split)
}

/// `00000`, `of`, `v1`.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('v').unwrap_or(word);
    word == "of" || !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_a_split() {
        for (name, alone, among_others) in [
            ("train.csv", Some("train"), Some("train")),
            ("TRAIN.jsonl.gz", Some("train"), Some("train")),
            ("dev.tsv.zst", Some("dev"), Some("dev")),
            ("valid.jsonl", Some("dev"), Some("dev")),
            ("val.csv", Some("dev"), Some("dev")),
            ("data/validation-00000-of-00002.parquet", Some("dev"), Some("dev")),
            ("test_1.jsonl", Some("test"), Some("test")),
            ("train-v1.1.json", Some("train"), Some("train")),
            ("test", Some("test"), Some("test")),
            ("faq-train.csv", None, Some("train")),
            ("nq.dev.jsonl", None, Some("dev")),
            ("faq_test-00001-of-00002.parquet", None, Some("test")),
            ("train/faq.csv", None, None),
            ("constrain.csv", None, None),
            ("dev-team.csv", None, None),
            ("corpus.jsonl", None, None),
            ("2024.csv", None, None),
            ("", None, None),
        ] {
            let path = Path::new(name);
            assert_eq!(
                (split_of(path, true), split_of(path, false)),
                (alone, among_others),
                "{name}"
            );
        }
    }
}
