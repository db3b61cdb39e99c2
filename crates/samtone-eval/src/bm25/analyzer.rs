//! Text to terms.

use rust_stemmers::{Algorithm, Stemmer};

/// The English stop words of Lucene.
pub const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// How a text becomes terms.
///
/// Terms are the longest runs of letters and digits (in Unicode's sense), in lower case:
/// `Don't use T5-base` is `don t use t5 base`. Lucene keeps `don't` in one piece and cuts the
/// English possessive off instead.
pub struct Analyzer {
    stop_words: bool,
    stemmer: Option<Stemmer>,
}

impl Analyzer {
    /// Terms without [`STOP_WORDS`] if `stop_words`, and cut to their English stem (Snowball's
    /// Porter 2) if `stem`.
    pub fn new(stop_words: bool, stem: bool) -> Self {
        Self { stop_words, stemmer: stem.then(|| Stemmer::create(Algorithm::English)) }
    }

    /// Calls `take` with each term in turn.
    pub fn for_each_term(&self, text: &str, mut take: impl FnMut(&str)) {
        let mut lower = String::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            lower.clear();
            lower.extend(word.chars().flat_map(char::to_lowercase));
            if self.stop_words && STOP_WORDS.binary_search(&lower.as_str()).is_ok() {
                continue;
            }
            match &self.stemmer {
                Some(stemmer) => take(&stemmer.stem(&lower)),
                None => take(&lower),
            }
        }
    }
}

impl Default for Analyzer {
    /// Without stop words, not stemmed.
    fn default() -> Self {
        Self::new(true, false)
    }
}

impl std::fmt::Debug for Analyzer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analyzer")
            .field("stop_words", &self.stop_words)
            .field("stem", &self.stemmer.is_some())
            .finish()
    }
}
